"""What tables of members share: their dimensions, and numbers from one member after the other."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["MEMBERS", "member_coordinates", "rows"]

MEMBERS = ("window", "seed", "learning_rate")


def member_coordinates(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset with nothing but the coordinates of members and windows."""
    return xr.Dataset(
        coords={
            name: dataset[name] for name in (*MEMBERS, "waiting_time") if name in dataset.coords
        }
    )


def rows(
    dataset: xr.Dataset,
    sizes: Mapping[str, int],
    row: Callable[[xr.Dataset, tuple[int, ...]], Mapping[str, Any]],
    *dims: str,
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Return the numbers that a function finds for all combinations of indices.

    Args:
        dataset: of all members.
        sizes: {dimension: size} of the indices.
        row: `row(part of the dataset, its indices) -> {name: number}`.
        dims: if given, each number is an array, and these are names of its dimensions, from the
            first on.

    Returns:
        {name: (dims, array)}, with `dims` before the dimensions of `sizes`.
    """
    all_rows = [
        row(dataset.isel(dict(zip(sizes, index, strict=True))), index)
        for index in np.ndindex(*sizes.values())
    ]

    def joined(name):
        values = np.stack([numbers[name] for numbers in all_rows], axis=-1)
        return values.reshape(*values.shape[:-1], *sizes.values())

    return {
        name: ((*dims[: np.ndim(number)], *sizes), joined(name))
        for name, number in all_rows[0].items()
    }
