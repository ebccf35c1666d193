"""Sweeps: which cells there are, who trains them, what becomes of failures, and one table."""

import contextlib
import errno
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments import anomalous_diffusion, summaries, sweep, sweep_work
from experiments.sweep_directory import SweepDirectory
from sgd_diffusion import tables
from sgd_diffusion.analysis.lags import standard_ranges
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.errors import StorageError
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.storage.run_directories import load_run

# fmt: off
REST = ["--seeds", "0", "1", "--learning-rates", "0.05", "--num-windows", "2", "--window", "20"]
# fmt: on
TINY = ["--model", "fc2-width5", *REST, "--batch-size", "16"]
DATA = {"x": jnp.arange(60.0).reshape(20, 3)}


def square(params, state, batch, train):
    return jnp.mean((batch["x"] - params) ** 2), (state, None)


def test_several_values_make_cells_and_lists_stay_inside(parsed):
    options = parsed(sweep, *TINY, "--model", "fc2", "fc3", "--sketch-dim", "None", "20")
    cells = options.cells()
    assert options.dimensions() == ["model", "sketch_dim"]
    assert [cell.place for cell in cells] == [
        {"model": model, "sketch_dim": dim} for model in ("fc2", "fc3") for dim in (None, 20)
    ]
    assert [cell.options.sketch_dim for cell in cells] == [None, 20, None, 20]
    assert all(type(cell.options) is anomalous_diffusion.Options for cell in cells)
    assert all(cell.options.seeds == (0, 1) and cell.options.window == 20 for cell in cells)
    assert cells[1].name == "model=fc2,sketch_dim=20"


def test_names_of_cells_are_names_of_files_and_differ(parsed):
    options = parsed(sweep, *TINY, "--dataset", "a/b.npz", "a b.npz")
    names = [cell.name for cell in options.cells()]
    assert len(set(names)) == 2 and not any("/" in name or " " in name for name in names)
    assert parsed(sweep, *TINY).cells()[0].name == "run"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch-size", 16, 0], "--batch-size is 0; expected an integer in 1..1000000"),
        (["--batch-size", 16, 16], "--batch-size is 16 16; expected different values"),
        (["--model", "fc2", "resnet15"], "15"),
        (["--optimism", 3], "optimism"),
    ],
)
def test_unusable_values_are_refused_before_anything_is_made(refused, arguments, words):
    refused(sweep, words, *TINY, *arguments)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep") / "sweep"


def test_a_sweep_is_a_directory_of_runs_with_a_table(call, capsys, directory):
    arguments = [*TINY, "--batch-size", 16, 8]
    assert call(sweep, *arguments, "--directory", directory) == 0
    said = capsys.readouterr().out
    assert "batch_size=8: finished" in said and "batch size 8 " in said
    table = xr.load_dataset(directory / "table.nc", engine="h5netcdf")
    assert table.exponent.dims == (
        "batch_size", "motion", "range", "window", "seed", "learning_rate",
    )  # fmt: skip
    assert table.batch_size.values.tolist() == [16, 8] and np.isfinite(table.loss).all()
    run = load_run(directory / "cells" / "batch_size=8")
    alone = tables.overview(run, standard_ranges(20))
    cell = table.sel(batch_size=8, drop=True)
    xr.testing.assert_identical(cell.drop_attrs(deep=False), alone.drop_attrs(deep=False))


def test_what_is_finished_is_not_trained_again(call, capsys, monkeypatch, directory):
    trained = []
    monkeypatch.setattr(
        sweep_work, "train", lambda cell, _: trained.append(cell.options.num_windows)
    )
    where = ["--directory", directory]
    assert call(sweep, *TINY, "--batch-size", 16, 8, *where) == 0 and not trained
    assert call(sweep, "--resume", *where) == 0 and not trained
    assert call(sweep, "--resume", *where, "--num-windows", 3) == 0 and trained == [3, 3]
    assert call(sweep, "--resume", *where) == 0 and trained == [3, 3]  # it has been stored
    capsys.readouterr()
    assert call(sweep, *TINY, "--batch-size", 16, 4, *where) == 2
    said = capsys.readouterr().err
    assert "another sweep (batch_size is [16, 8] there and [16, 4] here" in said
    assert "--resume" in said
    assert call(anomalous_diffusion, *TINY, *where) == 2  # an ordinary run does not go there


def test_a_run_is_no_directory_of_a_sweep(call, capsys, directory):
    run = directory / "cells" / "batch_size=8"
    assert call(sweep, *TINY, "--batch-size", 16, 8, "--directory", run) == 2
    assert "holds anomalous_diffusion, not sweep" in capsys.readouterr().err


def test_a_cell_that_fails_does_not_keep_the_others_and_is_told(
    call, capsys, monkeypatch, tmp_path
):
    def train(cell, directory):
        if cell.options.batch_size == 8:
            raise ValueError("too small a batch")

    monkeypatch.setattr(sweep_work, "train", train)
    arguments = [*TINY, "--batch-size", 8, 16, "--directory", tmp_path / "sweep"]
    assert call(sweep, *arguments) == 1
    said, why = capsys.readouterr()
    assert "batch_size=16: finished" in said
    assert "batch_size=8: failed: ValueError: too small a batch" in why
    assert "1 of 2 cells are not finished" in why and "--resume" in why
    assert "Traceback" in (tmp_path / "sweep" / "failures" / "batch_size=8.txt").read_text()


