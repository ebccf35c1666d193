"""What every surface here is, and how surfaces and their parameters are read."""

from typing import NamedTuple

import jax
import numpy as np

from sgd_diffusion._arrays import floats, is_traced
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.errors import InputError

__all__ = ["MOST_POINTS", "Surface", "checked"]

MOST_POINTS = 2**15 + 1  # along a side, 4 GiB in float32


@shown_briefly
class Surface(NamedTuple):
    """Heights above the points of a square grid, with points on all four sides of the square.

    A position is (x, y), x along the first axis. The square is centred on the origin: x goes from
    -extent/2 to extent/2, y from -(M - 1)/(N - 1) extent/2 to the opposite, and heights[i, j] is at

        x = (i/(N - 1) - 1/2) extent,    y = (j - (M - 1)/2)/(N - 1) extent.

    Heights are a loss: walkers go down.
    """

    heights: jax.Array  # (N, M)
    extent: (
        jax.Array
    )  # (), length of the side along the first axis, so that neighbours are extent / (N - 1) apart


def checked(surface, *, dims=2, least=1):
    """A surface with heights and extent as floats of one type.

    Args:
        surface: `Surface` with heights of any real type.
        dims: of the heights; 3 for many surfaces, whose extents are (S,).
        least: points along a side.

    Raises:
        InputError: no surface; heights of another shape; extents of another shape, or known and not
            positive and finite.
    """
    if not (hasattr(surface, "heights") and hasattr(surface, "extent")):
        raise InputError(
            f"surface is a {type(surface).__name__}; expected a Surface(heights, extent)"
        )
    heights, extent = floats("heights", surface.heights), floats("extent", surface.extent)
    if heights.ndim != dims or min(heights.shape[-2:]) < least:
        expected = "(N, M)" if dims == 2 else "(S, N, M)"
        raise InputError(
            f"heights has shape {heights.shape}; expected {expected} with at least {least} points "
            "a side" + (": map many with jax.vmap" if heights.ndim > dims else "")
        )
    if extent.shape != heights.shape[:-2]:
        raise InputError(
            f"extent has shape {extent.shape}; expected {heights.shape[:-2]}, one length for each "
            "surface"
        )
    if not is_traced(extent):
        known = np.asarray(extent)
        if not np.all((known > 0) & np.isfinite(known)):
            raise InputError(
                f"extent is {known.tolist()}; expected finite positive lengths of a side"
            )
    return Surface(heights, extent.astype(heights.dtype))
