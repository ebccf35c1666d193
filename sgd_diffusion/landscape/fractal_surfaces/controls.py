"""Surfaces that share some properties of another and lack others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import number, parameter
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface, checked

__all__ = ["filter_along", "shuffled", "smoothed"]

MOST_STD = 1e6  # steps of the grid: no surface has as many


def shuffled(key, surface, *, smoothing=8.0, power=None):
    """The heights of a surface in random order, smoothed: no correlations beyond those of the
    filter.

    All heights are permuted at random and `smoothed`; with a power, each height h then
    becomes sign(h) |h|^power. That is the control of Chen, Qu & Gong with power = 0.7. Their code
    takes h^power, which is complex where h < 0; the signed power is real, and turning a surface
    upside down commutes with it.

    Args:
        key: PRNG key.
        surface: `fractal_surfaces.Surface`, heights (N, M).
        smoothing: standard deviation of the filter in steps of the grid, 0 for none, known before
            tracing.
        power: () exponent, positive, or None to leave heights as they are.

    Returns:
        `fractal_surfaces.Surface` of the same shape.

    Raises:
        InputError: no surface with heights (N, M), `smoothing` not in 0..1e6, `power` not
            positive.
    """
    surface = checked(surface)
    smoothing = number(
        "smoothing", smoothing, at_least=0, at_most=MOST_STD, what="steps of the grid"
    )
    heights = jax.random.permutation(key, surface.heights.ravel()).reshape(surface.heights.shape)
    heights = smoothed(Surface(heights, surface.extent), smoothing).heights
    if power is not None:
        heights = jnp.sign(heights) * jnp.abs(heights) ** parameter("power", power, above=0)
    return Surface(heights, surface.extent)


def smoothed(surface, std):
    """A surface under a Gaussian filter, that of ``scipy.ndimage.gaussian_filter(heights, std,
    mode="nearest")``.

    The filter is cut at 4 standard deviations; beyond its sides the surface goes on at the heights
    that it has there.

    Args:
        surface: `fractal_surfaces.Surface`, heights (N, M).
        std: standard deviation of the filter in steps of the grid, 0 for none, known before
            tracing.

    Returns:
        `fractal_surfaces.Surface` of the same shape.

    Raises:
        InputError: no surface with heights (N, M), or `std` not in 0..1e6.
    """
    surface, std = (
        checked(surface),
        number("std", std, at_least=0, at_most=MOST_STD, what="steps of the grid"),
    )
    if std == 0:
        return surface
    heights = surface.heights
    rows, columns = (filter_along(points, std).astype(heights.dtype) for points in heights.shape)
    return surface._replace(
        heights=jnp.linalg.multi_dot(
            [rows, heights, columns.T], precision=jax.lax.Precision.HIGHEST
        )
    )


@functools.lru_cache(maxsize=4)
def filter_along(points, std):
    """The filter along an axis, a matrix (points, points): row i holds the weights of all points in
    the result at point i.
    """
    reach = np.arange(-int(4 * std + 0.5), int(4 * std + 0.5) + 1)
    weights = np.exp(-((reach / std) ** 2) / 2)
    below = np.append(
        0, np.cumsum(weights / weights.sum())
    )  # what lies beyond a side belongs to the point there
    place = np.arange(points)
    inner = below[np.clip(place[1:] - place[:, None] - reach[0], 0, len(reach))]
    return np.diff(np.pad(inner, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)
