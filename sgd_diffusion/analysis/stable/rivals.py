"""Fit rivals of the alpha-stable law: the normal, Student's t and exponential power laws.

All fits are of maximum likelihood. They take one sample (n,) and can be jitted and mapped with
`jax.vmap`. Arithmetic is float64 whatever the precision of the samples. The search for shape and
scale runs on samples standardized by their median and quartiles.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import in_double, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.estimates import Status, one_sample
from sgd_diffusion.analysis.likelihood import maximize, standardized

__all__ = [
    "RivalFit",
    "exponential_power_log_density",
    "fit_exponential_power",
    "fit_normal",
    "fit_student_t",
    "normal_log_density",
    "student_t_log_density",
]

DEGREES_OF_FREEDOM = (0.2, 1e4)  # bounds; at the upper one it is the normal law
POWERS = (0.02, 20.0)  # bounds: only ln|x| counts at the lower, nearly uniform at the upper
NUM_POWERS = 15  # points of the grid on which the search for the power begins
CANDIDATES = 32  # locations to try on either side of the best so far
HALVINGS = 60
ENOUGH = 1e-8  # gain of the log likelihood in a round at which the search ends
MAX_ROUNDS = 100
EDGE = 1e-9  # distance of ln power from its end below which it is at the end
LEAST = 1e-300  # least distance of a sample from the location


@shown_briefly
class RivalFit(NamedTuple):
    """A law fitted by maximum likelihood.

    Standard errors are for independent samples, and NaN on a bound.

    Attributes:
        shape: () degrees of freedom of Student's t law, or power of the exponential power law. NaN
            for the normal law.
        shape_error: () its standard error.
        location: () location in the units of the samples.
        location_error: () its standard error.
        scale: () scale in the units of the samples.
        scale_error: () its standard error.
        log_likelihood: () largest logarithm of the likelihood.
        status: () int32, an `estimates.Status`.
    """

    shape: Float[Array, "*samples"]
    shape_error: Float[Array, "*samples"]
    location: Float[Array, "*samples"]
    location_error: Float[Array, "*samples"]
    scale: Float[Array, "*samples"]
    scale_error: Float[Array, "*samples"]
    log_likelihood: Float[Array, "*samples"]
    status: Int[Array, "*samples"]


def fit_normal(x: ArrayLike) -> RivalFit:
    """Return the normal law of the largest likelihood.

    These are the mean and the standard deviation with n in the denominator.

    Args:
        x: (n,) samples, n >= 20.

    Returns:
        `RivalFit` with errors scale / sqrt(n) and scale / sqrt(2n). Its status is OK, NOT_FINITE,
        or CONSTANT where x is constant. With the last two, all else is NaN.

    Raises:
        InputError: x is not one sample of at least 20.
    """
    with in_double():
        return _normal(one_sample(x))


def fit_student_t(x: ArrayLike) -> RivalFit:
    """Return Student's t law of the largest likelihood.

    p(x) ~ (1 + z^2 / nu)^(-(nu + 1)/2) with z = (x - location)/scale and 0.2 <= nu <= 10^4. The
    search is in 1/nu. A sample with lighter tails than the normal law has nu = 10^4 and status
    AT_BOUND.

    Args:
        x: (n,) samples, n >= 20.

    Returns:
        `RivalFit` with errors from the observed information. Its status is OK, AT_BOUND,
        NOT_CONVERGED, NOT_FINITE, or CONSTANT where more than half of x are one value. With the
        last two, all else is NaN.

    Raises:
        InputError: x is not one sample of at least 20.
    """
    with in_double():
        return _student_t(one_sample(x))


def fit_exponential_power(x: ArrayLike) -> RivalFit:
    """Return the exponential power law (generalized normal law) of the largest likelihood.

    p(x) ~ exp(-|z|^power) with z = (x - location)/scale and 0.02 <= power <= 20. A power of 1 is
    Laplace's law, 2 is the normal law of standard deviation scale/sqrt(2). The search alternates
    between power and location, at the best scale of both. For power < 1 the likelihood has a cusp
    at every sample and no other maximum; the best cusp is the location.

    Args:
        x: (n,) samples, n >= 20.

    Returns:
        `RivalFit` with errors from the Fisher information of the fitted law, NaN for the location
        where power <= 1/2. Its status is OK, AT_BOUND where the power is 0.02 or 20, NOT_CONVERGED,
        NOT_FINITE, or CONSTANT where more than half of x are one value. With the last two, all else
        is NaN.

    Raises:
        InputError: x is not one sample of at least 20.
    """
    with in_double():
        return _exponential_power(one_sample(x))


def normal_log_density(x: ArrayLike, fit: RivalFit) -> Float[Array, "*shape"]:
    """Return the log density of a fitted normal law at x, float64 of its shape."""
    return _log_density(_log_normal, x, fit)


def student_t_log_density(x: ArrayLike, fit: RivalFit) -> Float[Array, "*shape"]:
    """Return the log density of a fitted Student's t law at x, float64 of its shape."""
    return _log_density(_log_student_t, x, fit)


