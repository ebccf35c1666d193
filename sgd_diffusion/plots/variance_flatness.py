"""The variance-flatness relation of a late path, beside its nulls."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import GUIDE, NOTE, STYLE, WIDTH, few_labels, letter
from sgd_diffusion.theory.flatness import quadratic_flatness, temperature_at_base

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["variance_flatness"]

MOTION_STYLES = {
    "sgd": {"color": "#0072B2", "marker": "o"},
    "random walk": {"color": "#D55E00", "marker": "^"},
    "linear": {"color": "#009E73", "marker": "x"},
}
POINTS = {"linestyle": "none", "markersize": 2.2, "markeredgewidth": 0.6, "fillstyle": "none"}


def variance_flatness(
    dataset: xr.Dataset, table: xr.Dataset, *, sampling: str = "epochs", seed: int = 0
) -> "matplotlib.figure.Figure":
    """Plot variances, flatnesses, times and temperatures of the components of a late path.

    After Feng & Tu (arXiv:2001.01678, Fig. 1 to 3). Beside the training stand the random walk of
    its mini-batch gradients at frozen weights, and the same with the linear force of the Hessian.

    - a: variance by rank, with the exponent gamma of ranks 20 to 200.
    - b: cumulative share of the variance without the first component.
    - c, d: paths of two components, from dark to light.
    - e: loss over that at the base point along some components; its crossings of e are the edges.
    - f: flatness by rank; the line is that of the curvature alone.
    - g: variance by flatness, with psi.
    - h: correlation time by flatness; dots are relaxation times 1 / (alpha h).
    - i: effective temperature by flatness; lines are those along the directions of panel e.

    Args:
        dataset: as `tables.variance_flatness` takes it; with `track` (..., point, track_rank), and
            `displacement`, `loss_profile` and `temperature_profile` (..., shown, place).
        table: as it returns it.
        sampling: of the batches.
        seed: number of the seed, from 0.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    run, found = (each.sel(sampling=sampling).isel(seed=seed) for each in (dataset, table))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 6.2), dpi=200, layout="constrained")
        axes = figure.subplots(3, 3)
        for motion in run["motion"].values:
            own = run.sel(motion=motion), found.sel(motion=motion)
            _spectrum(axes[0, 0], *own)
            _cumulative(axes[0, 1], *own)
            _relation(axes[2, 0], *own)
            _times(axes[2, 1], *own)
        training = run.sel(motion="sgd")
        _track(figure, axes[0, 2], training, 0)
        _track(figure, axes[1, 0], training, 2)
        _profiles(axes[1, 1], training)
        _flatness(axes[1, 2], training)
        _temperature(axes[2, 2], training)
        _finish(axes)
        letter(axes)
    return figure


def _style(run):
    return MOTION_STYLES[str(run["motion"].values)]


def _spectrum(axis, run, found):
    variances = run["variance"].values
    own = variances > 1e-12 * variances[0]
    rank = np.arange(1, len(variances) + 1)
    label = rf"{run['motion'].values}, $\gamma$ = {float(found['gamma'][0]):.2f}"
    axis.plot(rank[own], variances[own], color=_style(run)["color"], label=label)


def _cumulative(axis, run, found):
    rest = np.cumsum(run["variance"].values[1:])
    share = np.append(0, rest / rest[-1])
    axis.plot(
        np.arange(len(share)),
        share,
        color=_style(run)["color"],
        label=rf"$n_{{90}}$ = {int(found['n90'])}",
    )


def _relation(axis, run, found):
    ranks = run["component"].values
    later = ranks > 0
    flat, variances = run["flatness"].values[later], run["variance"].values[ranks][later]
    middle = found.isel(range=1 if found.sizes["range"] > 1 else 0)
    psi, error = float(middle["psi"]), float(middle["psi_error"])
    axis.plot(flat, variances, **POINTS, **_style(run), label=rf"$\psi$ = {psi:.2f} ± {error:.2f}")
    first, last = (int(part) for part in str(middle["range"].values).split("-"))
    inside = (ranks[later] >= first) & (ranks[later] <= last) & np.isfinite(flat)
    if inside.any() and np.isfinite(psi):
        ends = np.array([flat[inside].min(), flat[inside].max()])
        center = np.exp(np.log(flat[inside]).mean()), np.exp(np.log(variances[inside]).mean())
        axis.plot(ends, center[1] * (ends / center[0]) ** -psi, color=_style(run)["color"], lw=0.6)


