"""The experiment on toy landscapes from the command line: what it leaves behind, what it resumes,
and what it refuses.
"""

import functools
import json
import shutil
import sys

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import fractal_toy, toy_walks
from experiments.fractal_toy import Options
from experiments.toy_kinds import KINDS
from experiments.toy_landscapes import Landscapes
from sgd_diffusion import plots

TINY = [
    "--levels",
    "5",
    "--landscapes",
    "10",
    "--walkers",
    "4",
    "--steps",
    "600",
    "--hursts",
    "0.5",
    "1",
    "--learning-rates",
    "0.01",
    "0.02",
    "--noise-stds",
    "0.01",
    "--phase-landscapes",
    "2",
    "--phase-walkers",
    "3",
]


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Hundreds of gradients and few resamplings: the laws of six kinds of surfaces are fitted to
    them again and again.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in ("walk_statistics", "toy_walks"):
            patch.setattr(sys.modules[f"sgd_diffusion.tables.{module}"], "SAMPLE", 50)
        for name, few in (("POOLED", 50), ("REPLICATES", 20), ("STABLE_REPLICATES", 10)):
            patch.setattr(sys.modules["sgd_diffusion.tables.toy_walks"], name, few)
        patch.setattr(toy_walks, "FREE_WALKERS", 200)
        yield


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("run") / "run"


def test_a_run_leaves_statistics_figures_and_summary(call, capsys, directory):
    assert call(fractal_toy, *TINY, "--directory", directory) == 0
    out = capsys.readouterr().out
    files = {path.name for path in directory.iterdir()}
    assert {
        "config.json",
        "statistics.nc",
        "table.nc",
        "examples.nc",
        "phases.nc",
        "summary.txt",
        "fractal_toy.png",
        "phase_diagram.png",
    } <= files
    summary = (directory / "summary.txt").read_text()
    assert (
        summary in out
        and "10 landscapes (diamond-square, 33^2 points" in summary
        and "arXiv:2009.10588" in summary
    )
    assert max(map(len, summary.splitlines())) <= 132 and len(summary.splitlines()) < 55
    with (
        xr.open_dataset(directory / "table.nc", engine="h5netcdf") as table,
        xr.open_dataset(directory / "phases.nc", engine="h5netcdf") as phases,
    ):
        assert list(table.surface) == list(KINDS)
        assert float(
            table.exponent.sel(surface="cone", selection="all", part="early")
        ) == pytest.approx(1.9, abs=0.1)
        np.testing.assert_allclose(phases.share.sum("fate"), 1)
        assert phases.share.shape == (4, 2, 2, 1)


def test_an_interrupted_run_goes_on_to_the_same_results(call, capsys, directory, monkeypatch):
    monkeypatch.setattr(
        plots, "walker_animation", functools.partial(plots.walker_animation, frames=3)
    )
    before = {
        name: (directory / name).read_bytes()
        for name in ("statistics.nc", "table.nc", "phases.nc", "summary.txt")
    }
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
    others = {"preset", "quick", "directory", "resume", "animation", "phase_diagram"}
    others |= {"csv", "report", "no_cache"}
    assert set(stored) == set(Options.__dataclass_fields__) - others


