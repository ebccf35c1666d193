"""The experiment on toy landscapes from the command line: what it leaves behind, what it resumes, and what it refuses."""

import json

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import fractal_toy
from experiments.fractal_toy import Options
from experiments.toy_landscapes import KINDS, Landscapes

TINY = ["--levels", "5", "--landscapes", "10", "--walkers", "4", "--steps", "600", "--hursts", "0.5", "1", "--learning-rates",
        "0.01", "0.02", "--noise-stds", "0.01", "--phase-landscapes", "2", "--phase-walkers", "3"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("run") / "run"


def test_a_run_leaves_statistics_figures_and_summary(call, capsys, directory):
    assert call(fractal_toy, *TINY, "--directory", directory) == 0
    out = capsys.readouterr().out
    files = {path.name for path in directory.iterdir()}
    assert {"config.json", "statistics.nc", "table.nc", "examples.nc", "phases.nc", "summary.txt", "fractal_toy.png",
            "phase_diagram.png"} <= files
    summary = (directory / "summary.txt").read_text()
    assert summary in out and "10 landscapes (diamond-square, 33^2 points" in summary and "arXiv:2009.10588" in summary
    assert max(map(len, summary.splitlines())) <= 132 and len(summary.splitlines()) < 55
    with (xr.open_dataset(directory / "table.nc", engine="h5netcdf") as table,
          xr.open_dataset(directory / "phases.nc", engine="h5netcdf") as phases):
        assert list(table.surface) == list(KINDS)
        assert float(table.exponent.sel(surface="cone", selection="all", part="early")) == pytest.approx(1.9, abs=0.1)
        np.testing.assert_allclose(phases.share.sum("fate"), 1)
        assert phases.share.shape == (4, 2, 2, 1)


def test_an_interrupted_run_goes_on_to_the_same_results(call, capsys, directory):
    before = {name: (directory / name).read_bytes() for name in ("statistics.nc", "table.nc", "phases.nc", "summary.txt")}
    first = (directory / "windows" / "window_00000.nc").stat().st_mtime_ns
    for lost in sorted((directory / "windows").glob("*.nc"))[3:]:
        lost.unlink()
    assert call(fractal_toy, "--resume", "--animation", "--directory", directory) == 0
    assert (directory / "walkers.gif").read_bytes().startswith(b"GIF89a")
    assert (directory / "windows" / "window_00000.nc").stat().st_mtime_ns == first
    assert {name: (directory / name).read_bytes() for name in before} == before
    capsys.readouterr()
    assert call(fractal_toy, *TINY, "--directory", directory) == 2
    assert "holds this run already" in capsys.readouterr().err
    assert call(fractal_toy, *TINY, "--resume", "--walkers", "5", "--directory", directory) == 2
    assert "walkers is 4 there and 5 here" in capsys.readouterr().err


def test_the_configuration_says_all_that_decides(directory):
    stored = json.loads((directory / "config.json").read_text())["configuration"]
    assert set(stored) == {field for field in Options.__dataclass_fields__ if field not in (
        "preset", "quick", "directory", "resume", "animation")}


def test_controls_are_made_of_the_landscapes():
    """Same order of magnitude of slopes and heights, zero or not; walkers start alike on all but convex surfaces."""
    landscapes = Landscapes(Options(levels=5, landscapes=10, walkers=3, shuffled_smoothing=1.0))
    rough, smooth, mixed = (np.asarray(landscapes.surfaces(kind).heights) for kind in ("fractal", "smoothed", "shuffled"))
    assert np.abs(np.diff(smooth, axis=1)).mean() < 0.7 * np.abs(np.diff(rough, axis=1)).mean()
    assert np.corrcoef(rough.ravel(), smooth.ravel())[0, 1] > 0.95
    assert abs(np.corrcoef((rough - rough.mean((1, 2), keepdims=True)).ravel(), mixed.ravel())[0, 1]) < 0.1
    assert not np.any(landscapes.surfaces("flat").heights)
    np.testing.assert_array_equal(landscapes.surfaces("fractal", slice(3, 4)).heights[0], rough[3])
    starts = {kind: np.asarray(landscapes.starts(kind)) for kind in KINDS}
    assert all(np.all(starts[kind] == starts["fractal"]) for kind in ("smoothed", "shuffled", "flat"))
    assert np.all(starts["cone"] == 1) and np.abs(starts["fractal"]).max() <= 1
    assert landscapes.regions("fractal").shape == landscapes.regions("cone").shape == rough.shape
    assert landscapes.regions("cone")[0, 16, 16]


def test_walks_do_not_depend_on_what_else_there_is():
    """More landscapes are others' company, not other landscapes: JAX's keys are split by their place."""
    few, many = (Landscapes(Options(levels=5, landscapes=count, walkers=3)) for count in (10, 20))
    assert jax.random.key_data(few.walk_keys).tolist() == jax.random.key_data(many.walk_keys)[:10].tolist()


@pytest.mark.parametrize(("arguments", "words"), [
    (["--landscapes", "9"], "'landscapes'=9"), (["--steps", "599"], "'steps'=599"), (["--levels", "13"], "'levels'=13"),
    (["--noise-std", "-1"], "'noise_std'=-1"), (["--learning-rates", "0.1", "0.1"], "has a value twice"),
    (["--hurst", "0"], "'hurst'=0"), (["--stability", "2.5"], "'stability'=2.5"), (["--smoothing", "0.5"], "'smoothing'=0.5"),
    (["--boundary", "absorb"], "boundary"), (["--roughness", "nan"], "'roughness'=nan")])
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(fractal_toy, words, *TINY, *arguments)
