"""The walks in two valleys that `freezing` makes: sweeps, diagrams and controls."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from experiments.freezing_published import grid
from experiments.parts import told
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers import two_valleys

LEARNING_RATE, START_Y = 0.01, 1.0  # of the sweeps
SIGMAS = np.array([0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4])
RECORDS = 400  # of the way of a sweep
EQUAL = TwoValleys(x1=0.65)
STATIC_Y, ISOTROPIC_Y = 3.0, 5.0  # where y is held
# Controls of the sweep: {name: changes of the arguments of `simulate`}.
CONTROLS: dict[str, dict[str, Any]] = {
    "isotropic noise": {"noise": "isotropic"},
    "equal valleys": {"landscape": EQUAL},
    "y held": {"start_y": STATIC_Y, "hold_y": True},
    "isotropic noise, y held": {"noise": "isotropic", "start_y": ISOTROPIC_Y, "hold_y": True},
}
COLUMNS = ("freezing_step", "freezing_y", "final_x", "final_y")


def parts(options: Any) -> list[Callable[[], xr.Dataset]]:
    """Return functions that make the walks: the sweep, its controls, and the diagrams."""
    key = jax.random.key(options.seed)
    return [
        functools.partial(
            told,
            name,
            functools.partial(walked, jax.random.fold_in(key, number), options, changes),
        )
        for number, (name, changes) in enumerate(changes_of(options))
    ]


def changes_of(options: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the names of all parts, with how their walks differ from those of the sweep."""
    return [
        ("sweep", {}),
        *CONTROLS.items(),
        *(
            (f"diagram from y = {start:g}", diagram_from(start, options))
            for start in options.starts
        ),
    ]


def diagram_from(start: float, options: Any) -> dict[str, Any]:
    """Return how the walks of a diagram differ from those of the sweep."""
    values = grid(options.noise)
    return {
        "learning_rates": values,
        "sigmas": values,
        "start_y": start,
        "walkers": options.diagram_walkers,
        "steps": options.diagram_steps,
        "record_every": None,
    }


def walked(key: jax.Array, options: Any, changes: dict[str, Any]) -> xr.Dataset:
    """Make walks, which are those of the sweep but for some changes."""
    arguments = arguments_of(options, changes)
    found = simulated(key, options, changes, jax.devices())
    pair = ("learning_rate", "sigma")
    records = {"flat": found.recorded_flat_fraction, "y": found.recorded_y}
    return xr.Dataset(
        {name: ((*pair, "walker"), np.asarray(getattr(found, name))) for name in COLUMNS}
        | {f"recorded_{name}": ((*pair, "record"), np.asarray(x)) for name, x in records.items()},
        coords={
            "learning_rate": arguments["learning_rates"],
            "sigma": arguments["sigmas"],
            "step": ("record", found.recorded_step),
        },
        attrs={name: arguments[name] for name in ("steps", "start_y", "noise")},
    )


def simulated(
    key: jax.Array, options: Any, changes: dict[str, Any], devices: Sequence[jax.Device] | None
) -> two_valleys.TwoValleyWalks:
    """Return the walks on some devices."""
    return two_valleys.simulate(key, **arguments_of(options, changes), devices=devices)


def arguments_of(options: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of walks, those of the sweep but for some changes."""
    return {
        "learning_rates": np.array([LEARNING_RATE]),
        "sigmas": SIGMAS,
        "start_y": START_Y,
        "walkers": options.walkers,
        "steps": options.steps,
        "record_every": math.gcd(options.steps, max(options.steps // RECORDS, 1)),
        "noise": options.noise,
        "landscape": TwoValleys(),
        **changes,
    }
