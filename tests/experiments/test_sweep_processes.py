"""Sweeps in several processes, and in those that are stopped: no cell is lost or trained twice."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import xarray as xr

CHECKOUT = pathlib.Path(__file__).parents[2]
# fmt: off
REST = ["--seeds", "0", "1", "--learning-rates", "0.05", "--num-windows", "2", "--window", "20"]
# fmt: on

# Two processes at once are killed at random moments and started again, until all cells are
# finished. Every cell writes twelve files, one after the other.
KILLS = """
    import os, pathlib, random, signal, sys, time
    from experiments import sweep, sweep_work
    from experiments.command_line import parse
    from experiments.sweep_directory import SweepDirectory
    from sgd_diffusion.storage.files import write_atomically

    sweep_work.POLL = 0.01
    directory, chance = pathlib.Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    six = ["--model", "fc2", "fc3", "--batch-size", "4", "8", "16"]
    cells = parse(sweep.PRESETS, "", six).cells()
    log = os.open(directory / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    say = lambda *words: os.write(log, (" ".join(map(str, words)) + "\\n").encode())

    def train(cell, run):
        say("begin", cell.name, os.getpid())
        for number in range(12):
            if not (run / str(number)).exists():
                time.sleep(0.02)
                write_atomically(run / str(number), f"{cell.name} {number}".encode())
        say("end", cell.name, os.getpid())

    def start():
        child = os.fork()
        if child == 0:
            sweep_work.work(SweepDirectory(directory), cells, train, wait=True, tell=lambda _: None)
            os._exit(0)
        return child

    at_work, kills = [start(), start()], 0
    while at_work:
        time.sleep(chance.uniform(0.0, 0.12))
        child = chance.choice(at_work)
        ended, _ = os.waitpid(child, os.WNOHANG)
        if ended:
            at_work.remove(child)
        elif kills < 20:
            os.kill(child, signal.SIGSTOP)  # so that nobody takes its cell before this is said
            say("killed", "-", child)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            at_work[at_work.index(child)] = start()
    print(kills)
"""


def test_two_processes_that_are_killed_share_the_cells_and_lose_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLS), str(tmp_path), "0"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert int(done.stdout) >= 10
    owner, finished = {}, set()
    for line in (tmp_path / "log").read_text().splitlines():
        what, name, process = line.split()
        if what == "killed":
            owner = {cell: by for cell, by in owner.items() if by != process}
        elif what == "begin":
            assert name not in owner, f"{process} and {owner[name]} train {name}"
            owner[name] = process
        else:
            assert owner.pop(name) == process
            finished.add(name)
    assert len(finished) == 6
    for directory in (tmp_path / "cells").iterdir():
        for number in range(12):
            assert (directory / str(number)).read_text() == f"{directory.name} {number}"


# A sweep whose cells write four files each, one after the other.
SLOWLY = """
    import os, sys, time
    from experiments import command_line, summaries, sweep, sweep_work
    from sgd_diffusion.storage.files import write_atomically

    def train(cell, run):
        for number in range(4):
            if not (run / str(number)).exists():
                print("writing", flush=True)
                time.sleep(float(os.environ["PAUSE"]))
                write_atomically(run / str(number), f"{cell.name} {number}".encode())

    sweep_work.train, sweep_work.check_cells = train, lambda *_: None
    sweep_work.table = lambda *_: None
    sweep_work.leave_together, summaries.cells = lambda *_, **__: None, lambda *_: ""
    command_line.main(sweep.experiment, sweep.PRESETS, "")
"""


def test_ctrl_c_ends_a_sweep_with_one_message_and_the_same_command_goes_on(tmp_path):
    directory = tmp_path / "sweep"

    def start(pause):
        arguments = ["--model", "fc2", "--batch-size", "4", "8", "--directory", str(directory)]
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SLOWLY), *arguments],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PAUSE": str(pause), "TQDM_DISABLE": "1"},
        )

    child = start(0.1)
    files = 0
    while files < 6:  # four of the first cell and two of the second, of which one is not finished
        files += child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said.strip() == (
        "interrupted; finished windows are kept: continue with --resume --directory DIR"
    )
    written = {path.parent.name for path in directory.glob("cells/*/finished.json")}
    assert written == {"batch_size=4"}
    said, _ = start(0.0).communicate(timeout=60)
    assert said.startswith("2 cells, 1 of them finished") and 1 <= said.count("writing") <= 3
    for cell in ("batch_size=4", "batch_size=8"):
        for number in range(4):
            assert (directory / "cells" / cell / str(number)).read_text() == f"{cell} {number}"


def program(log, *arguments):
    """A process with a sweep that says what it says in a file, and keeps its programs beside it.

    It and the processes that it starts are a group, as in a terminal.
    """
    with open(log, "a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.sweep", *map(str, arguments)],
            cwd=CHECKOUT,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
            | {"XDG_CACHE_HOME": str(log.parent)},
        )


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_kills_at_random_moments_change_no_number(tmp_path):
    """Six cells in two processes at once, killed 20 times, until both get through."""
    log = tmp_path / "said"
    arguments = [log, *REST, "--model", "fc2-width5", "fc3-width5", "--batch-size", 8, 16, 32]
    assert program(*arguments, "--directory", tmp_path / "whole").wait() == 0, log.read_text()
    chance, kills = random.Random(0), 0
    begin = [*arguments, "--directory", tmp_path / "killed"]
    at_work = [program(*begin), program(*begin)]
    while at_work:
        time.sleep(chance.uniform(0.2, 5.0))
        child = chance.choice(at_work)
        if child.poll() is not None:
            assert child.returncode == 0, log.read_text()
            at_work.remove(child)
        elif kills < 20:
            child.kill()
            child.wait()
            kills += 1
            at_work[at_work.index(child)] = program(*begin)
    whole, killed = (
        xr.load_dataset(tmp_path / name / "table.nc", engine="h5netcdf").drop_attrs(deep=False)
        for name in ("whole", "killed")
    )
    assert kills >= 10
    xr.testing.assert_identical(whole, killed)
    assert "Damaged" not in log.read_text()
    assert list((tmp_path / "sgd-diffusion").rglob("*-cache"))


@pytest.mark.slow
def test_jobs_of_the_local_launcher_train_all_cells(tmp_path):
    pytest.importorskip("submitit")
    arguments = [*REST, "--model", "fc2-width5", "--batch-size", 8, 16]
    arguments += ["--launcher", "local", "--workers", 2]
    child = program(tmp_path / "said", *arguments, "--directory", tmp_path / "sweep")
    assert child.wait(timeout=500) == 0 and "jobs " in (tmp_path / "said").read_text()
    table = xr.load_dataset(tmp_path / "sweep" / "table.nc", engine="h5netcdf")
    assert np.isfinite(table.loss).all()
    logs = "".join(path.read_text() for path in (tmp_path / "sweep" / "jobs").glob("*.out"))
    assert logs.count(": finished") == 2


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("launcher", ["none", "local"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_stopped_goes_on_to_the_same_table(tmp_path, launcher, stop):
    """As by Ctrl-C, or with the terminal, where a signal goes to all processes."""
    if launcher == "local":
        pytest.importorskip("submitit")
    arguments = [*REST, "--model", "fc2-width5", "--batch-size", 8, 16]
    assert program(tmp_path / "log", *arguments, "--directory", tmp_path / "whole").wait() == 0
    begin = [*arguments, "--launcher", launcher, "--workers", 1]
    begin += ["--directory", tmp_path / "stopped"]
    child = program(tmp_path / "said", *begin)
    while child.poll() is None and not list(tmp_path.glob("stopped/cells/*/windows/*.nc")):
        time.sleep(0.05)
    os.killpg(child.pid, stop)
    code, said = child.wait(), (tmp_path / "said").read_text()
    if stop == signal.SIGINT:
        assert code == 130 and said.count("interrupted") == 1 and "Traceback" not in said
    else:
        assert code == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        for _ in range(300):
            os.killpg(child.pid, 0)
            time.sleep(0.1)
        pytest.fail("a process of the group is left")
    assert program(tmp_path / "again", *begin).wait() == 0, (tmp_path / "again").read_text()
    whole, stopped = (
        xr.load_dataset(tmp_path / name / "table.nc", engine="h5netcdf").drop_attrs(deep=False)
        for name in ("whole", "stopped")
    )
    xr.testing.assert_identical(whole, stopped)
    assert "Damaged" not in (tmp_path / "again").read_text()
