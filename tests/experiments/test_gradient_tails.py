"""The experiment on gradient tails from the command line: what it leaves behind, what it says, and
what it refuses.
"""

import numpy as np
import pytest
import xarray as xr

from experiments import gradient_tails, summaries
from experiments.summaries.gradient_tails import _beyond_pooling, _change
from sgd_diffusion.storage.run_directories import load_run

TINY = [
    "--model",
    "fc2-width5",
    "--seeds",
    "0",
    "--learning-rates",
    "0.05",
    "--num-windows",
    "2",
    "--window",
    "100",
    "--batch-size",
    "64",
    "--gradient-samples",
    "20",
    "--frozen-passes",
    "1",
    "--num-entries",
    "500",
    "--num-resamples",
    "20",
]


@pytest.mark.slow
def test_a_run_leaves_results_figures_and_summary(call, capsys, tmp_path):
    directory = tmp_path / "run"
    assert call(gradient_tails, *TINY, "--directory", directory) == 0
    out = capsys.readouterr().out
    assert {"config.json", "tails.nc", "summary.txt", "gradient_tails_0.05.png"} <= {
        p.name for p in directory.iterdir()
    }
    assert (directory / "gradient_tails_0.05.png").read_bytes().startswith(b"\x89PNG")
    summary = (directory / "summary.txt").read_text()
    assert summary in out and "learning rate 0.05" in summary and len(summary.splitlines()) < 50
    assert max(map(len, summary.splitlines()[1:])) <= 128
    run = load_run(directory)
    assert run.sizes["coordinate"] == 20 and run.sizes["frozen_pass"] == 1
    with xr.open_dataset(directory / "tails.nc", engine="h5netcdf") as table:
        assert (
            table.alpha.dims == ("source", "window", "seed", "learning_rate")
            and table.sizes["source"] == 7
        )
        assert "configuration" in table.attrs and table.attrs["num_entries"] == 500
        # A seed of which all numbers are lost is no obstacle to a summary.
        lost = summaries.gradient_tails(
            run,
            table.assign(
                {
                    name: table[name] * np.nan
                    for name in ("alpha", "alpha_error", "log_likelihood_ratio", "hill")
                }
            ),
        )
        assert "has no estimate (pooled" in lost and "nan" not in lost


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--window", "99"],
            "--window is 99; expected an integer in 100..100000 for the moving variance of the "
            "loss",
        ),
        (["--gradient-samples", "0", "--frozen-passes", "0"], "--gradient-samples is 0"),
        (["--gradient-samples", "1"], "gradient_samples"),  # there are more layers
        (
            ["--num-entries", "100000", "--num-resamples", "101"],
            "expected at most 10000000 for their product",
        ),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(gradient_tails, words, *TINY, *arguments)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ((1.0, 0.1), (1.5, 0.1), "rises"),
        ((1.5, 0.1), (1.0, 0.1), "falls"),
        ((1.0, 0.2), (1.5, 0.2), "does not change"),
        ((1.0, 0.2), (np.nan, np.nan), "has no estimate"),
    ],
)
def test_a_change_is_more_than_two_errors(first, last, said):
    assert _change(first, last) == said


@pytest.mark.parametrize(
    ("pooled", "null", "own", "said"),
    [
        ((1.0, 0.1), (1.1, 0.1), (1.95, 0.1), "pooling explains all"),
        ((1.0, 0.1), (1.8, 0.1), (1.95, 0.1), "more than a mixture"),
        ((1.0, 0.1), (1.8, 0.1), (1.5, 0.1), "by themselves too"),
        ((1.0, 0.1), (1.1, 0.1), (1.5, 0.1), "no more so"),
    ],
)
def test_what_pooling_explains(pooled, null, own, said):
    assert said in _beyond_pooling(pooled, null, own)


@pytest.mark.slow
def test_quick_runs_the_real_network(call, tmp_path):
    assert call(gradient_tails, "--quick", "--directory", tmp_path / "run") == 0
    with xr.open_dataset(tmp_path / "run" / "tails.nc", engine="h5netcdf") as table:
        assert np.isfinite(table.alpha).all() and (table.alpha.sel(source="pooled") < 2).all()
