"""Fates of walkers by roughness, learning rate and noise."""

from typing import TYPE_CHECKING

import xarray as xr

from sgd_diffusion.plots.grids import numbered_cells
from sgd_diffusion.plots.style import STYLE, WIDTH, letter

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["phase_diagram"]

SHOWN = ("superdiffusive", "trapped", "escaped")


def phase_diagram(phases: xr.Dataset) -> "matplotlib.figure.Figure":
    """Plot shares of walkers by fate, and depth reached, with a row for every noise.

    The first panels are the shares that are superdiffusive, trapped and escaped, by Hurst exponent
    of the landscape (rows) and learning rate (columns), with numbers in percent. What is left is
    diffusive. The next is the exponent of the mean MSD of all walkers in their first 144 steps. The
    last is the mean depth, 0 at the median height of a landscape and 100 % at its lowest point.

    Args:
        phases: `tables.phase_diagram`.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    noises = phases["noise_std"].values
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 1.35 * len(noises)), dpi=200, layout="constrained")
        axes = figure.subplots(len(noises), len(SHOWN) + 2, squeeze=False, sharex=True, sharey=True)
        for row, noise in zip(axes, noises, strict=True):
            here = phases.sel(noise_std=noise)
            for axis, fate in zip(row, SHOWN, strict=False):
                _cells(axis, 100 * here["share"].sel(fate=fate), "magma_r", (0, 100), "{:.0f}")
            _cells(row[-2], here["early_exponent"], "PuOr_r", (0, 2), "{:.2f}")
            _cells(row[-1], 100 * here["depth"], "viridis_r", (0, 100), "{:.0f}")
            row[0].set_ylabel(rf"$\sigma$ = {noise:g}" + "\nHurst exponent")
        for axis, name in zip(
            axes[0], (*(f"{fate} %" for fate in SHOWN), "early exponent", "depth %"), strict=True
        ):
            axis.set_title(name, loc="right", fontsize=7)
        for axis in axes[-1]:
            axis.set_xlabel("learning rate")
        letter(axes)
    return figure


def _cells(axis, values, cmap, limits, number):
    """Draw a cell for every roughness and learning rate, with its value."""
    low, high = limits
    numbered_cells(
        axis,
        values.transpose("hurst", "learning_rate").values,
        rows=values["hurst"].values,
        columns=values["learning_rate"].values,
        number=number,
        cmap=cmap,
        vmin=low,
        vmax=high,
    )
