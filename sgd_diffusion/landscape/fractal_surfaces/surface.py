"""Define what a surface is, and read surfaces from arguments."""

from typing import NamedTuple

import numpy as np

from sgd_diffusion._arrays import floats, is_traced
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import invalid

__all__ = ["MOST_POINTS", "Surface", "checked"]

MOST_POINTS = 2**15 + 1  # along a side, 4 GiB in float32


@shown_briefly
class Surface(NamedTuple):
    """Heights above the points of a square grid, with points on all four sides of the square.

    A position is (x, y), with x along the first axis. The square is centered on the origin. So x
    goes from -extent/2 to extent/2, and y from -(M - 1)/(N - 1) extent/2 to the opposite. The
    height heights[i, j] is at

        x = (i/(N - 1) - 1/2) extent,    y = (j - (M - 1)/2)/(N - 1) extent.

    Heights are a loss: walkers go down.

    Attributes:
        heights: (N, M), or (S, N, M) for S surfaces. Functions return floating JAX arrays here, and
            take any real numbers.
        extent: () length of the side along the first axis, or (S,). Neighbors are
            extent / (N - 1) apart.
    """

    heights: ArrayLike
    extent: ArrayLike


def checked(surface: Surface, *, dims: int = 2, least: int = 1) -> Surface:
    """Return a surface with heights and extent as floats of one type.

    Args:
        surface: `Surface` with heights of any real type.
        dims: number of axes of the heights; 3 for many surfaces, whose extents are (S,).
        least: smallest number of points along a side.

    Returns:
        `Surface` of JAX arrays.

    Raises:
        InputError: it is no surface, the heights or extents have another shape, or the extents are
            known and not positive and finite.
    """
    if not (hasattr(surface, "heights") and hasattr(surface, "extent")):
        raise invalid("surface", f"is a {type(surface).__name__}", "a Surface(heights, extent)")
    heights, extent = floats("heights", surface.heights), floats("extent", surface.extent)
    if heights.ndim != dims or min(heights.shape[-2:]) < least:
        expected = "(N, M)" if dims == 2 else "(S, N, M)"
        raise invalid(
            "heights",
            f"has shape {heights.shape}",
            f"{expected} with at least {least} points a side",
            "map many with jax.vmap" if heights.ndim > dims else "",
        )
    if extent.shape != heights.shape[:-2]:
        raise invalid(
            "extent",
            f"has shape {extent.shape}",
            f"{heights.shape[:-2]}, one length for each surface",
        )
    if not is_traced(extent):
        known = np.asarray(extent)
        if not np.all((known > 0) & np.isfinite(known)):
            raise invalid("extent", f"is {known.tolist()}", "finite positive lengths of a side")
    return Surface(heights, extent.astype(heights.dtype))
