"""Tails of gradients, and fluctuations of the loss."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sgd_diffusion._types import NumberLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.stable import law
from sgd_diffusion.plots.style import (
    GUIDE,
    NOTE,
    STYLE,
    WIDTH,
    at_learning_rate,
    leave_empty,
    letter,
    waiting_time_colors,
)

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["gradient_tails"]

FITTED = {"color": "black", "linewidth": 0.8, "linestyle": (0, (4, 2))}
NORMAL = {"color": "0.5", "linewidth": 0.8, "linestyle": (0, (1, 1.2))}
# Okabe and Ito. The paper's source is bold, and the null hypotheses are dashed.
SOURCE_STYLES: dict[str, dict[str, Any]] = {
    "pooled": {"color": "black", "marker": "o", "linewidth": 1.5},
    "frozen": {"color": "#0072B2", "marker": "s"},
    "noise": {"color": "#56B4E9", "marker": "D"},
    "per coordinate": {"color": "#D55E00", "marker": "o"},
    "noise per coordinate": {"color": "#E69F00", "marker": "D"},
    "Gaussian, layer scales": {
        "color": "0.5",
        "marker": "^",
        "linestyle": "--",
        "markerfacecolor": "white",
    },
    "Gaussian, coordinate scales": {
        "color": "0.5",
        "marker": "v",
        "linestyle": "--",
        "markerfacecolor": "white",
    },
}
MARKER: dict[str, Any] = {
    "markersize": 3,
    "markeredgewidth": 0.6,
    "elinewidth": 0.6,
    "linewidth": 0.7,
}


def gradient_tails(
    dataset: xr.Dataset, table: xr.Dataset, learning_rate: NumberLike | None = None
) -> "matplotlib.figure.Figure":
    """Plot gradient entries and loss fluctuations at one learning rate, in two rows of panels.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 5):

    - (a) Density of the pooled entries of the mini-batch gradients in the first window, uniform
      over parameters, with the stable law fitted to them (dashed) and the normal law of the same
      mean and variance (dotted).
    - (b) The same for their absolute values on logarithmic axes, with the last window; bars are
      standard errors as if entries were independent.
    - (c) Alpha of all sources of entries against waiting time (`tables.gradient_tails`).
    - (d) Alpha of each layer in the first and the last window.
    - (e) Changes of the mini-batch loss from update to update in these windows.
    - (f) Variance of 100 consecutive losses along the run, mean over seeds over a band from the
      smallest to the largest.

    The first and the last window have the colors of panel b throughout. Panels a, b and e show the
    first of the seeds that have lasted longest. Panels c and d show the mean over seeds with its
    standard error, or of a single seed the 90 % interval (c) and its standard error (d).

    Args:
        dataset: of a run with gradients.
        table: its `tables.gradient_tails`.
        learning_rate: which of the dataset's; the first when None.

    Returns:
        A `figure.Figure`.

    Raises:
        KeyError: the dataset does not have the learning rate.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    run, table = at_learning_rate(learning_rate, dataset, table)
    lasting = np.isfinite(table["alpha"].sel(source="pooled").transpose("seed", "window").values)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.3), dpi=200, layout="constrained")
        axes = figure.subplots(2, 3)
        if not lasting.any():
            leave_empty(axes, "no gradients, or all members diverged")
            return figure
        seed = int(lasting.sum(axis=1).argmax())
        colors = waiting_time_colors(run["waiting_time"].values)
        windows = (
            [0, -1]
            if lasting[seed, -1] and run.sizes["window"] > 1
            else [int(lasting[seed].argmax())]
        )
        one, fits = run.isel(seed=seed), table.isel(seed=seed)
        _density_panel(axes[0, 0], one, fits, windows[0], colors)
        _tail_panel(axes[0, 1], one, fits, windows, colors)
        _alpha_panel(axes[0, 2], table)
        _layer_panel(axes[1, 0], table, windows, colors)
        _change_panel(axes[1, 1], fits, windows, colors)
        _variance_panel(axes[1, 2], table, colors)
        letter(axes)
        axes[0, 0].set_title(rf"$\eta$ = {float(run['learning_rate']):g}", loc="right")
        handles, labels = axes[0, 2].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside upper right",
            ncols=len(labels),
            fontsize=5.8,
            columnspacing=1.0,
        )
    return figure


