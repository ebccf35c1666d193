import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.storage.run_directories import DamagedResultsWarning, RunDirectory, load_run

# Windows of fewer than 10 steps have no controls, which take longest to compile.
PLAN = Plan(
    seeds=(0, 7), learning_rates=(0.02, 0.1), num_windows=3, window=9, batch_size=10, momentum=0.5
)
TESTS = str(pathlib.Path(__file__).parents[1])


@pytest.fixture(scope="module")
def problem():
    sys.path.insert(0, TESTS)
    from conftest import two_layer_regression

    return two_layer_regression(probe=True)


@pytest.fixture(scope="module")
def uninterrupted(problem):
    return run_ensemble(problem, PLAN)


@pytest.fixture(scope="module")
def finished(problem, tmp_path_factory):
    """A finished run directory, to be copied, not changed."""
    directory = tmp_path_factory.mktemp("run") / "finished"
    run_ensemble(problem, PLAN, directory)
    return directory


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_the_result_is_labeled(uninterrupted):
    sizes = {"window": 3, "seed": 2, "learning_rate": 2, "lag": 9, "point": 10, "update": 9}
    assert sizes.items() <= dict(uninterrupted.sizes).items()
    assert uninterrupted.waiting_time.values.tolist() == [0, 9, 18]
    assert uninterrupted.seed.values.tolist() == [
        0,
        7,
    ] and uninterrupted.learning_rate.values.tolist() == [0.02, 0.1]
    assert uninterrupted.lag.values.tolist() == list(range(1, 10))
    assert (
        uninterrupted.msd.dims == ("window", "seed", "learning_rate", "lag")
        and uninterrupted.msd.dtype == np.float64
    )
    assert np.isfinite(uninterrupted.msd).all() and (uninterrupted.diverged_at == -1).all()
    configuration = json.loads(uninterrupted.attrs["configuration"])
    assert (
        configuration["plan"]["seeds"] == [0, 7]
        and configuration["problem"]["name"] == "two-layer regression"
    )
    assert {"python", "packages", "device", "revision"} <= json.loads(
        uninterrupted.attrs["environment"]
    ).keys()


def test_labels_are_on_the_right_members(problem, uninterrupted):
    for seed, rate in [(0, 0.1), (7, 0.02)]:
        alone = run_ensemble(
            problem,
            Plan(
                seeds=(seed,),
                learning_rates=(rate,),
                num_windows=2,
                window=9,
                batch_size=10,
                momentum=0.5,
            ),
        )
        member = uninterrupted.sel(seed=[seed], learning_rate=[rate]).isel(window=slice(2))
        # up to rounding: the compiler removes the loop over members when there is one
        xr.testing.assert_allclose(alone, member, rtol=1e-5, atol=1e-9)


def test_windows_apart_are_those_of_the_consecutive_run(problem, uninterrupted, tmp_path):
    plan = dataclasses.replace(PLAN, waiting_times=(0, 18))
    reports = []
    apart = run_ensemble(
        problem, plan, tmp_path / "run", report=lambda step, loss: reports.append(int(step))
    )
    xr.testing.assert_equal(
        apart.drop_vars("window"), uninterrupted.isel(window=[0, 2]).drop_vars("window")
    )
    assert apart.waiting_time.values.tolist() == [0, 18] and {0, 9, 18} == set(reports)
    with pytest.raises(StorageError, match="waiting_times"):
        run_ensemble(
            problem, dataclasses.replace(PLAN, waiting_times=(0, 20)), tmp_path / "run", resume=True
        )
    xr.testing.assert_equal(run_ensemble(problem, plan, tmp_path / "run", resume=True), apart)


def test_an_interruption_between_windows_apart_changes_nothing(problem, tmp_path):
    plan = dataclasses.replace(PLAN, waiting_times=(4, 24))

    def interrupt(index, window):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_ensemble(problem, plan, tmp_path / "run", on_window=interrupt)
    assert load_run(tmp_path / "run").sizes["window"] == 1
    resumed = run_ensemble(problem, plan, tmp_path / "run", resume=True)
    xr.testing.assert_equal(resumed, run_ensemble(problem, plan))


