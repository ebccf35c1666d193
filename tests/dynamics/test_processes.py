"""Several processes train an ensemble together: the same results, files of the first one alone."""

import json
import pathlib
import random
import socket
import subprocess
import sys
import time

import jax
import pytest
import xarray as xr

from sgd_diffusion import Plan, load_run, run_ensemble

PROCESS = pathlib.Path(__file__).with_name("process_of_a_job.py")
PLAN = {"seeds": range(5), "learning_rates": (0.05,), "window": 9, "batch_size": 10}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def started(scenes, count, directory, devices=1):
    """The processes of a job, and where each of them speaks to."""
    port = free_port()
    logs = [directory / f"log.{index}" for index in range(count)]
    processes = []
    for index, log in enumerate(logs):
        numbers = map(str, (index, count, port, devices))
        with log.open("w") as file:
            processes.append(
                subprocess.Popen(
                    [sys.executable, PROCESS, scenes, *numbers, directory],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
    return processes, logs


@pytest.fixture(scope="module")
def alone():
    """The run of one process on one device."""
    from conftest import two_layer_regression

    plan = Plan(**PLAN, num_windows=2)
    return run_ensemble(two_layer_regression(probe=True), plan, devices=jax.devices()[:1])


def check_job(directory, alone, count, devices=1):
    processes, logs = started("all", count, directory, devices)
    for process, log in zip(processes, logs, strict=True):
        assert process.wait(300) == 0, log.read_text()
    assert load_run(directory / "run").equals(alone)
    for index in range(count):
        results = xr.load_dataset(directory / f"results.{index}.nc", engine="h5netcdf")
        assert results.equals(alone.drop_attrs())
        shared = xr.load_dataset(directory / f"shared.{index}.nc", engine="h5netcdf")
        member = alone.drop_attrs().sel(seed=[1]).isel(window=[0])
        xr.testing.assert_allclose(shared, member)
        found = json.loads((directory / f"found.{index}.json").read_text())
        assert "is not empty and holds no run" in found["occupied"]
        assert "was started with other arguments than the first one" in found["unlike"]
        assert "weight_decay" in found["unlike"]
        assert found["one fails"] == "ValueError: the data are not here"
        assert found["of the first"] == 0
        assert "those of this process" in found["devices of another"]
        assert found["alone"] is False
    assert not (directory / "unlike").exists()


def test_two_processes_are_as_one_and_are_refused_together(alone, tmp_path):
    check_job(tmp_path, alone, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices"), [(4, 1), (2, 2)])
def test_more_processes_and_devices_are_as_one(count, devices, alone, tmp_path):
    check_job(tmp_path, alone, count, devices)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_process_ends_all_and_the_run_goes_on_with_any_number(tmp_path):
    """20 kills at random moments, of the first process or another, then a job of another size."""
    from conftest import two_layer_regression

    windows, choice = 400, random.Random(0)
    counts = [2, 3, 1, 4]
    kills = 0
    while kills < 20:
        count = counts[kills % len(counts)]
        processes, logs = started(str(windows), count, tmp_path)
        time.sleep(choice.uniform(6, 14))
        victim = choice.randrange(count)
        if processes[victim].poll() is None:
            processes[victim].kill()
            kills += 1
        killed = time.monotonic()
        try:
            codes = [process.wait(60) for process in processes]
        finally:
            for process in processes:  # none outlives a test that fails
                process.kill()
                process.wait()
        assert time.monotonic() - killed < 60
        if codes == [0] * count:
            break  # done before the kill
        for index, log in enumerate(logs):
            if index != victim:
                assert log.read_text().strip(), "it ended without a message"
    processes, _ = started(str(windows), 2, tmp_path)
    assert [process.wait(600) for process in processes] == [0, 0]
    expected = run_ensemble(
        two_layer_regression(probe=True),
        Plan(**PLAN, num_windows=windows),
        devices=jax.devices()[:1],
    )
    assert load_run(tmp_path / "run").equals(expected)
    names = sorted(path.name for path in (tmp_path / "run" / "windows").glob("*.nc"))
    assert names == [f"window_{index:05d}.nc" for index in range(windows)]
