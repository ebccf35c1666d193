"""Every figure as a function: labelled dataset in, matplotlib Figure out.

Figures are made for print: 180 mm wide, 7 pt type, perceptually uniform colours, 200 dots per inch unless ``savefig``
is told otherwise. No pyplot state and no global settings are touched, and matplotlib is imported when a figure is asked
for.
"""

import numpy as np

from sgd_diffusion import tables
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import local_exponent, standard_ranges

__all__ = ["anomalous_diffusion"]

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
ONSET = {"linestyle": "none", "marker": "o", "markersize": 2.8, "markerfacecolor": "white", "markeredgewidth": 0.7}
RANGE_STYLES = [("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]  # Okabe and Ito


def anomalous_diffusion(dataset, *, learning_rates=None, ranges=None):
    """How the walk spreads: one row of three panels for each learning rate (Chen, Qu & Gong, arXiv:2009.10588, Fig. 2).

    Left, the time-averaged MSD against the lag, a line for each window: the mean over seeds, over a band from the
    smallest to the largest seed, with the median onset tau_0 of superdiffusion as a circle and slopes 1 and 2 as
    guides. Middle, the local exponents, mean over seeds, faint beyond half the window, with the fitted ranges shaded.
    Right, the exponents fitted on these ranges against the waiting time: seeds as small dots, their mean with its
    standard error as a marker with a bar.

    Members that are NaN (they diverged) are left out, and the row's title counts them.

    Args:
        dataset: with ``msd`` (window, seed, learning_rate, lag) in any order of dimensions, and the coordinates
            ``waiting_time`` (window), ``learning_rate`` and ``lag`` (1..T).
        learning_rates: which of the dataset's, all of them when None.
        ranges: {name: (smallest lag, largest lag)}; :func:`~sgd_diffusion.analysis.scaling.standard_ranges` when None.

    Returns:
        A :class:`matplotlib.figure.Figure`; write it with ``figure.savefig(path)``.

    Raises:
        KeyError: a learning rate that the dataset does not have.
        InputError: lags too few for the ranges.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    if learning_rates is not None:
        dataset = dataset.sel(learning_rate=list(learning_rates))
    ranges = standard_ranges(dataset.sizes["lag"]) if ranges is None else ranges
    table = tables.exponents(dataset, ranges)
    rows = dataset.sizes["learning_rate"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.35 + 1.75 * rows), dpi=200, layout="constrained")
        axes = figure.subplots(rows, 3, squeeze=False, sharex="col", sharey="col")
        colors = _waiting_time_colors(dataset["waiting_time"].values)
        for row, axis_row in enumerate(axes):
            curves, fits = dataset.isel(learning_rate=row), table.isel(learning_rate=row)
            if np.any(curves["msd"] > 0):
                _msd_panel(axis_row[0], curves, fits, colors)
                _local_exponent_panel(axis_row[1], curves, ranges, colors)
                _exponent_panel(axis_row[2], fits, ranges)
            else:
                note = "no member moved" if np.any(np.isfinite(curves["msd"])) else "all members diverged"
                for axis in axis_row:
                    axis.text(0.5, 0.5, note, transform=axis.transAxes, ha="center", **NOTE)
            for letter, axis in zip("abcdefghijklmnopqrstuvwxyz"[3 * row :], axis_row, strict=False):
                axis.set_title(letter, fontweight="bold", loc="left")
            axis_row[0].set_title(_row_title(curves), loc="right")
        _finish_axes(axes, dataset["lag"].values[-1])
        if dataset.sizes["window"] > 1:
            bar = figure.colorbar(colors, cax=axes[0, 1].inset_axes([1.04, 0, 0.035, 1]))
            bar.set_label("waiting time $t_w$ (steps)")
            bar.outline.set_visible(False)
    return figure


def _msd_panel(axis, curves, fits, colors):
    msd = curves["msd"].transpose("window", "seed", "lag").values
    lags = curves["lag"].values
    mean = ensemble_average(msd, axis=1).mean
    onset = np.array([_median(window) for window in fits["onset"].transpose("window", "seed").values])
    for window, waiting_time in enumerate(curves["waiting_time"].values):
        color = colors.to_rgba(waiting_time)
        members = msd[window][np.isfinite(msd[window]).all(axis=-1)]
        if len(members) > 1:
            axis.fill_between(lags, members.min(axis=0), members.max(axis=0), color=color, alpha=0.15, linewidth=0)
        axis.plot(lags, mean[window], color=color)
        if np.isfinite(onset[window]):
            height = np.interp(np.log(onset[window]), np.log(lags), mean[window])
            axis.plot(onset[window], height, color=color, zorder=3, **ONSET)
    _slope_guides(axis, lags, np.where(mean > 0, mean, 0).max(axis=0))
    if np.any(np.isfinite(onset)):
        handle = axis.plot([], [], color="0.35", **ONSET)
        axis.legend(handle, [r"onset $\tau_0$"], loc="lower right", labelcolor="0.35")


def _slope_guides(axis, lags, highest):
    """Slopes 1 and 2 over the first third of the lags' decades, above all curves."""
    start, stop = lags[-1] ** 0.08, lags[-1] ** 0.38
    near = (lags >= start) & (lags <= 3 * stop)  # the labels stand to the right of the lines
    origin = 2.5 * np.max(highest[near] / lags[near]) * start
    for slope, label in ((1, r"$\propto\tau$"), (2, r"$\propto\tau^2$")):
        end = origin * (stop / start) ** slope
        axis.plot([start, stop], [origin, end], **GUIDE)
        axis.annotate(label, (stop, end), (2, 0), textcoords="offset points", va="center", **NOTE)


def _local_exponent_panel(axis, curves, ranges, colors):
    from matplotlib.lines import Line2D

    msd = curves["msd"].transpose("window", "seed", "lag").values
    # An even stride compares lags of one parity: under bouncing of period two, odd and even lags differ.
    lags, exponent = local_exponent(curves["lag"].values, msd, stride=min(20, max(2, msd.shape[-1] // 20 * 2)))
    few_pairs = lags > curves["lag"].values[-1] / 2
    for mean, waiting_time in zip(ensemble_average(exponent, axis=1).mean, curves["waiting_time"].values, strict=True):
        color = colors.to_rgba(waiting_time)
        axis.plot(lags[~few_pairs], mean[~few_pairs], color=color)
        # add_artist, unlike plot, leaves the limits alone: noise at the last lags must not set the scale
        axis.add_artist(Line2D(lags[few_pairs], mean[few_pairs], color=color, linewidth=0.5, alpha=0.5))
    for index, (low, high) in enumerate(ranges.values()):
        color, _ = RANGE_STYLES[index % len(RANGE_STYLES)]
        axis.axvspan(low, high, color=color, alpha=0.08, linewidth=0)
        place = {"xycoords": axis.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axis.annotate(f"{low}-{high}", (np.sqrt(low * high), 1.0), color=color, fontsize=NOTE["fontsize"], **place)
    axis.axhline(1, linestyle="--", **GUIDE)


def _exponent_panel(axis, fits, ranges):
    waiting_times = fits["waiting_time"].values
    gap = np.diff(waiting_times).min() if len(waiting_times) > 1 else 1.0
    for index, name in enumerate(ranges):
        color, marker = RANGE_STYLES[index % len(RANGE_STYLES)]
        exponents = fits["exponent"].sel(range=name).transpose("window", "seed").values
        x = waiting_times + 0.16 * gap * (index - (len(ranges) - 1) / 2)  # side by side
        seeds = np.broadcast_to(x[:, None], exponents.shape)
        if exponents.shape[1] > 1:
            axis.plot(seeds.ravel(), exponents.ravel(), ".", color=color, markersize=3, alpha=0.4, markeredgewidth=0)
        average = ensemble_average(exponents, axis=1)
        style = {"color": color, "marker": marker, "markersize": 3, "elinewidth": 0.7, "linewidth": 0.5}
        axis.errorbar(x, average.mean, average.standard_error, label=f"{name} lags", **style)
    axis.axhline(1, linestyle="--", **GUIDE)
    if len(waiting_times) <= 5:
        axis.set_xticks(waiting_times)
    axis.set_xlim(waiting_times[0] - 0.7 * gap, waiting_times[-1] + 0.7 * gap)


def _finish_axes(axes, longest_lag):
    from matplotlib.ticker import LogLocator

    for axis_row in axes:
        axis_row[0].set(ylabel=r"MSD $\langle\Vert\Delta w\Vert^2\rangle$", yscale="log")
        axis_row[1].set(ylabel=r"local exponent $\beta(\tau)$")
        axis_row[2].set(ylabel="fitted exponent")
        for axis in axis_row[:2]:
            axis.set(xscale="log", xlim=(1, longest_lag))
            axis.xaxis.set_major_locator(LogLocator(numticks=20))
    for axis, label in zip(axes[-1], (*[r"lag $\tau$ (steps)"] * 2, r"waiting time $t_w$ (steps)"), strict=True):
        axis.set_xlabel(label)
    for axis in axes[0, 1:]:  # no closer than this, or noise about 1 would fill the panel
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.75), max(high, 1.25))
    filled = [axis for axis in axes[:, 2] if axis.get_legend_handles_labels()[0]]
    for axis in filled[:1]:
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, columnspacing=0.8)


def _waiting_time_colors(waiting_times):
    """Colours of the windows; viridis without its last tenth, which is too light for thin lines."""
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.9, 256)))
    return ScalarMappable(Normalize(waiting_times.min(), max(waiting_times.max(), waiting_times.min() + 1)), shades)


def _row_title(curves):
    rate = float(curves["learning_rate"])
    finite = np.isfinite(curves["msd"].transpose("seed", "window", "lag").values).all(axis=(1, 2))
    lost = np.count_nonzero(~finite)
    note = rf"$\eta$ = {rate:g}"
    return note if lost == 0 else f"{note}, {lost}/{len(finite)} diverged"


def _median(values):
    finite = values[np.isfinite(values)]
    return np.median(finite) if len(finite) * 2 > len(values) else np.nan
