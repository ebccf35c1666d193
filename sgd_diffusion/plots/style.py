"""How all figures look.

Figures are made for print: 180 mm wide, 7 pt type, perceptually uniform colors, 200 dots per inch
unless `savefig` is told otherwise.
"""

import string
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Shaped

from sgd_diffusion._types import NumberLike

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.cm
    import matplotlib.figure

__all__ = [
    "CONTROL_MARKER",
    "CONTROL_STYLES",
    "GUIDE",
    "NOTE",
    "RANGE_STYLES",
    "SERIES_COLORS",
    "STYLE",
    "WIDTH",
    "color_bar",
    "few_labels",
    "leave_empty",
    "letter",
    "rate_title",
    "waiting_time_colors",
]

STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 0.9,
    "lines.solid_capstyle": "round",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.2,
    "legend.handletextpad": 0.4,
    "legend.borderaxespad": 0.2,
}
WIDTH = 7.1  # inches, 180 mm
GUIDE: dict[str, Any] = {"color": "0.45", "linewidth": 0.7}
NOTE: dict[str, Any] = {"color": "0.35", "fontsize": 6.5}
CONTROL_STYLES: dict[str, dict[str, Any]] = {
    "drift subtracted": {"marker": "v", "linestyle": "--", "linewidth": 0.5},
    "shuffled": {"marker": "x", "linestyle": "none"},
    "full-batch descent": {"marker": "^", "linestyle": ":", "linewidth": 0.5},
    "averaged weights": {"marker": "D", "linestyle": "-.", "linewidth": 0.5},
}
CONTROL_MARKER: dict[str, Any] = {
    "markersize": 3.2,
    "markerfacecolor": "white",
    "markeredgewidth": 0.6,
}
# Okabe and Ito.
SERIES_COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35", "#B2A300"
)  # fmt: skip
RANGE_STYLES = [("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]


def waiting_time_colors(
    waiting_times: Shaped[np.ndarray, "window"],
) -> "matplotlib.cm.ScalarMappable":
    """Return the colors of windows by their waiting time.

    They are viridis without its last tenth, which is too light for thin lines.
    """
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.9, 256)))
    return ScalarMappable(
        Normalize(waiting_times.min(), max(waiting_times.max(), waiting_times.min() + 1)), shades
    )


def color_bar(
    figure: "matplotlib.figure.Figure",
    axis: "matplotlib.axes.Axes",
    colors: "matplotlib.cm.ScalarMappable",
    label: str,
) -> None:
    """Explain colors in a narrow bar at the right of a panel."""
    bar = figure.colorbar(colors, cax=axis.inset_axes((1.04, 0, 0.035, 1)))
    bar.set_label(label)
    bar.outline.set_visible(False)


def rate_title(learning_rate: float) -> str:
    """Return what a panel of one learning rate is called: nothing, if it is not known (NaN)."""
    return rf"$\eta$ = {learning_rate:g}" if np.isfinite(learning_rate) else ""


def at_learning_rate(
    learning_rate: NumberLike | None, *datasets: xr.Dataset
) -> tuple[xr.Dataset, ...]:
    """Return datasets at one learning rate, the first dataset's first one when None.

    Raises:
        KeyError: a dataset does not have it.
    """
    if learning_rate is None:
        learning_rate = datasets[0]["learning_rate"].values[0]
    return tuple(dataset.sel(learning_rate=learning_rate) for dataset in datasets)


def leave_empty(axes: np.ndarray, note: str) -> None:
    """Write into panels that have nothing to show why this is so."""
    for axis in axes.flat:
        axis.text(0.5, 0.5, note, transform=axis.transAxes, ha="center", **NOTE)


def few_labels(axis: "matplotlib.axes.Axes") -> None:
    """Label powers of ten alone on logarithmic axes, and on short ones 1, 2 and 5 times these."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for each in (axis.xaxis, axis.yaxis):
        if each.get_scale() != "log":
            continue
        low, high = each.get_view_interval()
        if high / low < 20:
            each.set_major_locator(LogLocator(subs=(1, 2, 5)))
            each.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        each.set_minor_formatter(NullFormatter())


def letter(axes: np.ndarray) -> None:
    """Give panels the letters by which captions name them, row by row."""
    for name, axis in zip(string.ascii_lowercase, axes.flat, strict=False):
        axis.set_title(name, fontweight="bold", loc="left")
