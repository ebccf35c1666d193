"""Eigenvalues of the Hessian through training, their density, and gradient noise along them."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion._types import NumberLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.landscape.curvature import smoothed_density
from sgd_diffusion.plots.style import (
    GUIDE,
    NOTE,
    STYLE,
    WIDTH,
    at_learning_rate,
    color_bar,
    leave_empty,
    letter,
    waiting_time_colors,
)

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["hessian_spectrum"]

TITLES = {"batch": "batch statistics", "running": "running averages"}
POINTS = 600


def hessian_spectrum(
    dataset: xr.Dataset, learning_rate: NumberLike | None = None
) -> "matplotlib.figure.Figure":
    """Plot curvature through training at one learning rate.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 7). There is one row of three panels for each kind
    of batch normalization:

    - Left, the largest eigenvalues against the number of updates, mean over seeds. The first has a
      band from the smallest to the largest seed. Full-batch gradient descent is unstable above the
      line 2/eta (Cohen et al., ICLR 2021).
    - Middle, the density of all eigenvalues at the windows that have one: mean over seeds and
      random vectors with a band of one standard error over all vectors, smoothed by a hundredth of
      the range.
    - Right, the variance of gradients of single examples along each eigenvector against its
      eigenvalue, every seed and window, with the line on which they are equal (Xie, Sato &
      Sugiyama, ICLR 2021).

    The left and the right panel leave out eigenvalues that have not converged.

    Args:
        dataset: with the measurements of `dynamics.measurements.hessian_spectrum`, and `update`
            (0..T-1).
        learning_rate: which of the dataset's; the first when None.

    Returns:
        A `figure.Figure`.

    Raises:
        KeyError: the dataset does not have the learning rate.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    (run,) = at_learning_rate(learning_rate, dataset)
    rate = float(run["learning_rate"])
    run = run.assign_coords(step=run["waiting_time"] + run.sizes["update"])
    kinds = run["statistics"].values
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.2 + 1.95 * len(kinds)), dpi=200, layout="constrained")
        axes = figure.subplots(len(kinds), 3, squeeze=False)
        colors = waiting_time_colors(run["step"].values)
        for row, kind in zip(axes, kinds, strict=True):
            one = run.sel(statistics=kind).transpose("window", "seed", ...)
            if not np.isfinite(one["hessian_eigenvalue"]).any():
                leave_empty(row, "all members diverged")
                continue
            _eigenvalue_panel(row[0], one, rate)
            _density_panel(row[1], one, colors)
            _noise_panel(row[2], one, colors)
            row[0].set_title(TITLES[kind], loc="right")
        letter(axes)
        axes[0, 2].set_title(rf"$\eta$ = {rate:g}", loc="right")
        if run.sizes["window"] > 1:
            color_bar(figure, axes[0, 2], colors, "updates")
    return figure


def _converged(run):
    return run["hessian_eigenvalue"].where(run["hessian_converged"] == 1).values


def _eigenvalue_panel(axis, run, rate):
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    steps, values = run["step"].values, _converged(run)
    ranks = values.shape[-1]
    shades = ScalarMappable(
        Normalize(1, max(ranks, 2)),
        ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.9, 256))),
    )
    mean = ensemble_average(values, axis=1).mean
    for rank in reversed(range(ranks)):
        axis.plot(
            steps,
            mean[:, rank],
            marker="o",
            markersize=1.8,
            color=shades.to_rgba(rank + 1),
            linewidth=0.7,
        )
    largest = np.ma.masked_invalid(values[..., 0])
    axis.fill_between(
        steps,
        largest.min(axis=1),
        largest.max(axis=1),
        color=shades.to_rgba(1),
        alpha=0.2,
        linewidth=0,
    )
    axis.axhline(2 / rate, linestyle="--", **GUIDE)
    axis.annotate(
        r"$2/\eta$",
        (1, 2 / rate),
        (-2, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        **NOTE,
    )
    positive = np.all(mean[np.isfinite(mean)] > 0)
    axis.set(
        xlabel="updates",
        ylabel=f"largest {ranks} eigenvalues",
        yscale="log" if positive else "linear",
    )
    if steps[-1] > 10 * steps[0]:
        axis.set_xscale("log")


def _density_panel(axis, run, colors):
    shown = (
        []
        if "hessian_node" not in run
        else [
            window
            for window in range(run.sizes["window"])
            if np.isfinite(run["hessian_node"].isel(window=window)).any()
        ]
    )
    if not shown:
        leave_empty(np.array([axis]), "not measured")
        axis.set_axis_off()
        return
    for window in shown:
        one = run.isel(window=window)
        nodes, weights = (
            one[name].transpose("seed", "probe", "node").values
            for name in ("hessian_node", "hessian_weight")
        )
        present = np.isfinite(nodes).all(axis=(1, 2))
        nodes, weights = (
            values[present].reshape(-1, values.shape[-1]) for values in (nodes, weights)
        )
        width = np.ptp(nodes) / 100
        if not width > 0:
            continue
        grid = np.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, POINTS)
        density, error = map(np.asarray, smoothed_density(nodes, weights, grid, width))
        step = int(one["step"])
        axis.plot(grid, density, color=colors.to_rgba(step), linewidth=0.8, label=f"{step} updates")
        axis.fill_between(
            grid,
            density - error,
            density + error,
            color=colors.to_rgba(step),
            alpha=0.25,
            linewidth=0,
        )
    axis.set(yscale="log", xlabel="eigenvalue", ylabel="density of eigenvalues")
    top = max((line.get_ydata().max() for line in axis.lines), default=1.0)
    axis.set_ylim(1e-8 * top, 3 * top)
    axis.legend(loc="upper right")


def _noise_panel(axis, run, colors):
    values, noise = _converged(run), run["noise_variance"].values
    shown = (values > 0) & (noise > 0)
    axis.set(xlabel=r"eigenvalue $\lambda_i$", ylabel="gradient variance $C_{ii}$")
    if not shown.any():
        axis.text(
            0.5, 0.5, "no positive eigenvalues", transform=axis.transAxes, ha="center", **NOTE
        )
        return
    axis.set(xscale="log", yscale="log")
    for window, step in enumerate(run["step"].values):
        axis.plot(
            values[window][shown[window]],
            noise[window][shown[window]],
            linestyle="none",
            marker="o",
            markersize=1.6,
            color=colors.to_rgba(step),
            alpha=0.8,
            markeredgewidth=0,
        )
    low, high = (
        10.0 ** np.floor(np.log10(values[shown].min())),
        10.0 ** np.ceil(np.log10(values[shown].max())),
    )
    axis.plot([low, high], [low, high], **GUIDE)
    axis.annotate(
        r"$C_{ii} = \lambda_i$", (low, low), (6, 2), textcoords="offset points", va="top", **NOTE
    )
    axis.set_xlim(low, high)