def test_disk_and_memory_agree(finished, uninterrupted):
    xr.testing.assert_equal(load_run(finished), uninterrupted)
    with xr.open_dataset(RunDirectory(finished).window_path(2), engine="h5netcdf") as window:
        assert json.loads(window.attrs["configuration"]) == json.loads(
            uninterrupted.attrs["configuration"]
        )


def test_windows_continue_each_other(uninterrupted):
    """The extra loss at the end of a window is the first of the next one."""
    losses = uninterrupted.loss.values
    np.testing.assert_array_equal(losses[:-1, :, :, -1], losses[1:, :, :, 0])
    probes = uninterrupted.probe_loss.values
    np.testing.assert_allclose(probes[:-1, :, :, -1], probes[1:, :, :, 0], rtol=1e-6)


def test_a_run_can_be_prolonged(problem, uninterrupted, tmp_path):
    short = Plan(**{**PLAN.description(), "num_windows": 2})
    run_ensemble(problem, short, tmp_path / "run")
    seen = []
    longer = run_ensemble(
        problem, PLAN, tmp_path / "run", resume=True, on_window=lambda index, _: seen.append(index)
    )
    xr.testing.assert_equal(longer, uninterrupted)
    assert seen == [0, 1, 2]
    xr.testing.assert_equal(
        run_ensemble(problem, short, tmp_path / "run", resume=True),
        uninterrupted.isel(window=slice(2)),
    )
    assert len(RunDirectory(tmp_path / "run").load_windows()) == 3


def test_a_diverged_member_is_flagged_and_masked_and_harms_nobody(problem, uninterrupted):
    plan = Plan(**{**PLAN.description(), "learning_rates": (0.02, 1e20), "num_windows": 3})
    with_divergence = run_ensemble(problem, plan)
    healthy, gone = (with_divergence.isel(learning_rate=index) for index in (0, 1))
    xr.testing.assert_equal(healthy, uninterrupted.isel(learning_rate=0))
    step = gone.diverged_at.values
    assert ((step > 0) & (step < 9)).all()
    assert np.isnan(gone.msd).all() and np.isnan(gone.loss.isel(window=slice(1, None))).all()
    losses = gone.loss.isel(window=0, seed=0)
    assert np.isfinite(losses[: step[0]]).all() and np.isnan(losses[step[0] :]).all()


