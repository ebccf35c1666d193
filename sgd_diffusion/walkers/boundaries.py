"""Walls: where a normal step along one coordinate leads if there are walls at plus and minus
`wall`.

Each boundary is `boundary(mean, std, uniform, wall) -> place, crossed`: from where the step would
lead without noise, the standard deviation of the noise and a uniform number in (0, 1), the place
between the walls, up to rounding, and whether the step without walls, at the quantile of the
uniform number, would have led out. The four may be arrays that are broadcast. A standard deviation
below 0 gives NaN. Places a thousand sides outside, as the longest jumps of stable noise may be, are
known in float32 to 1e-4 of a side, those 1e7 sides outside not at all.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import floats, is_traced
from sgd_diffusion.errors import InputError

__all__ = ["BOUNDARIES", "periodic", "reflect", "reject"]

SQRT_2 = math.sqrt(2)
FAR = 5.0  # standard deviations beyond a wall; from there on a continued fraction gives tail probabilities
FARTHEST = 1e18  # standard deviations; as far as squares are known in float32
NARROW = (
    1 / 64
)  # standard deviations from wall to wall; on less, a normal density is an exponential one
LEAST_STD = 1e-15  # of half the side: below, noise is none
LEAST_CHANCE = 1e-14  # of the smallest random number, 5 standard deviations beyond a wall
# Of the normal quantile, x = t - P(t)/Q(t) with t^2 = -2 ln(chance above), fitted for 1.17 < t <
# 8.1; error below 1e-6.
NUMERATOR = 4.68938249e-3, 1.01471043, 6.24330948, 3.06837293
DENOMINATOR = 0.21984949, 2.64336079, 4.26976001, 1.0


def reject(mean, std, uniform, wall):
    """The normal law within the walls: what noise has that is redrawn until it leads to a place
    between them.

    Drawn directly, by inversion, however far outside the mean is. The error of a quantile is below
    2e-4 of the distance between the quartiles, in float32 as in float64, plus the rounding of
    places at the wall.
    """
    mean, std, uniform, wall = _read(mean, std, uniform, wall)
    mirrored = mean < 0  # the wall above is the nearer one
    mean, rest = jnp.abs(mean), jnp.where(mirrored, uniform, 1 - uniform)
    level = jnp.where(mirrored, 1 - uniform, uniform)
    unit = jnp.maximum(std, LEAST_STD * wall)
    high, width = jnp.clip((wall - mean) / unit, -FARTHEST, FARTHEST), 2 * wall / unit
    nearer, below = _tail(jnp.abs(high)), _tail(width - high)
    above = jnp.where(high < 0, 1 - nearer, nearer)
    within = jnp.where(high < 0, nearer, 1 - nearer) - below
    between = mean + std * _quantile(below + level * within, above + rest * within)
    beyond = wall - std * _beyond(jnp.maximum(-high, FAR), width, rest, level)
    narrow = wall - 2 * wall * _share(mean / unit * width, rest)
    place = jnp.where(width < NARROW, narrow, jnp.where(-high > FAR, beyond, between))
    crossed = jnp.where(std > 0, (rest < above) | (level < below), mean > wall)
    return jnp.where(mirrored, -place, place), crossed


def _tail(x):
    """Chance that a standard normal number is above x."""
    return jax.lax.erfc(x / SQRT_2) / 2


def _quantile(below, above):
    """Standard normal number with these chances below and above it, of which the smaller one is
    exact.
    """
    t = jnp.sqrt(-2 * jnp.log(jnp.clip(jnp.minimum(below, above), LEAST_CHANCE, 0.5)))
    quantile = t - _polynomial(NUMERATOR, t) / _polynomial(DENOMINATOR, t)
    return jnp.where(below < above, -quantile, quantile)


def _polynomial(coefficients, x):
    return functools.reduce(lambda value, coefficient: value * x + coefficient, coefficients)


def _share(rate, level):
    """Quantile of the density exp(-rate x) on 0..1, from uniform to exponential."""
    rate = jnp.maximum(rate, 1e-6)
    return -jnp.log1p(level * jnp.expm1(-rate)) / rate


def _beyond(low, width, level, rest):
    """Quantile of `x - low` for a standard normal number x between low, which is far above 0, and
    low + width.

    `level` is the chance below, `rest` that above. Inverts the tail probability exp(-x^2/2)
    R(x) for x^2/2, with one of Newton's steps from where a constant d ln R / d ln x = -1 would
    lead.
    """
    left = jnp.exp(-width * (low + width / 2)) * (_mills_ratio(low + width) / _mills_ratio(low))
    exponential = -jnp.log(rest + level * left)
    rise = exponential / (1 + 1 / low**2)
    squared = low**2 + 2 * rise
    defect = rise - exponential - jnp.log(_mills_ratio(jnp.sqrt(squared)) / _mills_ratio(low))
    rise = rise - defect / (1 + 1 / squared)
    return 2 * rise / (low + jnp.sqrt(low**2 + 2 * rise))


def _mills_ratio(x):
    """R, tail probability over density of the standard normal law: a convergent of Laplace's
    continued fraction.
    """
    inverse = 1 / x**2
    return (1 + inverse * (9 + 8 * inverse)) / (x * (1 + inverse * (10 + 15 * inverse)))


def reflect(mean, std, uniform, wall):
    """Mirrored at the walls, as often as is needed."""
    mean, std, uniform, wall = _read(mean, std, uniform, wall)
    place = _normal(mean, std, uniform)
    crossed = jnp.abs(place) > wall
    return jnp.where(
        crossed, wall - jnp.abs((place + wall) % (4 * wall) - 2 * wall), place
    ), crossed


def periodic(mean, std, uniform, wall):
    """Goes on at the opposite wall."""
    mean, std, uniform, wall = _read(mean, std, uniform, wall)
    place = _normal(mean, std, uniform)
    crossed = jnp.abs(place) > wall
    return jnp.where(crossed, (place + wall) % (2 * wall) - wall, place), crossed


def _normal(mean, std, uniform):
    """Quantile of the normal law."""
    return mean + std * SQRT_2 * jax.lax.erf_inv(2 * uniform - 1)


def _read(*inputs):
    """Floats of one type and shape."""
    arrays = [
        floats(name, value)
        for name, value in zip(("mean", "std", "uniform", "wall"), inputs, strict=True)
    ]
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        raise InputError(
            f"mean, std, uniform and wall have shapes {[array.shape for array in arrays]}; "
            "expected shapes that broadcast"
        ) from None
    if not is_traced(arrays[3]) and not np.all(np.asarray(arrays[3]) > 0):
        raise InputError(
            f"wall is {np.asarray(arrays[3]).tolist()}; expected a positive distance from the "
            "middle"
        )
    dtype = np.result_type(*(array.dtype for array in arrays))
    mean, std, uniform, wall = (jnp.broadcast_to(array.astype(dtype), shape) for array in arrays)
    return mean, jnp.where(std >= 0, std, jnp.nan), uniform, wall


BOUNDARIES = {"reject": reject, "reflect": reflect, "periodic": periodic}
