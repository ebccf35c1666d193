"""Where walkers in two valleys end, and when that is decided: means and their errors."""

import numpy as np
import xarray as xr

from sgd_diffusion.walkers.two_valleys import last_frozen_step

__all__ = ["freezing"]

NOT_FROZEN = 0.05  # unfrozen fraction from which on a cell is marked
STATIONARY = 0.4  # unfrozen fraction at a held y that takes about ten hops of a walker in all


def freezing(walks: xr.Dataset) -> xr.Dataset:
    """Return shares and means over walkers, with their standard errors.

    Args:
        walks: with the dimension `walker` and any others: `freezing_step`, `freezing_y`, `final_x`
            and `final_y`, as `walkers.two_valleys.simulate` returns them; with the coordinate
            `learning_rate` and the attribute `steps`.

    Returns:
        The other dimensions, with

        - `flat_fraction`, the share in the flat valley at the end, with its binomial error
          `flat_fraction_error`, which is not 0 where all walkers are in one valley;
        - `unfrozen_fraction`, the share that crosses the ridge in the last twentieth of the steps;
        - `freezing_y`, the mean y of the last crossing, with `freezing_y_error`, and its standard
          deviation `freezing_y_std` over walkers;
        - `freezing_step`, the mean number of the step, with `freezing_step_error`;
        - `freezing_time`, learning rate times that;
        - `final_y`, with `final_y_error`.
    """
    count = walks.sizes["walker"]
    flat = (walks["final_x"] >= 0).sum("walker")
    last = last_frozen_step(int(walks.attrs["steps"]))
    shrunk = (flat + 0.5) / (count + 1)  # Jeffreys, for the error alone
    table = xr.Dataset(
        {
            "flat_fraction": flat / count,
            "flat_fraction_error": np.sqrt(shrunk * (1 - shrunk) / count),
            "unfrozen_fraction": (walks["freezing_step"] > last).mean("walker"),
            "freezing_y_std": walks["freezing_y"].astype(float).std("walker", ddof=1),
        },
        attrs=walks.attrs | {"walkers": count},
    )
    for name in ("freezing_y", "freezing_step", "final_y"):
        values = walks[name].astype(float)
        table[name] = values.mean("walker")
        table[f"{name}_error"] = values.std("walker", ddof=1) / count**0.5
    table["freezing_time"] = table["learning_rate"] * table["freezing_step"]
    return table
