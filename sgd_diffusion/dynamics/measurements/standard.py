"""Measurements of a few lines: series, displacements, and points as they are."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from sgd_diffusion._pytrees import is_key
from sgd_diffusion.analysis.displacement import displacement_from_start, time_averaged_msd
from sgd_diffusion.analysis.lags import MIN_WINDOW
from sgd_diffusion.dynamics.gradient_coordinates import GradientCoordinates, draw_coordinates
from sgd_diffusion.dynamics.measurements.frozen_gradients import frozen_gradients
from sgd_diffusion.dynamics.measurements.path_statistics import controls
from sgd_diffusion.dynamics.measurements.schema import PathMeasurement, StateMeasurement
from sgd_diffusion.dynamics.parameters import flatten, layer_names
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.problems.objectives import Problem, accuracy

__all__ = [
    "average_displacements",
    "default_measurements",
    "displacements",
    "endpoints",
    "gradient_samples",
    "layer_displacements",
    "series",
    "step_grams",
    "test_accuracy",
    "twin_displacements",
]


def displacements() -> PathMeasurement:
    """Measure `msd(lag)`, time-averaged, and `displacement_from_start(lag)`.

    Both are squared and summed over parameters.
    """

    def measure(record):
        return {
            "msd": time_averaged_msd(record.step_gram),
            "displacement_from_start": displacement_from_start(record.step_gram),
        }

    return PathMeasurement(measure, {"msd": ("lag",), "displacement_from_start": ("lag",)})


def series(*, probe: bool = False, gradient_norms: bool = True) -> PathMeasurement:
    """Measure `loss(point)` and `gradient_norm(update)`, and with a probe `probe_loss(point)`.

    Args:
        probe: whether the problem has a probe.
        gradient_norms: whether they are known; of paths that were made elsewhere they are not.
    """
    dims = {"loss": ("point",)}
    if gradient_norms:
        dims["gradient_norm"] = ("update",)
    if probe:
        dims["probe_loss"] = ("point",)

    def measure(record):
        values = {
            "loss": record.losses,
            "gradient_norm": record.gradient_norms,
            "probe_loss": record.probe_losses,
        }
        return {name: values[name] for name in dims}

    return PathMeasurement(measure, dims)


def gradient_samples(coordinates: GradientCoordinates) -> PathMeasurement:
    """Measure `gradient_sample(update, coordinate)`, every mini-batch gradient at some coordinates.

    The coordinates are those that the plan asks for. With them are `coordinate_layer` and
    `coordinate_weight` (see `gradient_coordinates`).

    Args:
        coordinates: those at which the window records gradients.
    """
    return PathMeasurement(
        lambda record: {"gradient_sample": record.gradient_samples},
        {"gradient_sample": ("update", "coordinate")},
        coordinates.labels(),
    )


def layer_displacements(layers: Sequence[str]) -> PathMeasurement:
    """Measure `layer_msd(layer, lag)`, which adds up to `msd` over layers.

    It needs a plan with `by_layer=True`.

    Args:
        layers: names of all of them (see `parameters.layer_names`).
    """

    def measure(record):
        with jax.enable_x64(True):
            return {
                "layer_msd": jnp.stack(
                    [time_averaged_msd(record.layer_grams[layer]) for layer in layers]
                )
            }

    return PathMeasurement(measure, {"layer_msd": ("layer", "lag")}, {"layer": list(layers)})


def twin_displacements() -> PathMeasurement:
    """Measure `twin_msd(lag)`, the `msd` of the full-batch twin of every window.

    It needs a plan with `full_batch_twin=True`. It is NaN for a member that has diverged, and for a
    window whose twin does.
    """
    return PathMeasurement(
        lambda record: {"twin_msd": time_averaged_msd(record.twin_gram)}, {"twin_msd": ("lag",)}
    )


def average_displacements() -> PathMeasurement:
    """Measure `average_msd(lag)`, the `msd` of the averaged weights.

    It needs a plan with an `average`.
    """
    return PathMeasurement(
        lambda record: {"average_msd": time_averaged_msd(record.average_gram)},
        {"average_msd": ("lag",)},
    )


def step_grams() -> PathMeasurement:
    """Measure `step_gram(update, other_update)` itself: 8 T^2 bytes a member and window."""
    return PathMeasurement(
        lambda record: {"step_gram": record.step_gram}, {"step_gram": ("update", "other_update")}
    )


def test_accuracy() -> StateMeasurement:
    """Measure `test_accuracy()` of a classification problem, as a fraction."""
    return StateMeasurement(
        lambda problem, params, state, key: {"test_accuracy": accuracy(problem, params, state)},
        {"test_accuracy": ()},
    )


def endpoints() -> StateMeasurement:
    """Measure `params(parameter)` and `state(state_entry)`, the point where the window ends.

    Each is one vector, leaf by leaf: 4 P bytes a member and window. Random keys in the state are
    left out.
    """

    def measure(problem, params, state, key):
        del problem, key
        numbers = [leaf for leaf in jax.tree.leaves(state) if not is_key(leaf)]
        return {"params": flatten(params), "state": flatten(numbers) if numbers else jnp.zeros(0)}

    return StateMeasurement(measure, {"params": ("parameter",), "state": ("state_entry",)})


def default_measurements(problem: Problem, plan: Plan) -> list[PathMeasurement | StateMeasurement]:
    """Return the measurements of a run that names none.

    They are displacements with their controls (in windows of 10 updates and more), series, and what
    the plan and the problem ask for beyond them.

    Args:
        problem: what SGD optimizes.
        plan: of the run.
    """
    chosen: list[PathMeasurement | StateMeasurement] = [
        displacements(),
        series(probe=problem.probe is not None),
    ]
    if plan.window >= MIN_WINDOW:
        chosen.append(controls(plan.window))
    if plan.by_layer:
        chosen.append(layer_displacements(layer_names(problem)))
    if plan.full_batch_twin:
        chosen.append(twin_displacements())
    if plan.average:
        chosen.append(average_displacements())
    if plan.gradient_samples:
        coordinates = draw_coordinates(problem, plan.gradient_samples, layers=plan.gradient_layers)
        chosen.append(gradient_samples(coordinates))
        if plan.frozen_passes:
            chosen.append(
                frozen_gradients(
                    coordinates, num_passes=plan.frozen_passes, batch_size=plan.batch_size
                )
            )
    return chosen