@pytest.fixture
def cells(parsed):
    return parsed(sweep, *TINY, "--batch-size", 4, 8, 16).cells()


def test_a_full_disk_ends_the_sweep(tmp_path, cells):
    seen = []

    def train(cell, directory):
        seen.append(cell.name)
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise StorageError("Cannot write") from full

    with pytest.raises(StorageError):
        sweep_work.work(SweepDirectory(tmp_path), cells, train, wait=True)
    assert len(seen) == 1


def test_a_failed_cell_is_tried_once_by_each_call(tmp_path, cells):
    seen = []

    def train(cell, directory):
        seen.append(cell.options.batch_size)
        assert cell.options.batch_size != 8

    for _ in range(2):
        sweep_work.work(SweepDirectory(tmp_path), cells, train, wait=True)
    assert seen == [4, 8, 16, 8]


def test_a_cell_of_another_process_is_left_alone(tmp_path, cells):
    directory, seen = SweepDirectory(tmp_path), []
    other = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire();"
            "print(flush=True); input()",
            str(directory.directory(cells[0]) / "lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        (directory.directory(cells[0])).mkdir(parents=True)
        other.stdout.readline()
        sweep_work.work(
            directory, cells, lambda cell, _: seen.append(cell.options.batch_size), wait=False
        )
        assert seen == [8, 16]
        other.kill()
    sweep_work.work(
        directory, cells, lambda cell, _: seen.append(cell.options.batch_size), wait=True
    )
    assert seen == [8, 16, 4]


def test_more_learning_rates_are_no_more_programs():
    """A window, its start and its end; what is compiled beside them is not compiled again."""
    compiled, mean = [], Problem(init=lambda key: (jnp.zeros(3), ()), loss=square, examples=DATA)

    def note(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details)

    def count(*learning_rates):
        compiled.clear()
        run_ensemble(mean, Plan(learning_rates=learning_rates, window=9, batch_size=10))
        return len(compiled)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        count(0.1, 0.2), count(0.1, 0.2, 0.3, 0.4)
        assert count(0.3, 0.5) == count(0.01, 0.03, 0.2, 0.5) == 3
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def test_without_submitit_or_a_cluster_the_way_out_is_told(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    words = "submitit is not installed; expected an installed submitit: pip install"
    refused(sweep, words, *TINY, "--launcher", "local")
    if importlib.util.find_spec("submitit") is not None:
        monkeypatch.delitem(sys.modules, "submitit")
        monkeypatch.setenv("PATH", "")
        refused(sweep, "there is no sbatch here", *TINY, "--launcher", "slurm")


class Job:
    job_id = "7"

    def __init__(self, work):
        self.work = work

    def done(self):
        return True


def test_jobs_know_nothing_but_the_directory(call, monkeypatch, tmp_path):
    """Jobs as `submitit` takes them, run here."""
    seen, submitted = [], []

    class Executor:
        def submit(self, worker):
            worker.work(*worker.arguments)
            submitted.append(worker)
            return Job(worker)

    monkeypatch.setattr(sweep_work, "executor", lambda options: lambda folder: Executor())
    monkeypatch.setattr(sweep_work, "train", lambda cell, _: seen.append(cell.name))
    monkeypatch.setattr(sweep_work, "table", lambda *_: None)
    monkeypatch.setattr(sweep_work, "leave_together", lambda *_, **__: None)
    monkeypatch.setattr(summaries, "cells", lambda *_: "")
    arguments = [*TINY, "--batch-size", 8, 16, "--launcher", "local", "--workers", 3]
    assert call(sweep, *arguments, "--directory", tmp_path / "sweep") == 0
    assert seen == ["batch_size=8", "batch_size=16"] and len(submitted) == 3


def test_what_a_job_that_was_killed_leaves_the_next_command_finishes(
    call, capsys, monkeypatch, tmp_path
):
    """A job that ends in the middle of its second cell, as when it is killed."""
    seen, killed = [], [True]

    class Executor:
        def submit(self, worker):
            with contextlib.suppress(KeyboardInterrupt):
                worker.work(*worker.arguments)
            return Job(worker)

    def train(cell, directory):
        seen.append(cell.name)
        if killed[0] and len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(sweep_work, "executor", lambda options: lambda folder: Executor())
    monkeypatch.setattr(sweep_work, "train", train)
    monkeypatch.setattr(sweep_work, "table", lambda *_: None)
    monkeypatch.setattr(sweep_work, "leave_together", lambda *_, **__: None)
    monkeypatch.setattr(summaries, "cells", lambda *_: "")
    arguments = [*TINY, "--batch-size", 4, 8, 16, "--launcher", "local", "--workers", 1]
    where = ["--directory", tmp_path / "sweep"]
    assert call(sweep, *arguments, *where) == 1
    assert "2 of 3 cells are not finished" in capsys.readouterr().err
    killed[0] = False
    assert call(sweep, *arguments, *where) == 0
    assert seen == ["batch_size=4", "batch_size=8", "batch_size=8", "batch_size=16"]
