"""What every surface here is."""

from typing import NamedTuple

import jax

__all__ = ["Surface"]


class Surface(NamedTuple):
    """Heights above the points of a square grid, with points on all four sides of the square.

    A position is (x, y), x along the first axis. The square is centred on the origin: x goes from -extent/2 to extent/2, y
    from -(M - 1)/(N - 1) extent/2 to the opposite, and heights[i, j] is at

        x = (i/(N - 1) - 1/2) extent,    y = (j - (M - 1)/2)/(N - 1) extent.

    Heights are a loss: walkers go down.
    """

    heights: jax.Array  # (N, M)
    extent: jax.Array  # (), length of the side along the first axis, so that neighbours are extent / (N - 1) apart
