"""One of several processes that train an ensemble together, for test_processes.py.

Usage: process_of_a_job.py SCENES INDEX COUNT PORT DEVICES DIRECTORY
"""

import json
import pathlib
import sys

import jax

from sgd_diffusion import Plan, run_ensemble
from sgd_diffusion._processes import Processes

TESTS = pathlib.Path(__file__).parents[1]
# Only a process of a job has these; tests are collected without.
SCENES, INDEX, COUNT, PORT, DEVICES, DIRECTORY = (
    (sys.argv[1], *map(int, sys.argv[2:6]), pathlib.Path(sys.argv[6]))
    if __name__ == "__main__"
    else ("", 0, 1, 0, 1, pathlib.Path())
)
# Windows of fewer than 10 steps have no controls, which take longest to compile.
PLAN = {"seeds": range(5), "learning_rates": (0.05,), "window": 9, "batch_size": 10}


def trained(path, devices_per_member=1, **options):
    """What all processes return of a run in a directory of their own."""
    from conftest import two_layer_regression

    return run_ensemble(
        two_layer_regression(probe=True),
        Plan(**PLAN | {"num_windows": 2} | options),
        path,
        devices=jax.devices(),
        devices_per_member=devices_per_member,
        resume=path is not None,
    )


def refusal(work):
    """What is said where something is refused."""
    try:
        return f"not refused: {work()}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def scenes():
    """What goes well, and what is refused in one process or in all, without an end of the job."""
    of_all = COUNT * DEVICES
    for name, results in (
        ("results", trained(DIRECTORY / "run")),
        ("shared", trained(None, devices_per_member=of_all, seeds=(1,), num_windows=1)),
    ):
        results.drop_attrs().to_netcdf(DIRECTORY / f"{name}.{INDEX}.nc", engine="h5netcdf")
    processes = Processes(jax.devices())

    def fails_in_the_last():
        if INDEX == COUNT - 1:
            raise ValueError("the data are not here")

    (DIRECTORY / "other").mkdir(exist_ok=True)
    (DIRECTORY / "other" / "file").touch()
    found = {
        "occupied": refusal(lambda: trained(DIRECTORY / "other")),
        "unlike": refusal(lambda: trained(DIRECTORY / "unlike", weight_decay=0.1 * INDEX)),
        "one fails": refusal(lambda: processes.by_all("data", fails_in_the_last)),
        "of the first": processes.by_first("number", lambda: INDEX),
        "devices of another": refusal(
            lambda: Processes([each for each in jax.devices() if each.process_index != INDEX])
        ),
        "alone": Processes(jax.local_devices()).several,
    }
    (DIRECTORY / f"found.{INDEX}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    jax.config.update("jax_num_cpu_devices", DEVICES)
    if COUNT > 1:
        jax.distributed.initialize(
            f"127.0.0.1:{PORT}",
            COUNT,
            INDEX,
            heartbeat_timeout_seconds=10,
            initialization_timeout=40,  # for one that is killed before it joins
        )
    if SCENES == "all":
        scenes()
    else:  # a long run, to be killed
        trained(DIRECTORY / "run", num_windows=int(SCENES))
