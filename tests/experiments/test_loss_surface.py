"""The experiment on loss surfaces from the command line: what it leaves behind, what it resumes,
and what it refuses.
"""

import shutil

import jax
import numpy as np
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree

from experiments import loss_surface
from experiments.loss_surface import Options
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
    "3",
    "--window",
    "10",
    "--batch-size",
    "16",
    "--surface-examples",
    "50",
    "--grid",
    "33",
    "--calibration-repeats",
    "10",
    "--planes",
    "random",
    "principal",
    "hessian",
    "--statistics",
    "running",
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("run") / "run"


def test_a_run_leaves_surfaces_dimensions_figure_and_summary(call, capsys, directory):
    assert call(loss_surface, *TINY, "--directory", directory) == 0
    out = capsys.readouterr().out
    files = {path.name for path in directory.iterdir()}
    assert {
        "config.json",
        "surfaces.nc",
        "dimensions.nc",
        "summary.txt",
        "loss_surface_0.05.png",
    } <= files
    summary = (directory / "summary.txt").read_text()
    assert summary in out and "33 x 33 points" in summary and "nan" not in summary
    assert max(map(len, summary.splitlines()[1:])) <= 132 and len(summary.splitlines()) < 35
    run = load_run(directory)
    with xr.open_dataset(directory / "surfaces.nc", engine="h5netcdf") as surfaces:
        assert surfaces.loss.shape == (3, 2, 1, 33, 33) and np.isfinite(surfaces.loss).all()
        middle = surfaces.loss.sel(plane="random", seed=0).squeeze().values[16, 16]
        np.testing.assert_allclose(
            surfaces.off_plane.isel(update=-1), 0, atol=1e-5
        )  # all planes go through the end
        np.testing.assert_allclose(surfaces.path_length.isel(update=-1), 0)
        assert (surfaces.off_plane <= surfaces.path_length * (1 + 1e-5)).all()
        on_plane = np.hypot(surfaces.path_x, surfaces.path_y).sel(plane="principal")
        whole = surfaces.path_length.sel(plane="principal")
        np.testing.assert_allclose(
            on_plane**2 + surfaces.off_plane.sel(plane="principal") ** 2,
            whole**2,
            rtol=1e-4,
            atol=1e-9,
        )
    problem = Options(model="fc2-width4").problem()
    params, state = problem.init(jax.random.key(0))
    end = ravel_pytree(params)[1](run.params.sel(seed=0, learning_rate=0.05).values[-1])
    examples = jax.tree.map(lambda leaf: leaf[:50], problem.examples)
    np.testing.assert_allclose(middle, problem.loss(end, state, examples, False)[0], rtol=1e-5)


def test_resuming_a_finished_run_changes_nothing(call, directory):
    before = (
        (directory / "surfaces.nc").read_bytes(),
        (directory / "planes" / "random_0_0.05.nc").stat().st_mtime_ns,
    )
    assert call(loss_surface, "--resume", "--directory", directory) == 0
    assert (
        (directory / "surfaces.nc").read_bytes(),
        (directory / "planes" / "random_0_0.05.nc").stat().st_mtime_ns,
    ) == before


def test_the_path_begins_where_another_run_ended(call, directory, tmp_path):
    source, run = load_run(directory), tmp_path / "run"
    shutil.copytree(directory, tmp_path / "source")
    fast = ["--num-windows", 1, "--planes", "random", "--seeds", 1]
    start = ["--start-from", tmp_path / "source", "--directory", run]
    assert call(loss_surface, *TINY, *fast, *start) == 0
    shutil.rmtree(tmp_path / "source")
    (run / "surfaces.nc").unlink()
    assert call(loss_surface, "--resume", "--directory", run) == 0
    first = source.params.sel(seed=1).isel(window=-1, learning_rate=0)
    last = load_run(run).params.sel(seed=1).isel(window=-1, learning_rate=0)
    with xr.open_dataset(run / "surfaces.nc", engine="h5netcdf") as surfaces:
        length = surfaces.path_length.squeeze().values
    np.testing.assert_allclose(length, [np.linalg.norm(first - last), 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--planes", "principal"], "--planes is principal; expected random among them"),
        (
            ["--surface-examples", "2000"],
            "--surface-examples is 2000; expected an integer in 1..1437 of the training examples",
        ),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(loss_surface, words, *TINY, *arguments)
