"""Diagrams of walkers in two valleys over learning rates and strengths of the noise."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import STYLE, WIDTH, color_bar, letter
from sgd_diffusion.tables.freezing import NOT_FROZEN

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["freezing_diagrams"]


def freezing_diagrams(diagrams: xr.Dataset) -> "matplotlib.figure.Figure":
    r"""Plot shares in the flat valley, and times and places of freezing, of all cells.

    After Yang et al. (arXiv:2601.10962, Fig. 3). A row is a start of the walkers. Crosses mark
    cells where more than 5 % of the walkers cross the ridge in the last twentieth of the steps, so
    that they are not frozen yet. Dashed lines have equal learning rate times sigma.

    Args:
        diagrams: as `tables.freezing` returns it, along `start_y`, `learning_rate` and `sigma`.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure

    first = float(diagrams["learning_rate"].min())  # the least time of freezing
    columns = {
        "flat_fraction": ("share in the flat valley", Normalize(0.5, 1)),
        "freezing_time": (
            r"$\eta \langle t_f \rangle$",
            LogNorm(first, float(diagrams["freezing_time"].max())),
        ),
        "freezing_y": (
            r"$\langle y_\mathrm{freeze} \rangle$",
            LogNorm(float(diagrams["freezing_y"].min()), float(diagrams["freezing_y"].max())),
        ),
    }
    count = diagrams.sizes["start_y"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.3 + 1.9 * count), dpi=200, layout="constrained")
        axes = figure.subplots(count, len(columns), squeeze=False)
        for row, (start, cells) in zip(axes, diagrams.groupby("start_y"), strict=True):
            cells = cells.squeeze("start_y").transpose("learning_rate", "sigma")
            x, y = cells["sigma"].values, cells["learning_rate"].values
            late = np.argwhere(cells["unfrozen_fraction"].values > NOT_FROZEN)
            for axis, (name, (label, norm)) in zip(row, columns.items(), strict=True):
                colors = ScalarMappable(norm, "viridis")
                axis.pcolormesh(x, y, cells[name], norm=norm, cmap="viridis", shading="nearest")
                axis.plot(x[late[:, 1]], y[late[:, 0]], "x", color="white", markersize=3)
                axis.set(xscale="log", yscale="log", xlabel=r"$\sigma$", ylabel=r"$\eta$")
                color_bar(figure, axis, colors, label)
                _plain(colors.colorbar)
                limits = axis.get_xlim(), axis.get_ylim()
                for noise in (3e-4, 1e-3, 3e-3):
                    axis.plot(x, noise / x, "--", color="white", linewidth=0.5)
                axis.set(xlim=limits[0], ylim=limits[1])
            row[0].set_title(f"from $y$ = {start:g}", loc="right")
        letter(axes)
    return figure


def _plain(bar):
    """Write numbers from 1 to 100 in full."""
    from matplotlib.ticker import LogLocator

    if isinstance(bar.locator, LogLocator) and bar.vmax < 1000:
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50) if bar.vmin <= tick <= bar.vmax]
        bar.set_ticks(ticks, labels=map(str, ticks))
        bar.minorticks_off()
