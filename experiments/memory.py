"""What `--memory` prints in place of training: the memory of a window, before it is compiled."""

from typing import Any

import jax

from experiments.accelerators.chips import CHIPS
from sgd_diffusion._memory import available_bytes
from sgd_diffusion._platforms import traced_on
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.measurements import Schema, default_measurements, step_grams
from sgd_diffusion.dynamics.memory import window_memory

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
    own = [device for device in devices if device.process_index == jax.process_index()]
    where = {
        "num_devices": len(devices),
        "devices_in_one_memory": len(own) if own[0].platform == "cpu" else 1,
        "platform": own[0].platform,
    }
    return where, available_bytes(own[0])
