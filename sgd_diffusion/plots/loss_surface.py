"""The loss on planes around the end of training, the path there, and dimensions."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion._types import NumberLike
from sgd_diffusion.plots.style import (
    GUIDE,
    NOTE,
    STYLE,
    WIDTH,
    at_learning_rate,
    leave_empty,
    letter,
)

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["loss_surface"]

KINDS = {
    "random": ("along a random direction", "along another one"),
    "principal": ("principal component 1", "principal component 2"),
    "hessian": ("along eigenvector 1", "along eigenvector 2"),
}
# Okabe and Ito.
PLANE_COLORS = {"random": "#0072B2", "principal": "#D55E00", "hessian": "#009E73"}
SURFACES = {"loss": {"color": "black"}, "smooth": {"color": "#E69F00"}}
LEVELS = 14


def loss_surface(
    surfaces: xr.Dataset, table: xr.Dataset, learning_rate: NumberLike | None = None
) -> "matplotlib.figure.Figure":
    """Plot the loss around the end of training at one learning rate, in two rows of three panels.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 1):

    - (a) The loss on the random plane, with the end of training, and the level set of the median,
      whose dimension is measured.
    - (b) The loss on the lines through the end along both directions, all seeds.
    - (c) The loss on the next plane that there is, with the path of training projected on it.
    - (d) How far off each plane the path is, as a share of its distance from its end, mean over
      seeds.
    - (e) Boxes that cover the level set against their size, for the loss and for a smooth surface
      of its shape, with lines of dimensions 1 and 2.
    - (f) Dimensions of level sets and graphs, every seed: calibrated, with the interval that holds
      the truth (filled), and raw (open).

    Panels a, c and e show the first seed that has not diverged.

    Args:
        surfaces: dataset with `loss`, `x`, `y`, `path_x`, `path_y`, `off_plane` and `path_length`,
            as the experiment leaves it.
        table: its `tables.loss_surface`.
        learning_rate: which of the dataset's; the first when None.

    Returns:
        A `figure.Figure`.

    Raises:
        KeyError: the dataset does not have the learning rate.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    run, table = at_learning_rate(learning_rate, surfaces, table)
    lengths = run["path_length"].sel(plane="random").transpose("seed", "update").values
    lasting = np.isfinite(lengths).all(axis=1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.4), dpi=200, layout="constrained")
        axes = figure.subplots(2, 3)
        if not lasting.any():
            leave_empty(axes, "all members diverged")
            return figure
        one, dimensions = (dataset.isel(seed=int(lasting.argmax())) for dataset in (run, table))
        _surface_panel(figure, axes[0, 0], one.sel(plane="random"), level_set=True)
        _profile_panel(axes[0, 1], run.sel(plane="random"))
        others = [plane for plane in run["plane"].values if plane != "random"]
        if others:
            _surface_panel(figure, axes[0, 2], one.sel(plane=others[0]), level_set=False)
        else:
            leave_empty(axes[:1, 2:], "no other plane")
            axes[0, 2].set_axis_off()
        _distance_panel(axes[1, 0], run)
        _count_panel(axes[1, 1], dimensions)
        _dimension_panel(axes[1, 2], table)
        letter(axes)
        axes[0, 1].set_title(rf"$\eta$ = {float(run['learning_rate']):g}", loc="right")
    return figure