CHILD = """
    import os, pathlib, signal, sys, threading, time
    # The package is imported first: conftest would check all its annotations.
    from sgd_diffusion.storage import checkpoints
    from sgd_diffusion.dynamics.run import Plan, run_ensemble
    sys.path.insert(0, sys.argv[1])
    from conftest import two_layer_regression
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)
    save = checkpoints.Checkpoints.save

    def run(directory, moment):
        def save_and_die(self, windows, carry):
            if windows == 2 and moment == "between":
                die()
            if windows == 2 and moment.startswith("during"):
                threading.Timer(float(moment.split()[1]), die).start()
            save(self, windows, carry)

        def stand_still(step, loss):
            if moment == "window" and step >= 9:
                pathlib.Path(directory + ".stands").touch()
                time.sleep(600)

        checkpoints.Checkpoints.save = save_and_die
        members = {"seeds": (0, 7), "learning_rates": (0.02, 0.1)}
        plan = Plan(**members, num_windows=3, window=9, batch_size=10, momentum=0.5)
        problem = two_layer_regression(probe=True)
        run_ensemble(problem, plan, directory, resume=True, report=stand_still)

    if sys.argv[2:]:
        print("started", flush=True)
        run(*sys.argv[2:])
    for line in [] if sys.argv[2:] else sys.stdin:
        child = os.fork()  # before JAX has any thread
        if child == 0:
            run(*line.rstrip("\\n").split("|"))
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def start_child(*arguments, **pipes):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), TESTS, *map(str, arguments)],
        stdout=subprocess.PIPE,
        **pipes,
    )


@pytest.fixture(scope="module")
def fork():
    """`fork(directory, moment)`: the number of a new process with a run, and a function that waits
    for its exit code.

    They are forks of one process: importing takes longer than such a run.
    """
    with start_child(stdin=subprocess.PIPE, text=True) as parent:

        def start(directory, moment):
            parent.stdin.write(f"{directory}|{moment}\n")
            parent.stdin.flush()
            return int(parent.stdout.readline()), lambda: int(parent.stdout.readline())

        yield start


def check_nothing_is_lost(problem, uninterrupted, directory):
    with warnings.catch_warnings(record=True) as said:  # nothing is damaged by a kill
        resumed = run_ensemble(problem, PLAN, directory, resume=True)
    assert not said
    xr.testing.assert_equal(resumed, uninterrupted)
    xr.testing.assert_equal(load_run(directory), uninterrupted)
    assert not list(directory.rglob("*.partial"))


@pytest.mark.parametrize(
    "moment", ["between", pytest.param("during 0.005", marks=pytest.mark.slow), "during 0.03"]
)
def test_a_kill_between_or_during_files_loses_nothing(
    problem, uninterrupted, fork, tmp_path, moment
):
    _, wait = fork(tmp_path / "run", moment)
    assert wait() == -signal.SIGKILL
    check_nothing_is_lost(problem, uninterrupted, tmp_path / "run")


def test_a_live_process_keeps_its_directory_and_a_kill_in_its_window_loses_nothing(
    problem, uninterrupted, fork, tmp_path
):
    child, wait = fork(tmp_path / "run", "window")
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run.stands").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(StorageError, match="being written by another process"):
            run_ensemble(problem, PLAN, tmp_path / "run", resume=True)
    finally:
        os.kill(child, signal.SIGKILL)
        assert wait() == -signal.SIGKILL
    assert load_run(tmp_path / "run").sizes["window"] == 1
    check_nothing_is_lost(problem, uninterrupted, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(6))
def test_kills_at_random_moments_lose_nothing(problem, uninterrupted, tmp_path, attempt):
    """Killed again and again, at moments spread over start, windows, files and checkpoints, until a
    child gets through.
    """
    chance = random.Random(attempt)
    for _ in range(10):
        child = start_child(tmp_path / "run", "never")
        child.stdout.readline()
        try:
            child.wait(timeout=chance.uniform(0.2, 6.0))
            break
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        finally:
            child.stdout.close()
    xr.testing.assert_equal(
        run_ensemble(problem, PLAN, tmp_path / "run", resume=True), uninterrupted
    )


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(64 * [0x5A])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "window"),
    [
        ("truncated", 1),
        ("overwritten", 2),
        pytest.param("truncated", 2, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_window_is_made_again_and_said(problem, uninterrupted, copied, how, window):
    damage(RunDirectory(copied).window_path(window), how)
    with pytest.warns(
        DamagedResultsWarning,
        match=f"window_0000{window}.nc is damaged.*{window} windows before it",
    ):
        good = load_run(copied)
    xr.testing.assert_equal(good, uninterrupted.isel(window=slice(window)))
    with pytest.warns(DamagedResultsWarning, match="is damaged"):
        resumed = run_ensemble(problem, PLAN, copied, resume=True)
    xr.testing.assert_equal(resumed, uninterrupted)
    xr.testing.assert_equal(load_run(copied), uninterrupted)


@pytest.mark.parametrize("part", ["window_00000.nc", "window_00000.nc.sha256"])
def test_no_damage_to_a_window_passes_unnoticed(copied, part):
    path = copied / "windows" / part
    sound = path.read_bytes()
    size = (
        64 if part.endswith("sha256") else len(sound)
    )  # the file name behind the checksum is for readers only
    for position in range(0, size, 1 + size // 30):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 0x10]) + sound[position + 1 :])
        with pytest.warns(DamagedResultsWarning, match="window_00000.nc is damaged"):
            assert not RunDirectory(copied).load_windows()


@pytest.mark.parametrize(
    "how", ["truncated", pytest.param("empty", marks=pytest.mark.slow), "overwritten", "gone"]
)
def test_a_damaged_checkpoint_gives_way_to_an_earlier_one_and_is_said(
    problem, uninterrupted, copied, how
):
    newest = copied / "checkpoints" / "3"
    if how == "gone":
        shutil.rmtree(newest / "carry")
    for path in sorted(newest.rglob("*")):
        if path.is_file() and how != "gone":
            damage(path, how)
    longer = Plan(**{**PLAN.description(), "num_windows": 4})
    with pytest.warns(DamagedResultsWarning, match=r"checkpoint after 3 windows .* is damaged"):
        resumed = run_ensemble(problem, longer, copied, resume=True)
    xr.testing.assert_equal(resumed.isel(window=slice(3)), uninterrupted)


def test_without_any_checkpoint_the_run_starts_again_and_says_so(problem, uninterrupted, copied):
    shutil.rmtree(copied / "checkpoints")
    longer = Plan(**{**PLAN.description(), "num_windows": 4})
    with pytest.warns(DamagedResultsWarning, match="computed again"):
        resumed = run_ensemble(problem, longer, copied, resume=True)
    xr.testing.assert_equal(resumed.isel(window=slice(3)), uninterrupted)


def test_an_occupied_directory_is_refused_unchanged(problem, copied, tmp_path):
    def content():
        return {path: path.stat().st_mtime_ns for path in copied.rglob("*")}

    before = content()
    with pytest.raises(StorageError, match=r"holds this run already.*resume"):
        run_ensemble(problem, PLAN, copied)
    other = Plan(**{**PLAN.description(), "momentum": 0.25})
    for resume in (False, True):
        with pytest.raises(
            StorageError,
            match=r"another configuration \(plan.momentum is 0.5 there and 0.25 here\)",
        ):
            run_ensemble(problem, other, copied, resume=resume)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("precious")
    with pytest.raises(StorageError, match="not empty and holds no run"):
        run_ensemble(problem, PLAN, tmp_path / "notes", resume=True)
    assert content() == before


@pytest.mark.parametrize("reason", ["full", pytest.param("read-only", marks=pytest.mark.slow)])
def test_a_disk_that_cannot_be_written_keeps_the_finished_windows(
    problem, uninterrupted, tmp_path, monkeypatch, reason
):
    number = {"full": 28, "read-only": 30}[reason]
    replace = os.replace

    def fail(source, target):
        if target == RunDirectory(tmp_path / "run").window_path(2):
            raise OSError(number, os.strerror(number))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError, match=r"Cannot write .*window_00002.nc: .* The 2 windows"):
        run_ensemble(problem, PLAN, tmp_path / "run")
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob("*.partial"))
    xr.testing.assert_equal(load_run(tmp_path / "run"), uninterrupted.isel(window=slice(2)))
    xr.testing.assert_equal(
        run_ensemble(problem, PLAN, tmp_path / "run", resume=True), uninterrupted
    )


def test_a_path_that_is_a_file_is_refused(problem, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="Cannot"):
            run_ensemble(problem, PLAN, path)


def test_measurements_of_ones_own(problem):
    last = measurements.PathMeasurement(
        lambda record: {"last_loss": record.losses[-1:]}, {"last_loss": ("last",)}, {"last": [9]}
    )
    size = measurements.StateMeasurement(
        lambda problem, params, state, key: {"norm": jnp.abs(params["output"]).max()}, {"norm": ()}
    )
    chosen = [last, size, measurements.step_grams()]
    found = run_ensemble(problem, Plan(window=9, batch_size=10), measurements=chosen)
    assert found.last_loss.dims == ("window", "seed", "learning_rate", "last")
    assert found.norm.dims == ("window", "seed", "learning_rate") and (found.norm > 0).all()
    assert found.step_gram.shape == (1, 1, 1, 9, 9) and found.step_gram.dtype == np.float64


def test_measurements_give_coordinates_along_their_dimensions(problem, tmp_path):
    """Any dimension, also those that the run labels itself; in memory and on disk."""
    own = measurements.PathMeasurement(
        lambda record: {"ends": record.losses[::9], "loss": record.losses},
        {"ends": ("end",), "loss": ("point",)},
        {
            "end": ["first", "last"],
            "number": ("end", [0, 9]),
            "parity": ("point", np.arange(10) % 2),
        },
    )
    found = run_ensemble(
        problem, Plan(window=9, batch_size=10, num_windows=2), tmp_path / "run", measurements=[own]
    )
    assert found.ends.sel(end="last").number == 9 and found.number.dims == ("end",)
    np.testing.assert_array_equal(
        found.loss.isel(point=found.parity == 1), found.loss.isel(point=slice(1, None, 2))
    )
    xr.testing.assert_identical(load_run(tmp_path / "run"), found)


def test_measurements_by_layer_add_up(problem):
    found = run_ensemble(problem, Plan(window=9, batch_size=10, by_layer=True, gradient_samples=4))
    assert found.layer.values.tolist() == ["hidden", "output"]
    np.testing.assert_allclose(found.layer_msd.sum("layer"), found.msd, rtol=1e-9)
    assert found.gradient_sample.sizes["coordinate"] == 4


def test_full_batch_twins_stand_beside_the_paths(problem, uninterrupted, tmp_path):
    """Of members one after the other, resumed after a window, and side by side; all else is as it
    was without twins.
    """
    plan = Plan(
        **{
            **PLAN.description(),
            "learning_rates": (0.1, 1e20),
            "num_windows": 2,
            "full_batch_twin": True,
        }
    )
    run_ensemble(problem, Plan(**{**plan.description(), "num_windows": 1}), tmp_path / "run")
    found = run_ensemble(problem, plan, tmp_path / "run", resume=True)
    xr.testing.assert_allclose(found, run_ensemble(problem, plan, members_at_once=4), rtol=1e-4)
    healthy, gone = (found.isel(learning_rate=index) for index in (0, 1))
    xr.testing.assert_equal(
        healthy.drop_vars("twin_msd"), uninterrupted.isel(learning_rate=1, window=slice(2))
    )
    assert healthy.twin_msd.dims == healthy.msd.dims and healthy.twin_msd.dtype == np.float64
    assert (healthy.twin_msd.sel(lag=1) < 0.9 * healthy.msd.sel(lag=1)).all()  # no gradient noise
    assert np.isnan(gone.twin_msd).all()


def test_a_run_without_twins_is_not_continued_with_them(problem, copied):
    plan = Plan(**{**PLAN.description(), "full_batch_twin": True})
    with pytest.raises(StorageError, match=r"plan\.full_batch_twin is None there and True here"):
        run_ensemble(problem, plan, copied, resume=True)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ([measurements.displacements(), measurements.displacements()], "two variables named 'msd'"),
        (
            [
                measurements.PathMeasurement(
                    lambda record: {"a": record.losses}, {"a": ("lag2",)}, {"lag2": [1]}
                ),
                measurements.PathMeasurement(
                    lambda record: {"b": record.losses}, {"b": ("lag2",)}, {"lag2": [2]}
                ),
            ],
            "lag2",
        ),
        (
            [measurements.PathMeasurement(lambda record: {"b": record.losses}, {"a": ("point",)})],
            "returned",
        ),
        (
            [
                measurements.PathMeasurement(
                    lambda record: {}, {"a": ("side",)}, {"size": ("side", [1, 2])}
                ),
                measurements.PathMeasurement(
                    lambda record: {}, {"b": ("side",)}, {"size": ("side", [1, 3])}
                ),
            ],
            "different.*'size'",
        ),
        (
            [
                measurements.PathMeasurement(
                    lambda record: {}, {"a": ("side",)}, {"size": ("side", [1, 2])}
                ),
                measurements.PathMeasurement(
                    lambda record: {}, {"b": ("point",)}, {"size": ("point", [1, 2])}
                ),
            ],
            "different.*'size'",
        ),
        (
            [
                measurements.PathMeasurement(
                    lambda record: {}, {"a": ("side",)}, {"loss": ("side", [1, 2])}
                ),
                measurements.series(),
            ],
            "two variables named 'loss'",
        ),
        (
            [
                measurements.PathMeasurement(
                    lambda record: {}, {"a": ("side",)}, {"waiting_time": ("side", [1])}
                )
            ],
            "waiting_time",
        ),
        (
            [measurements.PathMeasurement(lambda record: {}, {"a": ("side",)}, {"sied": [1, 2]})],
            "'sied' along no dimension",
        ),
    ],
)
def test_measurements_that_clash_are_refused(problem, chosen, words):
    with pytest.raises(InputError, match=words):
        run_ensemble(problem, Plan(window=9, batch_size=10), measurements=chosen)


def test_load_run_refuses_what_holds_no_run(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        load_run(tmp_path)
