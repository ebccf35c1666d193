"""What a run keeps of every member and window: pure functions with named dimensions.

A `PathMeasurement` sees the record of a window, on the device and inside the compiled window program; a
`StateMeasurement` sees the point where the window ends. A run takes a list of them, and a user's own stands beside the
ones here on equal terms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from sgd_diffusion.analysis.displacement import displacement_from_start, time_averaged_msd
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.window import WindowRecord, layer_name
from sgd_diffusion.problems.objectives import Problem, accuracy


@dataclass(frozen=True)
class PathMeasurement:
    """A function of a window.

    Attributes:
      function: pure function `WindowRecord -> {name: array}`, without member axes.
      dims: names of the dimensions of each array. Three of them get coordinates from the run: `lag` (T values, 1..T),
        `point` (T+1 values, 0..T, for quantities at w_t) and `update` (T values, 0..T-1, for quantities of a step).
      coords: coordinates of further dimensions.
    """

    function: Callable[[WindowRecord], dict[str, jax.Array]]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, Sequence] = field(default_factory=dict)


@dataclass(frozen=True)
class StateMeasurement:
    """A function of the point at the end of a window.

    Attributes:
      function: pure function `(problem, params, state, key) -> {name: array}` of one member; the key is the member's
        own and differs between windows.
      dims: names of the dimensions of each array.
      coords: coordinates of these dimensions.
    """

    function: Callable[[Problem, Any, Any, jax.Array], dict[str, jax.Array]]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, Sequence] = field(default_factory=dict)


def displacements() -> PathMeasurement:
    """`msd(lag)`, time-averaged, and `displacement_from_start(lag)`, both squared and summed over parameters."""
    def measure(record):
        return {"msd": time_averaged_msd(record.step_gram),
                "displacement_from_start": displacement_from_start(record.step_gram)}

    return PathMeasurement(measure, {"msd": ("lag",), "displacement_from_start": ("lag",)})


def series(*, probe: bool = False, gradient_samples: bool = False) -> PathMeasurement:
    """`loss(point)` and `gradient_norm(update)`; with a probe `probe_loss(point)`, with gradient samples
    `gradient_sample(update, coordinate)`.
    """
    dims = {"loss": ("point",), "gradient_norm": ("update",)}
    if probe:
        dims["probe_loss"] = ("point",)
    if gradient_samples:
        dims["gradient_sample"] = ("update", "coordinate")

    def measure(record):
        values = {"loss": record.losses, "gradient_norm": record.gradient_norms, "probe_loss": record.probe_losses,
                  "gradient_sample": record.gradient_samples}
        return {name: values[name] for name in dims}

    return PathMeasurement(measure, dims)


def layer_displacements(problem: Problem) -> PathMeasurement:
    """`layer_msd(layer, lag)`, which adds up to `msd` over layers; needs a plan with `by_layer=True`."""
    params, _ = jax.eval_shape(problem.init, jax.random.key(0))
    layers = sorted({layer_name(path) for path, _ in jax.tree.leaves_with_path(params)})

    def measure(record):
        with jax.enable_x64(True):
            return {"layer_msd": jnp.stack([time_averaged_msd(record.layer_grams[layer]) for layer in layers])}

    return PathMeasurement(measure, {"layer_msd": ("layer", "lag")}, {"layer": layers})


def step_grams() -> PathMeasurement:
    """`step_gram(update, other_update)` itself: 8 T^2 bytes a member and window."""
    return PathMeasurement(lambda record: {"step_gram": record.step_gram}, {"step_gram": ("update", "other_update")})


def test_accuracy() -> StateMeasurement:
    """`test_accuracy()` of a classification problem, as a fraction."""
    return StateMeasurement(lambda problem, params, state, key: {"test_accuracy": accuracy(problem, params, state)},
                            {"test_accuracy": ()})


def default_measurements(problem: Problem, plan: Plan) -> list[PathMeasurement | StateMeasurement]:
    """Displacements, series, and what the plan and the problem ask for beyond them."""
    chosen = [displacements(),
              series(probe=problem.probe is not None, gradient_samples=plan.gradient_samples > 0)]
    if plan.by_layer:
        chosen.append(layer_displacements(problem))
    return chosen
