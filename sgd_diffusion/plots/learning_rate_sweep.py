"""What the learning rate does to exponents and boundary, and what is left at equal eta t."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.plots.comparison import mean_and_error
from sgd_diffusion.plots.style import (
    CONTROL_MARKER,
    CONTROL_STYLES,
    GUIDE,
    NOTE,
    RANGE_STYLES,
    SERIES_COLORS,
    STYLE,
    WIDTH,
    few_labels,
    leave_empty,
    letter,
)
from sgd_diffusion.tables.training_times import coarse_losses

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["learning_rate_sweep"]


def learning_rate_sweep(
    dataset: xr.Dataset, table: xr.Dataset, times: xr.Dataset
) -> "matplotlib.figure.Figure":
    """Plot exponents against the learning rate, and runs against updates and training time.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 4).

    - a: long-lag exponents of the first and the last window, mean over seeds with one standard
      error. Open triangles are without the mean drift, crosses with steps in random order.
    - b: the waiting time of the first window that is one subdiffusive power law, median over seeds
      with a bar from the least to the largest, where most seeds have one; on the right axis the
      same times the learning rate.
    - c, d: the training loss against updates t and against the training time eta t, a mean over
      seeds and 50 updates.
    - e: the test accuracy where each window ends, mean over seeds with one standard error.
    - f: the squared distance from the initial weights against eta t, in the first window. Were time
      only rescaled, all curves would be one.
    - g: the ratio of two neighboring learning rates at equal eta t, of distances and of losses.

    Args:
        dataset: of the run, with `loss` and `displacement_from_start`.
        table: its `tables.regimes`.
        times: its `tables.training_times`.

    Returns:
        A `figure.Figure`; write it with `figure.savefig(path)`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rates = np.sort(dataset["learning_rate"].values)
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(rates)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8), dpi=200, layout="constrained")
        axes = figure.subplots(2, 4)
        _exponents(axes[0, 0], table.sel(learning_rate=rates), rates)
        _boundaries(axes[0, 1], table.sel(learning_rate=rates), rates)
        _losses(axes[0, 2], axes[0, 3], dataset, rates, colors)
        _accuracies(axes[1, 0], dataset, rates, colors)
        _distances(axes[1, 1], dataset, rates, colors)
        _ratios(axes[1, 2], times)
        for axis in axes.flat:
            few_labels(axis)
        letter(axes.ravel()[:-1])
        axes[1, 3].set_axis_off()
        named = {
            label: handle
            for axis in (axes[0, 2], axes[0, 0], axes[1, 2])
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        axes[1, 3].legend(named.values(), named.keys(), loc="center")
    return figure


def _exponents(axis, table, rates):
    for (name, label), (color, marker) in zip(
        (("first_exponent", "first window"), ("last_exponent", "last window")),
        RANGE_STYLES,
        strict=False,
    ):
        style = {"color": color, "marker": marker, "markersize": 3, "elinewidth": 0.7}
        center, error = mean_and_error(table.sel(motion="SGD"), name)
        axis.errorbar(rates, center, error, label=label, **style)
        for motion, own in CONTROL_STYLES.items():
            if motion in table["motion"].values:
                center, _ = mean_and_error(table.sel(motion=motion), name)
                axis.plot(rates, center, color=color, **CONTROL_MARKER, **own)
    axis.axhline(1, linestyle="--", **GUIDE)
    axis.set(xscale="log", xlabel=r"learning rate $\eta$", ylabel="exponent, long lags")


def _boundaries(axis, table, rates):
    values = table["regime_boundary"].transpose("learning_rate", "seed").values
    other = axis.twinx()
    for shown, scale, (color, marker) in (
        (axis, np.ones_like(rates), RANGE_STYLES[0]),
        (other, rates, RANGE_STYLES[1]),
    ):
        present = np.isfinite(values).sum(axis=1) * 2 > values.shape[1]
        middle = np.nanmedian(values[present], axis=1) if present.any() else np.zeros(0)
        if present.any():
            low = middle - np.nanmin(values[present], axis=1)
            high = np.nanmax(values[present], axis=1) - middle
            factor = scale[present]
            shown.errorbar(
                rates[present], middle * factor, (low * factor, high * factor), color=color,
                marker=marker, markersize=3, elinewidth=0.7,
            )  # fmt: skip
        shown.tick_params(axis="y", colors=color)
    if not np.isfinite(values).any():
        axis.text(0.5, 0.5, "no window is subdiffusive", transform=axis.transAxes, ha="center",
                  **NOTE)  # fmt: skip
    axis.set(xscale="log", xlabel=r"learning rate $\eta$", xlim=(rates[0] / 1.5, rates[-1] * 1.5))
    axis.set_ylabel(r"regime boundary $t_w$ (steps)", color=RANGE_STYLES[0][0])
    other.set_ylabel(r"$\eta\,t_w$", color=RANGE_STYLES[1][0])
    other.spines["right"].set_visible(True)


def _losses(by_update, by_time, dataset, rates, colors):
    steps, losses = coarse_losses(dataset.sel(learning_rate=rates))
    for rate, curves, color in zip(rates, losses, colors, strict=True):
        mean = ensemble_average(curves).mean
        by_update.plot(steps, mean, color=color, label=rf"$\eta$ = {rate:g}")
        by_time.plot(steps * rate, mean, color=color)
    for axis, label in ((by_update, "updates $t$"), (by_time, r"training time $\eta\,t$")):
        axis.set(xscale="log", yscale="log", xlabel=label, ylabel="training loss")


def _accuracies(axis, dataset, rates, colors):
    if "test_accuracy" not in dataset:
        leave_empty(np.array([axis]), "no test accuracy")
        return
    ends = dataset["waiting_time"].values + dataset["lag"].values[-1]
    for rate, color in zip(rates, colors, strict=True):
        row = dataset[["test_accuracy"]].sel(learning_rate=rate)
        style = {"color": color, "marker": "o", "markersize": 2.5, "elinewidth": 0.7}
        axis.errorbar(rate * ends, *mean_and_error(row, "test_accuracy"), **style)
    axis.set(xscale="log", xlabel=r"training time $\eta\,t$", ylabel="test accuracy")


def _distances(axis, dataset, rates, colors):
    lags = dataset["lag"].values
    for rate, color in zip(rates, colors, strict=True):
        curves = dataset["displacement_from_start"].isel(window=0).sel(learning_rate=rate)
        curves = curves.transpose("seed", "lag").values
        curves = curves[np.isfinite(curves).all(axis=1)]
        if len(curves):
            axis.fill_between(
                rate * lags, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.2,
                linewidth=0,
            )  # fmt: skip
            axis.plot(rate * lags, curves.mean(axis=0), color=color)
    axis.set(xscale="log", yscale="log", xlabel=r"training time $\eta\,t$")
    axis.set_ylabel(r"$\Vert w_t - w_0\Vert^2$")


def _ratios(axis, times):
    places = np.arange(times.sizes["pair"])
    for number, (name, label) in enumerate((("distance", "distance$^2$"), ("loss", "loss"))):
        color = SERIES_COLORS[2 + number]
        axis.errorbar(
            places + 0.16 * (number - 0.5), times[f"{name}_ratio"], times[f"{name}_ratio_error"],
            color=color, marker="os"[number], markersize=3, elinewidth=0.7, linestyle="none",
            label=label,
        )  # fmt: skip
    axis.axhline(1, linestyle="--", **GUIDE)
    pairs = zip(times["lower_rate"].values, times["higher_rate"].values, strict=True)
    axis.set_xticks(places, [f"{high:g}\n/{low:g}" for low, high in pairs])
    axis.set(yscale="log", xlabel="learning rates", ylabel=r"ratio at equal $\eta\,t$")
    axis.set_xlim(-0.5, len(places) - 0.5)
