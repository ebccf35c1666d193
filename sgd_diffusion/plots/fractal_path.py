"""Shape of a path and roughness of the loss along it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sgd_diffusion._types import NumberLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.roughness import MIN_PAIRS
from sgd_diffusion.plots.style import (
    CONTROL_MARKER,
    CONTROL_STYLES,
    GUIDE,
    NOTE,
    RANGE_STYLES,
    STYLE,
    WIDTH,
    at_learning_rate,
    color_bar,
    leave_empty,
    letter,
    rate_title,
    waiting_time_colors,
)

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["fractal_path"]

RAW: dict[str, Any] = {
    "linestyle": "none",
    "marker": ".",
    "markersize": 1.6,
    "markeredgewidth": 0,
    "alpha": 0.25,
    "rasterized": True,
}
FITTED: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": (0, (4, 2))}


def fractal_path(
    dataset: xr.Dataset, table: xr.Dataset, learning_rate: NumberLike | None = None
) -> "matplotlib.figure.Figure":
    """Plot paths and losses at one learning rate, in two rows of three panels.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 6):

    - (a) The first window's path of the first seed in its first two principal components.
    - (b) Squared end-to-end distance of fragments against their contour length: a line for each
      window (mean over seeds in bins), dots for single fragments of the first and the last window,
      and the power laws fitted to the first seed's first window.
    - (c) Path dimension against waiting time: of one power law; below and above the crossover where
      most seeds have one; and of the path's surrogates (one power law, in gray).
    - (d) Squared transverse excursion against squared end-to-end distance, with lengths of
      fragments along each line, and dots for single fragments of T/10 steps.
    - (e) Mean squared loss against distance, of the probe (solid) and of mini-batches (dotted,
      first and last window) with their noise floor (horizontal), and dots for single pairs.
    - (f) Its exponents 2H against waiting time.

    Bars are standard errors: over seeds where there are several, from block bootstraps over the
    window otherwise.

    Args:
        dataset: of a run with the measurements `path_shape` and `loss_roughness`. Without the
            latter, the panels of the loss are empty.
        table: its `tables.fractal_path`.
        learning_rate: which of the dataset's; the first when None.

    Returns:
        A `figure.Figure`.

    Raises:
        KeyError: the dataset does not have the learning rate.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    run, table = at_learning_rate(learning_rate, dataset, table)
    run = run.sel(motion="SGD")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.1), dpi=200, layout="constrained")
        axes = figure.subplots(2, 3)
        sgd = table.sel(motion="SGD")
        if not np.any(np.isfinite(sgd["self_affinity"])):
            leave_empty(axes, "no member moved, or all diverged")
            return figure
        colors = waiting_time_colors(run["waiting_time"].values)
        _path_panel(figure, axes[0, 0], run)
        _end_to_end_panel(axes[0, 1], run, sgd, colors)
        _dimension_panel(axes[0, 2], table)
        _excursion_panel(axes[1, 0], run, colors)
        if "noise_floor" in table:
            _loss_panel(axes[1, 1], run, table, colors)
            _hurst_panel(axes[1, 2], table)
        else:
            leave_empty(axes[1, 1:], "no losses are known")
        letter(axes)
        axes[0, 0].set_title(rate_title(float(run["learning_rate"])), loc="right")
        if run.sizes["window"] > 1:
            color_bar(figure, axes[0, 1], colors, "waiting time $t_w$ (steps)")
    return figure


def _path_panel(figure, axis, run):
    path = run.isel(window=0)
    seed = int(np.isfinite(path["scores"].transpose("seed", ...).values).all(axis=(1, 2)).argmax())
    path = path.isel(seed=seed)
    x, y = path["scores"].transpose("score", "point").values[:2]
    share = 100 * path["explained_variance_ratio"].values
    axis.plot(x, y, color="0.7", linewidth=0.4, zorder=1)
    points = axis.scatter(
        x, y, c=path["point"].values, s=1.2, cmap="cividis", linewidths=0, rasterized=True, zorder=2
    )
    axis.plot(x[0], y[0], "o", color="black", markersize=3, zorder=3)
    side = 1 if x[0] < 0 else -1  # toward the middle
    axis.annotate(
        "start",
        (x[0], y[0]),
        (4 * side, 0),
        textcoords="offset points",
        va="center",
        ha="left" if side > 0 else "right",
        **NOTE,
    )
    axis.set(xlabel=f"PC 1 ({share[0]:.0f} % of variance)", ylabel=f"PC 2 ({share[1]:.0f} %)")
    color_bar(figure, axis, points, "step of the first window")


