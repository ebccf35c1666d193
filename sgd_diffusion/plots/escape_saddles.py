"""Escapes of a network over a saddle: the path, its noise, the spectra, and the times."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import GUIDE, NOTE, RANGE_STYLES, STYLE, WIDTH, letter

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["escape_saddles"]


def escape_saddles(found: xr.Dataset) -> "matplotlib.figure.Figure":
    r"""Plot minimum-energy paths of networks, spectra at their ends, and times to the saddle.

    A row is a barrier. Its first panel is the loss along the path from the minimum over the saddle
    at 0, with the variance of gradients along it. The second has the eigenvalues at the minimum and
    at the saddle, and the third the time to the saddle over B / eta, measured with two standard
    errors, and predicted. Where no walker escaped, a triangle is the lower bound of the time.

    Args:
        found: as the experiment `escape_rates` leaves it in saddle.nc.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    count = found.sizes["line"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.3 * count), dpi=200, layout="constrained")
        axes = figure.subplots(count, 3, squeeze=False)
        for i, (path, spectra, times) in enumerate(axes):
            row = found.isel(line=i)
            _path(path, row)
            _spectra(spectra, row)
            _times(times, row.dropna("point", subset=["batch_size"]))
        axes[0, 2].legend(loc="best")
        axes[0, 1].legend(loc="best")
        letter(axes)
    return figure


def _path(axis, row):
    (color, _), (other, _) = RANGE_STYLES[:2]
    loss = row["path_loss"] - row["minimum_loss"]
    axis.plot(row["position"], loss, color=color, marker=".", markersize=3)
    axis.set(xlabel="length along the path", ylabel=r"$L - L_a$")
    axis.yaxis.label.set_color(color)
    axis.axvline(0, **GUIDE)
    axis.set_title(row["loss"].item(), loc="right", **NOTE)
    noise = axis.twinx()
    noise.plot(row["position"], row["path_noise"], color=other, linestyle="--")
    noise.set(ylabel=r"$e \cdot C\, e$", ylim=(0, None))
    noise.yaxis.label.set_color(other)
    noise.spines["right"].set_visible(True)


def _spectra(axis, row):
    for name, (color, marker) in zip(("minimum", "saddle"), RANGE_STYLES, strict=False):
        values = row[f"{name}_eigenvalue"].dropna("parameter")
        axis.plot(values, marker, color=color, markersize=3, fillstyle="none", label=name)
    axis.axhline(0, **GUIDE)
    axis.set_yscale("symlog", linthresh=1e-3)
    axis.margins(y=0.08)
    axis.set(xlabel="rank, from the lowest", ylabel="eigenvalue of the Hessian")


def _times(axis, row):
    (color, marker), (other, _), (third, _) = RANGE_STYLES[:3]
    row = row.sortby("coldness")
    x = row["coldness"]
    few = {"marker": "_", "markersize": 8} if len(x) == 1 else {}
    axis.plot(x, row["log_time_predicted"], color=other, label="path, measured noise", **few)
    axis.plot(x, row["log_time_closed_form"], "--", color=third, label="closed form, H", **few)
    axis.errorbar(
        x,
        row["log_time"],
        2 * row["log_time_error"],
        fmt=marker,
        color=color,
        markersize=3,
        linewidth=0.6,
        fillstyle="none",
        label="measured",
    )
    bound = row["log_time_bound"].values
    if np.isfinite(bound).any():
        axis.plot(x, bound, "^", color=color, markersize=4, fillstyle="none")
        axis.text(
            0.5,
            0.5,
            "none escaped: above the triangle",
            transform=axis.transAxes,
            ha="center",
            **NOTE,
        )
    axis.set(xlabel=r"$B / \eta$", ylabel=r"$\ln \tau$ to the saddle")
