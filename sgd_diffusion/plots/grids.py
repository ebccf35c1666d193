"""Cells of a diagram with two axes, each with its color and its number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["numbered_cells"]

DARK = 0.5  # luminance below which numbers are white


def numbered_cells(
    axis: "matplotlib.axes.Axes",
    grid: np.ndarray,
    *,
    rows: Sequence[float],
    columns: Sequence[float],
    number: str,
    fontsize: float = 4.2,
    **image: Any,
) -> None:
    """Draw a cell for every number of a grid, from below, with the number in it.

    Args:
        axis: to draw on.
        grid: (row, column); nothing is written where it is NaN.
        rows: what the rows are.
        columns: what the columns are.
        number: format of the numbers, such as "{:.2f}".
        fontsize: of the numbers.
        image: more for `Axes.imshow`, such as the colors and their limits.
    """
    drawn = axis.imshow(grid, origin="lower", aspect="auto", **image)
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value):
            red, green, blue, _ = drawn.cmap(drawn.norm(value))
            axis.text(
                column,
                row,
                number.format(value),
                ha="center",
                va="center",
                fontsize=fontsize,
                color="white" if 0.3 * red + 0.59 * green + 0.11 * blue < DARK else "black",
            )
    axis.set_xticks(range(len(columns)), [f"{value:g}" for value in columns], rotation=90)
    axis.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