def _entries(run, window):
    """Return all pooled entries of a window, and weights that add up to 1.

    The weights make the entries uniform over parameters.
    """
    gradients = (
        run["gradient_sample"]
        .isel(window=window)
        .transpose("update", "coordinate")
        .values.astype(float)
    )
    weights = np.broadcast_to(run["coordinate_weight"].values, gradients.shape)
    return gradients.ravel(), weights.ravel() / weights.sum()


def _density(values, weights, edges):
    """Return the centers of the bins that are not empty, and density and standard error there."""
    heights, squares = (
        np.histogram(values, edges, weights=power)[0] for power in (weights, weights**2)
    )
    filled = heights > 0
    width = np.diff(edges)
    centers = np.sqrt(edges[:-1] * edges[1:]) if edges[0] > 0 else (edges[:-1] + edges[1:]) / 2
    return centers[filled], (heights / width)[filled], (np.sqrt(squares) / width)[filled]


def _laws(values, weights, fit):
    """Return the densities of the fitted stable law and of the normal law, as functions."""
    alpha, scale, location = (
        float(fit[name].sel(source="pooled")) for name in ("alpha", "scale", "location")
    )
    mean = weights @ values
    variance = weights @ (values - mean) ** 2
    return (
        lambda x: np.asarray(law.pdf(x, alpha, location=location, scale=scale)),
        lambda x: np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance),
    )


def _density_panel(axis, run, fits, window, colors):
    values, weights = _entries(run, window)
    fit = fits.isel(window=window)
    stable, normal = _laws(values, weights, fit)
    reach = 8 * float(fit["scale"].sel(source="pooled"))
    x, density, error = _density(values, weights, np.linspace(-reach, reach, 82))
    grid = np.linspace(-reach, reach, 401)
    color = colors.to_rgba(float(fit["waiting_time"]))
    axis.errorbar(
        x,
        density,
        error,
        linestyle="none",
        marker="o",
        markersize=1.5,
        color=color,
        elinewidth=0.5,
        label=_name(window),
    )
    axis.plot(
        grid,
        stable(grid),
        label=rf"stable, $\alpha$ = {float(fit['alpha'].sel(source='pooled')):.2f}",
        **FITTED,
    )
    axis.plot(grid, normal(grid), label="normal", **NORMAL)
    axis.set(xlim=(-reach, reach), ylim=(0, None), xlabel="gradient entry $g$", ylabel="density")
    axis.ticklabel_format(axis="x", scilimits=(-3, 3), useMathText=True)
    axis.legend(
        loc="upper right",
        bbox_to_anchor=(1.06, 1.04),
        fontsize=6,
        handlelength=0.9,
        borderaxespad=0,
    )


def _tail_panel(axis, run, fits, windows, colors):
    shown = []
    for window in windows:
        values, weights = _entries(run, window)
        fit = fits.isel(window=window)
        sizes, scale = abs(values), float(fit["scale"].sel(source="pooled"))
        stable, normal = _laws(values, weights, fit)
        edges = np.geomspace(0.03 * scale, 1.001 * sizes.max(), 36)
        x, density, error = _density(sizes, weights, edges)
        grid = np.geomspace(edges[0], edges[-1], 200)
        color = colors.to_rgba(float(fit["waiting_time"]))
        axis.errorbar(
            x,
            density,
            error,
            linestyle="none",
            marker="o",
            markersize=1.8,
            color=color,
            elinewidth=0.5,
            label=_name(window),
        )
        for density_of, style in ((stable, FITTED), (normal, NORMAL)):
            axis.plot(grid, density_of(grid) + density_of(-grid), **style)
        shown.extend(density)
    axis.set(xscale="log", yscale="log", xlabel="$|g|$", ylabel="density of $|g|$")
    axis.set_ylim(0.3 * min(shown), 10 * max(shown))
    axis.legend(loc="lower left", fontsize=NOTE["fontsize"])


