"""Displacements of a converged network over hyperparameters, beside their predictions."""

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import GUIDE, NOTE, RANGE_STYLES, STYLE, WIDTH, few_labels, letter

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["limiting_sweep"]


def limiting_sweep(table: xr.Dataset) -> "matplotlib.figure.Figure":
    """Plot local displacements and exponents of a sweep, with predictions and errors.

    After Kunin et al. (arXiv:2107.09133, Fig. 7 and 8). Colors stand for what is swept. No constant
    is fitted.

    - a: local displacement against eta^2 Tr(Sigma) / (S (1 - beta^2)).
    - b: their ratio, and in small points that to the prediction with the factors of the steps.
    - c: squared displacement from the start of a window; dashed, predicted from the spectral
      measure of the noise.
    - d: exponents on the second half of a window against the predicted ones.
    - e: the same against eta / (1 - beta); open symbols are predictions.
    - f: exponents by where the range of lags begins, that ends with the window; dashed, predicted.

    Args:
        table: as `tables.limiting_sweep` returns it, with the coordinate `sweep` (setting), the
            name of what is swept.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    sweeps = list(dict.fromkeys(table["sweep"].values.tolist()))
    styles = dict(zip(sweeps, cycle([("0.25", "P"), *RANGE_STYLES]), strict=False))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.3), dpi=200, layout="constrained")
        axes = figure.subplots(2, 3)
        for name, (color, marker) in styles.items():
            here = table.isel(setting=table["sweep"].values == name)
            _points(axes, here, name, color, marker)
            for i in range(here.sizes["setting"]):
                _curves(axes, here.isel(setting=i), color)
        _finish(axes, table)
        names = axes[0, 0].get_legend_handles_labels()
        figure.legend(*names, loc="outside upper center", ncols=len(sweeps))
        letter(axes)
    return figure


def _points(axes, here, name, color, marker):
    look = {"fmt": marker, "color": color, "markersize": 3, "linewidth": 0.6}
    first = here.isel(first=0)
    axes[0, 0].errorbar(
        here["local_predicted"], here["local"], here["local_error"], label=name, **look
    )
    error = np.hypot(
        here["local_error"] / here["local_predicted"],
        here["trace_scatter"] * here["local"] / here["local_predicted"],
    )
    place = here["setting"].values
    axes[0, 1].errorbar(place, here["local"] / here["local_predicted"], error, **look)
    axes[0, 1].plot(place, here["local"] / here["local_discrete"], ".", color="0.4", markersize=2)
    axes[1, 0].errorbar(
        first["exponent_predicted"],
        first["exponent"],
        first["exponent_error"],
        first["exponent_predicted_error"],
        **look,
    )
    ratio = here["learning_rate"] / (1 - here["momentum"])
    axes[1, 1].errorbar(ratio, first["exponent"], first["exponent_error"], **look)
    axes[1, 1].plot(
        ratio, first["exponent_predicted"], marker, color=color, markersize=4, fillstyle="none"
    )


def _curves(axes, row, color):
    lags = row["lag"].values
    axes[0, 2].plot(lags, row["displacement"], color=color, linewidth=0.7)
    axes[0, 2].plot(lags, row["displacement_predicted"], "--", color="0.2", linewidth=0.5)
    axes[1, 2].plot(row["first"], row["exponent"], color=color, linewidth=0.7)
    axes[1, 2].plot(row["first"], row["exponent_predicted"], "--", color="0.2", linewidth=0.5)


def _finish(axes, table):
    (local, ratio, curves), (exponents, collapse, ranges) = axes
    ends = np.array([table["local_predicted"].min() / 1.5, table["local_predicted"].max() * 1.5])
    local.plot(ends, ends, **GUIDE)
    local.set(xscale="log", yscale="log", xlabel=r"$\eta^2 \mathrm{Tr} \Sigma / S (1 - \beta^2)$")
    local.set(ylabel=r"local displacement $\|\delta\|^2$")
    ratio.axhline(1, **GUIDE)
    ratio.axhspan(0.9, 1.1, color="0.93", linewidth=0)
    ratio.set(ylabel="measured / predicted", xlabel="setting")
    curves.set(xscale="log", yscale="log", xlabel="steps $t$", ylabel=r"$\|\Delta_t\|^2$")
    first = table.isel(first=0)
    both = np.concatenate([first["exponent"].values, first["exponent_predicted"].values])
    ends = np.array([np.nanmin(both) - 0.1, np.nanmax(both) + 0.1])
    exponents.plot(ends, ends, **GUIDE)
    exponents.set(xlim=ends, ylim=ends)
    exponents.set(xlabel="predicted exponent $c$", ylabel="exponent $c$")
    collapse.set(xscale="log", xlabel=r"$\eta / (1 - \beta)$", ylabel="exponent $c$")
    ranges.set(xscale="log", xlabel="first lag of the range", ylabel="exponent $c$")
    ranges.axhline(1, **GUIDE)
    collapse.axhline(1, **GUIDE)
    for axis in (local, curves, collapse, ranges):
        few_labels(axis)
    collapse.text(0.02, 0.02, "open: predicted", transform=collapse.transAxes, **NOTE)
