"""The tables of experiments.freezing: walks beside predicted and published numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from experiments import freezing_published, freezing_theory
from experiments.freezing_walks import LEARNING_RATE, SIGMAS, START_Y, STATIC_Y
from sgd_diffusion import tables

NOISES = np.geomspace(5e-5, 4e-3, 60)  # of the map of stationary occupations
SHOWN = (0.01, 0.05, 0.1)  # sigmas whose way is shown


def joined(walks: Sequence[xr.Dataset], name: str, values: Iterable[Any]) -> xr.Dataset:
    """Return the table of several sets of walks, along a new dimension."""
    along = xr.Variable(name, list(values))
    return tables.freezing(xr.concat(walks, along, combine_attrs="drop_conflicts"))


def sweep_table(walks: xr.Dataset, options: Any) -> xr.Dataset:
    """Return the table of the sweep, beside predicted and published numbers where there are any."""
    table = tables.freezing(walks)
    if options.noise != "hessian":
        return table
    predicted = freezing_theory.predictions(
        LEARNING_RATE, SIGMAS, START_Y, table["final_y"].values, STATIC_Y
    )
    published = freezing_published.sweep(SIGMAS) if options.steps == freezing_published.LONG else {}
    return table.merge(predicted).assign(published)


def ways(walks: xr.Dataset, options: Any) -> xr.Dataset:
    """Return the share in the flat valley on the way, against the mean y."""
    chosen = walks.sel(sigma=list(SHOWN))
    found = xr.Dataset(
        {"flat_fraction": chosen["recorded_flat"], "mean_y": chosen["recorded_y"]},
        attrs={"walkers": walks.sizes["walker"], "start_y": START_Y},
    )
    if options.noise == "hessian" and options.steps == freezing_published.LONG:
        found["published_flat_fraction"] = freezing_published.ways(chosen["sigma"].values)
    return found
