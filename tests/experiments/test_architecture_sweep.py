"""Figs. 3 and 4 from the command line, small."""

import numpy as np
import pytest
import xarray as xr

from experiments import architecture_sweep, compare, learning_rate_sweep
from experiments.reports.runs import labels
from experiments.summaries.claims import verdict

# fmt: off
SMALL = ["--seeds", 0, 1, "--num-windows", 2, "--window", 20, "--batch-size", 16]
# fmt: on


def test_names_are_depths_and_shortcuts():
    names = architecture_sweep.networks((8, 14), "-width4")
    assert names[:2] == ("resnet8-width4", "resnet8-noshort-width4")
    places = architecture_sweep.architectures(names)
    assert places == [(8, True), (8, False), (14, True), (14, False)]
    table = xr.Dataset(
        {"onset": (("model", "seed"), [[1.0], [2], [3], [4]])}, {"model": list(names)}
    )
    found = architecture_sweep.by_architecture(table, names)
    assert found.onset.sel(depth=14, shortcut=False).item() == 4
    assert found.onset.sel(depth=8, shortcut=True).item() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "fc3"], "residual networks"),
        (["--model", "resnet8", "resnet8-width4"], "one model of each depth"),
        (["--learning-rates", 0.1, 0.2], "--learning-rates has several values"),
        (["--momentum", 0, 0.9], "--momentum has several values"),
    ],
)
def test_other_sweeps_are_refused(refused, arguments, words):
    refused(architecture_sweep, words, *arguments)


def test_a_single_learning_rate_is_refused(refused):
    refused(learning_rate_sweep, "two or more, to be compared", "--learning-rates", 0.1)


@pytest.mark.parametrize(
    ("change", "error", "expected", "words"),
    [
        (0.01, 0.02, 0, "no change is seen"),
        (0.2, 0.02, 0, "it changes"),
        (0.2, 0.02, 1, "seen here"),
        (-0.2, 0.02, 1, "the opposite"),
        (0.01, 0.02, -1, "not distinguishable"),
        (0.2, np.nan, 1, "cannot be told"),
    ],
)
def test_verdicts_are_as_sure_as_the_errors(change, error, expected, words):
    found = xr.Dataset({"change": change, "error": error, "low": 0.0, "high": 1.0, "count": 2})
    assert words in verdict(found, expected)


def test_learning_rates_are_compared(call, capsys, tmp_path):
    """And two runs, of which one has fewer windows and rates, in one table and figure."""
    network = [*SMALL, "--model", "fc2-width5"]
    rates = ["--learning-rates", 0.05, 0.1]
    assert call(learning_rate_sweep, *network, *rates, "--directory", tmp_path / "rates") == 0
    said = capsys.readouterr().out
    assert "at equal eta t" in said and "0.1 / 0.05: squared distance x" in said
    assert (tmp_path / "rates" / "learning_rate_sweep.png").exists()
    paths = (tmp_path / "rates", tmp_path / "rates")
    options = compare.Options(runs=paths, directory=tmp_path / "compared", csv=True)
    assert labels((tmp_path / "a" / "run", tmp_path / "b" / "run")) == ["a", "b"]
    with pytest.raises(ValueError, match="different"):
        options.check()
    compare.compare(compare.Options(runs=paths[:1], directory=tmp_path / "compared", csv=True))
    table = xr.load_dataset(tmp_path / "compared" / "comparison.nc", engine="h5netcdf")
    assert table.run.values.tolist() == ["rates"] and table.sizes["learning_rate"] == 2
    assert (tmp_path / "compared" / "comparison.csv").exists()

    (tmp_path / "sweep" / "cells").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"a sweep; expected run directories, such as its cells"):
        compare.compare(compare.Options(runs=(tmp_path / "sweep",)))


@pytest.mark.slow
def test_an_architecture_sweep_says_what_holds(call, capsys, tmp_path):
    assert call(architecture_sweep, "--quick", "--directory", tmp_path / "sweep") == 0
    said = capsys.readouterr().out
    assert "shortcuts lengthen the superdiffusive range, by tau_0:" in said
    table = xr.load_dataset(tmp_path / "sweep" / "architectures.nc", engine="h5netcdf")
    assert {"depth", "shortcut", "batch_size", "seed"} <= set(table.first_exponent.dims)
    assert (tmp_path / "sweep" / "architecture_sweep.png").exists()