def _end_to_end_panel(axis, run, table, colors):
    if "pair_distance" in run:
        _raw(axis, run, "pair_contour_length", "pair_squared_distance", colors)
    _curves(axis, run, "contour_length", "squared_end_to_end", "contour_bin", colors)
    fit = table.isel(window=0, seed=0)
    first = run.isel(window=0, seed=0)
    for side, low, high in _fitted_sides(fit):
        exponent = 2 / float(fit[f"dimension{side}"])
        if np.isfinite(exponent):
            x, y = _line(
                first["contour_length"].values,
                first["squared_end_to_end"].values,
                exponent,
                low,
                high,
            )
            axis.plot(x, y, **FITTED)
            axis.annotate(
                rf"$D_f$ = {2 / exponent:.2f}",
                (np.sqrt(low * high), 1.8 * y[len(y) // 2]),
                ha="right",
                **NOTE,
            )
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="contour length",
        ylabel=r"squared end-to-end distance $R^2$",
    )
    _guides(axis, {1: r"$D_f=2$", 2: r"$D_f=1$"})


def _fitted_sides(fit):
    low, high, crossover = (float(fit[name]) for name in ("x_min", "x_max", "crossover"))
    if np.isfinite(crossover):
        return [("_below", low, crossover), ("_above", crossover, high)]
    return [("", low, high)]


def _dimension_panel(axis, table):
    for motion, style in CONTROL_STYLES.items():
        if motion in table["motion"]:
            control = ensemble_average(
                table["dimension"].sel(motion=motion).transpose("window", "seed").values, axis=1
            ).mean
            axis.plot(
                table["waiting_time"].values,
                control,
                label=motion,
                color="0.55",
                **CONTROL_MARKER,
                **style,
            )
    table = table.sel(motion="SGD")
    _by_waiting_time(axis, table, "dimension", "one power law", *RANGE_STYLES[2])
    usual = np.isfinite(table["crossover"]).mean("seed") > 0.5
    for side, label, (color, marker) in (
        ("below", "below crossover", RANGE_STYLES[0]),
        ("above", "above", RANGE_STYLES[1]),
    ):
        _by_waiting_time(axis, table.where(usual), f"dimension_{side}", label, color, marker)
    for value in (1, 2):
        axis.axhline(value, linestyle="--", **GUIDE)
    low, high = axis.get_ylim()
    axis.set_ylim(max(0.0, min(low, 0.8)), min(max(high, 2.4), 8))
    axis.set(xlabel=r"waiting time $t_w$ (steps)", ylabel=r"path dimension $D_f$")
    axis.legend(loc="best")


def _excursion_panel(axis, run, colors):
    ends, excursions = "squared_end_to_end_by_length", "squared_excursion_by_length"
    for window in (0, -1):
        here = run.isel(window=window)
        x, y = (
            here["fragment_squared_end_to_end"].values.ravel(),
            here["fragment_squared_excursion"].values.ravel(),
        )
        axis.plot(
            x,
            y,
            color=colors.to_rgba(float(here["waiting_time"])),
            **(RAW | {"markersize": 2.5, "alpha": 0.4}),
        )
    for window in range(run.sizes["window"]):
        here = run.isel(window=window)
        x, y = (
            ensemble_average(here[name].transpose("seed", "fragment_length").values).mean
            for name in (ends, excursions)
        )
        axis.plot(x, y, color=colors.to_rgba(float(here["waiting_time"])))
    axis.set(
        xscale="log",
        yscale="log",
        xlabel=r"squared end-to-end distance $R^2$",
        ylabel=r"squared transverse excursion",
    )
    _guides(axis, {1: r"$\chi=1$"})


def _loss_panel(axis, run, table, colors):
    kind = "probe" if "probe_msl" in run else "batch"
    _raw(axis, run, "pair_distance", f"pair_{kind}_difference", colors, windows=(0,))
    _curves(axis, run, "distance", f"{kind}_msl", "distance_bin", colors)
    for window in (0, -1):
        color = colors.to_rgba(float(run["waiting_time"][window]))
        if kind == "probe":
            _curves(
                axis,
                run.isel(window=[window]),
                "distance",
                "batch_msl",
                "distance_bin",
                colors,
                linestyle=":",
            )
        floor = ensemble_average(table["noise_floor"].isel(window=window).values).mean
        axis.axhline(floor, color=color, linewidth=0.5, linestyle=(0, (1, 3)))
    fit, first = table.isel(window=0, seed=0), run.isel(window=0, seed=0)
    low, high = float(fit[f"{kind}_exponent_min"]), float(fit[f"{kind}_exponent_max"])
    if np.isfinite(low):
        exponent = float(fit[f"{kind}_exponent"])
        floor = 0.0 if kind == "probe" else float(fit["noise_floor"])
        x, y = _line(
            first["distance"].values, first[f"{kind}_msl"].values - floor, exponent, low, high
        )
        axis.plot(x, y + floor, **FITTED)
        axis.annotate(
            f"2H = {exponent:.2f}",
            (0.7 * np.sqrt(low * high), 4 * y[len(y) // 2]),
            ha="right",
            **NOTE,
        )
    axis.set(
        xscale="log", yscale="log", xlabel="distance $d$", ylabel=f"mean squared loss ({kind})"
    )
    lowest = np.nanmin(run[f"{kind}_msl"].where(run["pairs"] >= MIN_PAIRS))
    axis.set_ylim(bottom=max(0.3 * lowest, 1e-10 * axis.get_ylim()[1]))
    _guides(axis, {2: r"$\propto d^2$"})


def _hurst_panel(axis, table):
    for kind, label, (color, marker) in (
        ("probe", "probe", RANGE_STYLES[0]),
        ("batch", "mini-batches above floor", RANGE_STYLES[1]),
    ):
        if f"{kind}_exponent" in table:
            _by_waiting_time(axis, table, f"{kind}_exponent", label, color, marker)
    axis.axhline(2, linestyle="--", **GUIDE)
    axis.annotate(
        "smooth slope",
        (0.99, 2),
        (0, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        **NOTE,
    )
    low, high = axis.get_ylim()
    axis.set_ylim(max(0, min(low, 0.8)), max(high, 2.4))
    axis.set(xlabel=r"waiting time $t_w$ (steps)", ylabel="exponent 2H of the loss")
    axis.legend(loc="best")


def _curves(axis, run, x, y, dim, colors, linestyle="-"):
    """Draw a line for each window, means over seeds bin by bin."""
    for window in range(run.sizes["window"]):
        here = run.isel(window=window)
        mean_x, mean_y = (
            ensemble_average(here[name].transpose("seed", dim).values).mean for name in (x, y)
        )
        filled = np.isfinite(mean_x) & (mean_y > 0)
        axis.plot(
            mean_x[filled],
            mean_y[filled],
            color=colors.to_rgba(float(here["waiting_time"])),
            linestyle=linestyle,
        )


def _raw(axis, run, x, y, colors, windows=(0, -1)):
    run = run.assign(pair_squared_distance=run["pair_distance"] ** 2)
    for window in windows[: run.sizes["window"]]:
        here = run.isel(window=window)
        color = colors.to_rgba(float(here["waiting_time"]))
        axis.plot(here[x].values.ravel(), here[y].values.ravel(), color=color, zorder=0, **RAW)


def _line(x, y, exponent, low, high):
    """Return a power law over [low, high] through the geometric mean of a curve there."""
    inside = (x >= low) & (x <= high) & (y > 0)
    log_x, log_y = np.log(x[inside]).mean(), np.log(y[inside]).mean()
    ends = np.geomspace(low, high, 21)
    return ends, np.exp(log_y + exponent * (np.log(ends) - log_x))


def _guides(axis, slopes):
    """Draw lines of given slopes in the upper left, over a fifth of the panel's width."""
    (left, right), (bottom, top) = np.log(axis.get_xlim()), np.log(axis.get_ylim())
    start, stop = left + 0.06 * (right - left), left + 0.24 * (right - left)
    base = max(top - (max(slopes) + 0.3) * (stop - start), bottom + 0.55 * (top - bottom))
    for slope, label in slopes.items():
        end = base + slope * (stop - start)
        axis.plot(np.exp([start, stop]), np.exp([base, end]), **GUIDE)
        axis.annotate(
            label, np.exp((stop, end)), (2, 0), textcoords="offset points", va="center", **NOTE
        )


def _by_waiting_time(axis, table, name, label, color, marker):
    """Draw means over seeds with their standard errors, and seeds as small dots.

    A single seed is drawn with its own error.
    """
    values, errors = (table[n].transpose("window", "seed").values for n in (name, f"{name}_error"))
    if not np.isfinite(values).any():
        return
    waiting_times = table["waiting_time"].values
    if values.shape[1] > 1:
        seeds = np.broadcast_to(waiting_times[:, None], values.shape)
        axis.plot(
            seeds.ravel(),
            values.ravel(),
            ".",
            color=color,
            markersize=3,
            alpha=0.4,
            markeredgewidth=0,
        )
        average = ensemble_average(values, axis=1)
        center, error = average.mean, average.standard_error
    else:
        center, error = values[:, 0], errors[:, 0]
    axis.errorbar(
        waiting_times,
        center,
        error,
        label=label,
        color=color,
        marker=marker,
        markersize=3,
        elinewidth=0.7,
        linewidth=0.5,
    )
