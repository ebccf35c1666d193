"""Make the toy landscapes of the literature by midpoint displacement, and clip them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import integer, parameter
from sgd_diffusion._types import IntegerLike, Key, NumberLike
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface, checked

__all__ = ["clipped", "diamond_square"]

MOST_LEVELS = 15  # 4 GiB in float32


def diamond_square(
    key: Key,
    levels: IntegerLike,
    *,
    roughness: NumberLike,
    hurst: NumberLike = 1.0,
    extent: NumberLike = 2.0,
) -> Surface:
    r"""Return a surface by midpoint displacement on a square whose four corners are at height 0.

    This is the diamond-square variant of Fournier, Fussell & Carpenter (Commun. ACM 25, 371, 1982).
    Level c = 1, ..., levels halves the distance between points. First the center of every square,
    then the middle of every edge gets

        h = mean of the nearest points + r_c u,    r_c = roughness 2^(-hurst (c - 1)),

    with independent u, uniform in [-1/2, 1/2). The nearest points of a center are its 4 corners.
    Those of a middle are 2 corners and the 2 centers beside it, 1 center on the border. The toy
    landscape of Chen, Qu & Gong is levels = 10, roughness = 3, hurst = 1 on [-1, 1]^2.

    For many large surfaces, `jax.lax.map` over keys is three times as fast on CPU as `jax.vmap`,
    which leaves the cache.

    Formula:
        Midpoint displacement. $h = \overline{h} + r_c u, \quad r_c = r \, 2^{-H(c-1)}$ (Fournier,
        Fussell & Carpenter, Commun. ACM 25, 371, 1982)

    Args:
        key: PRNG key.
        levels: halvings, at least 1, known before tracing.
        roughness: () width of the displacements of the first level, in units of height.
        hurst: () exponent by which they shrink from level to level.
        extent: () length of a side.

    Returns:
        `fractal_surfaces.Surface` with heights (2^levels + 1, 2^levels + 1).

    Raises:
        InputError: `levels` is not in 1..15, `roughness` or `hurst` is negative or not finite, or
            `extent` is not positive.

    Notes:
        The surface is not exactly self-affine, as increments depend on the levels of their points.
        `box_counting.variogram_exponent` with lags 1, 2, 4, ..., 64 gave, on surfaces of 1025^2
        points, the exponents 0.300, 0.454, 0.629 and 0.860 for hurst = 0.3, 0.5, 0.7 and 1. These
        are means of ten with standard errors of 0.001, 0.0015, 0.002 and 0.002. With lags up to 8
        they were 0.306, 0.429, 0.592 and 0.855, all known to 0.0015 or better.
    """
    levels = integer("levels", levels, 1, MOST_LEVELS, what="halvings of the square")
    roughness = parameter("roughness", roughness, at_least=0)
    hurst = parameter("hurst", hurst, at_least=0)
    extent = parameter("extent", extent, above=0)
    return Surface(_heights(key, levels, roughness, hurst), jnp.asarray(extent, float))


@functools.partial(jax.jit, static_argnums=1)
def _heights(key, levels, roughness, hurst):
    size = 2**levels + 1
    # Every point is set once, so that it has its own number.
    noise = jax.random.uniform(key, (size, size), minval=-0.5, maxval=0.5)
    heights = jnp.zeros((2, 2))
    for level in range(levels):
        width = roughness * 2.0 ** (-hurst * level)
        heights = _halved(
            heights, width * noise[:: 2 ** (levels - level - 1), :: 2 ** (levels - level - 1)]
        )
    return heights


def clipped(surface: Surface, *, base: NumberLike = 0.0, water: NumberLike = -0.1) -> Surface:
    """Return a surface with a lower border and filled with water.

    The published picture of the toy landscape shows it so. Points on the border that are higher
    than `base` are set to it. Then everything lower than `water` is raised to it.

    Args:
        surface: `fractal_surfaces.Surface`, heights (N, M).
        base: () greatest height on the border.
        water: () least height.

    Returns:
        `fractal_surfaces.Surface` of the same shape.

    Raises:
        InputError: the surface does not have heights (N, M), or `base` or `water` is not finite.
    """
    surface, base, water = checked(surface), parameter("base", base), parameter("water", water)
    return surface._replace(heights=_clipped(surface.heights, base, water))


@jax.jit
def _clipped(heights, base, water):
    border = np.ones(heights.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    return jnp.maximum(jnp.where(border, jnp.minimum(heights, base), heights), water)


def _halved(corners, displacements):
    """Heights (2m + 1, 2m + 1) from (m + 1, m + 1) and the displacements of all points.

    The displacements of the corners are not used.
    """
    centers = (
        corners[:-1, :-1] + corners[:-1, 1:] + corners[1:, :-1] + corners[1:, 1:]
    ) / 4 + displacements[1::2, 1::2]
    neighbors = jnp.asarray(np.r_[3, np.full(len(corners) - 2, 4), 3][:, None], corners.dtype)
    above, left = jnp.pad(centers, ((1, 1), (0, 0))), jnp.pad(centers, ((0, 0), (1, 1)))
    along_rows = (
        corners[:, :-1] + corners[:, 1:] + above[:-1] + above[1:]
    ) / neighbors + displacements[::2, 1::2]
    along_columns = (
        corners[:-1] + corners[1:] + left[:, :-1] + left[:, 1:]
    ) / neighbors.T + displacements[1::2, ::2]
    return _interleaved(
        _interleaved(corners, along_rows, 1), _interleaved(along_columns, centers, 1), 0
    )


def _interleaved(even, odd, axis):
    """Entries of two arrays in turn; the first has one more.

    On a CPU this copies at twice the speed of a strided scatter.
    """
    count = odd.shape[axis]
    pairs = jnp.stack([jax.lax.slice_in_dim(even, 0, count, axis=axis), odd], axis=axis + 1)
    return jnp.concatenate(
        [
            jax.lax.collapse(pairs, axis, axis + 2),
            jax.lax.slice_in_dim(even, count, None, axis=axis),
        ],
        axis,
    )
