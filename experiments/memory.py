"""What `--memory` prints in place of training: the memory of a window, before it is compiled."""

from typing import Any

from experiments.accelerators.chips import CHIPS
from sgd_diffusion._memory import available_bytes
from sgd_diffusion._platforms import traced_on
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.measurements import Schema, default_measurements, step_grams
from sgd_diffusion.dynamics.memory import window_memory
from sgd_diffusion.dynamics.placement import Placement

HERE = "here"


def show(options: Any) -> None:
    """Print the memory of a window on the devices that `--memory` names, for each cell of a sweep.

    Args:
        options: `TrainingOptions`, or those of a sweep.
    """
    if not hasattr(options, "cells"):
        print(table(options))
        return
    for cell in options.cells():
        print(f"{cell.name}\n{table(cell.options)}")


def table(options: Any) -> str:
    """Return what is printed of an ensemble."""
    problem, plan = options.problem(), options.plan()
    chosen = [*default_measurements(problem, plan), *[step_grams()] * options.keep_step_gram]
    where, available = _devices(options)
    with traced_on(where["platform"]):
        measured = Ensemble(problem, plan, measure_path=Schema(plan, chosen).measure_path).values()
    return window_memory(
        problem,
        plan,
        measured=measured,
        members_at_once=options.members_at_once,
        devices_per_member=options.devices_per_member,
        **where,
    ).table(available)


def _devices(options: Any) -> tuple[dict[str, Any], int | None]:
    """Return the devices, as arguments of `window_memory`, and the bytes that one of them has."""
    if options.memory != HERE:
        chip, count = CHIPS[options.memory], options.num_devices or options.devices_per_member
        return {"num_devices": count, "platform": chip.platform}, int(chip.memory)
    devices = options.devices()
    placement = Placement(
        options.plan().num_members, devices, devices_per_member=options.devices_per_member
    )
    where = {
        "num_devices": len(devices),
        "devices_in_one_memory": placement.devices_in_one_memory,
        "platform": placement.platform,
    }
    return where, available_bytes(placement.device)
