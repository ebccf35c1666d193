"""The noise of gradients beside the Hessian, through the training of a network."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sgd_diffusion.plots.style import GUIDE, NOTE, STYLE, WIDTH, few_labels, letter

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["escape_curvature"]

TOP = 100  # eigenvectors that enter the slope; the others are drawn pale
LABELS = {"trace_ratio": "traces", "median_ratio": f"median, top {TOP}"}


def escape_curvature(found: xr.Dataset) -> "matplotlib.figure.Figure":
    r"""Plot the covariance of gradients against the Hessian, by elements and by eigenvectors.

    After Xie et al. (arXiv:2002.03495, Fig. 2). The first panel has elements of both matrices, the
    second one variances along the eigenvectors against the eigenvalues. Lines are C = H. The last
    panel has the ratio of the traces, and the median of the ratios along the top eigenvectors,
    against the loss.

    Args:
        found: as the experiment `escape_rates` leaves it in curvature.nc: with `epoch`, `mode` and
            `element`, `loss`, `eigenvalue`, `variance`, `hessian_element`, `covariance_element`,
            `trace_ratio`, `median_ratio`.

    Returns:
        A `figure.Figure`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    count = found.sizes["epoch"]
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.9, count))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), dpi=200, layout="constrained")
        elements, along, ratios = axes = figure.subplots(1, 3)
        for i in range(count):
            row = found.isel(epoch=i)
            label = f"epoch {row['epoch'].item()}"
            elements.plot(
                row["hessian_element"],
                row["covariance_element"],
                ".",
                color=colors[i],
                markersize=1,
                rasterized=True,
            )
            values, variances = row["eigenvalue"].values, row["variance"].values
            for part, alpha in ((slice(TOP, None), 0.2), (slice(TOP), 1)):
                along.plot(
                    values[part], variances[part], ".", color=colors[i], markersize=1.5, alpha=alpha
                )
            along.plot([], [], "o", color=colors[i], markersize=3, label=label)
        for name, marker in (("trace_ratio", "o"), ("median_ratio", "s")):
            ratios.plot(found["loss"], found[name], color="0.7", zorder=0)
            ratios.scatter(found["loss"], found[name], 14, colors, marker=marker)
            ratios.plot(
                [], [], marker, color="0.4", markersize=3, label=LABELS[name], fillstyle="none"
            )
        elements.set(xlabel="$H_{ij}$", ylabel="$C_{ij}$", **_decades(found["hessian_element"], 5))
        along.set(
            xlabel=r"eigenvalue $\lambda$ of $H$",
            ylabel=r"$v \cdot C\, v$",
            **_decades(found["eigenvalue"], 6),
        )
        ratios.set(xlabel="training loss", ylabel="$C / H$")
        for axis in axes:
            axis.set(xscale="log", yscale="log")
            few_labels(axis)
        for axis in (elements, along):
            axis.axline((1, 1), (2, 2), **GUIDE)
        ratios.axhline(1, **GUIDE)
        along.legend(loc="lower right", handlelength=0.6)
        ratios.legend(loc="lower right", handlelength=0.6)
        elements.text(0.04, 0.94, "line: $C = H$", transform=elements.transAxes, **NOTE)
        letter(axes)
    return figure


def _decades(values, count):
    """Limits of both axes: some decades below the largest value."""
    top = 3 * float(values.max())
    return {"xlim": (top / 10**count, top), "ylim": (top / 10 ** (count + 2), top)}
