"""How the walk spreads: MSD, local exponents, and exponents against waiting time."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sgd_diffusion._types import NumberLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.plots.style import (
    CONTROL_MARKER,
    CONTROL_STYLES,
    GUIDE,
    NOTE,
    RANGE_STYLES,
    STYLE,
    WIDTH,
    color_bar,
    leave_empty,
    letter,
    rate_title,
    waiting_time_colors,
)
from sgd_diffusion.tables.exponents import local_exponents, select_curve

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["anomalous_diffusion"]

ONSET: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 2.8,
    "markerfacecolor": "white",
    "markeredgewidth": 0.7,
}


def anomalous_diffusion(
    dataset: xr.Dataset, table: xr.Dataset, learning_rates: Sequence[NumberLike] | None = None
) -> "matplotlib.figure.Figure":
    """Plot how the walk spreads, with one row of three panels for each learning rate.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 2):

    - Left, the time-averaged MSD against the lag, a line for each window: the mean over seeds, over
      a band from the smallest to the largest seed. A circle is the median onset tau_0 of
      superdiffusion. Slopes 1 and 2 are guides.
    - Middle, the local exponents, mean over seeds over a band of one standard error, faint beyond
      half the window, with the fitted ranges shaded.
    - Right, the exponents fitted on these ranges against the waiting time. Seeds are small dots,
      their mean is a marker with a bar of one standard error. Open markers are the same fits to the
      controls and to the averaged weights, as far as the dataset has them.

    Standard errors are over seeds. With a single seed they are of the bootstrap over its window,
    where the dataset has one. Members that are NaN (they diverged) are left out, and the row's
    title counts them.

    Args:
        dataset: with `msd` (window, seed, learning_rate, lag) in any order of dimensions, and the
            coordinates `waiting_time` (window), `learning_rate` and `lag`; controls and
            replicates are those of `path_statistics.controls`.
        table: its `tables.exponents`, whose curve and ranges are drawn.
        learning_rates: which of the dataset's, all of them when None.

    Returns:
        A `figure.Figure`; write it with `figure.savefig(path)`.

    Raises:
        KeyError: the dataset does not have a learning rate.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    dataset = select_curve(dataset, table.attrs["curve"])
    if learning_rates is not None:
        dataset, table = (each.sel(learning_rate=list(learning_rates)) for each in (dataset, table))
    rows = dataset.sizes["learning_rate"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.35 + 1.75 * rows), dpi=200, layout="constrained")
        axes = figure.subplots(rows, 3, squeeze=False, sharex="col", sharey="col")
        colors = waiting_time_colors(dataset["waiting_time"].values)
        for row, axis_row in enumerate(axes):
            curves, fits = dataset.isel(learning_rate=row), table.isel(learning_rate=row)
            if np.any(curves["msd"] > 0):
                _msd_panel(axis_row[0], curves, fits, colors)
                _local_exponent_panel(axis_row[1], curves, fits, colors)
                _exponent_panel(axis_row[2], fits)
            else:
                note = (
                    "no member moved"
                    if np.any(np.isfinite(curves["msd"]))
                    else "all members diverged"
                )
                leave_empty(axis_row, note)
            axis_row[0].set_title(_row_title(curves), loc="right")
        letter(axes)
        _finish_axes(axes, dataset["lag"].values)
        if dataset.sizes["window"] > 1:
            color_bar(figure, axes[0, 1], colors, "waiting time $t_w$ (steps)")
    return figure


def _msd_panel(axis, curves, fits, colors):
    msd = curves["msd"].transpose("window", "seed", "lag").values
    lags = curves["lag"].values
    mean = ensemble_average(msd, axis=1).mean
    onset = np.array(
        [_median(window) for window in fits["onset"].transpose("window", "seed").values]
    )
    for window, waiting_time in enumerate(curves["waiting_time"].values):
        color = colors.to_rgba(waiting_time)
        members = msd[window][np.isfinite(msd[window]).all(axis=-1)]
        if len(members) > 1:
            axis.fill_between(
                lags, members.min(axis=0), members.max(axis=0), color=color, alpha=0.15, linewidth=0
            )
        axis.plot(lags, mean[window], color=color)
        if np.isfinite(onset[window]):
            height = np.interp(np.log(onset[window]), np.log(lags), mean[window])
            axis.plot(onset[window], height, color=color, zorder=3, **ONSET)
    _slope_guides(axis, lags, np.where(mean > 0, mean, 0).max(axis=0))
    if np.any(np.isfinite(onset)):
        handle = axis.plot([], [], color="0.35", **ONSET)
        axis.legend(handle, [r"onset $\tau_0$"], loc="lower right", labelcolor="0.35")


def _slope_guides(axis, lags, highest):
    """Draw slopes 1 and 2 over the first third of the lags' decades, above all curves."""
    span = lags[-1] / lags[0]
    start, stop = lags[0] * span**0.08, lags[0] * span**0.38
    near = (lags >= start) & (lags <= 3 * stop)  # the labels stand to the right of the lines
    origin = 2.5 * np.max(highest[near] / lags[near]) * start
    for slope, label in ((1, r"$\propto\tau$"), (2, r"$\propto\tau^2$")):
        end = origin * (stop / start) ** slope
        axis.plot([start, stop], [origin, end], **GUIDE)
        axis.annotate(label, (stop, end), (2, 0), textcoords="offset points", va="center", **NOTE)