def _surface_panel(figure, axis, run, *, level_set):
    """Draw contours of the loss on a plane, with either its median level set or the path."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator

    loss = run["loss"].transpose("row", "column").values
    x, y = run["x"].values, run["y"].values
    shown = np.ma.masked_where(~(np.isfinite(loss) & (loss > 0)), loss)
    axis.set(xlabel=KINDS[str(run["plane"].values)][0], ylabel=KINDS[str(run["plane"].values)][1])
    if shown.count() == 0 or not shown.max() > shown.min():
        axis.text(
            0.5,
            0.5,
            "no finite, positive loss that varies",
            transform=axis.transAxes,
            ha="center",
            **NOTE,
        )
        return
    levels = np.geomspace(shown.min(), shown.max(), LEVELS)
    filled = axis.contourf(
        x, y, shown, levels, norm=LogNorm(levels[0], levels[-1]), cmap="viridis", extend="neither"
    )
    axis.contour(x, y, shown, levels, colors="white", linewidths=0.2, alpha=0.6)
    if level_set:
        axis.contour(x, y, shown, [np.ma.median(shown)], colors="black", linewidths=0.8)
    else:
        axis.plot(
            run["path_x"].values,
            run["path_y"].values,
            color="white",
            linewidth=0.7,
            marker="o",
            markersize=1.4,
        )
    axis.plot(
        run["path_x"].values[-1],
        run["path_y"].values[-1],
        color="#D55E00",
        marker="*",
        markersize=5,
        linestyle="none",
        markeredgecolor="white",
        markeredgewidth=0.3,
    )
    axis.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    bar = figure.colorbar(filled, cax=axis.inset_axes([1.04, 0, 0.035, 1]))
    bar.ax.set_title("loss", fontsize=NOTE["fontsize"])
    decades = np.log10(levels[-1] / levels[0])
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,), numticks=8))
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)


def _profile_panel(axis, run):
    loss = run["loss"].transpose("seed", "row", "column").values
    for surface, x, y in zip(
        loss,
        run["x"].transpose("seed", "column").values,
        run["y"].transpose("seed", "row").values,
        strict=True,
    ):
        if np.isfinite(x).all():
            row, column = abs(y).argmin(), abs(x).argmin()
            axis.plot(x, surface[row], color="#0072B2", linewidth=0.8)
            axis.plot(y, surface[:, column], color="#56B4E9", linewidth=0.8)
    positive = loss[np.isfinite(loss)]
    axis.set(
        xlabel="distance along a direction",
        ylabel="loss",
        yscale="log" if np.all(positive > 0) else "linear",
    )
    handles = [axis.plot([], [], color=color)[0] for color in ("#0072B2", "#56B4E9")]
    axis.legend(handles, ["one", "the other"], loc="upper center")


def _distance_panel(axis, run):
    for plane in run["plane"].values:
        here = run.sel(plane=plane).transpose("seed", "update", ...)
        off, length = here["off_plane"].values, here["path_length"].values
        share = np.divide(off, length, out=np.full_like(length, np.nan), where=length > 0)[:, :-1]
        present = np.isfinite(share).all(axis=1)
        if present.any():
            axis.plot(
                run["update"].values[:-1],
                share[present].mean(axis=0),
                label=plane,
                color=PLANE_COLORS[plane],
                marker="o",
                markersize=2,
            )
    axis.set(xlabel="updates", ylabel="off the plane / distance from end", ylim=(0, 1.05))
    axis.legend(loc="best")


def _count_panel(axis, table):
    sizes = table["size"].values
    for surface, style in SURFACES.items():
        counts = table["curve"].sel(estimator="level set, boxes", surface=surface).values
        if np.isfinite(counts).all():
            axis.plot(sizes, counts, marker="o", markersize=3, label=surface, **style)
    counts = table["curve"].sel(estimator="level set, boxes", surface="loss").values
    for dimension in (1, 2):
        axis.plot(sizes, 1.5 * counts[0] * sizes ** -float(dimension), linestyle="--", **GUIDE)
        axis.annotate(
            f"$s^{{-{dimension}}}$",
            (sizes[-1], 1.5 * counts[0] * sizes[-1] ** -float(dimension)),
            (2, 0),
            textcoords="offset points",
            va="center",
            **NOTE,
        )
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="size $s$ of boxes (cells)",
        ylabel="boxes that cover the level set",
    )
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.legend(loc="lower left")


def _dimension_panel(axis, table):
    names = table["estimator"].values
    for number, name in enumerate(names):
        for shift, (surface, style) in zip((-0.16, 0.16), SURFACES.items(), strict=True):
            here = table.sel(estimator=name, surface=surface)
            places = (
                number
                + shift
                + 0.05 * (np.arange(here.sizes["seed"]) - (here.sizes["seed"] - 1) / 2)
            )
            values = here["dimension"].values
            error = np.maximum([values - here["low"].values, here["high"].values - values], 0)
            axis.errorbar(
                values,
                places,
                xerr=error,
                linestyle="none",
                marker="o",
                markersize=2.6,
                elinewidth=0.6,
                **style,
            )
            axis.plot(
                here["raw"].values,
                places,
                linestyle="none",
                marker="o",
                markersize=2.6,
                markerfacecolor="white",
                markeredgewidth=0.5,
                **style,
            )
    axis.set_yticks(
        range(len(names)), [name.replace(", ", "\n") for name in names], fontsize=NOTE["fontsize"]
    )
    axis.invert_yaxis()
    for smooth in (1, 2):
        axis.axvline(smooth, linestyle="--", **GUIDE)
    axis.set(xlabel="dimension", xlim=(0.9, 3))