def exponential_power_log_density(x: ArrayLike, fit: RivalFit) -> Float[Array, "*shape"]:
    """Return the log density of a fitted exponential power law at x, float64 of its shape."""
    return _log_density(_log_exponential_power, x, fit)


def _rival(of_data, of_search, *values):
    usable = of_data == Status.OK
    values = (jnp.where(usable, value, jnp.nan) for value in values)
    return RivalFit(*values, jnp.where(usable, of_search, of_data).astype(jnp.int32))


def _log_density(standard, x, fit):
    x = real_array("x", x)
    with in_double():
        return _of_fit(standard, jnp.asarray(x, jnp.float64), fit)


@functools.partial(jax.jit, static_argnums=0)
def _of_fit(standard, x, fit):
    return standard(fit.shape, (x - fit.location) / fit.scale) - jnp.log(fit.scale)


def _log_normal(_, z):
    return -(z**2) / 2 - np.log(2 * np.pi) / 2


def _log_student_t(nu, z):
    norm = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - jnp.log(np.pi * nu) / 2
    return norm - (nu + 1) / 2 * jnp.log1p(z**2 / nu)


def _log_exponential_power(power, z):
    return jnp.log(power / 2) - special.gammaln(1 / power) - abs(z) ** power


def _maximum(log_standard, start, x, lowest, highest):
    """Largest likelihood over (shape, location, ln scale).

    `start(standardized x)` gives the first shape and ln scale. Returns the status of x and of the
    search, its errors, and shape, location and scale in the units of x.
    """
    data = standardized(x)

    def log_density(parameters, z):
        shape, location, log_scale = parameters
        return log_standard(shape, z - location, jnp.exp(log_scale)) - log_scale

    shape, log_scale = start(data.z)
    bounds = np.array([(lowest, highest), (-np.inf, np.inf), (-np.inf, np.inf)])
    fit = maximize(
        log_density, data.z, jnp.stack([shape, 0.0, log_scale]), bounds[:, 0], bounds[:, 1]
    )
    shape, location, log_scale = fit.parameters
    scale = data.spread * jnp.exp(log_scale)
    errors = jnp.sqrt(jnp.diagonal(fit.covariance)) * jnp.stack([1, data.spread, scale])
    return data.status, fit.status, errors, shape, data.median + data.spread * location, scale


@jax.jit
def _normal(x):
    location, scale = x.mean(), x.std()
    errors = scale / np.sqrt(x.size), scale / np.sqrt(2 * x.size)
    log_likelihood = -x.size * (jnp.log(scale) + np.log(2 * np.pi) / 2 + 0.5)
    of_data = jnp.where(x.max() > x.min(), Status.OK, Status.CONSTANT)
    of_data = jnp.where(jnp.isfinite(x).all(), of_data, Status.NOT_FINITE)
    return _rival(
        of_data,
        Status.OK,
        jnp.nan,
        jnp.nan,
        location,
        errors[0],
        scale,
        errors[1],
        log_likelihood,
    )


@jax.jit
def _student_t(x):
    def log_standard(inverse, distance, scale):
        return _log_student_t(1 / inverse, distance / scale)

    least, most = DEGREES_OF_FREEDOM
    *statuses, errors, inverse, location, scale = _maximum(
        log_standard, lambda z: (0.25, 0.0), x, 1 / most, 1 / least
    )
    log_likelihood = (_log_student_t(1 / inverse, (x - location) / scale) - jnp.log(scale)).sum()
    return _rival(
        *statuses,
        1 / inverse,
        errors[0] / inverse**2,
        location,
        errors[1],
        scale,
        errors[2],
        log_likelihood,
    )


@jax.jit
def _exponential_power(x):
    data = standardized(x)

    def improved(state):
        _, location, before, _, rounds = state
        power = _best_power(abs(data.z - location))
        moved = _best_location(data.z, power)
        value = _profile(_logarithm(abs(data.z - moved)), power)[0] * x.size
        return (
            power,
            jnp.where(value > before, moved, location),
            jnp.maximum(value, before),
            value - before,
            rounds + 1,
        )

    def unfinished(state):
        return (state[3] > ENOUGH) & (state[4] < MAX_ROUNDS)

    begin = jnp.float64(1), jnp.float64(0), jnp.float64(-jnp.inf), jnp.float64(jnp.inf), 0
    power, location, _, gain, _ = jax.lax.while_loop(unfinished, improved, begin)
    log_scale = _profile(_logarithm(abs(data.z - location)), power)[1]
    location, scale = data.median + data.spread * location, data.spread * jnp.exp(log_scale)
    log_likelihood = (_log_exponential_power(power, (x - location) / scale) - jnp.log(scale)).sum()
    errors = (
        _exponential_power_errors(power)
        / np.sqrt(x.size)
        * jnp.stack([jnp.float64(1), scale, scale])
    )
    status = jnp.where(
        (power > POWERS[0]) & (power < POWERS[1]), int(Status.OK), int(Status.AT_BOUND)
    )
    status = jnp.where(gain > ENOUGH, int(Status.NOT_CONVERGED), status)
    return _rival(
        data.status, status, power, errors[0], location, errors[1], scale, errors[2], log_likelihood
    )


