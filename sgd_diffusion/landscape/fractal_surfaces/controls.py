"""Make surfaces that share some properties of another surface and lack others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sgd_diffusion._arrays import number, parameter
from sgd_diffusion._types import Key, NumberLike
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface, checked

__all__ = ["filter_along", "shuffled", "smoothed"]

MOST_STD = 1e6  # steps of the grid: no surface has as many


def shuffled(
    key: Key, surface: Surface, *, smoothing: NumberLike = 8.0, power: NumberLike | None = None
) -> Surface:
    """Return the heights of a surface in random order, smoothed.

    Only the filter correlates them. All heights are permuted at random and `smoothed`. With a
    power, each height h then becomes sign(h) |h|^power. This is the control of Chen, Qu & Gong with
    power = 0.7. Their code takes h^power, which is complex where h < 0. The signed power is real,
    and it commutes with turning a surface upside down.

    Args:
        key: PRNG key.
        surface: `fractal_surfaces.Surface`, heights (N, M).
        smoothing: standard deviation of the filter in steps of the grid, 0 for none, known before
            tracing.
        power: () exponent, positive, or None to leave the heights as they are.

    Returns:
        `fractal_surfaces.Surface` of the same shape.

    Raises:
        InputError: the surface does not have heights (N, M), `smoothing` is not in 0..1e6, or
            `power` is not positive.
    """
    surface = checked(surface)
    smoothing = number(
        "smoothing", smoothing, at_least=0, at_most=MOST_STD, what="steps of the grid"
    )
    if power is not None:
        power = parameter("power", power, above=0)
    return surface._replace(heights=_shuffled(key, surface.heights, smoothing, power))


@functools.partial(jax.jit, static_argnums=2)
def _shuffled(key, heights, smoothing, power):
    heights = jax.random.permutation(key, heights.ravel()).reshape(heights.shape)
    heights = _smoothed(heights, smoothing)
    return heights if power is None else jnp.sign(heights) * jnp.abs(heights) ** power


def smoothed(surface: Surface, std: NumberLike) -> Surface:
    """Return a surface under a Gaussian filter.

    The filter is that of `scipy.ndimage.gaussian_filter(heights, std, mode="nearest")`. It is cut
    at 4 standard deviations. Beyond its sides the surface continues with the heights at the sides.

    Args:
        surface: `fractal_surfaces.Surface`, heights (N, M).
        std: standard deviation of the filter in steps of the grid, 0 for none, known before
            tracing.

    Returns:
        `fractal_surfaces.Surface` of the same shape.

    Raises:
        InputError: the surface does not have heights (N, M), or `std` is not in 0..1e6.
    """
    surface = checked(surface)
    std = number("std", std, at_least=0, at_most=MOST_STD, what="steps of the grid")
    return surface._replace(heights=_smoothed(surface.heights, std))


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _smoothed(heights, std):
    if std == 0:
        return heights
    rows, columns = (filter_along(points, std).astype(heights.dtype) for points in heights.shape)
    return jnp.linalg.multi_dot([rows, heights, columns.T], precision=jax.lax.Precision.HIGHEST)


@functools.lru_cache(maxsize=4)
def filter_along(points: int, std: float) -> Float[np.ndarray, "point point"]:
    """Return the matrix of the filter along an axis, (points, points).

    Row i holds the weights of all points in the result at point i.
    """
    reach = np.arange(-int(4 * std + 0.5), int(4 * std + 0.5) + 1)
    weights = np.exp(-((reach / std) ** 2) / 2)
    # What lies beyond a side belongs to the point at the side.
    below = np.append(0, np.cumsum(weights / weights.sum()))
    place = np.arange(points)
    inner = below[np.clip(place[1:] - place[:, None] - reach[0], 0, len(reach))]
    return np.diff(np.pad(inner, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)
