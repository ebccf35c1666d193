"""How all figures look.

Figures are made for print: 180 mm wide, 7 pt type, perceptually uniform colours, 200 dots per inch
unless `savefig` is told otherwise.
"""

import string

import numpy as np

__all__ = [
    "CONTROL_MARKER",
    "CONTROL_STYLES",
    "GUIDE",
    "NOTE",
    "RANGE_STYLES",
    "STYLE",
    "WIDTH",
    "color_bar",
    "leave_empty",
    "letter",
    "waiting_time_colors",
]

STYLE = {
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
GUIDE = {"color": "0.45", "linewidth": 0.7}
NOTE = {"color": "0.35", "fontsize": 6.5}
CONTROL_STYLES = {
    "drift subtracted": {"marker": "v", "linestyle": "--", "linewidth": 0.5},
    "shuffled": {"marker": "x", "linestyle": "none"},
    "full-batch descent": {"marker": "^", "linestyle": ":", "linewidth": 0.5},
}
CONTROL_MARKER = {"markersize": 3.2, "markerfacecolor": "white", "markeredgewidth": 0.6}
RANGE_STYLES = [
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
]  # Okabe and Ito


def waiting_time_colors(waiting_times):
    """Colours of the windows by their waiting time: viridis without its last tenth, which is too
    light for thin lines.
    """
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.9, 256)))
    return ScalarMappable(
        Normalize(waiting_times.min(), max(waiting_times.max(), waiting_times.min() + 1)), shades
    )


def color_bar(figure, axis, colors, label):
    """Explain colours in a narrow bar at the right of a panel."""
    bar = figure.colorbar(colors, cax=axis.inset_axes([1.04, 0, 0.035, 1]))
    bar.set_label(label)
    bar.outline.set_visible(False)


def leave_empty(axes, note):
    """Say in panels that have nothing to show why."""
    for axis in axes.flat:
        axis.text(0.5, 0.5, note, transform=axis.transAxes, ha="center", **NOTE)


def letter(axes):
    """Letters by which captions name panels, row by row."""
    for name, axis in zip(string.ascii_lowercase, axes.flat, strict=False):
        axis.set_title(name, fontweight="bold", loc="left")