def _logarithm(distances):
    return jnp.log(jnp.maximum(distances, LEAST))


def _profile(log_distances, power):
    """Mean log density at the best scale, the log of that scale, and the slope in ln power.

    The arguments are distances from the location. At the best scale the mean of |z|^power is
    1/power.
    """
    powered = power * log_distances
    log_mean = special.logsumexp(powered) - math.log(log_distances.size)
    log_scale, a = (jnp.log(power) + log_mean) / power, 1 / power
    value = jnp.log(power / 2) - special.gammaln(a) - log_scale - a
    slope = 1 + a * special.digamma(a) + log_scale - jax.nn.softmax(powered) @ log_distances
    return value, log_scale, slope


def _best_power(distances):
    """Power of the largest likelihood for given distances from the location.

    It is the best on a grid, refined by halvings.
    """
    log_distances, grid = _logarithm(distances), np.linspace(*np.log(POWERS), NUM_POWERS)
    values = jax.lax.map(
        lambda log_power: _profile(log_distances, jnp.exp(log_power))[0], jnp.asarray(grid)
    )
    best = jnp.where(values == values.max(), np.arange(NUM_POWERS), 0).max()
    ends = (
        jnp.asarray(grid)[jnp.maximum(best - 1, 0)],
        jnp.asarray(grid)[jnp.minimum(best + 1, NUM_POWERS - 1)],
    )
    log_power = _root(lambda log_power: _profile(log_distances, jnp.exp(log_power))[2], *ends)
    power = jnp.where(log_power >= grid[-1] - EDGE, POWERS[1], jnp.exp(log_power))
    return jnp.where(log_power <= grid[0] + EDGE, POWERS[0], power)


def _best_location(z, power):
    """Location of the largest likelihood for a given power.

    From a power of 1 on, the likelihood has one maximum. Below 1 it has a cusp at every sample and
    no other maximum. The search over cusps goes from coarse to fine, with |z| rounded off at the
    distance of neighboring candidates.
    """
    ordered, strides = jnp.sort(z), [max(1, -(-z.size // (2 * CANDIDATES)))]
    while strides[-1] > 1:
        strides.append(max(1, 2 * strides[-1] // CANDIDATES))
    strides = jnp.asarray(strides)

    def smooth(_):
        def pull(location):
            log_distances = _logarithm(abs(ordered - location))
            return jnp.sign(ordered - location) @ jnp.exp(
                (power - 1) * (log_distances - log_distances.max())
            )

        return _root(pull, ordered[0], ordered[-1])

    def cusps(_):
        last = ordered.size - 1

        def nearer(level, middle):
            stride = strides[level]
            places = jnp.clip(middle + stride * np.arange(-CANDIDATES, CANDIDATES + 1), 0, last)
            about = (
                ordered[jnp.minimum(places + stride, last)]
                - ordered[jnp.maximum(places - stride, 0)]
            )
            rounded = jnp.where(stride == 1, 0, about / 2)
            values = jax.lax.map(
                lambda at: _profile(_logarithm(jnp.hypot(ordered - at[0], at[1])), power)[0],
                (ordered[places], rounded),
            )
            return jnp.where(values == values.max(), places, 0).max()

        return ordered[jax.lax.fori_loop(0, len(strides), nearer, last // 2)]

    return jax.lax.cond(power < 1, cusps, smooth, None)


def _root(falling, low, high):
    """Where a falling function has its zero, by halving; an end if it has none."""

    def halved(_, ends):
        low, high = ends
        middle = (low + high) / 2
        right = falling(middle) > 0
        return jnp.where(right, middle, low), jnp.where(right, high, middle)

    return sum(jax.lax.fori_loop(0, HALVINGS, halved, (low, high))) / 2


def _exponential_power_errors(power):
    """Square roots of the inverse Fisher information of one sample, (3,).

    They are for power, location and ln scale, at scale 1. |z|^power has the gamma law of parameter
    1/power. The scores of power and ln scale are linear in it and in its product with its
    logarithm.
    """
    a = 1 / power
    first, second = special.digamma(a + 1), special.digamma(a + 2)
    of_power = a**3 * ((a + 1) * (special.polygamma(1, a + 2) + second**2) - a * first**2)
    mixed = -a * ((a + 1) * second - a * first)
    left = power * of_power - mixed**2
    of_location = power**2 * jnp.exp(
        special.gammaln(jnp.where(power > 0.5, 2 - a, 1)) - special.gammaln(a)
    )
    inside = (power > POWERS[0]) & (power < POWERS[1])
    return jnp.stack(
        [
            jnp.where(inside, jnp.sqrt(power / left), jnp.nan),
            jnp.where(power > 0.5, 1 / jnp.sqrt(of_location), jnp.nan),
            jnp.where(inside, jnp.sqrt(of_power / left), jnp.sqrt(a)),
        ]
    )
