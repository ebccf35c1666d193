"""Find the wide basin of a surface by one stated rule, so that no one picks landscapes by hand."""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from sgd_diffusion._arrays import host_array, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.fractal_surfaces.controls import filter_along
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface, checked

__all__ = ["Basin", "wide_basin"]


@shown_briefly
class Basin(NamedTuple):
    """The region around the lowest point of a smoothed surface.

    Attributes:
        region: (N, M) whether each point of the grid is in the basin, a connected region.
        area: share of the square that the basin covers.
        center: (2,) position of the lowest point, in the unit of the surface's extent.
        margin: distance of the lowest point from the nearest wall, in the same unit.
        depth: median minus lowest height of the smoothed surface, in the unit of the heights.
    """

    region: Bool[np.ndarray, "row column"]
    area: float
    center: Float[np.ndarray, "2"]
    margin: float
    depth: float


def wide_basin(
    surface: Surface, *, smoothing: NumberLike = 1 / 32, filling: NumberLike = 0.5
) -> Basin:
    """Return the basin around the lowest point of a surface on scales above `smoothing`.

    A Gaussian filter smooths the heights, so that no narrow hole counts. The basin is the connected
    region around the lowest point where height < m + filling (M - m). Here m is the lowest height
    of the smoothed surface and M its median. The computation runs in float64 on the host.

    Args:
        surface: one `fractal_surfaces.Surface` with finite heights (N, M).
        smoothing: standard deviation of the filter as a share of the side along the first axis, in
            (0, 1).
        filling: share of the depth to which the basin is filled, in (0, 1).

    Returns:
        `Basin`.

    Raises:
        InputError: the heights are not one finite surface or are all alike, or a parameter is out
            of range.
    """
    checked(surface, least=2)
    heights = host_array("heights", surface.heights)
    extent = float(host_array("extent", surface.extent))
    if not np.isfinite(heights).all() or heights.min() == heights.max():
        constant = np.isfinite(heights).all()
        raise invalid(
            "heights",
            "is the same number everywhere" if constant else "has NaN or infinite numbers",
            "(N, M) finite numbers that are not all alike",
        )
    smoothing = number("smoothing", smoothing, above=0, below=1, what="as a share of the side")
    filling = number("filling", filling, above=0, below=1, what="as a share of the depth")
    rows, columns = (
        filter_along(points, smoothing * (len(heights) - 1)) for points in heights.shape
    )
    smooth = rows @ heights @ columns.T
    lowest = np.unravel_index(smooth.argmin(), smooth.shape)
    depth = np.median(smooth) - smooth[lowest]
    parts, _ = scipy.ndimage.label(smooth < smooth[lowest] + filling * depth)
    region = parts == parts[lowest]
    spacing = extent / (len(heights) - 1)
    center = (np.array(lowest) - (np.array(heights.shape) - 1) / 2) * spacing
    margin = (
        min(
            min(place, points - 1 - place)
            for place, points in zip(lowest, heights.shape, strict=True)
        )
        * spacing
    )
    return Basin(region, float(region.mean()), center, float(margin), float(depth))
