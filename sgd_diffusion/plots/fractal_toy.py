"""Walkers on toy landscapes."""

import os
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.analysis.stable import law
from sgd_diffusion.plots.style import GUIDE, NOTE, STYLE, WIDTH, letter
from sgd_diffusion.tables.walk_statistics import EARLY, GRADIENT_EDGES, PARTS

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["fractal_toy", "walker_animation"]

# Okabe and Ito.
SURFACE_COLORS = {
    "fractal": "black",
    "smoothed": "#0072B2",
    "shuffled": "#D55E00",
    "flat": "0.55",
    "cone": "#009E73",
    "paraboloid": "#CC79A7",
}
SELECTIONS = {"selected": {"markerfacecolor": None}, "all": {"markerfacecolor": "white"}}
LEVELS = 16
SHOWN_POINTS = 300  # along a side of a contour plot, as many as are printed
ZOOM = 0.15  # side of the detail
SHUFFLED_STEPS = 200


def fractal_toy(
    statistics: xr.Dataset, table: xr.Dataset, examples: xr.Dataset
) -> "matplotlib.figure.Figure":
    """Plot walkers on rough landscapes and on controls, in two rows of three panels.

    After Chen, Qu & Gong (arXiv:2009.10588, Fig. 8):

    - (a) Contours of one landscape with its wide basin (white) and the path of one walker from dark
      to light, both chosen by rule.
    - (b) MSD before and after the final entry into the basin, of selected landscapes (filled) and
      of all (open); bars are errors by resampling landscapes.
    - (c) Density of all gradient components visited on rough, shuffled and convex surfaces, with
      the stable (dashed) and the normal law (dotted) of the rough ones.
    - (d) The square marked in panel a, with the steps there colored by their length.
    - (e) The shuffled and smoothed landscape and its walker's first 200 steps.
    - (f) MSD of the first 144 steps on convex surfaces from a corner, and of whole paths on
      shuffled and flat ones.

    Args:
        statistics: `tables.walk_statistics` of several kinds of surfaces.
        table: its `tables.toy_walks`.
        examples: dataset of the landscape and path of panels a, d and e: `height` (surface, row,
            column), `path` (surface, step, axis) and `region` (row, column) for the surfaces
            "fractal" and "shuffled", with the attributes `extent`, `final_entry` and whether the
            landscape is `selected`.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.6), dpi=200, layout="constrained")
        axes = figure.subplots(2, 3)
        detail = _detail(examples)
        _landscape_panel(axes[0, 0], examples.sel(surface="fractal"), basin=True)
        axes[0, 0].indicate_inset(
            [detail[0] - ZOOM / 2, detail[1] - ZOOM / 2, ZOOM, ZOOM],
            edgecolor="white",
            linewidth=0.8,
        )
        axes[0, 0].set_title(
            f"{'selected' if examples.attrs['selected'] else 'not selected'}", loc="right"
        )
        _parts_panel(axes[0, 1], table)
        _gradient_panel(axes[0, 2], statistics, table)
        _detail_panel(figure, axes[1, 0], examples.sel(surface="fractal"), detail)
        _landscape_panel(axes[1, 1], examples.sel(surface="shuffled"), steps=SHUFFLED_STEPS)
        axes[1, 1].set_title(f"shuffled, first {SHUFFLED_STEPS} steps", loc="right")
        _controls_panel(axes[1, 2], table)
        letter(axes)
    return figure


def walker_animation(
    examples: xr.Dataset,
    path: str | os.PathLike,
    *,
    frames: IntegerLike = 100,
    tail: IntegerLike = 40,
) -> None:
    """Write a GIF of the walker of the figure on its landscape.

    Args:
        examples: as for `fractal_toy`.
        path: of the file.
        frames: pictures, equally spaced in time.
        tail: steps that stay visible.

    Raises:
        InputError: `frames` is less than 1, or `tail` is negative.
    """
    frames, tail = integer("frames", frames, 1, 10_000), integer("tail", tail, 0)
    import matplotlib as mpl
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.figure import Figure

    example = examples.sel(surface="fractal")
    walked = example["path"].transpose("step", "axis").values
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3, 3), dpi=100, layout="constrained")
        axis = figure.subplots()
        _landscape_panel(axis, example, basin=True, steps=0)
        (line,) = axis.plot([], [], color="white", linewidth=0.8)
        (point,) = axis.plot(
            [], [], marker="o", markersize=4, color="#D55E00", markeredgecolor="white"
        )

        def draw(step):
            line.set_data(*walked[max(step - tail, 0) : step + 1].T)
            point.set_data(*walked[step : step + 1].T)
            return line, point

        steps = np.linspace(0, len(walked) - 1, frames).astype(int)
        animation = FuncAnimation(figure, draw, frames=steps, blit=False)
        animation.save(os.fspath(path), writer=PillowWriter(fps=20))


def _detail(examples):
    """Return the center of the square that is magnified.

    The walker is there half-way to its final entry, and away from the walls.
    """
    steps = examples.sizes["step"] - 1
    half = min(examples.attrs["final_entry"], steps) // 2
    limit = examples.attrs["extent"] / 2 - ZOOM / 2
    return np.clip(
        examples["path"].sel(surface="fractal").transpose("step", "axis").values[half],
        -limit,
        limit,
    )


def _places(example):
    """Return the positions of rows and columns."""
    rows, columns = example.sizes["row"], example.sizes["column"]
    half = example.attrs["extent"] / 2
    return np.linspace(-half, half, rows), np.linspace(-half, half, columns)


def _landscape_panel(axis, example, *, basin=False, steps=None):
    """Draw contours, and the path's first steps in colors of time."""
    # A power of 2 divides the cells of a side of 2^n + 1 points.
    every = max(example.sizes["row"] // SHOWN_POINTS, 1)
    every = 2 ** (every.bit_length() - 1)
    heights = example["height"].transpose("row", "column").values[::every, ::every]
    xs, ys = (places[::every] for places in _places(example))
    axis.contourf(xs, ys, heights.T, LEVELS, cmap="viridis")
    if basin:
        axis.contour(
            xs,
            ys,
            example["region"].transpose("row", "column").values[::every, ::every].T.astype(float),
            [0.5],
            colors="white",
            linewidths=0.8,
        )
    path = example["path"].transpose("step", "axis").values[: None if steps is None else steps + 1]
    if len(path) > 1:
        _path(axis, path, np.arange(len(path) - 1), "magma", linewidth=0.6)
        axis.plot(
            *path[0],
            marker="o",
            markersize=3,
            color="#E69F00",
            markeredgecolor="black",
            markeredgewidth=0.4,
        )
    half = example.attrs["extent"] / 2
    axis.set(
        xlabel="x",
        ylabel="y",
        aspect="equal",
        xlim=(-half, half),
        ylim=(-half, half),
        xticks=(-half, 0, half),
        yticks=(-half, 0, half),
    )


def _path(axis, path, values, cmap, **style):
    """Draw a path whose steps have colors."""
    from matplotlib.collections import LineCollection

    segments = LineCollection(np.stack([path[:-1], path[1:]], axis=1), cmap=cmap, **style)
    segments.set_array(np.asarray(values, float))
    return axis.add_collection(segments)


def _detail_panel(figure, axis, example, center):
    heights, path = (
        example["height"].transpose("row", "column").values,
        example["path"].transpose("step", "axis").values,
    )
    xs, ys = _places(example)
    rows, columns = (
        np.abs(places - at) <= ZOOM for places, at in ((xs, center[0]), (ys, center[1]))
    )
    axis.contourf(
        xs[rows], ys[columns], heights[np.ix_(rows, columns)].T, LEVELS, cmap="Greys_r", alpha=0.7
    )
    lengths = np.hypot(*np.diff(path, axis=0).T)
    near = (np.abs(path[1:] - center) <= ZOOM / 2).all(axis=1)
    lines = _path(axis, path, lengths, "copper", linewidth=0.8)
    lines.set_clim(0, lengths[near].max() if near.any() else lengths.max())
    axis.set(
        xlabel="x",
        ylabel="y",
        aspect="equal",
        xlim=center[0] + np.array([-1, 1]) * ZOOM / 2,
        ylim=center[1] + np.array([-1, 1]) * ZOOM / 2,
    )
    bar = figure.colorbar(lines, cax=axis.inset_axes([1.04, 0, 0.035, 1]))
    bar.ax.set_title("step", fontsize=NOTE["fontsize"])
    bar.outline.set_visible(False)


def _parts_panel(axis, table):
    here = table.sel(surface="fractal")
    for part, color, marker in (("before", "#0072B2", "o"), ("after", "#D55E00", "s")):
        for selection, face in SELECTIONS.items():
            one = here.sel(part=part, selection=selection)
            label = f"{part}, {selection}: {_exponent(one)}"
            axis.errorbar(
                one["lag"],
                one["msd"],
                one["msd_error"],
                color=color,
                marker=marker,
                markersize=3,
                linestyle="none",
                elinewidth=0.6,
                markeredgewidth=0.6,
                label=label,
                **(face if face["markerfacecolor"] else {}),
            )
    axis.set(xscale="log", yscale="log", xlabel="lag (steps)", ylabel="MSD")
    lags, first = np.array([1, 100]), here["msd"].sel(part=["before", "after"], lag=1).min().item()
    if first > 0:
        axis.plot(lags, 0.6 * first * lags, linestyle="--", **GUIDE)
        axis.annotate(
            "1",
            (lags[-1], 0.6 * first * lags[-1]),
            (2, 0),
            textcoords="offset points",
            va="center",
            **NOTE,
        )
        axis.set_ylim(bottom=0.15 * first)
    axis.legend(loc="lower right", fontsize=5.5)


def _exponent(one):
    value, error = one["exponent"].item(), one["exponent_error"].item()
    low, high = PARTS[str(one["part"].values)][1]
    return (
        f"{value:.2f}±{error:.2f} ({low}-{high})"
        if np.isfinite([value, error]).all()
        else "too few"
    )


def _gradient_panel(axis, statistics, table):
    centers, width = (
        (GRADIENT_EDGES[1:] + GRADIENT_EDGES[:-1]) / 2,
        GRADIENT_EDGES[1] - GRADIENT_EDGES[0],
    )
    for surface in ("fractal", "shuffled", "cone"):
        here = statistics.sel(surface=surface, visits="all")
        counts = here["gradient_counts"].sum("landscape").values
        # On a rough surface some gradients lie outside the edges; the density is of all.
        total = (
            statistics.sizes["landscape"]
            * statistics.sizes["walker"]
            * (statistics.attrs["steps"] + 1)
            * 2
        )
        shown = counts > 0
        axis.plot(
            centers[shown],
            counts[shown] / total / width,
            color=SURFACE_COLORS[surface],
            marker="o",
            markersize=1.8,
            linewidth=0.5,
            label=surface,
        )
    pooled = table.sel(surface="fractal", selection="all", visits="all")
    alpha, location, scale, mean, std = (
        pooled[name].item() for name in ("alpha", "location", "scale", "mean", "std")
    )
    x = np.linspace(GRADIENT_EDGES[0], GRADIENT_EDGES[-1], 201)
    if np.isfinite(alpha):
        stable = np.asarray(law.pdf(x, alpha, location=location, scale=scale))
        normal = np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
        label = rf"stable, $\alpha$ = {alpha:.2f}"
        axis.plot(x, stable, color="black", linewidth=0.8, linestyle=(0, (4, 2)), label=label)
        axis.plot(x, normal, color="0.5", linewidth=0.8, linestyle=(0, (1, 1.2)), label="normal")
    axis.set(yscale="log", xlabel="gradient component", ylabel="density")
    axis.set_ylim(1e-4, 50 * axis.get_ylim()[1])
    axis.legend(loc="upper center", fontsize=5.5, ncols=2)


def _controls_panel(axis, table):
    here = table.sel(selection="all")
    for surface, part, marker in (
        ("cone", "early", "o"),
        ("paraboloid", "early", "D"),
        ("shuffled", "whole", "s"),
        ("flat", "whole", "^"),
    ):
        one = here.sel(surface=surface, part=part)
        axis.errorbar(
            one["lag"],
            one["msd"],
            one["msd_error"],
            color=SURFACE_COLORS[surface],
            marker=marker,
            markersize=2.6,
            linewidth=0.6,
            label=f"{surface}: {_exponent(one)}",
        )
    axis.set(xscale="log", yscale="log", xlabel="lag (steps)", ylabel="MSD")
    axis.set_ylim(bottom=0.1 * axis.get_ylim()[0])
    axis.set_title(f"convex: first {EARLY} steps", loc="right")
    axis.legend(loc="lower right", fontsize=5.5)