def _name(window):
    return "first window" if window == 0 else "last window"


def _alpha_panel(axis, table):
    waiting_times = table["waiting_time"].values
    gap = np.diff(waiting_times).min() if len(waiting_times) > 1 else 1.0
    shown = [source for source in SOURCE_STYLES if source in table["source"]]
    for number, source in enumerate(shown):
        alphas = table.sel(source=source).transpose("window", "seed", ...)
        values = alphas["alpha"].values
        average = ensemble_average(values, axis=1)
        error = np.stack([average.standard_error] * 2)
        if values.shape[1] == 1:
            error = np.maximum(
                [
                    values[:, 0] - alphas["alpha_low"].values[:, 0],
                    alphas["alpha_high"].values[:, 0] - values[:, 0],
                ],
                0,
            )
        x = waiting_times + 0.06 * gap * (number - (len(shown) - 1) / 2)  # side by side
        axis.errorbar(x, average.mean, error, label=source, **(MARKER | SOURCE_STYLES[source]))
    axis.axhline(2, linestyle="--", **GUIDE)
    axis.annotate(
        "normal",
        (0.01, 2),
        (0, -2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="top",
        **NOTE,
    )
    if len(waiting_times) <= 5:
        axis.set_xticks(waiting_times)
    axis.set(xlabel="waiting time $t_w$ (steps)", ylabel=r"index of stability $\alpha$")
    axis.set_ylim(axis.get_ylim()[0], 2.05)


def _layer_panel(axis, table, windows, colors):
    places = np.arange(table.sizes["layer"])
    for window, shift in zip(windows, (-0.15, 0.15), strict=False):
        found = table.isel(window=window).transpose("layer", "seed", ...)
        average = ensemble_average(found["layer_alpha"].values, axis=1)
        error = (
            average.standard_error
            if found.sizes["seed"] > 1
            else found["layer_alpha_error"].values[:, 0]
        )
        axis.errorbar(
            average.mean,
            places + shift,
            xerr=error,
            linestyle="none",
            marker="o",
            markersize=3,
            elinewidth=0.6,
            color=colors.to_rgba(float(found["waiting_time"])),
        )
    axis.set_yticks(
        places, table["layer"].values, fontsize=NOTE["fontsize"] if len(places) <= 12 else 4
    )
    axis.invert_yaxis()
    axis.axvline(2, linestyle="--", **GUIDE)
    axis.set(xlabel=r"index of stability $\alpha$ of the layer")


def _change_panel(axis, fits, windows, colors):
    for window in windows:
        found = fits.isel(window=window)
        axis.plot(
            found["loss_change"].values,
            color=colors.to_rgba(float(found["waiting_time"])),
            linewidth=0.4,
            alpha=0.8,
        )
        lowest = np.quantile(found["loss_change"].values, 0.05)
    axis.set(yscale="log", xlabel="update in the window", ylabel=r"change of the loss $|\Delta L|$")
    axis.set_ylim(bottom=0.5 * lowest if lowest > 0 else None)


def _variance_panel(axis, table, colors):
    variance = table["moving_variance"].transpose("window", "seed", "first_point").values
    for window, waiting_time in enumerate(table["waiting_time"].values):
        times = waiting_time + np.arange(variance.shape[-1])
        color = colors.to_rgba(waiting_time)
        members = variance[window][np.isfinite(variance[window]).all(axis=-1)]
        if len(members) > 1:
            axis.fill_between(
                times, members.min(axis=0), members.max(axis=0), color=color, alpha=0.2, linewidth=0
            )
        if len(members):
            axis.plot(times, members.mean(axis=0), color=color)
    axis.set(yscale="log", xlabel="step", ylabel="variance of 100 losses")
