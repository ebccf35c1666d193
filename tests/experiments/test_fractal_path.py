"""The path experiment from the command line: what it leaves behind, and what it refuses."""

import numpy as np
import pytest
import xarray as xr

from experiments import fractal_path
from sgd_diffusion.storage.run_directories import load_run

TINY = [
    "--model",
    "fc2-width5",
    "--seeds",
    "0",
    "1",
    "--learning-rates",
    "0.05",
    "--num-windows",
    "2",
    "--window",
    "100",
    "--batch-size",
    "16",
    "--probe-size",
    "20",
]


def test_a_run_leaves_results_figures_and_summary(call, capsys, tmp_path):
    directory = tmp_path / "run"
    assert call(fractal_path, *TINY, "--directory", directory) == 0
    out = capsys.readouterr().out
    assert {"config.json", "scaling.nc", "summary.txt", "fractal_path_0.05.png"} <= {
        p.name for p in directory.iterdir()
    }
    summary = (directory / "summary.txt").read_text()
    assert summary in out and "learning rate 0.05" in summary and len(summary.splitlines()) < 40
    run = load_run(directory)
    assert np.isfinite(run.msd).all() and (run.fragments.sum("contour_bin") == 100 * 101 / 2).all()
    assert run.motion.values.tolist() == ["SGD", "drift subtracted", "shuffled"]
    with xr.open_dataset(directory / "scaling.nc", engine="h5netcdf") as table:
        assert (
            table.probe_exponent.dims == ("window", "seed", "learning_rate")
            and "configuration" in table.attrs
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--window", "99"],
            "--window is 99; expected an integer in 100..100000 for power laws in the contour "
            "length",
        ),
        (["--probe-size", "1438"], "1437"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(fractal_path, words, *TINY, *arguments)
