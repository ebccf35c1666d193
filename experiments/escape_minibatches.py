"""Escapes by the noise of mini-batches, where its variance is measured along the way out."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.tree_util import Partial

from experiments.escape_langevin import SMOOTH_MINIMUM, SMOOTH_SADDLE, langevin, smooth_slope
from experiments.escape_sweeps import (
    PLACES,
    Landscape,
    Line,
    Prediction,
    Setting,
    beyond,
    curvature_exponent,
    predicted,
    swept,
)
from sgd_diffusion.theory.escape import mean_first_passage_time, quasi_potential
from sgd_diffusion.walkers import langevin_steps, minibatch_steps

BATCHES = "mini-batches"
NORMAL = "normal noise"  # with the variance that mini-batches have, at the same steps
FEATURES, EXAMPLES, DATA_SEED = 5, 500, 3
WELL = np.float32(0.5**0.5)
WALL, STEPS = -2.0, 2001  # where the way out is tabulated, up to the other side of the saddle


def shifted_variance(x: Any) -> Any:
    """Return `theory.escape.styblinski_tang_noise(x, 1)`, in the precision of x."""
    return (6 * x * x - 16) ** 2 + 144 * x * x - 132


STYBLINSKI_TANG = Landscape(
    "Styblinski-Tang",
    NORMAL,
    smooth_slope,
    shifted_variance,
    SMOOTH_MINIMUM,
    SMOOTH_SADDLE,
    SMOOTH_SADDLE,
)


class WayOut(NamedTuple):
    """What is measured along one coordinate, with the others at the minimum.

    Attributes:
        places: (n,) of the coordinate.
        slope: (n,) of the loss.
        variance: (n,) of the gradients of examples.
        minimum: place of the minimum.
        top: place of the saddle, or 0 where an escape ends before it.
    """

    places: np.ndarray
    slope: np.ndarray
    variance: np.ndarray
    minimum: float
    top: float

    def slope_at(self, x):
        """Return the slope between the places."""
        return jnp.interp(x, self.places, self.slope)

    def variance_at(self, x):
        """Return the variance between the places."""
        return jnp.interp(x, self.places, self.variance)


def logistic(scale: Any, theta: Any, x: Any, y: Any) -> Any:
    """Return `theory.escape.logistic_double_well` of one example, in float32."""
    theta = scale * theta
    logit = x @ theta
    return jax.nn.softplus(logit) - y * logit + ((theta**4 - theta**2) / 2).sum()


def past_zero(theta: Any) -> Any:
    """Return whether a walker is over the saddle of some coordinate."""
    return (theta > 0).any()


def random_labels() -> tuple[np.ndarray, np.ndarray]:
    """Return normal inputs (N, n), and labels (N,) that do not depend on them."""
    random = np.random.default_rng(DATA_SEED)
    inputs = random.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    return inputs, (random.random(EXAMPLES) < 0.5).astype(np.float32)


class Gradients(NamedTuple):
    """Gradients of all examples of the logistic double well, a function of theta."""

    inputs: np.ndarray
    labels: np.ndarray

    def __call__(self, theta: Any) -> Any:
        """Return them, (N, n)."""
        misfit = jax.nn.sigmoid(self.inputs @ theta) - self.labels
        return misfit[:, None] * self.inputs + 2 * theta**3 - theta


def mean_gradient(gradients: Gradients, theta: Any) -> Any:
    """Return the gradient of the loss."""
    return gradients(theta).mean(axis=0)


def diffusion(gradients: Gradients, strength: Any, theta: Any) -> Any:
    """Return that of normal noise with the variance of mini-batches in every coordinate."""
    return strength * gradients(theta).var(axis=0)


def ways_out(inputs: np.ndarray, labels: np.ndarray) -> list[WayOut]:
    """Return what mini-batches are along each coordinate of the logistic double well."""
    of_each = Gradients(inputs, labels)
    slope_of = functools.partial(mean_gradient, of_each)

    @jax.jit
    def newton(theta):
        return theta - jnp.linalg.solve(jax.jacfwd(slope_of)(theta), slope_of(theta))

    theta = np.full(FEATURES, -WELL, np.float32)
    for _ in range(10):
        theta = newton(theta)
    places = np.linspace(WALL, float(WELL) / 2, STEPS)

    @functools.partial(jax.jit, static_argnums=0)
    def tabulated(coordinate, places):
        def at(place):
            each = of_each(theta.at[coordinate].set(place))[:, coordinate]
            return each.mean(), each.var()

        return jax.lax.map(at, places)

    found = []
    for coordinate in range(FEATURES):
        slope, variance = map(np.asarray, tabulated(coordinate, places.astype(np.float32)))
        minimum = float(theta[coordinate])
        falls = (places > minimum + 0.1) & (slope < 0)
        found.append(WayOut(places, slope, variance, minimum, min(places[falls][0], 0.0)))
    return found


def of_several_ways(ways: list[WayOut]) -> Prediction:
    """Return the prediction for walkers that leave by the first of several coordinates."""

    def log_time(setting):
        times = [
            float(
                mean_first_passage_time(
                    way.slope_at,
                    lambda x, way=way: setting.strength * way.variance_at(x),
                    way.minimum,
                    0.0,
                    WALL,
                    num_points=PLACES,
                )
            )
            for way in ways
        ]
        return -math.log(sum(1 / time for time in times))

    exponents, of_curvatures, curvatures = [], [], []
    for way in ways:
        curvature = np.gradient(way.slope, way.places)
        start, top = (np.interp(x, way.places, curvature) for x in (way.minimum, way.top))
        barrier = quasi_potential(way.slope_at, lambda x: 2.0, way.minimum, way.top)
        exponents.append(quasi_potential(way.slope_at, way.variance_at, way.minimum, way.top))
        of_curvatures.append(curvature_exponent(start, top, float(barrier)))
        curvatures.append(start)
    return Prediction(
        log_time, float(min(exponents)), float(min(of_curvatures)), float(min(curvatures))
    )


def logistic_walkers(inputs: np.ndarray, labels: np.ndarray, setting: Setting) -> tuple:
    """Return step, start and end of walkers of mini-batches in the logistic double well."""
    scale = np.float32(setting.sharpness**0.5)
    step = minibatch_steps(
        Partial(logistic, scale), (inputs, labels), setting.learning_rate, setting.batch_size
    )
    return step, np.full(FEATURES, -WELL / scale), past_zero


def normal_walkers(inputs: np.ndarray, labels: np.ndarray, setting: Setting) -> tuple:
    """Return the same of walkers of normal noise of the same variance."""
    data = Gradients(inputs, labels)
    step = langevin_steps(
        Partial(mean_gradient, data),
        Partial(diffusion, data, np.float32(setting.strength)),
        setting.learning_rate,
    )
    return step, np.full(FEATURES, -WELL), past_zero


def logistic_regression(options: Any) -> xr.Dataset:
    """Return rates of SGD on logistic regression with a double well in every coordinate.

    Beside SGD stands normal noise of the same variance, with the same steps.
    """
    data = random_labels()
    prediction = of_several_ways(ways_out(*data))
    of_batches, of_normal_noise = (
        functools.partial(walkers, *data) for walkers in (logistic_walkers, normal_walkers)
    )
    sweeps = {
        "B": [Setting(0.2, size) for size in options.some((1, 2, 3))],
        "1/eta": [Setting(eta, 1) for eta in options.some((0.075, 0.1, 0.14, 0.2))],
        "1/k": [Setting(0.08, 1, k) for k in options.some((1.0, 1.3, 1.8, 2.5))],
    }
    loss = "logistic double well"
    lines = [
        Line(loss, BATCHES, sweep, settings, of_batches, prediction)
        for sweep, settings in sweeps.items()
    ]
    few = [Setting(0.2, 1), Setting(0.2, 2)]  # every step takes all examples
    return swept([*lines, Line(loss, NORMAL, "B", few, of_normal_noise, prediction)], options)


def shifted(scale: Any, theta: Any, x: Any) -> Any:
    """Return `theory.escape.styblinski_tang` of one example, whose data is a shift."""
    y = scale * theta - x
    return (y**4 - 16 * y**2 + 5 * y) / 2


def normal_shifts(key: jax.Array, size: int) -> tuple[jax.Array]:
    """Return a batch of examples."""
    return (jax.random.normal(key, (size,)),)


def shifted_walkers(setting: Setting) -> tuple:
    """Return step, start and end of walkers of mini-batches of shifts."""
    scale = np.float32(setting.sharpness**0.5)
    step = minibatch_steps(
        Partial(shifted, scale), normal_shifts, setting.learning_rate, setting.batch_size
    )
    outside = Partial(beyond, np.float32(SMOOTH_SADDLE), scale)
    return step, np.float32(SMOOTH_MINIMUM) / scale, outside


def shifted_data(options: Any) -> xr.Dataset:
    """Return rates that lie on straight lines, and are not those of diffusion.

    Beside SGD stands normal noise of the same variance, with the same steps.
    """
    prediction = predicted(STYBLINSKI_TANG)
    sweeps = {
        "B": [Setting(0.018, size) for size in options.some((1, 2, 3, 4))],
        "1/eta": [Setting(eta, 1) for eta in options.some((0.010, 0.012, 0.015, 0.020))],
        "1/k": [Setting(0.010, 1, k) for k in options.some((1.0, 1.25, 1.5, 2.0))],
    }
    lines = [
        Line(STYBLINSKI_TANG.loss, BATCHES, sweep, settings, shifted_walkers, prediction)
        for sweep, settings in sweeps.items()
    ]
    controls = [
        langevin(STYBLINSKI_TANG, prediction, sweep, sweeps[sweep]) for sweep in ("B", "1/eta")
    ]
    return swept([*lines, *controls], options)