def _local_exponent_panel(axis, curves, fits, colors):
    from matplotlib.lines import Line2D

    local = local_exponents(curves)
    few_pairs = local.lags > curves["lag"].values[-1] / 2
    average = ensemble_average(local.exponent, axis=1)
    error = average.standard_error
    if local.exponent.shape[1] == 1 and local.error is not None:
        error = local.error[:, 0]
    for window, waiting_time in enumerate(curves["waiting_time"].values):
        color, mean = colors.to_rgba(waiting_time), average.mean[window]
        axis.plot(local.lags[~few_pairs], mean[~few_pairs], color=color)
        inside = ~few_pairs & np.isfinite(error[window])
        band = mean[inside] + np.array([[-1], [1]]) * error[window][inside]
        axis.fill_between(local.lags[inside], *band, color=color, alpha=0.2, linewidth=0)
        # Noise at the last lags must not set the scale. add_artist, unlike plot, leaves the limits
        # alone.
        axis.add_artist(
            Line2D(local.lags[few_pairs], mean[few_pairs], color=color, linewidth=0.5, alpha=0.5)
        )
    for index, (low, high) in enumerate(np.column_stack([fits["lag_min"], fits["lag_max"]])):
        color, _ = RANGE_STYLES[index % len(RANGE_STYLES)]
        axis.axvspan(low, high, color=color, alpha=0.08, linewidth=0)
        place = {"xycoords": axis.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axis.annotate(
            f"{low}-{high}",
            (np.sqrt(low * high), 1.0),
            color=color,
            fontsize=NOTE["fontsize"],
            **place,
        )
    axis.axhline(1, linestyle="--", **GUIDE)


def _exponent_panel(axis, fits):
    waiting_times = fits["waiting_time"].values
    gap = np.diff(waiting_times).min() if len(waiting_times) > 1 else 1.0
    shown = [motion for motion in CONTROL_STYLES if motion in fits["motion"]]
    ranges = fits["range"].values
    for index, name in enumerate(ranges):
        color, marker = RANGE_STYLES[index % len(RANGE_STYLES)]
        on_range = fits.sel(range=name)
        x = waiting_times + 0.16 * gap * (index - (len(ranges) - 1) / 2)  # side by side
        center, error, seeds = _seeds(on_range.sel(motion="SGD"))
        if seeds.shape[1] > 1:
            style = {"color": color, "markersize": 3, "alpha": 0.4, "markeredgewidth": 0}
            axis.plot(np.broadcast_to(x[:, None], seeds.shape).ravel(), seeds.ravel(), ".", **style)
        style = {
            "color": color,
            "marker": marker,
            "markersize": 3,
            "elinewidth": 0.7,
            "linewidth": 0.5,
        }
        axis.errorbar(x, center, error, label=f"{name} lags", **style)
        for motion in shown:
            center, _, _ = _seeds(on_range.sel(motion=motion))
            axis.plot(x, center, color=color, **CONTROL_MARKER, **CONTROL_STYLES[motion])
    for motion in shown:
        axis.plot([], [], color="0.35", label=motion, **CONTROL_MARKER, **CONTROL_STYLES[motion])
    axis.axhline(1, linestyle="--", **GUIDE)
    if len(waiting_times) <= 5:
        axis.set_xticks(waiting_times)
    axis.set_xlim(waiting_times[0] - 0.7 * gap, waiting_times[-1] + 0.7 * gap)


def _seeds(fits):
    """Return the mean over seeds with its standard error, and the seeds (window, seed).

    A single seed has its own error.
    """
    values, errors = (
        fits[name].transpose("window", "seed").values for name in ("exponent", "exponent_error")
    )
    average = ensemble_average(values, axis=1)
    return average.mean, average.standard_error if values.shape[1] > 1 else errors[:, 0], values


def _finish_axes(axes, lags):
    from matplotlib.ticker import LogLocator

    for axis_row in axes:
        axis_row[0].set(ylabel=r"MSD $\langle\Vert\Delta w\Vert^2\rangle$", yscale="log")
        axis_row[1].set(ylabel=r"local exponent $\beta(\tau)$")
        axis_row[2].set(ylabel="fitted exponent")
        for axis in axis_row[:2]:
            axis.set(xscale="log", xlim=(lags[0], lags[-1]))
            axis.xaxis.set_major_locator(LogLocator(numticks=20))
    for axis, label in zip(
        axes[-1], (*[r"lag $\tau$ (steps)"] * 2, r"waiting time $t_w$ (steps)"), strict=True
    ):
        axis.set_xlabel(label)
    for axis in axes[0, 1:]:  # no closer than this, or noise about 1 would fill the panel
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.75), max(high, 1.25))
    for axis in axes[:, 2]:
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            controls = [label in CONTROL_STYLES for label in labels]
            on_top = {
                "loc": "lower right",
                "bbox_to_anchor": (1, 1),
                "ncols": 2,
                "columnspacing": 0.8,
            }
            axis.add_artist(
                axis.legend(*_chosen(handles, labels, np.logical_not(controls)), **on_top)
            )
            if any(controls):
                axis.legend(
                    *_chosen(handles, labels, controls),
                    loc="upper right",
                    fontsize=NOTE["fontsize"],
                )
            break


def _chosen(handles, labels, chosen):
    return list(itertools.compress(handles, chosen)), list(itertools.compress(labels, chosen))


def _row_title(curves):
    title = rate_title(float(curves["learning_rate"]))
    finite = np.isfinite(curves["msd"].transpose("seed", "window", "lag").values).all(axis=(1, 2))
    lost = np.count_nonzero(~finite)
    return ", ".join(filter(None, [title, f"{lost}/{len(finite)} diverged" if lost else ""]))


def _median(values):
    finite = values[np.isfinite(values)]
    return np.median(finite) if len(finite) * 2 > len(values) else np.nan
