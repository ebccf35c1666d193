"""Rates of escape over what is swept, beside exact times of the theory."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import NOTE, RANGE_STYLES, STYLE, WIDTH, letter

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["escape_rates"]

COLORS = [color for color, _ in RANGE_STYLES]
MOST_IN_A_ROW = 4
# What is swept: its label and its symbol.
SWEEPS = {
    "1/D": ("$1 / D$", "D"),
    "B": ("$B$", "o"),
    "1/eta": (r"$1 / \eta$", "s"),
    "1/k": ("$1 / k$", "^"),
    "ln k": (r"$\ln k$", "v"),
}
THEORY: dict[str, Any] = {"color": "0.25", "linewidth": 0.7}


def escape_rates(table: xr.Dataset) -> "matplotlib.figure.Figure":
    r"""Plot logarithms of escape times against what is swept, and against the coldness.

    After Xie et al. (arXiv:2002.03495). A panel is a sweep of one loss, a color a kind of noise, a
    symbol what is swept. Points are measured, with two standard errors; lines are exact first
    passage times of a diffusion. Slopes are written beside those of the lines, with Pearson's r.

    - A sweep of ln k shows rates over that of the smallest k, of all kinds of noise.
    - The last panel has all sweeps of the noise of examples against B / (eta k), with the factor k
      of the rate taken out, where there are several.

    Args:
        table: as `tables.escape_rates` returns it.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    losses, sweeps = (table[name].values.tolist() for name in ("loss", "sweep"))
    panels = list(dict.fromkeys(zip(losses, sweeps, strict=True)))
    of_examples = table.isel(line=table["batch_size"].notnull().any("point").values)
    colors = dict(zip(dict.fromkeys(table["noise"].values.tolist()), COLORS, strict=False))
    with mpl.rc_context(STYLE):
        count = len(panels) + (of_examples.sizes["line"] > 1)
        rows = 1 if count <= MOST_IN_A_ROW else 2
        figure = Figure(figsize=(WIDTH, 0.5 + 1.9 * rows), dpi=200, layout="constrained")
        axes = figure.subplots(rows, -(-count // rows), squeeze=False)
        for axis in axes.flat[count:]:
            axis.set_axis_off()
        for axis, (loss, sweep) in zip(axes.flat, panels, strict=False):
            if sweep == "ln k":
                _sharpness(axis, table, colors)
                continue
            here = (table["loss"] == loss) & (table["sweep"] == sweep)
            _sweep(axis, table.isel(line=here.values), colors)
            axis.set(xlabel=SWEEPS[sweep][0], ylabel=r"$-\ln \Gamma$")
            axis.set_title(loss, loc="right", **NOTE)
        if count > len(panels):
            _collapse(axes.flat[count - 1], of_examples, colors)
        _legend(figure, colors)
        letter(axes.flat[:count])
    return figure


def _rows(table, abscissa):
    """Lines one by one, with their points in order."""
    for i in range(table.sizes["line"]):
        yield table.isel(line=i).dropna("point", subset=["log_time"]).sortby(abscissa)


def _sweep(axis, table, colors):
    notes = []
    for row in _rows(table, "abscissa"):
        _line(axis, row, row["abscissa"], row["log_time"], row["log_time_predicted"], colors)
        r = row["correlation"].item()
        notes += [
            f"{row['slope'].item():.4g} ± {row['slope_error'].item():.2g}"
            + (f", $r$ = {r:.5f}" if np.isfinite(r) else "")
        ]
    notes.append(f"exact {table['slope_predicted'].values[0]:.4g}")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + (0.1 + 0.1 * len(notes)) * (high - low))
    axis.text(0.04, 0.99, "\n".join(notes), transform=axis.transAxes, va="top", **NOTE)


def _sharpness(axis, table, colors):
    swept = np.isin(table["sweep"].values, ("ln k", "1/k"))
    for row in _rows(table.isel(line=swept), "sharpness"):
        measured, predicted = (
            row[name][0] - row[name] for name in ("log_time", "log_time_predicted")
        )
        _line(axis, row, np.log(row["sharpness"]), measured, predicted, colors)
    axis.set(xlabel=r"$\ln k$", ylabel=r"$\ln \Gamma / \Gamma_0$")


def _collapse(axis, table, colors):
    for row in _rows(table, "coldness"):
        shift = np.log(row["sharpness"])
        _line(
            axis,
            row,
            row["coldness"],
            row["log_time"] + shift,
            row["log_time_predicted"] + shift,
            colors,
        )
    axis.set(xlabel=r"$B / \eta k$", ylabel=r"$-\ln (\Gamma / k)$")


def _line(axis, row, x, measured, predicted, colors):
    axis.plot(x, predicted, **THEORY)
    axis.errorbar(
        x,
        measured,
        2 * row["log_time_error"],
        fmt=SWEEPS[row["sweep"].item()][1],
        color=colors[row["noise"].item()],
        markersize=3,
        linewidth=0.6,
        fillstyle="none",
    )


def _legend(figure, colors):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    handles.append(Line2D([], [], label="exact, of a diffusion", **THEORY))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
