"""Losses of planes through the end of a path, and how far the path is from them."""

import numpy as np
import xarray as xr

__all__ = ["planes"]


def planes(surfaces: xr.Dataset) -> xr.Dataset:
    """Return the losses of planes, and the distance of the path from each of them.

    Args:
        surfaces: with `loss` (plane, seed, learning_rate, row, column) at `x` (column) and `y`
            (row) of each plane, the path `path_x`, `path_y` (.., update) in it, its distance
            `off_plane` from it, and `path_length`, its distance from its own end.

    Returns:
        Dataset with dimensions (plane, seed, learning_rate), NaN for members that diverged:
        `loss_at_end`, at the point of the grid that is nearest to the end of the path;
        `smallest_loss` and `largest_loss`; `off_halfway` and `off_start`, how far the path is from
        the plane halfway and at its start, as shares of its distance from its end.
    """
    loss = surfaces["loss"]
    end = surfaces[["path_x", "path_y"]].isel(update=-1, drop=True)
    known = np.isfinite(end["path_x"]) & np.isfinite(end["path_y"])
    nearest = {
        dim: abs(surfaces[axis] - end[f"path_{axis}"]).where(known, 0.0).argmin(dim)
        for axis, dim in (("x", "column"), ("y", "row"))
    }
    length = surfaces["path_length"]
    off = surfaces["off_plane"] / length.where(length != 0)
    return xr.Dataset(
        {
            "loss_at_end": loss.isel(nearest).where(known),
            "smallest_loss": loss.min(("row", "column"), skipna=False),
            "largest_loss": loss.max(("row", "column"), skipna=False),
            "off_halfway": off.isel(update=surfaces.sizes["update"] // 2, drop=True),
            "off_start": off.isel(update=0, drop=True),
        }
    )
