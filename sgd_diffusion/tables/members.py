"""What tables of members share: their dimensions, and numbers from one member after the other."""

import numpy as np
import xarray as xr

__all__ = ["MEMBERS", "member_coordinates", "rows"]

MEMBERS = ("window", "seed", "learning_rate")


def member_coordinates(dataset):
    """Dataset with nothing but the coordinates of members and windows."""
    return xr.Dataset(
        coords={
            name: dataset[name] for name in (*MEMBERS, "waiting_time") if name in dataset.coords
        }
    )


def rows(dataset, sizes, row, *dims):
    """Numbers {name: (dims, array)} from `row(part of the dataset, its indices)` for all
    combinations of indices.

    With dims, each of these numbers is an array of the first of them, which come first.
    """
    found = [
        row(dataset.isel(dict(zip(sizes, index, strict=True))), index)
        for index in np.ndindex(*sizes.values())
    ]

    def joined(name):
        values = np.stack([numbers[name] for numbers in found], axis=-1)
        return values.reshape(*values.shape[:-1], *sizes.values())

    return {
        name: ((*dims[: np.ndim(number)], *sizes), joined(name))
        for name, number in found[0].items()
    }
