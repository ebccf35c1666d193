"""Return where a normal step along one coordinate leads between walls at plus and minus `wall`.

Each boundary is a function `boundary(mean, std, uniform, wall) -> place, crossed`:

- `mean` is where the step would lead without noise, and `std` the standard deviation of the noise;
- `uniform` is a random number in (0, 1), whose normal quantile gives the noise;
- `place` is between the walls, up to rounding;
- `crossed` says whether the same step without walls would have led out.

The four arguments may be arrays that broadcast. A standard deviation below 0 gives NaN. In float32,
places a thousand sides outside are known to 1e-4 of a side, and places 1e7 sides outside not at
all. The longest jumps of stable noise may lead that far.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sgd_diffusion._arrays import floats, is_traced
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import invalid

__all__ = ["BOUNDARIES", "periodic", "reflect", "reject"]

SQRT_2 = math.sqrt(2)
# Standard deviations beyond a wall from which a continued fraction gives tail probabilities.
FAR = 5.0
FARTHEST = 1e18  # standard deviations; float32 holds squares up to here
# Standard deviations from wall to wall below which a normal density is an exponential one.
NARROW = 1 / 64
LEAST_STD = 1e-15  # share of half the side; smaller noise counts as none
LEAST_CHANCE = 1e-14  # of the smallest random number, 5 standard deviations beyond a wall
# P and Q of the normal quantile x = t - P(t)/Q(t) with t^2 = -2 ln(chance above). They are fitted
# for 1.17 < t < 8.1; the error is below 1e-6.
NUMERATOR = 4.68938249e-3, 1.01471043, 6.24330948, 3.06837293
DENOMINATOR = 0.21984949, 2.64336079, 4.26976001, 1.0


def reject(
    mean: ArrayLike, std: ArrayLike, uniform: ArrayLike, wall: ArrayLike
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Return a place from the normal law between the walls, and whether the step crossed a wall.

    This is the law of noise that is redrawn until it leads to a place between the walls. It is
    drawn directly, by inversion, however far outside the mean is. The error of a quantile is below
    2e-4 of the distance between the quartiles, in float32 as in float64, plus the rounding of
    places at the wall.

    Args:
        mean: (...) where the step would lead without noise.
        std: (...) standard deviation of the noise, not negative.
        uniform: (...) random numbers in (0, 1).
        wall: (...) distance of the walls from the middle, positive.

    Returns:
        Places (...), and booleans (...) that say whether the step without walls would have led out.

    Raises:
        InputError: the shapes do not broadcast, or a known `wall` is not positive.
    """
    return _rejected(*_read(mean, std, uniform, wall))


@functools.partial(jax.jit, inline=True)
def _rejected(*inputs):
    mean, std, uniform, wall = _alike(*inputs)
    mirrored = mean < 0  # so that the wall above is the nearer one
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
    """Standard normal number with these chances below and above it.

    The smaller chance is exact.
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
    """Quantile of `x - low` for a standard normal number x between `low` and `low + width`.

    `low` is far above 0. `level` is the chance below, `rest` the chance above. It inverts the tail
    probability exp(-x^2/2) R(x) for x^2/2, with one Newton step. The step starts from the solution
    for a constant d ln R / d ln x = -1.
    """
    left = jnp.exp(-width * (low + width / 2)) * (_mills_ratio(low + width) / _mills_ratio(low))
    exponential = -jnp.log(rest + level * left)
    rise = exponential / (1 + 1 / low**2)
    squared = low**2 + 2 * rise
    defect = rise - exponential - jnp.log(_mills_ratio(jnp.sqrt(squared)) / _mills_ratio(low))
    rise = rise - defect / (1 + 1 / squared)
    return 2 * rise / (low + jnp.sqrt(low**2 + 2 * rise))


def _mills_ratio(x):
    """R, tail probability over density of the standard normal law.

    It is a convergent of Laplace's continued fraction.
    """
    inverse = 1 / x**2
    return (1 + inverse * (9 + 8 * inverse)) / (x * (1 + inverse * (10 + 15 * inverse)))


def reflect(
    mean: ArrayLike, std: ArrayLike, uniform: ArrayLike, wall: ArrayLike
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Return the place mirrored at the walls as often as needed, and whether the step crossed one.

    Arguments, results and errors are those of `reject`.
    """
    return _reflected(*_read(mean, std, uniform, wall))


@functools.partial(jax.jit, inline=True)
def _reflected(*inputs):
    mean, std, uniform, wall = _alike(*inputs)
    place = _normal(mean, std, uniform)
    crossed = jnp.abs(place) > wall
    return jnp.where(
        crossed, wall - jnp.abs((place + wall) % (4 * wall) - 2 * wall), place
    ), crossed


def periodic(
    mean: ArrayLike, std: ArrayLike, uniform: ArrayLike, wall: ArrayLike
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Return the place continued at the opposite wall, and whether the step crossed one.

    Arguments, results and errors are those of `reject`.
    """
    return _continued(*_read(mean, std, uniform, wall))


@functools.partial(jax.jit, inline=True)
def _continued(*inputs):
    mean, std, uniform, wall = _alike(*inputs)
    place = _normal(mean, std, uniform)
    crossed = jnp.abs(place) > wall
    return jnp.where(crossed, (place + wall) % (2 * wall) - wall, place), crossed


def _normal(mean, std, uniform):
    """Quantile of the normal law."""
    return mean + std * SQRT_2 * jax.lax.erf_inv(2 * uniform - 1)


def _alike(*inputs):
    """Return arrays of one type and shape; NaN for negative noise."""
    dtype = np.result_type(*(array.dtype for array in inputs))
    shape = np.broadcast_shapes(*(array.shape for array in inputs))
    mean, std, uniform, wall = (jnp.broadcast_to(array.astype(dtype), shape) for array in inputs)
    return mean, jnp.where(std >= 0, std, jnp.nan), uniform, wall


def _read(*inputs):
    """Return floats whose shapes broadcast."""
    arrays = [
        floats(name, value)
        for name, value in zip(("mean", "std", "uniform", "wall"), inputs, strict=True)
    ]
    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        raise invalid(
            "mean, std, uniform and wall",
            f"have shapes {[array.shape for array in arrays]}",
            "shapes that broadcast",
        ) from None
    if not is_traced(arrays[3]) and not np.all(np.asarray(arrays[3]) > 0):
        raise invalid(
            "wall",
            f"is {np.asarray(arrays[3]).tolist()}",
            "a positive distance from the middle",
        )
    return arrays


BOUNDARIES = {"reject": reject, "reflect": reflect, "periodic": periodic}
"""The boundaries by name, as `walk` takes them."""
