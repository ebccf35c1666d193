"""Smooth surfaces, to hold rough ones against. Deterministic; r is the distance from the centre."""

import jax.numpy as jnp

from sgd_diffusion._arrays import integer, parameter
from sgd_diffusion.landscape.fractal_surfaces.surface import MOST_POINTS, Surface

__all__ = ["cone", "gaussian_well", "paraboloid"]


def cone(size, *, slope=0.5, extent=2.0):
    """Cone, h = slope r. With its defaults the convex landscape that Chen, Qu & Gong hold their
    rough one against.

    Args:
        size: points along a side, at least 2, known before tracing.
        slope: () height by length.
        extent: () length of a side.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size).

    Raises:
        InputError: `size` below 2 or above 32769, or a parameter that is not finite, or a length
            that is not positive.
    """
    slope, extent = parameter("slope", slope), parameter("extent", extent, above=0)
    return Surface(slope * extent * _distance(size), jnp.asarray(extent, float))


def paraboloid(size, *, curvature=1.0, extent=2.0):
    """Quadratic bowl, h = curvature r^2 / 2.

    Args:
        size: points along a side, at least 2, known before tracing.
        curvature: () both eigenvalues of the Hessian, height by length squared.
        extent: () length of a side.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size).

    Raises:
        InputError: `size` below 2 or above 32769, or a parameter that is not finite, or a length
            that is not positive.
    """
    curvature, extent = parameter("curvature", curvature), parameter("extent", extent, above=0)
    return Surface(curvature / 2 * (extent * _distance(size)) ** 2, jnp.asarray(extent, float))


def gaussian_well(size, *, depth=1.0, width=0.5, extent=2.0):
    """Well in a plain, h = -depth exp(-r^2 / (2 width^2)).

    Args:
        size: points along a side, at least 2, known before tracing.
        depth: () below the plain at height 0.
        width: () distance from the centre at which it is steepest.
        extent: () length of a side.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size).

    Raises:
        InputError: `size` below 2 or above 32769, or a parameter that is not finite, or a length
            that is not positive.
    """
    depth, width, extent = (
        parameter("depth", depth),
        parameter("width", width, above=0),
        parameter("extent", extent, above=0),
    )
    return Surface(
        -depth * jnp.exp(-((extent * _distance(size) / width) ** 2) / 2), jnp.asarray(extent, float)
    )


def _distance(size):
    """Distances from the centre, (size, size), in sides."""
    size = integer("size", size, 2, MOST_POINTS, what="points along a side")
    place = (jnp.arange(size, dtype=float) - (size - 1) / 2) / (size - 1)
    return jnp.hypot(place[:, None], place[None])
