"""Linear regression in phase space, beside the theory of its limiting dynamics."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import GUIDE, NOTE, RANGE_STYLES, STYLE, WIDTH, few_labels, letter
from sgd_diffusion.theory.limiting import Hyperparameters, stationary_covariance

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["limiting_regression"]

SAMPLING_STYLES = {"replacement": ("#0072B2", "o"), "epochs": ("#D55E00", "s")}
PARTS = ("position", "cross", "velocity", "circulation")


def limiting_regression(motion: xr.Dataset, table: xr.Dataset) -> "matplotlib.figure.Figure":
    """Plot what a regression does near its solution, and what the theory says that it does.

    After Kunin et al. (arXiv:2107.09133, Fig. 2 to 6). Units are the predicted standard deviations.

    - a: means of walks that start away from the solution, in the plane of position and velocity;
      dashed, predicted.
    - b: position of the mode that turns slowest among those that turn, 20 walks, mean, and the
      predicted mean with its band of 95 percent.
    - c: positions in the plane of a sharp and a flat mode, the predicted ellipse of 95 percent
      (dashed) and lines of equal loss (gray). The walk fills a circle, not a line of equal loss.
    - d: covariances and circulation over those of the noise at the solution, by eigenvalue. The
      line is the prediction with the noise of the law.
    - e: periods of turning against the predicted ones.
    - f: squared displacement from the solution; lines are predicted.

    Args:
        motion: as `tables.limiting_regression` takes it.
        table: as it returns it.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.1), dpi=200, layout="constrained")
        axes = figure.subplots(2, 3)
        law = _law(motion)
        _spirals(axes[0, 0], motion, table, law)
        _walks(axes[0, 1], motion, table, law)
        _plane(axes[0, 2], motion, law)
        _ratios(axes[1, 0], motion, table)
        _periods(axes[1, 1], table)
        _displacements(axes[1, 2], table)
        for axis in axes[1]:
            few_labels(axis)
        letter(axes)
    return figure


def _law(motion):
    """Standard deviations (mode,) of position and velocity of output 0."""
    hyper = Hyperparameters(*(float(motion.attrs[name]) for name in Hyperparameters._fields))
    ranks = motion["mode"].values
    law = stationary_covariance(
        motion["eigenvalue"].values[ranks], motion["noise_of_law"].values[ranks, 0], hyper
    )
    return np.sqrt(np.asarray(law.position)), np.sqrt(np.asarray(law.velocity))


def _labels(motion):
    return [f"{motion['eigenvalue'].values[rank]:.3g}" for rank in motion["mode"].values]


def _spirals(axis, motion, table, law):
    for i, (label, (color, _)) in enumerate(zip(_labels(motion), RANGE_STYLES, strict=False)):
        for suffix, style in (("", "-"), ("_predicted", "--")):
            x, v = (
                table[f"spiral_mean_{name}{suffix}"].isel(mode=i).values / unit[i]
                for name, unit in zip(("position", "velocity"), law, strict=True)
            )
            axis.plot(
                x,
                v,
                style,
                color="0.2" if suffix else color,
                linewidth=0.6 if suffix else 1,
                label=None if suffix else label,
            )
    axis.set(xlabel=r"$\langle x \rangle / \sigma_x$", ylabel=r"$\langle v \rangle / \sigma_v$")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.45 * (high - low))
    axis.legend(title="eigenvalue", title_fontsize=6.5, ncols=2, loc="upper center")


def _walks(axis, motion, table, law):
    turning = np.isfinite(table["period_predicted"].values)
    i = int(np.nonzero(turning)[0][-2 if turning.sum() > 2 else -1]) if turning.any() else 0
    walks = motion["spiral_position"].isel(output=0, mode=i).transpose("seed", "spiral_point")
    steps = np.arange(walks.sizes["spiral_point"])
    axis.plot(steps, walks.values[:20].T / law[0][i], color="0.75", linewidth=0.3)
    low, high, mean, predicted = (
        table[f"spiral_{name}"].isel(mode=i).values / law[0][i]
        for name in ("low", "high", "mean_position", "mean_position_predicted")
    )
    axis.fill_between(steps, low, high, color=RANGE_STYLES[0][0], alpha=0.2, linewidth=0)
    axis.plot(steps, mean, color=RANGE_STYLES[0][0])
    axis.plot(steps, predicted, "--", color="0.2", linewidth=0.6)
    axis.set(xlabel="steps", ylabel=r"$x / \sigma_x$")
    axis.set_title(f"eigenvalue {_labels(motion)[i]}", loc="right")