def _times(axis, run, found):
    later = run["component"].values > 0
    flat = run["flatness"].values[later]
    exponent = float(found["position_time_exponent"])
    label = rf"$F^{{-{exponent:.2f}}}$"
    times = run["position_time"].values[later]
    axis.plot(flat, times, **POINTS, **_style(run), label=label)
    if run["motion"] == "sgd":
        with np.errstate(divide="ignore"):
            relaxation = 1 / (run.attrs["learning_rate"] * run["curvature"].values[later])
        axis.plot(flat, relaxation, ".", color="0.6", markersize=1.5, label=r"$1 / (\alpha h)$")


def _track(figure, axis, run, first):
    if run.sizes["track_rank"] < first + 2:
        return
    x, y = (
        run["track"].isel(track_rank=first).values,
        run["track"].isel(track_rank=first + 1).values,
    )
    axis.scatter(x, y, c=np.arange(len(x)), s=0.4, linewidths=0, cmap="viridis", rasterized=True)
    axis.plot(x, y, color="0.7", linewidth=0.15, zorder=0)
    i, j = (int(rank) + 1 for rank in run["track_rank"].values[first : first + 2])
    axis.set(xlabel=rf"$\theta_{{{i}}}$", ylabel=rf"$\theta_{{{j}}}$")
    axis.ticklabel_format(style="sci", scilimits=(-2, 2), useMathText=True)
    axis.yaxis.get_offset_text().set(ha="left", x=0.12)


def _profiles(axis, run):
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0, 0.85, run.sizes["shown"]))
    for i, color in enumerate(shades):
        here = run.isel(shown=i)
        axis.plot(
            here["displacement"],
            here["loss_profile"],
            color=color,
            label=f"{int(here['shown']) + 1}",
        )
    axis.axhline(np.e, **GUIDE, linestyle="--")
    axis.set(xlabel=r"displacement $\delta\theta$", ylabel=r"$L / L_0$", yscale="log")
    axis.set_ylim(0.9, 20)
    axis.legend(loc="upper center", ncols=5, title="$i$", columnspacing=0.8, handlelength=0.7)


def _flatness(axis, run):
    rank, curvature = run["component"].values + 1, np.maximum(run["curvature"].values, 0)
    axis.plot(rank, run["flatness"].values, **POINTS, **_style(run))
    quadratic = quadratic_flatness(float(run["base_loss"]), curvature)
    axis.plot(rank, np.asarray(quadratic), color="0.2", linewidth=0.6)
    axis.text(0.25, 0.93, r"line: $\sqrt{8 (e - 1) L_0 / h}$", transform=axis.transAxes, **NOTE)
    axis.set(xlabel="rank $i$", ylabel="flatness $F_i$")


def _temperature(axis, run):
    from matplotlib import colormaps

    later = run["component"].values > 0
    rate, size = (run.attrs[name] for name in ("learning_rate", "batch_size"))
    axis.plot(
        run["flatness"].values[later],
        np.asarray(temperature_at_base(run["noise"].values[later], rate, size)),
        **POINTS,
        **_style(run),
    )
    inner = axis.inset_axes((0.62, 0.62, 0.36, 0.36))
    shades = colormaps["viridis"](np.linspace(0, 0.85, run.sizes["shown"]))
    for i, color in enumerate(shades):
        here = run.isel(shown=i)
        scale = abs(here["displacement"].values).max()
        inner.plot(here["displacement"] / scale, here["temperature_profile"], color=color, lw=0.6)
    inner.set(yscale="log", xticks=[], xlabel=r"$\delta\theta$")
    inner.tick_params(labelsize=5)
    inner.xaxis.label.set_size(6)
    axis.set(xlabel="flatness $F_i$", ylabel="effective temperature $T_i(0)$")


def _finish(axes):
    spectrum, cumulative, relation, times = axes[0, 0], axes[0, 1], axes[2, 0], axes[2, 1]
    spectrum.set(xlabel="rank $i$", ylabel=r"variance $\sigma_i^2$", xscale="log", yscale="log")
    cumulative.axhline(0.9, **GUIDE)
    cumulative.set(xlabel="components without the first", ylabel="share of the variance")
    cumulative.set(xlim=(0, 120), ylim=(0, 1))
    relation.set(xlabel="flatness $F_i$", ylabel=r"variance $\sigma_i^2$")
    times.set(xlabel="flatness $F_i$", ylabel="correlation time (updates)")
    for axis in (axes[1, 2], relation, times, axes[2, 2]):
        axis.set(xscale="log", yscale="log")
    spectrum.legend(loc="lower left")
    cumulative.legend(loc="lower right")
    relation.legend(loc="lower left")
    low, high = times.get_ylim()
    times.set_ylim(low, high * (high / low) ** 0.5)
    times.legend(loc="upper center", ncols=2)
    for axis in (spectrum, axes[1, 2], relation, times, axes[2, 2]):
        few_labels(axis)
