"""When the valley of a network freezes, and how flat it is, by step size and batch size."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.plots.grids import numbered_cells
from sgd_diffusion.plots.style import GUIDE, NOTE, RANGE_STYLES, STYLE, WIDTH, few_labels, letter
from sgd_diffusion.tables.freezing_networks import LATE, SURE

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["freezing_networks"]

GRIDS = (
    ("freezing_time", r"median $\eta t_f$", "{:.0f}"),
    ("radius", r"$r_\theta$", "{:.2f}"),
    ("flatness", "flatness $F$", "{:.2f}"),
    ("max_accuracy", "max test accuracy", "{:.3f}"),
)
POINT = {"markersize": 3, "linewidth": 0.7, "elinewidth": 0.6, "fillstyle": "none"}
CONTROL = {**POINT, "color": "0.2", "marker": "x", "linestyle": "none"}
SGD, NOISE = "sgd", "matched noise"


def freezing_networks(dataset: xr.Dataset, table: xr.Dataset) -> "matplotlib.figure.Figure":
    """Plot freezing times, spread and flatness of networks by step size and batch size.

    After Yang et al. (arXiv:2601.10962, Fig. 1 and 2).

    - a to d: median freezing time, spread r of ends, flatness and best test accuracy of each cell.
      A cell without a number has no repeat that converged.
    - e, f: flatness, and the one that rescaling does not change, against eta / B. Crosses are
      gradient descent at a small step size with normal noise of the same covariance.
    - g, h: flatness and test loss at the ends of descents from checkpoints, at the largest learning
      rate; bars are standard errors over repeats. Colors of h, j and k are those of g.
    - i: similarity of the ends of descents from the checkpoints of the first repeat of the noisiest
      cell.
    - j: share of clones in their most common valley, by where they begin, at that learning rate.
    - k: rise of the training loss on the line between ends of repeats, against their similarity.
    - l: freezing times of single repeats; open ones may not have frozen at all.

    Args:
        dataset: as `tables.freezing_networks` takes it, with `end_flatness` and `end_test_loss`
            (cell, branch, repeat) and `similarity` (cell, repeat, branch, other_branch).
        table: as it returns it.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    median = table["freezing_quartiles"].isel(quartile=1)
    table = table.assign(freezing_time=median)
    means, controls = (table.where(table["motion"] == each, drop=True) for each in (SGD, NOISE))
    cells = dataset.where(dataset["motion"] == SGD, drop=True)
    largest = cells["learning_rate"] == cells["learning_rate"].max()
    shown = cells.where(largest, drop=True).sortby("batch_size")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 7.4), dpi=200, layout="constrained")
        axes = figure.subplots(4, 3)
        for axis, (name, label, number) in zip(axes.flat, GRIDS, strict=False):
            _grid(axis, means, name, label, number)
        _by_noise(axes[1, 1], means, controls, "flatness", "$F$")
        _by_noise(axes[1, 2], means, controls, "normalized_flatness", "normalized $F$")
        _by_branch(axes[2, 0], shown, "end_flatness", "$F$ at the end")
        _by_branch(axes[2, 1], shown, "end_test_loss", "test loss at the end")
        _name_sizes(axes[2, 0])
        _similarities(axes[2, 2], shown.isel(cell=0, repeat=0))
        _clones(axes[3, 0], shown)
        _barriers(axes[3, 1], shown)
        _single_times(axes[3, 2], cells, means)
        for axis in (axes[1, 1], axes[1, 2], axes[3, 2]):
            few_labels(axis)
        letter(axes)
    return figure


def _colors(count):
    from matplotlib import colormaps

    return colormaps["plasma"](np.linspace(0, 0.85, count))


def _each(cells):
    """Cells of one learning rate, each with the style of its lines."""
    for i, color in enumerate(_colors(cells.sizes["cell"])):
        own = cells.isel(cell=i)
        yield own, {"color": color, "label": f"$B$ = {int(own['batch_size'])}"}


