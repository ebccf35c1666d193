"""Which of two valleys SGD ends in, and when that is decided, beside theory and controls."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import GUIDE, NOTE, RANGE_STYLES, STYLE, WIDTH, color_bar, letter
from sgd_diffusion.tables.freezing import STATIONARY

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["freezing"]

COLORS = [color for color, _ in RANGE_STYLES]
POINTS: dict[str, Any] = {"markersize": 3, "linewidth": 0.6, "fillstyle": "none"}
ISOTROPIC = "isotropic noise"
NOISE = r"noise $\Delta_S = \eta \sigma$"
SHARE = "share in the flat valley"


def freezing(results: Mapping[str, xr.Dataset]) -> "matplotlib.figure.Figure":
    r"""Plot ends and decisions of walkers in two valleys against the strength of the noise.

    After Yang et al. (arXiv:2601.10962, Fig. 4). The panels have

    - the loss across both valleys, and what it effectively is for SGD;
    - the share in the flat valley on the way, simulated with a band of two standard errors,
      predicted, and published;
    - where walkers freeze, simulated with the standard deviation over walkers, on a map of the
      share that is stationary at a fixed y;
    - the share at the end beside that at a fixed y: the one grows with the noise, the other falls;
    - the controls;
    - the share at the end of all cells of the diagrams, by where their walkers start.

    Args:
        results: `sweep`, `controls`, `diagrams`, `ways`, `map` and `potentials`, as the experiment
            `freezing` leaves them.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.3), dpi=200, layout="constrained")
        axes = figure.subplots(2, 3)
        _potentials(axes[0, 0], results["potentials"])
        _ways(axes[0, 1], results["ways"], results["sweep"])
        _map(figure, axes[0, 2], results["map"], results["sweep"])
        _paradox(axes[1, 0], results["sweep"], results["controls"])
        _controls(axes[1, 1], results["sweep"], results["controls"])
        _starts(axes[1, 2], results["diagrams"])
        letter(axes)
    return figure


def _potentials(axis, potentials):
    names = {
        "loss": "loss",
        "effective_fick": "effective, paper",
        "effective_ito": "effective, Ito",
    }
    for (name, label), color in zip(names.items(), ("0.3", *COLORS), strict=False):
        axis.plot(potentials["x"], potentials[name], color=color, label=label)
    axis.set(xlabel="$x$", ylabel="$L - L(0, y)$", ylim=(None, 0.012))
    axis.set_title(
        rf"$y$ = {potentials.attrs['y']:g}, $\Delta_S$ = {potentials.attrs['noise']:g}",
        loc="right",
        **NOTE,
    )
    axis.legend(loc="upper left")


def _ways(axis, ways, sweep):
    for (sigma, way), color in zip(ways.groupby("sigma"), COLORS, strict=False):
        way = way.squeeze("sigma")
        share = way["flat_fraction"].values
        error = np.sqrt(share * (1 - share) / way.attrs["walkers"])
        axis.fill_between(
            way["mean_y"], share - 2 * error, share + 2 * error, color=color, alpha=0.3, lw=0
        )
        axis.plot([], [], color=color, label=rf"$\sigma$ = {sigma:g}")
        if "predicted_way" in sweep:
            axis.plot(sweep["y"], sweep["predicted_way"].sel(sigma=sigma), color=color, lw=0.7)
        if "published_flat_fraction" in way:
            axis.plot(
                way["published_y"], way["published_flat_fraction"], "o", color=color, **POINTS
            )
    axis.set(xlabel="mean $y$", ylabel=SHARE, xscale="log", xlim=(ways.attrs["start_y"], None))
    _plain(axis.xaxis)
    axis.legend(loc="lower right")


def _map(figure, axis, stationary, sweep):
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colors = ScalarMappable(Normalize(0.5, 1), "viridis")
    axis.pcolormesh(
        stationary["y"],
        stationary["noise"],
        stationary["flat_occupation"],
        norm=colors.norm,
        cmap=colors.cmap,
        rasterized=True,
    )
    color_bar(figure, axis, colors, "stationary share")
    noise = sweep["sigma"] * sweep["learning_rate"].item()
    axis.errorbar(
        sweep["freezing_y"],
        noise,
        xerr=sweep["freezing_y_std"],
        fmt="o",
        color="black",
        label="walkers",
        **POINTS,
    )
    lines = {
        "predicted_freezing_y": ("last crossing", "-"),
        "paper_freezing_y_fitted": ("paper, fitted", "--"),
        "paper_freezing_y_printed": ("paper, as printed", ":"),
    }
    for name, (label, style) in lines.items():
        if name in sweep:
            axis.plot(sweep[name], noise, style, color="black", linewidth=0.8, label=label)
    axis.set(xlabel="$y$", ylabel=NOISE, yscale="log", xlim=(0.25, 15), ylim=(5e-5, 4e-3))
    axis.legend(loc="lower right")


def _paradox(axis, sweep, controls):
    noise = sweep["sigma"] * sweep["learning_rate"].item()
    end, held = COLORS[:2]
    _shares(axis, noise, sweep, "o", end, "end")
    if "predicted_flat_fraction" in sweep:
        axis.plot(noise, sweep["predicted_flat_fraction"], color=end, linewidth=0.7)
        axis.plot(noise, sweep["static_occupation"], color=held, linewidth=0.7)
    _shares(axis, noise, _stationary(controls, "y held"), "s", held, "$y$ held at 3")
    axis.set(xlabel=NOISE, ylabel=SHARE, xscale="log")
    axis.legend(loc="lower center")


def _controls(axis, sweep, controls):
    noise = sweep["sigma"] * sweep["learning_rate"].item()
    _shares(axis, noise, sweep, "o", COLORS[0], "noise of the sweep")
    for name, color, symbol in zip(
        (ISOTROPIC, f"{ISOTROPIC}, y held", "equal valleys"), COLORS[1:], "s^D", strict=True
    ):
        _shares(axis, noise, _stationary(controls, name), symbol, color, name)
    axis.axhline(0.5, **GUIDE)
    axis.axhline(controls.attrs["boltzmann"], **GUIDE)
    axis.set(
        xlabel=NOISE,
        ylabel=SHARE,
        xscale="log",
        ylim=(0.42, 1.42),
        yticks=(0.5, 0.6, 0.7, 0.8, 0.9, 1),
    )
    axis.legend(loc="upper left")


def _starts(axis, diagrams):
    noise = diagrams["learning_rate"] * diagrams["sigma"]
    for (start, cells), color, symbol in zip(
        diagrams.groupby("start_y"), COLORS, "so", strict=False
    ):
        axis.plot(
            noise.values.ravel(),
            cells["flat_fraction"].squeeze("start_y").transpose(*noise.dims).values.ravel(),
            symbol,
            color=color,
            markersize=2,
            fillstyle="none",
            markeredgewidth=0.5,
            label=f"from $y$ = {start:g}",
        )
    axis.set(xlabel=NOISE, ylabel=SHARE, xscale="log")
    axis.legend(loc="lower right")


def _stationary(controls, name):
    """A control; if y is held, without the strengths at which walkers hardly hop."""
    found = controls.sel(control=name)
    return (
        found.where(found["unfrozen_fraction"] > STATIONARY) if name.endswith("y held") else found
    )


def _shares(axis, noise, table, symbol, color, label):
    axis.errorbar(
        noise,
        table["flat_fraction"],
        2 * table["flat_fraction_error"],
        fmt=symbol,
        color=color,
        label=label,
        **POINTS,
    )


def _plain(axis):
    from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(FixedLocator([1, 2, 5, 10, 20]))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
