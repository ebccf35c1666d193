"""Surfaces that share some properties of another and lack others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter1d

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface

__all__ = ["shuffled", "smoothed"]


def shuffled(key, surface, *, smoothing=8.0, power=None):
    """The heights of a surface in random order, smoothed: no correlations beyond those of the filter.

    All heights are permuted at random and :func:`smoothed`; with a power, each height h then becomes sign(h) |h|^power.
    That is the control of Chen, Qu & Gong with power = 0.7. Their code takes h^power, which is complex where h < 0; the signed
    power is real, and turning a surface upside down commutes with it.

    Args:
        key: PRNG key.
        surface: :class:`~sgd_diffusion.landscape.fractal_surfaces.Surface`, heights (N, M).
        smoothing: standard deviation of the filter in steps of the grid, 0 for none, known before tracing.
        power: () exponent, or None to leave heights as they are.

    Returns:
        :class:`~sgd_diffusion.landscape.fractal_surfaces.Surface` of the same shape.

    Raises:
        InputError: ``smoothing`` negative or not finite.
    """
    if not 0 <= smoothing < np.inf:
        raise InputError(f"smoothing is {smoothing}; expected steps of the grid, 0 for none or a positive number")
    heights = jax.random.permutation(key, surface.heights.ravel()).reshape(surface.heights.shape)
    heights = smoothed(Surface(heights, surface.extent), smoothing).heights
    if power is not None:
        heights = jnp.sign(heights) * jnp.abs(heights) ** power
    return Surface(heights, surface.extent)


def smoothed(surface, std):
    """A surface under a Gaussian filter, that of ``scipy.ndimage.gaussian_filter(heights, std, mode="nearest")``.

    The filter is cut at 4 standard deviations; beyond its sides the surface goes on at the heights that it has there.

    Args:
        surface: :class:`~sgd_diffusion.landscape.fractal_surfaces.Surface`, heights (N, M).
        std: standard deviation of the filter in steps of the grid, 0 for none, known before tracing.

    Returns:
        :class:`~sgd_diffusion.landscape.fractal_surfaces.Surface` of the same shape.

    Raises:
        InputError: ``std`` negative or not finite.
    """
    if not 0 <= std < np.inf:
        raise InputError(f"std is {std}; expected steps of the grid, 0 for none or a positive number")
    if std == 0:
        return surface
    heights = surface.heights
    rows, columns = (_filter(points, std).astype(heights.dtype) for points in heights.shape)
    return surface._replace(heights=jnp.linalg.multi_dot([rows, heights, columns.T], precision=jax.lax.Precision.HIGHEST))


@functools.lru_cache(maxsize=4)
def _filter(points, std):
    """The filter along an axis, a matrix (points, points); for a thousand points slower than what it is used for."""
    return gaussian_filter1d(np.eye(points), std, axis=0, mode="nearest")
