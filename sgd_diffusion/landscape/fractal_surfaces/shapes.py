"""Make smooth surfaces, to compare rough ones with.

They are deterministic; r is the distance from the center.
"""

import functools

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import integer, parameter
from sgd_diffusion._types import IntegerLike, NumberLike
from sgd_diffusion.landscape.fractal_surfaces.surface import MOST_POINTS, Surface

__all__ = ["cone", "gaussian_well", "paraboloid"]


def cone(size: IntegerLike, *, slope: NumberLike = 0.5, extent: NumberLike = 2.0) -> Surface:
    """Return a cone, h = slope r.

    With its defaults it is the convex landscape that Chen, Qu & Gong compare their rough one with.

    Args:
        size: points along a side, at least 2, known before tracing.
        slope: () height over length.
        extent: () length of a side.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size).

    Raises:
        InputError: `size` is below 2 or above 32769, a parameter is not finite, or a length is not
            positive.
    """
    slope, extent = parameter("slope", slope), parameter("extent", extent, above=0)
    return Surface(_cone(_size(size), slope, extent), jnp.asarray(extent, float))


def paraboloid(
    size: IntegerLike, *, curvature: NumberLike = 1.0, extent: NumberLike = 2.0
) -> Surface:
    """Return a quadratic bowl, h = curvature r^2 / 2.

    Args:
        size: points along a side, at least 2, known before tracing.
        curvature: () both eigenvalues of the Hessian, height over length squared.
        extent: () length of a side.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size).

    Raises:
        InputError: `size` is below 2 or above 32769, a parameter is not finite, or a length is not
            positive.
    """
    curvature, extent = parameter("curvature", curvature), parameter("extent", extent, above=0)
    return Surface(_paraboloid(_size(size), curvature, extent), jnp.asarray(extent, float))


def gaussian_well(
    size: IntegerLike,
    *,
    depth: NumberLike = 1.0,
    width: NumberLike = 0.5,
    extent: NumberLike = 2.0,
) -> Surface:
    """Return a well in a plain, h = -depth exp(-r^2 / (2 width^2)).

    Args:
        size: points along a side, at least 2, known before tracing.
        depth: () depth below the plain at height 0.
        width: () distance from the center at which the well is steepest.
        extent: () length of a side.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size).

    Raises:
        InputError: `size` is below 2 or above 32769, a parameter is not finite, or a length is not
            positive.
    """
    depth, width, extent = (
        parameter("depth", depth),
        parameter("width", width, above=0),
        parameter("extent", extent, above=0),
    )
    return Surface(_well(_size(size), depth, width, extent), jnp.asarray(extent, float))


def _size(size):
    return integer("size", size, 2, MOST_POINTS, what="points along a side")


@functools.partial(jax.jit, static_argnums=0)
def _cone(size, slope, extent):
    return slope * extent * _distance(size)


@functools.partial(jax.jit, static_argnums=0)
def _paraboloid(size, curvature, extent):
    return curvature / 2 * (extent * _distance(size)) ** 2


@functools.partial(jax.jit, static_argnums=0)
def _well(size, depth, width, extent):
    return -depth * jnp.exp(-((extent * _distance(size) / width) ** 2) / 2)


def _distance(size):
    """Distances from the center, (size, size), in units of the side."""
    place = (jnp.arange(size, dtype=float) - (size - 1) / 2) / (size - 1)
    return jnp.hypot(place[:, None], place[None])
