"""The wide basin of a surface: found by one stated rule, so that no landscape has to be picked by
hand.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from sgd_diffusion._arrays import host_array, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.fractal_surfaces.controls import filter_along
from sgd_diffusion.landscape.fractal_surfaces.surface import checked

__all__ = ["Basin", "wide_basin"]


@shown_briefly
class Basin(NamedTuple):
    """The region around the lowest point of a smoothed surface."""

    region: np.ndarray  # (N, M) booleans, one connected part of the grid
    area: float  # its share of the square
    centre: np.ndarray  # (2,) position of the lowest point, unit of the surface's extent
    margin: float  # distance of that point from the nearest wall, same unit
    depth: float  # median less lowest height of the smoothed surface, unit of the heights


def wide_basin(surface, *, smoothing=1 / 32, filling=0.5):
    """Basin of the lowest point of a surface, on scales above `smoothing`.

    The heights are smoothed by a Gaussian filter, so that no narrow hole counts. The basin is the
    connected part, around the lowest point that is left, of where the smoothed surface lies less
    than `filling` of the way up from there to its median. Worked out in float64 on the host.

    Args:
        surface: one `fractal_surfaces.Surface` with finite heights
            (N, M).
        smoothing: standard deviation of the filter as a share of the side along the first axis,
            positive.
        filling: share of the depth to which the basin is filled, in (0, 1).

    Returns:
        `Basin`.

    Raises:
        InputError: heights that are not one finite surface or all alike, or a parameter out of
            range.
    """
    checked(surface, least=2)
    heights, extent = (
        host_array("heights", surface.heights),
        float(host_array("extent", surface.extent)),
    )
    if not np.isfinite(heights).all() or heights.min() == heights.max():
        raise InputError(
            f"heights has shape {heights.shape}; expected (N, M) finite numbers that are not all "
            "alike"
        )
    smoothing = number("smoothing", smoothing, above=0, below=1, what="as a share of the side")
    filling = number("filling", filling, above=0, below=1, what="as a share of the depth")
    rows, columns = (
        filter_along(points, smoothing * (len(heights) - 1)) for points in heights.shape
    )
    smooth = rows @ heights @ columns.T
    lowest = np.unravel_index(smooth.argmin(), smooth.shape)
    depth = np.median(smooth) - smooth[lowest]
    parts, _ = ndimage.label(smooth < smooth[lowest] + filling * depth)
    region = parts == parts[lowest]
    spacing = extent / (len(heights) - 1)
    centre = (np.array(lowest) - (np.array(heights.shape) - 1) / 2) * spacing
    margin = (
        min(
            min(place, points - 1 - place)
            for place, points in zip(lowest, heights.shape, strict=True)
        )
        * spacing
    )
    return Basin(region, float(region.mean()), centre, float(margin), float(depth))
