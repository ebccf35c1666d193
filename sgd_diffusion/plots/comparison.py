"""Several runs side by side: exponents beside their controls, losses and accuracies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.plots.style import (
    CONTROL_MARKER,
    CONTROL_STYLES,
    GUIDE,
    SERIES_COLORS,
    STYLE,
    WIDTH,
    few_labels,
    letter,
)
from sgd_diffusion.tables.cells import each_cell

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

__all__ = ["comparison", "mean_and_error"]

MARKERS = "osD^vP*X"
SHIFT = 0.35  # of the distance between two windows, over which runs stand side by side


def comparison(table: xr.Dataset, names: Sequence[str] = ("run",)) -> "matplotlib.figure.Figure":
    """Plot exponents, losses and accuracies of several runs against the waiting time.

    One panel for each range of lags has the mean exponent over seeds with one standard error (with
    a single seed that of a bootstrap over its window). Open triangles are the exponents without the
    mean drift, crosses those of steps in random order. The other panels have the mean loss of each
    window, and the test accuracy where it ends. Runs stand side by side, so that bars do not cover
    one another.

    Args:
        table: `tables.over_cells` of the `tables.overview` of each run.
        names: its dimensions that tell the runs apart. Learning rates are told apart too.

    Returns:
        A `figure.Figure`; write it with `figure.savefig(path)`.

    Raises:
        KeyError: the table does not have a dimension.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    series = each_cell(table, names)
    ranges = table["range"].values.tolist()
    colors = [SERIES_COLORS[number % len(SERIES_COLORS)] for number in range(len(series))]
    columns = min(3, len(series))
    legend_rows = -(-(len(series) + 3) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9 + 0.15 * legend_rows), dpi=200, layout="constrained")
        axes = figure.subplots(2, max(2, len(ranges)), sharex=True, squeeze=False)
        for number, ((label, row), color) in enumerate(zip(series, colors, strict=True)):
            marker = MARKERS[number % len(MARKERS)]
            style = {"color": color, "marker": marker, "markersize": 3, "elinewidth": 0.7}
            x = _beside(row["waiting_time"].values, number, len(series))
            for axis, name in zip(axes[0], ranges, strict=False):
                _exponents(axis, x, row.sel(range=name), style, label)
            for axis, name in zip(axes[1], ("loss", "test_accuracy"), strict=False):
                if name in row:
                    axis.errorbar(x, *mean_and_error(row, name), **style)
        _finish(axes, table, ranges)
        _controls(axes[0, 0], table)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        order = np.argsort([label in CONTROL_STYLES for label in labels], kind="stable")
        figure.legend(
            [handles[place] for place in order],
            [labels[place] for place in order],
            loc="outside lower center",
            ncols=columns,
        )
    return figure


def mean_and_error(row: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over seeds and its standard error; that of a single seed is its own.

    Args:
        row: a table with the dimension `seed`.
        name: of a variable.
    """
    average = ensemble_average(row[name].transpose("seed", ...).values)
    error = average.standard_error
    if row.sizes["seed"] == 1 and f"{name}_error" in row:
        error = row[f"{name}_error"].transpose("seed", ...).values[0]
    return average.mean, error


def _beside(times: np.ndarray, number: int, count: int) -> np.ndarray:
    """Return waiting times, moved a little so that series stand side by side."""
    gap = np.nanmin(np.diff(times)) if len(times) > 1 else 1.0
    return times + SHIFT * gap * ((number + 0.5) / count - 0.5)


def _exponents(axis, x, row: xr.Dataset, style: dict[str, Any], label: str) -> None:
    axis.errorbar(x, *mean_and_error(row.sel(motion="SGD"), "exponent"), label=label, **style)
    for motion, own in CONTROL_STYLES.items():
        if motion in row["motion"].values:
            center, _ = mean_and_error(row.sel(motion=motion), "exponent")
            axis.plot(x, center, color=style["color"], **CONTROL_MARKER, **own | {"alpha": 0.7})


def _controls(axis: "matplotlib.axes.Axes", table: xr.Dataset) -> None:
    """Explain the markers of controls in the legend."""
    for motion, own in CONTROL_STYLES.items():
        if motion in table["motion"].values:
            axis.plot([], [], color="0.35", label=motion, **CONTROL_MARKER, **own)


def _finish(axes: np.ndarray, table: xr.Dataset, ranges: Sequence[str]) -> None:
    for axis, name in zip(axes[0], ranges, strict=False):
        low, high = table["lag_min"].sel(range=name), table["lag_max"].sel(range=name)
        lags = f" {int(low)}-{int(high)}" if low.ndim == high.ndim == 0 else ""
        axis.set(ylabel="fitted exponent")
        axis.set_title(f"{name} lags{lags}", loc="right")
        axis.axhline(1, linestyle="--", **GUIDE)
    axes[1, 0].set(ylabel="mini-batch loss", yscale="log")
    axes[1, 1].set(ylabel="test accuracy")
    few_labels(axes[1, 0])
    times = table["waiting_time"].values
    for axis in axes[1]:
        if times.ndim == 1 and len(times) <= 5:
            axis.set_xticks(times)
        axis.set_xlabel(r"waiting time $t_w$ (steps)")
    for axis in axes[1, 2:]:
        axis.set_visible(False)
    letter(axes)