def test_a_run_may_do_without_a_phase_diagram(call, capsys, directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    for part in (
        "windows/window_00006.nc",
        "windows/window_00007.nc",
        "phases.nc",
        "phase_diagram.png",
    ):
        (copy / part).unlink()
    assert call(fractal_toy, "--resume", "--no-phase-diagram", "--directory", copy) == 0
    assert "superdiffusive" not in capsys.readouterr().out.split("ln likelihood over")[1]
    assert len(list((copy / "windows").glob("*.nc"))) == 6 and not (copy / "phases.nc").exists()


def test_controls_are_made_of_the_landscapes():
    """Same order of magnitude of slopes and heights, zero or not; walkers start alike on all but
    convex surfaces.
    """
    landscapes = Landscapes(Options(levels=5, landscapes=10, walkers=3, shuffled_smoothing=1.0))
    rough, smooth, mixed = (
        np.asarray(landscapes.surfaces(kind).heights)
        for kind in ("fractal", "smoothed", "shuffled")
    )
    assert np.abs(np.diff(smooth, axis=1)).mean() < 0.7 * np.abs(np.diff(rough, axis=1)).mean()
    assert np.corrcoef(rough.ravel(), smooth.ravel())[0, 1] > 0.95
    assert (
        abs(np.corrcoef((rough - rough.mean((1, 2), keepdims=True)).ravel(), mixed.ravel())[0, 1])
        < 0.1
    )
    assert not np.any(landscapes.surfaces("flat").heights)
    np.testing.assert_array_equal(landscapes.surfaces("fractal", slice(3, 4)).heights[0], rough[3])
    starts = {kind: np.asarray(landscapes.starts(kind)) for kind in KINDS}
    assert all(
        np.all(starts[kind] == starts["fractal"]) for kind in ("smoothed", "shuffled", "flat")
    )
    assert np.all(starts["cone"] == 1) and np.abs(starts["fractal"]).max() <= 1
    assert landscapes.regions("fractal").shape == landscapes.regions("cone").shape == rough.shape
    assert landscapes.regions("cone")[0, 16, 16]


def test_walks_do_not_depend_on_what_else_there_is():
    """More landscapes are others' company, not other landscapes: JAX's keys are split by their
    place.
    """
    few, many = (Landscapes(Options(levels=5, landscapes=count, walkers=3)) for count in (10, 20))
    assert (
        jax.random.key_data(few.walk_keys).tolist()
        == jax.random.key_data(many.walk_keys)[:10].tolist()
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--landscapes", "9"], "--landscapes is 9; expected an integer in 10.."),
        (["--steps", "599"], "--steps is 599; expected"),
        (["--levels", "13"], "--levels is 13; expected an integer in 5..12"),
        (["--seed", "-1"], "--seed is -1; expected an integer in 0..4294967295"),
        (["--landscapes", "1000000000"], "--landscapes is 1000000000; expected"),
        (["--walkers", "100000000"], "--walkers is 100000000; expected"),
        (["--landscapes", "1000000", "--levels", "12"], "GiB of memory; expected at most"),
        (["--walkers", "1000000", "--steps", "100000"], "GiB that are free: take fewer"),
        (["--noise-std", "-1"], "--noise-std is -1.0; expected"),
        (["--noise-std", "1e30"], "--noise-std is 1e+30; expected"),
        (["--noise-std", "1e-50"], "--noise-std is 1e-50; expected 0, or at least 1e-09"),
        (["--noise-stds", "0.1", "1e30"], "--noise-stds is 1e+30; expected"),
        (["--learning-rate", "1e-50"], "--learning-rate is 1e-50; expected"),
        (["--learning-rates", "1e30"], "--learning-rates is 1e+30; expected"),
        (["--learning-rates", "0.1", "0.1"], "--learning-rates is 0.1 0.1; expected different"),
        (["--learning-rates", "0.1", "0.1000000001"], "expected numbers that float32 tells apart"),
        (["--hurst", "0"], "--hurst is 0.0; expected"),
        (["--hurst", "100"], "--hurst is 100.0; expected"),
        (["--hursts", "0.5", "100"], "--hursts is 100.0; expected"),
        (["--hursts"], "--hursts is empty; expected"),
        (["--alpha", "2.5"], "--alpha is 2.5; expected"),
        (["--smoothing", "0.5"], "--smoothing is 0.5; expected"),
        (["--shuffled-smoothing", "1e30"], "--shuffled-smoothing is 1e+30; expected"),
        (["--boundary", "absorb"], "boundary"),
        (["--roughness", "nan"], "--roughness is nan; expected a finite number"),
        (["--roughness", "1e30"], "--roughness is 1e+30; expected"),
        (["--min-area", "-1"], "--min-area is -1.0; expected"),
        (["--min-area", "2"], "--min-area is 2.0; expected"),
        (["--min-margin", "nan"], "--min-margin is nan; expected"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(fractal_toy, words, *TINY, *arguments)


def test_memory_is_counted_before_anything_starts():
    """The default takes less than 3 GiB; ten times as many of everything takes a hundred times as
    much.
    """
    needed = Options().needed_bytes()
    assert 2**30 < needed < 3 * 2**30
    walks = Options(
        landscapes=100, walkers=1000, steps=10_000, levels=5, phase_diagram=False
    ).needed_bytes()
    assert walks == pytest.approx(100 * 1000 * 10_001 * 100, rel=0.01)
