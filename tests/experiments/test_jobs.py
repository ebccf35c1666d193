"""Processes of one job: how they are named, what is refused, and that they train together."""

import dataclasses
import os
import socket
import subprocess
import sys

import jax
import pytest

from experiments import anomalous_diffusion, command_line, jobs, progress, sweep
from sgd_diffusion import load_run
from sgd_diffusion.errors import InputError

QUICK = anomalous_diffusion.PRESETS["quick"]
NAMED = {"coordinator": "host:1234", "num_processes": 4, "process_id": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"process_id": 1}, "--process-id was given without --distributed"),
        ({"distributed": True, "coordinator": "host:1"}, "was given with --coordinator; expected"),
        ({"distributed": True, **NAMED, "process_id": 4}, "--process-id is 4; expected 0 to 3"),
    ],
)
def test_processes_that_are_named_in_part_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(QUICK, **options).check()


def test_a_sweep_has_other_processes():
    options = dataclasses.replace(sweep.PRESETS["quick"], distributed=True, **NAMED)
    assert not set(jobs.JOB) & set(options.swept_names)
    with pytest.raises(InputError, match="was given for a sweep; expected --launcher"):
        options.check()


def test_processes_are_no_part_of_a_run():
    stored = command_line.options_as_json(dataclasses.replace(QUICK, distributed=True, **NAMED))
    assert not set(jobs.JOB) & set(stored)


def test_a_job_that_is_not_there_is_said(monkeypatch):
    def initialize(*given, **_):
        assert given == ("host:1234", 4, 1)
        raise ValueError("coordinator_address should be defined.\nMore.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(InputError, match=r"cannot join a job \(coordinator_address should be def"):
        jobs.join(dataclasses.replace(QUICK, distributed=True, **NAMED))
    jobs.join(QUICK)  # alone


def test_only_the_first_process_is_heard(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: None)
    monkeypatch.setattr(jax, "process_index", lambda: 2)
    monkeypatch.setattr(progress, "STYLE", dict(progress.STYLE))
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    jobs.join(dataclasses.replace(QUICK, distributed=True))
    print("nobody reads this")
    assert progress.STYLE["disable"] is True
    assert not sys.stdout.isatty()

    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    assert jobs.name_in_job() == "process 2 of 4: "


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert command_line.usable_cores() == 1


@pytest.mark.slow
def test_two_processes_make_one_run(tmp_path):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        *(sys.executable, "-m", "experiments.anomalous_diffusion", "--quick", "--distributed"),
        *("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"),
        *("--directory", tmp_path / "run", "--model", "fc2-width8"),
    ]
    processes = [
        subprocess.Popen(
            [*command, "--process-id", str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    said = [process.communicate(timeout=500) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "results, figures and this summary" in said[0][0]
    # The library of the collectives speaks by itself.
    assert all("Gloo" in line for line in said[1][0].splitlines())
    run = load_run(tmp_path / "run")
    assert run.sizes["window"] == QUICK.num_windows and (tmp_path / "run" / "exponents.nc").exists()
