"""Rates of escape over what is swept, beside exact times of the theory."""

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import NOTE, RANGE_STYLES, STYLE, WIDTH, letter

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["escape_rates"]

LABELS = {
    "1/eta": r"$1 / \eta$",
    "1/D": "$1 / D$",
    "B": "$B$",
    "1/k": "$1 / k$",
    "ln k": r"$\ln k$",
}


def escape_rates(table: xr.Dataset) -> "matplotlib.figure.Figure":
    r"""Plot logarithms of escape times against what is swept, and against the coldness.

    After Xie et al. (arXiv:2002.03495). A panel is a sweep of one loss, and a color a kind of
    noise. Points are measured, with two standard errors; lines are exact first passage times of a
    diffusion. The last panel has all sweeps of the noise of examples against B / (eta k), with the
    factor k of the rate taken out, where there are several.

    Args:
        table: as `tables.escape_rates` returns it.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = list(
        dict.fromkeys(
            zip(table["loss"].values.tolist(), table["sweep"].values.tolist(), strict=True)
        )
    )
    kinds = dict.fromkeys(table["noise"].values.tolist())
    styles = dict(zip(kinds, cycle(RANGE_STYLES), strict=False))
    of_examples = table.isel(line=np.isfinite(table["batch_size"]).any("point").values)
    several = of_examples.sizes["line"] > 1
    count = len(panels) + several
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.35), dpi=200, layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)
        for axis, (loss, sweep) in zip(axes[0], panels, strict=False):
            here = (table["loss"] == loss) & (table["sweep"] == sweep)
            _panel(axis, table.isel(line=here.values), styles)
            axis.set(xlabel=LABELS[sweep])
            axis.set_title(loss, loc="right", **NOTE)
        if several:
            _collapse(axes[0, -1], of_examples, styles)
        axes[0, 0].set(ylabel=r"$-\ln \Gamma$")
        if len(kinds) > 1:
            _legend(figure, styles)
        letter(axes)
    return figure


def _panel(axis, table, styles):
    notes = []
    for i in range(table.sizes["line"]):
        row = table.isel(line=i).dropna("point", subset=["log_time"]).sortby("abscissa")
        color, marker = styles[row["noise"].item()]
        axis.plot(row["abscissa"], row["log_time_predicted"], color=color, linewidth=0.8)
        _points(axis, row["abscissa"], row["log_time"], row["log_time_error"], color, marker)
        notes.append(
            f"{row['slope'].item():.4g} ± {row['slope_error'].item():.2g}\n"
            f"exact {row['slope_predicted'].item():.4g}"
        )
    _room(axis)
    axis.text(0.04, 0.98, "\n".join(notes), transform=axis.transAxes, va="top", **NOTE)


def _collapse(axis, table, styles):
    for i in range(table.sizes["line"]):
        row = table.isel(line=i).dropna("point", subset=["log_time"]).sortby("coldness")
        color, marker = styles[row["noise"].item()]
        shift = np.log(row["sharpness"])
        axis.plot(row["coldness"], row["log_time_predicted"] + shift, color=color, linewidth=0.8)
        _points(
            axis,
            row["coldness"],
            row["log_time"] + shift,
            row["log_time_error"],
            color,
            ("o", "s", "^", "D")[i % 4],
        )
    axis.set(xlabel=r"$B / \eta k$", ylabel=r"$-\ln (\Gamma / k)$")


def _points(axis, x, y, error, color, marker):
    axis.errorbar(
        x, y, 2 * error, fmt=marker, color=color, markersize=3, linewidth=0.6, fillstyle="none"
    )


def _room(axis):
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.3 * (high - low))


def _legend(figure, styles):
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, marker=marker, markersize=3, fillstyle="none", label=name)
        for name, (color, marker) in styles.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
