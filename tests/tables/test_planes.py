"""The table of planes: the loss where the path ends, and how far the path is from the plane."""

import numpy as np
import xarray as xr

from sgd_diffusion import tables


def test_losses_and_distances_of_a_plane():
    """A bowl whose lowest point is at (0, 1), and a path that ends near it; seed 1 diverged."""
    members, shape = ("plane", "seed", "learning_rate"), (1, 2, 1)
    x, y = np.linspace(-2, 2, 5), np.linspace(-3, 3, 7)
    path = np.array([2.0, 1.0, 0.2]), np.array([-3.0, 0.0, 0.9])
    arrays = {
        "loss": (("row", "column"), (y[:, None] - 1) ** 2 + x**2),
        "x": (("column",), x),
        "y": (("row",), y),
        "path_x": (("update",), path[0]),
        "path_y": (("update",), path[1]),
        "off_plane": (("update",), np.array([3.0, 1.0, 0.0])),
        "path_length": (("update",), np.array([6.0, 4.0, 0.0])),
    }
    surfaces = xr.Dataset(
        {
            name: ((*members, *dims), np.tile(a, (*shape, *[1] * a.ndim)))
            for name, (dims, a) in arrays.items()
        },
        {"plane": ["random"], "seed": [0, 1], "learning_rate": [0.1], "update": [0, 5, 10]},
    )
    surfaces = surfaces.where(surfaces.seed == 0)
    table = tables.planes(surfaces).squeeze(["plane", "learning_rate"])
    found = table.sel(seed=0)
    assert float(found.loss_at_end) == float(found.smallest_loss) == 0.0
    assert float(found.largest_loss) == 20.0
    assert (float(found.off_start), float(found.off_halfway)) == (0.5, 0.25)
    assert all(np.isnan(table.sel(seed=1)[name]) for name in table)
