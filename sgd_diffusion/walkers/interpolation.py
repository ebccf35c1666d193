"""Interpolate a surface between its grid points, so that its exact gradient can drive a walker."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sgd_diffusion._arrays import floats, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface, checked

__all__ = ["INTERPOLANTS", "half_sides", "interpolator", "nearest"]


def interpolator(
    surface: Surface, *, interpolant: str = "bilinear", periodic: bool = False
) -> Callable[[ArrayLike, ArrayLike], Float[Array, ""]]:
    """Return the height of a surface as a function of the position alone.

    `bilinear` is the product of straight lines within each cell of the grid. It is continuous, and
    its gradient jumps from cell to cell.

    `bicubic` is cubic convolution along both axes with a = -1/2 (Keys, IEEE Trans. Acoust. Speech
    Signal Process. 29, 1153, 1981). It goes through the heights and has a continuous gradient. It
    needs one more row of points beyond each side: extrapolated as 2 h_0 - h_1, or periodic.

    `jax.grad` of the function gives the exact gradient of the interpolant, not a difference of
    heights. On an edge between two bilinear cells it is the gradient of the cell toward larger
    coordinates. On a wall it is the gradient of the cell inside. The outermost cells continue
    outside the square.

    Args:
        surface: one `fractal_surfaces.Surface` with heights (N, M), N and M at least 2.
        interpolant: `"bilinear"` or `"bicubic"`.
        periodic: whether opposite sides are the same points, for `bicubic` at the sides.

    Returns:
        `height(x, y) -> ()` for two numbers `()` in the unit of `surface.extent`. The origin is the
        center of the square and x runs along the first axis. Map the function with `jax.vmap`; it
        can be jitted and differentiated. It has the precision of the heights: at least float32, and
        JAX's default for integers.

    Raises:
        InputError: the heights are not one surface, or `interpolant` is unknown. `height` raises it
            for positions that are not numbers.

    >>> from sgd_diffusion.landscape.fractal_surfaces import Surface
    >>> height = interpolator(Surface(jnp.array([[0.0, 2.0], [1.0, 3.0]]), jnp.array(2.0)))
    >>> slopes = jax.grad(height, argnums=(0, 1))(0.0, 0.0)
    >>> float(height(0.0, 0.0)), [float(slope) for slope in slopes]
    (1.5, [0.5, 1.0])
    """
    if interpolant not in INTERPOLANTS:
        raise invalid("interpolant", f"is {interpolant!r}", f"one of {', '.join(INTERPOLANTS)}")
    surface = checked(surface, least=2)
    grid, shape = _grid(interpolant, bool(periodic), surface), surface.heights.shape

    def height(x, y):
        position = [floats(name, at) for name, at in (("x", x), ("y", y))]
        if any(at.ndim for at in position):
            raise invalid(
                "x and y",
                f"have shapes {[at.shape for at in position]}",
                "two numbers",
                "map with jax.vmap",
            )
        return _height(interpolant, shape, grid, *position)

    return height


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _grid(interpolant, periodic, surface):
    """Heights with the points around that an interpolant needs, half the sides, and the spacing."""
    heights, spacing = surface.heights, surface.extent / (surface.heights.shape[0] - 1)
    if interpolant == "bicubic":
        heights = (
            jnp.pad(heights[:-1, :-1], ((1, 2), (1, 2)), mode="wrap")
            if periodic
            else jnp.pad(heights, 1, mode="reflect", reflect_type="odd")
        )
    return heights, half_sides(surface), spacing


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _height(interpolant, shape, grid, *position):
    """The height at two numbers, on a grid of this shape without the points around it."""
    (heights, sides, spacing), weights = grid, INTERPOLANTS[interpolant]
    dtype = heights.dtype
    places = [(at.astype(dtype) + side) / spacing for at, side in zip(position, sides, strict=True)]
    cells = [
        jnp.clip(place, 0, points - 2).astype(int)
        for place, points in zip(places, shape, strict=True)
    ]
    along_x, along_y = (
        weights(place - cell.astype(dtype)) for place, cell in zip(places, cells, strict=True)
    )
    corners = jax.lax.dynamic_slice(heights, cells, (len(along_x), len(along_y)))
    rows = [
        sum(weight * corners[i, j] for j, weight in enumerate(along_y)) for i in range(len(along_x))
    ]
    return sum(weight * row for weight, row in zip(along_x, rows, strict=True))


def nearest(
    surface: Surface, x: ArrayLike, y: ArrayLike
) -> Float[Array, "*shape"] | Bool[Array, "*shape"]:
    """Return the height at the grid point nearest to each position.

    For a surface of booleans, it says whether each position is in the region.

    Args:
        surface: one `fractal_surfaces.Surface` with heights (N, M); booleans stay booleans.
        x: (...) positions along the first axis, in the unit of `surface.extent`.
        y: (...) positions along the second axis, the same shape.

    Returns:
        (...) heights; outside the square, those of the border. Where a position is NaN, the height
        is NaN, or False for booleans.

    Raises:
        InputError: the heights are not one surface with 2 points a side, or the positions are not
            real numbers.
    """
    frame, heights = checked(surface, least=2), real_array("heights", surface.heights)
    x, y = (floats(name, at).astype(frame.extent.dtype) for name, at in (("x", x), ("y", y)))
    if x.shape != y.shape:
        raise invalid(
            "x",
            f"has shape {x.shape} and y {y.shape}",
            "the same shape, one pair for each position",
        )
    region = heights.dtype == bool
    surface = frame._replace(heights=jnp.asarray(heights)) if region else frame
    return _nearest(surface, x, y)


@functools.partial(jax.jit, inline=True)
def _nearest(surface, x, y):
    """`nearest` for arguments that have been checked."""
    heights, spacing = surface.heights, surface.extent / (surface.heights.shape[0] - 1)
    places = (
        jnp.clip(jnp.rint((at + side) / spacing), 0, points - 1).astype(int)
        for at, side, points in zip((x, y), half_sides(surface), heights.shape, strict=True)
    )
    there, lost = heights.at[tuple(places)].get(mode="clip"), jnp.isnan(x) | jnp.isnan(y)
    return there & ~lost if heights.dtype == bool else jnp.where(lost, jnp.nan, there)


def half_sides(surface: Surface) -> tuple[Float[Array, "*surfaces"], Float[Array, "*surfaces"]]:
    """Return half the sides of the square along both axes, where the walls are."""
    rows, columns = jnp.shape(surface.heights)[-2:]
    half = floats("extent", surface.extent) / 2
    return half, half * ((columns - 1) / (rows - 1))


def _bilinear(t):
    """The weights of a cell's corners by the fraction of the cell that is passed."""
    return 1 - t, t


def _bicubic(t):
    """The weights of the four points at a place."""
    return (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )


INTERPOLANTS = {"bilinear": _bilinear, "bicubic": _bicubic}
