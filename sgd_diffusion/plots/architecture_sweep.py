"""How depth, shortcuts and batch size decide exponents, onset and accuracy."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sgd_diffusion.plots.comparison import MARKERS, mean_and_error
from sgd_diffusion.plots.style import (
    CONTROL_MARKER,
    GUIDE,
    SERIES_COLORS,
    STYLE,
    WIDTH,
    letter,
)

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["architecture_sweep"]

DRIFT = "drift subtracted"
QUANTITIES = {
    "first_exponent": "exponent, first window",
    "last_exponent": "exponent, last window",
    "onset": r"onset $\tau_0$ (steps)",
    "test_accuracy": "test accuracy",
}
SHORTCUTS: dict[bool, tuple[Any, Any, str]] = {
    True: ("-", None, "with shortcuts"),
    False: (":", "white", "without"),
}


def architecture_sweep(table: xr.Dataset) -> "matplotlib.figure.Figure":
    """Plot exponents, onset and accuracy against batch size and against depth.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 3). Above against the batch size, with a color for
    each depth; below against the depth, with a color for each batch size. Full markers and lines
    are networks with shortcuts, open ones and dots those without. From the left: long-lag exponents
    of the first and of the last window, mean over seeds with one standard error, over faint
    triangles for the same without the mean drift; the onset of superdiffusion in the first window;
    the test accuracy at the end. Seeds without superdiffusion have no onset, and are left out
    there.

    Args:
        table: `tables.regimes` with the dimensions depth, shortcut, batch_size, seed, learning_rate
            and motion, at the first of its learning rates.

    Returns:
        A `figure.Figure`; write it with `figure.savefig(path)`.

    Raises:
        KeyError: the table does not have one of these dimensions.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    table = table.isel(learning_rate=0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), dpi=200, layout="constrained")
        axes = figure.subplots(2, len(QUANTITIES), sharey="col", squeeze=False)
        for row, (along, colored) in enumerate((("batch_size", "depth"), ("depth", "batch_size"))):
            for axis, name in zip(axes[row], QUANTITIES, strict=True):
                _panel(axis, table, name, along, colored)
                axis.set(xscale="log", xlabel=along.replace("_", " "))
                axis.set_xticks(
                    table[along].values, [f"{value:g}" for value in table[along].values]
                )
                axis.minorticks_off()
                axis.margins(x=0.15)
            _legend(figure, axes[row, -1], table, colored)
        for column, (name, label) in enumerate(QUANTITIES.items()):
            for axis in axes[:, column]:
                axis.set_ylabel(label)
                if name.endswith("exponent"):
                    axis.axhline(1, linestyle="--", **GUIDE)
        letter(axes)
    return figure


def _panel(axis, table: xr.Dataset, name: str, along: str, colored: str) -> None:
    places = [(value, short) for value in table[colored].values for short in table.shortcut.values]
    for number, (value, short) in enumerate(places):
        row = table.sel({colored: value, "shortcut": short}).sortby(along)
        color = SERIES_COLORS[table[colored].values.tolist().index(value) % len(SERIES_COLORS)]
        line, face, _ = SHORTCUTS[bool(short)]
        marker = MARKERS[table[colored].values.tolist().index(value) % len(MARKERS)]
        style: dict[str, Any] = {"color": color, "linestyle": line, "linewidth": 0.8}
        x = row[along].values * 2 ** (0.12 * (number - (len(places) - 1) / 2))  # side by side
        if "motion" in row[name].dims:
            if DRIFT in row["motion"].values:
                center, _ = mean_and_error(row.sel(motion=DRIFT), name)
                own = CONTROL_MARKER | {"markersize": 2.6, "marker": "v", "alpha": 0.45}
                axis.plot(x, center, **style | {"linewidth": 0.4}, **own)
            row = row.sel(motion="SGD")
        own = {"marker": marker, "markersize": 3.2, "markerfacecolor": face or color}
        axis.errorbar(x, *mean_and_error(row, name), elinewidth=0.7, **style, **own)


def _legend(figure, axis, table: xr.Dataset, colored: str) -> None:
    """Explain colors and lines at the right of a row."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=SERIES_COLORS[number % len(SERIES_COLORS)],
               marker=MARKERS[number % len(MARKERS)], markersize=3.2,
               label=f"{colored.replace('_', ' ')} {value:g}")
        for number, value in enumerate(table[colored].values)
    ]  # fmt: skip
    for short in np.atleast_1d(table.shortcut.values):
        line, face, label = SHORTCUTS[bool(short)]
        handles.append(
            Line2D([], [], color="0.35", linestyle=line, marker="o", markersize=3.2,
                   markerfacecolor=face or "0.35", label=label)
        )  # fmt: skip
    handles.append(
        Line2D([], [], color="0.35", linewidth=0.4, label="no drift", alpha=0.45, marker="v",
               **CONTROL_MARKER | {"markersize": 2.6})
    )  # fmt: skip
    axis.legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5))
