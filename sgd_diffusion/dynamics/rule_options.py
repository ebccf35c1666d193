"""The options of a plan that replace the step of SGD: what they take, and which go together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_diffusion._arrays import integer, number
from sgd_diffusion.dynamics.averages import AVERAGES, DECAY
from sgd_diffusion.dynamics.optimizers import OPTIMIZERS, optimizer
from sgd_diffusion.dynamics.schedules import ENDING, SCHEDULES
from sgd_diffusion.dynamics.sharpness import RADIUS
from sgd_diffusion.dynamics.step_gradients import NOISES
from sgd_diffusion.errors import invalid

__all__ = ["RULE_OPTIONS", "checked_rule", "choice", "single"]

RULE_OPTIONS = (
    "optimizer",
    "sam_radius",
    "schedule",
    "schedule_steps",
    "clip_norm",
    "noise",
    "noise_variance",
    "average",
    "average_decay",
)
"""Their names."""

SHORTEST = 4  # updates of a schedule with three steps


def checked_rule(plan: Any, updates: int) -> dict[str, Any]:
    """Return the values of these options, with defaults in place of None where they are used.

    Args:
        plan: a `Plan`, which imports this module; its other options are checked already.
        updates: of the whole plan.

    Raises:
        InputError: a value is outside its range, or does not go with another option.
    """
    values = {
        "optimizer": choice("optimizer", plan.optimizer, OPTIMIZERS),
        "schedule": choice("schedule", plan.schedule, SCHEDULES),
        "noise": choice("noise", plan.noise, NOISES),
        "average": None if plan.average is None else choice("average", plan.average, AVERAGES),
        "clip_norm": None
        if plan.clip_norm is None
        else single("clip_norm", plan.clip_norm, above=0),
        "sam_radius": _belongs(plan, "sam_radius", "optimizer", ("sam",), RADIUS, above=0),
        "noise_variance": _belongs(plan, "noise_variance", "noise", ("white",), None, above=0),
        "average_decay": _belongs(
            plan, "average_decay", "average", ("ema",), DECAY, above=0, below=1
        ),
        "schedule_steps": _schedule_steps(plan, updates),
    }
    optimizer(plan.optimizer, momentum=plan.momentum, weight_decay=plan.weight_decay)
    return values


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a text that is one of several.

    Raises:
        InputError: it is another one, or no text.
    """
    if not isinstance(value, str) or value not in choices:
        raise invalid(name, f"is {value!r:.100}", f"one of {', '.join(choices)}")
    return value


def single(name: str, value: Any, **limits: Any) -> float:
    """Read a number that also lies within its limits as the float32 that it is on the device."""
    read = number(name, value, **limits)
    with np.errstate(all="ignore"):
        number(name, np.float32(read), **limits, what="as a float32")
    return read


def _belongs(
    plan: Any,
    name: str,
    other: str,
    choices: tuple[str, ...],
    default: float | None,
    **limits: float,
) -> float | None:
    """Return a number that has a meaning for some choices of another option only."""
    value, chosen = getattr(plan, name), getattr(plan, other)
    if chosen in choices:
        return default if value is None else single(name, value, **limits)
    if value is not None:
        raise invalid(
            name,
            f"is {value!r:.100} while {other} is {chosen!r}",
            f"{other} {' or '.join(choices)}",
        )
    return None


def _schedule_steps(plan: Any, updates: int) -> int | None:
    """Return the length of the schedule, that of the plan unless given.

    It is fixed when the run begins, so that a run that grows does not change it.
    """
    if plan.schedule == "constant":
        if plan.schedule_steps is None:
            return None
        raise invalid(
            "schedule_steps",
            f"is {plan.schedule_steps!r:.100} while schedule is 'constant'",
            "a schedule that has a length",
        )
    given = updates if plan.schedule_steps is None else plan.schedule_steps
    steps = integer("schedule_steps", given, SHORTEST, 2**31 - 1, what="updates")
    if plan.schedule in ENDING and updates > steps:
        raise invalid(
            "schedule_steps",
            f"is {steps} in a plan of {updates} updates",
            f"at least {updates}",
            f"after them the learning rate of {plan.schedule} is 0; a run that is to grow needs "
            "the length of the longest one from its start",
        )
    return steps