def _grid(axis, means, name, label, number):
    rates, sizes = (np.unique(means[key]) for key in ("learning_rate", "batch_size"))
    grid = np.full((len(sizes), len(rates)), np.nan)
    row, column = (
        np.searchsorted(values, means[key])
        for values, key in ((sizes, "batch_size"), (rates, "learning_rate"))
    )
    grid[row, column] = means[name].values
    numbered_cells(axis, grid, rows=sizes, columns=rates, number=number, fontsize=6, cmap="viridis")
    axis.set(xlabel=r"learning rate $\eta$", ylabel="batch size $B$")
    axis.set_title(label, loc="right")


def _by_noise(axis, means, controls, name, label):
    rates = np.unique(means["learning_rate"])
    for rate, color in zip(rates, _colors(len(rates)), strict=True):
        own = means.where(means["learning_rate"] == rate, drop=True).sortby("temperature")
        style = {"color": color, "marker": "o", "label": rf"$\eta$ = {rate:g}", **POINT}
        axis.errorbar(own["temperature"], own[name], own[f"{name}_error"], **style)
    if controls.sizes["cell"]:
        style = CONTROL | {"label": rf"noise, $\eta$ = {float(controls['learning_rate'][0]):g}"}
        axis.errorbar(controls["temperature"], controls[name], controls[f"{name}_error"], **style)
    axis.set(xlabel=r"$\eta / B$", ylabel=label, xscale="log")
    axis.legend()


def _by_branch(axis, cells, name, label):
    for own, style in _each(cells):
        average = ensemble_average(own[name].transpose("branch", "repeat").values, axis=1)
        time = own["branch"] * own["time_of_point"]
        axis.errorbar(time, average.mean, average.standard_error, marker=".", **style, **POINT)
    axis.set(xlabel=r"$\eta t_c$, start of the descent", ylabel=label)


def _name_sizes(axis):
    """Name the batch sizes of panels g, h, j and k above the lines of one of them."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.6 * (high - low))
    axis.legend(loc="upper left", ncols=2)


def _similarities(axis, cell):
    time = cell["branch"].values * float(cell["time_of_point"])
    image = axis.pcolormesh(
        time, time, cell["similarity"], vmin=0.5, vmax=1, cmap="magma", shading="nearest"
    )
    axis.figure.colorbar(image, ax=axis, label="Jaccard similarity")
    axis.set(xlabel=r"$\eta t_c$", ylabel=r"$\eta t_c$", aspect="equal")
    axis.set_title(f"$B$ = {int(cell['batch_size'])}", loc="right")


def _clones(axis, cells):
    if "clone_share" in cells:
        for own, style in _each(cells):
            axis.plot(
                own["clone_branch"] * own["time_of_point"],
                own["clone_share"],
                ".-",
                markersize=3,
                **style,
            )
        axis.axhline(SURE, **GUIDE, linestyle="--")
    else:
        axis.text(0.5, 0.5, "no clones", transform=axis.transAxes, ha="center", **NOTE)
    axis.set(xlabel=r"$\eta t$ where clones begin", ylabel="share in one valley", ylim=(0, 1.05))


def _barriers(axis, cells):
    for own, style in _each(cells):
        axis.plot(own["pair_similarity"], own["barrier"], ".", markersize=3, **style)
    axis.set(xlabel="Jaccard similarity", ylabel="barrier of the loss")


def _single_times(axis, cells, means):
    times = cells["freezing_point"] * cells["time_of_point"]
    end = cells["time_of_point"] * (cells.sizes["point"] - 1)
    late = (times > LATE * end).transpose("cell", "repeat").values
    noise = np.broadcast_to(cells["temperature"].values[:, None], late.shape)
    values = times.transpose("cell", "repeat").values
    point = {"color": RANGE_STYLES[0][0], "linestyle": "none", "markersize": 3}
    axis.plot(noise[~late], values[~late], marker=".", **point)
    axis.plot(noise[late], values[late], marker="o", fillstyle="none", **point)
    axis.plot(means["temperature"], means["freezing_time"], "_", color="0.2", markersize=7)
    axis.text(0.03, 0.93, "bars: medians", transform=axis.transAxes, **NOTE)
    axis.set(xlabel=r"$\eta / B$", ylabel=r"$\eta t_f$", xscale="log")
