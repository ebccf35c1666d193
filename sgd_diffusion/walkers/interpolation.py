"""A surface between its points: interpolants whose exact gradients drive a walker."""

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import floats, real_array
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.fractal_surfaces.surface import checked

__all__ = ["INTERPOLANTS", "half_sides", "interpolator", "nearest"]


def interpolator(surface, *, interpolant="bilinear", periodic=False):
    """Height of a surface as a function of the position, and of nothing else.

    `bilinear` is the product of straight lines within each cell of the grid: continuous, with a
    gradient that jumps from cell to cell. `bicubic` is cubic convolution (Keys, IEEE Trans.
    Acoust. Speech Signal Process. 29, 1153, 1981, with a = -1/2, along both axes): it goes through
    the heights as well and has a continuous gradient; one more row of points beyond each side is
    extrapolated, 2 h_0 - h_1, or periodic.

    `jax.grad` of the function gives the exact gradient of the interpolant, not a difference of
    heights. On an edge between two bilinear cells it is that of the cell towards larger
    coordinates; on a wall, that of the cell inside. Outside the square the outermost cell goes on.

    Args:
        surface: one `fractal_surfaces.Surface` with heights (N, M),
            N and M at least 2.
        interpolant: `"bilinear"` or `"bicubic"`.
        periodic: whether opposite sides are the same points, for `bicubic` at the sides.

    Returns:
        `height(x, y) -> ()` for two numbers `()` in the unit of `surface.extent`, the
        square's centre being the origin and x running along the first axis. Map it with
        `jax.vmap`; it can be jitted and differentiated. The precision is that of the heights,
        float32 at least; integers have JAX's default.

    Raises:
        InputError: heights that are not one surface, an unknown `interpolant`; of `height`,
            positions that are not numbers.

    >>> from sgd_diffusion.landscape.fractal_surfaces import Surface
    >>> height = interpolator(Surface(jnp.array([[0.0, 2.0], [1.0, 3.0]]), jnp.array(2.0)))
    >>> float(height(0.0, 0.0)), [float(slope) for slope in jax.grad(height, argnums=(0, 1))(0.0, 0.0)]
    (1.5, [0.5, 1.0])
    """
    if interpolant not in INTERPOLANTS:
        raise InputError(
            f"interpolant is {interpolant!r}; expected one of {', '.join(INTERPOLANTS)}"
        )
    surface = checked(surface, least=2)
    shape, dtype = surface.heights.shape, surface.heights.dtype
    heights, weights = INTERPOLANTS[interpolant](surface.heights, periodic)
    sides, spacing = half_sides(surface), surface.extent / (shape[0] - 1)

    def height(x, y):
        position = [floats(name, at).astype(dtype) for name, at in (("x", x), ("y", y))]
        if any(at.ndim for at in position):
            raise InputError(
                f"x and y have shapes {[at.shape for at in position]}; expected two numbers: map "
                "with jax.vmap"
            )
        places = [(at + side) / spacing for at, side in zip(position, sides, strict=True)]
        cells = [
            jnp.clip(place, 0, points - 2).astype(int)
            for place, points in zip(places, shape, strict=True)
        ]
        along_x, along_y = (
            weights(place - cell.astype(dtype)) for place, cell in zip(places, cells, strict=True)
        )
        corners = jax.lax.dynamic_slice(heights, cells, (len(along_x), len(along_y)))
        rows = [
            sum(weight * corners[i, j] for j, weight in enumerate(along_y))
            for i in range(len(along_x))
        ]
        return sum(weight * row for weight, row in zip(along_x, rows, strict=True))

    return height


def nearest(surface, x, y):
    """Height at the nearest point of the grid, for positions (...); of a surface of booleans,
    whether they are in a region.

    Args:
        surface: one `fractal_surfaces.Surface` with heights (N, M);
            booleans stay booleans.
        x: (...), unit of `surface.extent`.
        y: (...), the same shape.

    Returns:
        (...), that of the border outside the square; NaN, or False of booleans, where a position is
        NaN.

    Raises:
        InputError: heights that are not one surface of 2 points a side, or positions that are not
            real numbers.
    """
    frame, heights = checked(surface, least=2), real_array("heights", surface.heights)
    x, y = (floats(name, at).astype(frame.extent.dtype) for name, at in (("x", x), ("y", y)))
    if x.shape != y.shape:
        raise InputError(
            f"x has shape {x.shape} and y {y.shape}; expected the same shape, one pair for each "
            "position"
        )
    spacing = frame.extent / (heights.shape[0] - 1)
    places = (
        jnp.clip(jnp.rint((at + side) / spacing), 0, points - 1).astype(int)
        for at, side, points in zip((x, y), half_sides(frame), heights.shape, strict=True)
    )
    region, lost = heights.dtype == bool, jnp.isnan(x) | jnp.isnan(y)
    found = (jnp.asarray(heights) if region else frame.heights).at[tuple(places)].get(mode="clip")
    return found & ~lost if region else jnp.where(lost, jnp.nan, found)


def half_sides(surface):
    """Half the length of the square along both axes: the walls are at plus and minus that."""
    rows, columns = jnp.shape(surface.heights)[-2:]
    half = floats("extent", surface.extent) / 2
    return half, half * ((columns - 1) / (rows - 1))


def _bilinear(heights, periodic):
    """Heights, and the weights of a cell's corners by the fraction of the cell that is passed."""
    return heights, lambda t: (1 - t, t)


def _bicubic(heights, periodic):
    """Heights with one more row and column around, and the weights of the four points about a cell."""
    padded = (
        jnp.pad(heights[:-1, :-1], ((1, 2), (1, 2)), mode="wrap")
        if periodic
        else jnp.pad(heights, 1, mode="reflect", reflect_type="odd")
    )
    return padded, lambda t: (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )


INTERPOLANTS = {"bilinear": _bilinear, "bicubic": _bicubic}
