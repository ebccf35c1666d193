"""Walls: where a normal step along one coordinate leads if there are walls at plus and minus ``wall``.

Each boundary is ``boundary(mean, std, uniform, wall) -> place, crossed``: from where the step would lead without noise, the
standard deviation of the noise and a uniform number in (0, 1), the place between the walls, up to rounding, and whether the
step without walls, at the quantile of the uniform number, would have led out. Places a thousand sides outside, as the longest
jumps of stable noise may be, are known in float32 to 1e-4 of a side, those 1e7 sides outside not at all.
"""

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["BOUNDARIES", "periodic", "reflect", "reject"]

SQRT_2 = np.float32(np.sqrt(2))
FAR = 3.0  # standard deviations; beyond, float32 tells tail probabilities from 1 too coarsely
BELOW_1 = np.float32(1 - 2.0**-24)  # the largest argument that the inverse error function takes in float32
SMALLEST_STD = 1e-6  # of half the side: an interval in units of no noise at all would have no bounds


def reject(mean, std, uniform, wall):
    """The normal law within the walls: what noise has that is redrawn until it leads to a place between them.

    Drawn directly, by inversion, however far outside the mean is.
    """
    unit = jnp.maximum(std, SMALLEST_STD * wall)
    low, high = (-wall - mean) / unit, (wall - mean) / unit
    below, above = jax.lax.erf(low / SQRT_2), jax.lax.erf(high / SQRT_2)
    share = jnp.clip(below + uniform * (above - below), -BELOW_1, BELOW_1)
    central = mean + std * SQRT_2 * jax.lax.erf_inv(share)
    nearest = jnp.maximum(low, -high)
    depth = std * _beyond(jnp.maximum(nearest, FAR), high - low, jnp.where(low > 0, 1 - uniform, uniform))
    sign = 2 * uniform - 1
    return jnp.where(nearest > FAR, jnp.where(low > 0, depth - wall, wall - depth), central), (sign < below) | (sign > above)


def _beyond(low, width, uniform):
    """Distance from ``low`` of a standard normal number between low, which is far above 0, and low + width; falls with uniform.

    Inverts the tail probability exp(-x^2/2) R(x) for x^2/2, with one of Newton's steps from where a constant
    d ln R / d ln x = -1 would lead. Its error is below 1e-3 standard deviations of the result.
    """
    left = jnp.exp(-width * (low + width / 2)) * low / (low + width)
    exponential = -jnp.log(uniform + (1 - uniform) * left)
    rise = exponential / (1 + 1 / low**2)
    squared = low**2 + 2 * rise
    defect = rise - exponential - jnp.log(_mills_ratio(jnp.sqrt(squared)) / _mills_ratio(low))
    rise = rise - defect / (1 + 1 / squared)
    return 2 * rise / (low + jnp.sqrt(low**2 + 2 * rise))


def _mills_ratio(x):
    """R, tail probability over density of the standard normal law: a convergent of Laplace's continued fraction."""
    inverse = 1 / x**2
    return (1 + inverse * (9 + 8 * inverse)) / (x * (1 + inverse * (10 + 15 * inverse)))


def reflect(mean, std, uniform, wall):
    """Mirrored at the walls, as often as is needed."""
    place = _normal(mean, std, uniform)
    crossed = jnp.abs(place) > wall
    return jnp.where(crossed, wall - jnp.abs((place + wall) % (4 * wall) - 2 * wall), place), crossed


def periodic(mean, std, uniform, wall):
    """Goes on at the opposite wall."""
    place = _normal(mean, std, uniform)
    crossed = jnp.abs(place) > wall
    return jnp.where(crossed, (place + wall) % (2 * wall) - wall, place), crossed


def _normal(mean, std, uniform):
    """Quantile of the normal law."""
    return mean + std * SQRT_2 * jax.lax.erf_inv(2 * uniform - 1)


BOUNDARIES = {"reject": reject, "reflect": reflect, "periodic": periodic}