def _plane(axis, motion, law):
    sharp, flat = 0, max(len(law[0]) - 2, 0)
    x = motion["position"].isel(sampling=0, output=0).transpose("mode", "seed", "point").values
    late = x[..., x.shape[-1] // 2 :].reshape(len(x), -1)
    late = late[:, :: max(1, late.shape[1] // 1500)]
    unit = law[0][sharp]
    angle = np.linspace(0, 2 * np.pi, 200)
    bend = motion["eigenvalue"].values[motion["mode"].values]
    reach = 3.6
    for energy in (1, 4, 9):
        axis.plot(
            np.sqrt(energy) * np.cos(angle),
            np.sqrt(energy * bend[sharp] / bend[flat]) * np.sin(angle),
            **GUIDE,
        )
    axis.plot(late[sharp] / unit, late[flat] / unit, ".", markersize=0.8, color="#56B4E9")
    radius = np.sqrt(5.991)  # 95 percent of a normal law of two coordinates
    axis.plot(
        radius * np.cos(angle),
        radius * law[0][flat] / unit * np.sin(angle),
        "--",
        color="0.2",
    )
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axis.set(
        xlabel=f"$x$ at eigenvalue {_labels(motion)[sharp]}",
        ylabel=f"$x$ at eigenvalue {_labels(motion)[flat]}",
    )


def _ratios(axis, motion, table):
    eigenvalues = motion["eigenvalue"].values[motion["mode"].values]
    for sampling, (color, marker) in SAMPLING_STYLES.items():
        for j, part in enumerate(PARTS):
            here = table.sel(sampling=sampling)
            axis.errorbar(
                eigenvalues * 1.12 ** (j - 1.5),
                here[part].values,
                here[f"{part}_error"].values,
                fmt=marker,
                color=color,
                markersize=2.2,
                linewidth=0.6,
                label=sampling if j == 0 else None,
            )
    axis.plot(eigenvalues, table["position_predicted"].values, color="0.2", linewidth=0.7)
    axis.axhline(1, **GUIDE)
    axis.set(xscale="log", xlabel="eigenvalue", ylabel="over the law at the solution")
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.2 * (high - low), high)
    axis.legend(loc="lower right")
    axis.set_title("$x^2$, $xv$, $v^2$, circulation", loc="right", **NOTE)


def _periods(axis, table):
    predicted = table["period_predicted"].values
    turning = np.isfinite(predicted)
    for sampling, (color, marker) in SAMPLING_STYLES.items():
        here = table.sel(sampling=sampling)
        axis.errorbar(
            predicted[turning],
            here["period"].values[turning],
            here["period_error"].values[turning],
            fmt=marker,
            color=color,
            markersize=3,
            linewidth=0.6,
        )
    if turning.any():
        ends = np.array([predicted[turning].min() / 1.3, predicted[turning].max() * 1.3])
        axis.plot(ends, ends, **GUIDE)
    axis.set(xscale="log", yscale="log", xlabel="predicted period (steps)", ylabel="period (steps)")


def _displacements(axis, table):
    steps = np.arange(1, table.sizes["point"])
    for sampling, (color, _) in SAMPLING_STYLES.items():
        axis.plot(steps, table["msd"].sel(sampling=sampling).values[1:], color=color)
    axis.plot(steps, table["msd_predicted"].values[1:], "--", color="0.2", linewidth=0.7)
    axis.set(xscale="log", yscale="log", xlabel="steps", ylabel=r"$\|\Delta w\|^2$")
