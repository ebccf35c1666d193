"""Curvature through training in words and numbers."""

import json

import numpy as np
import xarray as xr

from experiments.summaries.common import diverged, mean, paragraph, what
from sgd_diffusion.analysis.ensembles import ensemble_average

NAMES = {
    "batch": "batch normalized by statistics of the batch, as in training",
    "running": "batch normalized by running averages, as in evaluation",
}
LEGEND = """
Hessian of the mean loss of {examples} training examples, mean ± standard deviation over seeds
(one seed: ± the residual of the eigenvalue). 1, 2, 5, last: eigenvalues by rank. Residual: the
largest |H v - value v| / value of all members and eigenvalues, converged: how many of them.
Products: with the Hessian, for one member. Trace: ± its standard error. Gradient, noise: shares
of the squared gradient and of the variance of the gradients of mini-batches that lie along these
eigenvectors, of {parameters} directions. Noise / value: median of the variance of gradients of
single examples along an eigenvector over its eigenvalue, 1 where noise is the Hessian (Xie, Sato
& Sugiyama, ICLR 2021).
"""
PAPER = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588, Fig. 7; ResNet-14 on CIFAR-10) report that the top 20
eigenvalues decay toward 0 with training. Their code takes a new mini-batch of 128 for every
product of its power iteration, in evaluation mode.
""")


def hessian_spectrum(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """Return what a run of experiments.hessian_spectrum measured, as text.

    Args:
        dataset: of the run (`run_directories.load_run`).
        table: of it (`tables.hessian_spectrum`).
    """
    measured = json.loads(dataset.attrs["configuration"])["measurements"]
    batch = measured["hessian_batch_size"]
    legend = LEGEND.format(
        examples=measured["hessian_examples"] // batch * batch, parameters=measured["parameters"]
    )
    lines = [what(dataset), paragraph(legend), ""]
    for rate in dataset.learning_rate.values:
        lost = diverged(dataset.sel(learning_rate=rate))
        lines.append(f"learning rate {rate:g}, 2 / learning rate = {2 / rate:.4g}{lost}")
        for kind in table.statistics.values:
            found = table.sel(learning_rate=rate, statistics=kind)
            lines += [*_rows(found, NAMES[kind]), f"  {_verdict(found, 2 / float(rate))}", ""]
    return "\n".join([*lines, PAPER, ""])


def _rows(run, name):
    ranks = sorted({1, min(2, run.sizes["rank"]), min(5, run.sizes["rank"]), run.sizes["rank"]})
    yield f"  {name}"
    yield (
        " updates"
        + "".join(f"{f'value {rank}':>16}" for rank in ranks)
        + f"{'residual':>10}{'converged':>11}{'products':>10}{'trace':>16}"
        + f"{'gradient':>10}{'noise':>8}{'noise / value':>15}"
    )
    for window in range(run.sizes["window"]):
        here = run.isel(window=window)
        cells = [_value(here.sel(rank=rank)) for rank in ranks]
        converged = here.hessian_converged.values
        count = f"{np.nansum(converged):.0f}/{np.isfinite(converged).sum()}"
        products = mean(here.hessian_products.values, ".0f")
        along = [mean(here[name].values, ".2f") for name in ("gradient_along", "noise_along")]
        ratio = mean(here.median_noise_ratio.values, ".2g")
        residual = _largest(here.relative_residual.values)
        yield (
            f"{int(here.updates):8d}"
            + "".join(f"{cell:>16}" for cell in cells)
            + f"{residual:>10}{count:>11}{products:>10}{_trace(here):>16}"
            + f"{along[0]:>10}{along[1]:>8}{ratio:>15}"
        )


def _value(row):
    average = ensemble_average(row.hessian_eigenvalue.values)
    if average.count == 0:
        return "-"
    error = average.std if average.count > 1 else np.nanmax(row.hessian_residual.values)
    return _with_error(average.mean, error)


def _with_error(value, error):
    """Return value and error, the latter with two significant digits."""
    if not error > 0:
        return f"{value:.4g}"
    decimals = max(1 - int(np.floor(np.log10(error))), 0)
    return (
        f"{value:.{decimals}f} ± {error:.{decimals}f}"
        if decimals < 7
        else f"{value:.4g} ± {error:.1g}"
    )


def _largest(values):
    return f"{np.nanmax(values):.1g}" if np.isfinite(values).any() else "-"


def _trace(row):
    if "hessian_trace" not in row or not np.isfinite(row.hessian_trace).any():
        return "-"
    average = ensemble_average(row.hessian_trace.values)
    error = (
        average.standard_error if average.count > 1 else np.nanmax(row.hessian_trace_error.values)
    )
    return _with_error(average.mean, error)


def _verdict(run, edge):
    largest = ensemble_average(
        run.hessian_eigenvalue.sel(rank=1).transpose("window", "seed").values, axis=1
    )
    if not np.isfinite(largest.mean[[0, -1]]).all():
        return "no member left at the end"
    updates = run.updates.values
    peak = np.nanargmax(largest.mean)
    said = [
        f"{_with_error(largest.mean[window], largest.standard_error[window])} after "
        f"{updates[window]} updates"
        for window in dict.fromkeys((0, int(peak), len(updates) - 1))
    ]
    return (
        f"largest eigenvalue, mean ± standard error: {', '.join(said)}; at most "
        f"{largest.mean[peak] / edge:.2g} of 2 / learning rate"
    )
