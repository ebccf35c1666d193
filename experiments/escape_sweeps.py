"""Sweeps of simulated escapes beside exact mean first passage times: the setup of a line.

A line is a sweep of one quantity for one loss and one kind of noise. The time of an escape is that
of the loss of sharpness 1 over k, at the coldness B / (eta k), or 1 / D for white noise. So one
quadrature serves all sweeps.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.progress import phase
from sgd_diffusion import tables
from sgd_diffusion.theory.escape import (
    escape_rate,
    kramers_sgd,
    mean_first_passage_time,
    quasi_potential,
)
from sgd_diffusion.walkers import escape_times

MOST = 20_000_000  # steps of a trial, which hardly any takes
PLACES = 20_001  # of the quadrature


class Setting(NamedTuple):
    """What is swept.

    Attributes:
        learning_rate: eta, the time of a step.
        batch_size: B; NaN for white noise.
        sharpness: k, of L(sqrt(k) theta).
        diffusion: D of white noise; NaN for noise of examples.
    """

    learning_rate: float
    batch_size: float = math.nan
    sharpness: float = 1.0
    diffusion: float = math.nan

    @property
    def coldness(self) -> float:
        """B / (eta k), or 1 / D: the factor of the exponent."""
        if math.isnan(self.diffusion):
            return self.batch_size / (self.learning_rate * self.sharpness)
        return 1 / self.diffusion

    @property
    def strength(self) -> float:
        """Factor of the noise in the diffusion, at the sharpness 1: eta k / (2 B), or D."""
        return (0.5 if math.isnan(self.diffusion) else 1) / self.coldness


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["scale", "factor"], meta_fields=["function"]
)
@dataclasses.dataclass(frozen=True)
class Scaled:
    """The function factor * function(scale * theta), compiled once for all its numbers."""

    function: Callable[[Any], Any]
    scale: Any
    factor: Any

    def __call__(self, theta: Any) -> Any:
        """Return the value at theta."""
        return self.factor * self.function(self.scale * theta)


class Landscape(NamedTuple):
    """A loss of one coordinate and the noise on it.

    Attributes:
        loss: its name.
        noise: the name of the noise.
        slope: L', a function of the coordinate.
        variance: C, the variance of gradients of examples; for white noise a function that is 1.
        minimum: where walkers start.
        saddle: the point between the valleys.
        target: where an escape ends.
    """

    loss: str
    noise: str
    slope: Callable[[Any], Any]
    variance: Callable[[Any], Any]
    minimum: float
    saddle: float
    target: float


class Prediction(NamedTuple):
    """What a theory says of a line.

    Attributes:
        log_time: ln of the mean time at the sharpness 1, a function of a `Setting`.
        exponent: slope of log_time over the coldness for high barriers.
        exponent_of_curvature: the same with the absolute curvatures of the loss for the noise, half
            of the barrier with that of either end; NaN for white noise.
        curvature: of the loss at the minimum.
    """

    log_time: Callable[[Setting], float]
    exponent: float
    exponent_of_curvature: float
    curvature: float


class Line(NamedTuple):
    """A sweep.

    Attributes:
        loss: name of the loss.
        noise: name of the noise.
        sweep: what is swept, one of `tables.escape_rates.ABSCISSAS`.
        settings: its values.
        walkers: step, start and is_outside of `escape_times`, for a setting.
        prediction: for all settings.
    """

    loss: str
    noise: str
    sweep: str
    settings: Sequence[Setting]
    walkers: Callable[[Setting], tuple[Any, Any, Any]]
    prediction: Prediction


def beyond(place: Any, scale: Any, theta: Any) -> Any:
    """Return whether a walker has gone over a place of the loss of sharpness scale^2."""
    return scale * theta > place


def predicted(landscape: Landscape, *, white: bool = False) -> Prediction:
    """Return exact first passage times of a landscape, and the exponents of high barriers."""
    slope, variance = landscape.slope, landscape.variance
    ends = landscape.minimum, landscape.saddle
    wall = 2 * landscape.minimum - landscape.target

    def log_time(setting):
        time = mean_first_passage_time(
            slope,
            lambda x: setting.strength * variance(x),
            landscape.minimum,
            landscape.target,
            wall,
            num_points=PLACES,
        )
        return math.log(float(time))

    start, top = (float(jax.grad(slope)(jnp.float32(end))) for end in ends)
    of_white = float(quasi_potential(slope, lambda x: 2.0, *ends))
    if white:
        return Prediction(log_time, of_white, math.nan, start)
    return Prediction(
        log_time,
        float(quasi_potential(slope, variance, *ends)),
        curvature_exponent(start, top, of_white),
        start,
    )


def curvature_exponent(minimum: float, saddle: float, barrier: float) -> float:
    """Return the exponent of the closed form for SGD, whose noise is the curvature."""
    twice, once = (
        float(kramers_sgd(minimum, saddle, barrier, batch_size=size, learning_rate=1))
        for size in (2, 1)
    )
    return twice - once


def swept(lines: Sequence[Line], options: Any) -> xr.Dataset:
    """Simulate all lines, and return their rates beside the predictions.

    Args:
        lines: sweeps; each setting has its own random numbers.
        options: with `seed` and `trials`.

    Returns:
        As `tables.escape_rates` returns it.
    """
    rows = []
    for number, line in enumerate(lines):
        key = jax.random.fold_in(jax.random.key(options.seed), number)
        with phase(f"{line.loss}, {line.noise}, {line.sweep}"):
            rows.append(_row(line, key, options.trials))
    sweeps = xr.concat(rows, "line", coords="all", join="outer")
    return tables.escape_rates(sweeps.assign_attrs(trials=options.trials))


def _row(line: Line, key: jax.Array, trials: int) -> xr.Dataset:
    points = [
        _point(line, setting, jax.random.fold_in(key, number), trials)
        for number, setting in enumerate(line.settings)
    ]
    columns = {
        name: ("point", np.array([point[name] for point in points], float)) for name in points[0]
    }
    settings = {
        name: ("point", [float(getattr(setting, name)) for setting in line.settings])
        for name in (*Setting._fields, "coldness")
    }
    return xr.Dataset(
        columns
        | {
            "exponent_limit": line.prediction.exponent,
            "exponent_of_curvature": line.prediction.exponent_of_curvature,
        },
        coords=settings
        | {"point": range(len(points))}
        | {name: getattr(line, name) for name in ("loss", "noise", "sweep")},
    )


def _point(line, setting, key, trials):
    step, start, is_outside = line.walkers(setting)
    times = escape_times(key, step, start, is_outside, repeats=trials, max_steps=MOST)
    rate = escape_rate(times, MOST, setting.learning_rate)
    return {
        "log_time": -math.log(rate.rate),
        "log_time_error": rate.log_rate_error,
        "log_time_predicted": line.prediction.log_time(setting) - math.log(setting.sharpness),
        "censored": rate.censored,
        "relaxations": line.prediction.curvature * setting.sharpness / rate.rate,
    }
