"""Tails of gradient noise across parameters and across mini-batches."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import GUIDE, NOTE, RANGE_STYLES, STYLE, WIDTH, letter

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["noise_tails"]


def noise_tails(table: xr.Dataset) -> "matplotlib.figure.Figure":
    """Plot laws of gradient noise across parameters and across mini-batches, and their indices.

    After Xie et al. (arXiv:2002.03495). Sizes are over the root mean square of their sample. Colors
    stand for the direction of the samples.

    - a, b: density of sizes of the first and of the third case; lines are normal noise of the same
      variances, and dotted is the normal law.
    - c: stability indices of all cases; bars are the scatter of samples, open symbols are normal
      noise of the same variances, and crosses are the formula for it.

    Args:
        table: `tables.noise_tails` of several kinds of noise, along `case`.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5), dpi=200, layout="constrained")
        axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
        for axis, place in zip(axes, (0, min(2, table.sizes["case"] - 1)), strict=False):
            _density(axis, table.isel(case=place))
        _indices(axes[2], table)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        letter(axes)
    return figure


def _density(axis, row):
    sizes = row["size"].values
    for direction, (color, marker) in zip(row["direction"].values, RANGE_STYLES, strict=False):
        here = row.sel(direction=direction)["density"]
        measured, normal = (
            np.where(values > 0, values, np.nan)
            for values in (here.sel(kind=kind).values for kind in ("measured", "normal"))
        )
        axis.plot(
            sizes, measured, marker, color=color, markersize=2, fillstyle="none", label=direction
        )
        axis.plot(sizes, normal, color=color, linewidth=0.6)
    law = np.sqrt(2 / np.pi) * np.exp(-(sizes**2) / 2)
    axis.plot(sizes, law, ":", color="0.2", linewidth=0.8, label="normal law")
    axis.set(xscale="log", yscale="log", xlim=(1e-2, 30), ylim=(1e-6, 50))
    axis.set(xlabel="size / root mean square", ylabel="density")
    axis.set_title(row["case"].item(), loc="right", **NOTE)


def _indices(axis, table):
    places = np.arange(table.sizes["case"])
    for direction, (color, marker) in zip(table["direction"].values, RANGE_STYLES, strict=False):
        here = table.sel(direction=direction)
        measured = here.sel(kind="measured")
        axis.errorbar(
            measured["alpha"],
            places,
            xerr=measured["alpha_spread"],
            fmt=marker,
            color=color,
            markersize=3,
            linewidth=0.6,
        )
        normal = here["alpha"].sel(kind="normal")
        axis.plot(normal, places, marker, color=color, markersize=5.5, fillstyle="none")
        axis.plot(here["alpha_predicted"], places, "x", color="0.2", markersize=3)
    axis.axvline(2, **GUIDE)
    axis.set_yticks(places, table["case"].values)
    axis.set(xlabel=r"index $\hat\alpha$", xlim=(0, 2.2))
    axis.invert_yaxis()
