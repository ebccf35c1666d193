"""The experiment on Hessian spectra from the command line: what it leaves behind, what it says, and
what it refuses.
"""

import numpy as np
import pandas as pd
import pytest

from experiments import hessian_spectrum, summaries
from sgd_diffusion import tables
from sgd_diffusion.storage.run_directories import load_run

TINY = [
    "--model",
    "fc2-width4",
    "--seeds",
    "0",
    "1",
    "--learning-rates",
    "0.05",
    "--num-windows",
    "2",
    "--window",
    "10",
    "--batch-size",
    "16",
    "--num-eigenvalues",
    "3",
    "--hessian-examples",
    "50",
    "--density-probes",
    "2",
    "--density-products",
    "5",
]


def test_a_run_leaves_results_figures_and_summary(call, capsys, tmp_path):
    directory = tmp_path / "run"
    assert call(hessian_spectrum, *TINY, "--csv", "--directory", directory) == 0
    out = capsys.readouterr().out
    assert {"config.json", "summary.txt", "hessian_spectrum_0.05.png"} <= {
        path.name for path in directory.iterdir()
    }
    summary = (directory / "summary.txt").read_text()
    assert (
        summary in out and "48 training examples" in summary and "2 / learning rate = 40" in summary
    )
    assert max(map(len, summary.splitlines()[1:])) <= 150 and len(summary.splitlines()) < 30
    run = load_run(directory)
    assert run.hessian_eigenvalue.shape == (2, 2, 1, 1, 3) and (run.hessian_converged == 1).all()
    assert (run.hessian_eigenvalue.diff("rank") <= 0).all() and (
        run.hessian_residual <= 1e-3 * run.hessian_eigenvalue
    ).all()
    assert np.isfinite(run.hessian_trace).all()
    table = pd.read_csv(directory / "spectrum.csv")
    largest = table[(table["rank"] == 1) & (table.updates == 20)].hessian_eigenvalue
    np.testing.assert_allclose(largest, run.hessian_eigenvalue[1, :, 0, 0, 0], rtol=1e-6)
    gone = (run * np.nan).assign(diverged_at=run.diverged_at).assign_attrs(run.attrs)
    lost = summaries.hessian_spectrum(gone, tables.hessian_spectrum(gone))
    assert "no member left" in lost and "nan" not in lost


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--density-windows", "2"], "names window 2; expected -2 to 1"),
        (["--hessian-examples", "40"], "at least 3 batches"),
        (["--density-products", "1000"], "num_products"),
        (["--num-eigenvalues", "1000"], "num_eigenvalues"),
        (["--hessian-examples", "5000"], "1437"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(hessian_spectrum, words, *TINY, *arguments)
