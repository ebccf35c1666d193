"""Exponents of the MSD in words and numbers."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from experiments.summaries.common import (
    CELL,
    diverged,
    mean,
    paragraph,
    rate_in_words,
    what,
    with_error,
)
from sgd_diffusion.analysis.ensembles import ensemble_average

DRIFT_SUBTRACTED, SIGNS_FLIPPED = "drift subtracted", "signs flipped"
COLUMNS = {
    "SGD": "SGD",
    DRIFT_SUBTRACTED: "no drift",
    "shuffled": "shuffled",
    "full-batch descent": "full batch",
    "averaged weights": "averaged",
}
LEGEND = paragraph("""
Exponents of the time-averaged MSD, from least squares in ln-ln: mean ± standard deviation over
seeds (one seed: ± its error from a block bootstrap over the window). No drift: steps less their
mean. Shuffled: steps in random order. Both are 1 for independent steps. A smooth drift alone
gives 2. tau_0, crossover: median lag.
""")
PAPER = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588, Figs. 2-4; ResNets on CIFAR-10, learning rate 0.1) report
exponents of 1.01 to 1.42 in the first regime and 0.60 to 0.88 in the second, and tau_0 of 45 to
400 steps (single runs, slopes taken by hand, no error bars).
""")


def anomalous_diffusion(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """Return what a run of experiments.anomalous_diffusion measured, as text.

    Args:
        dataset: of the run (`run_directories.load_run`).
        table: its exponents (`tables.exponents`).
    """
    lines = [what(dataset), LEGEND, ""]
    for rate in dataset.learning_rate.values:
        lines += [*_rows(dataset.sel(learning_rate=rate), table.sel(learning_rate=rate)), ""]
    return "\n".join([*lines, PAPER, ""])


def _rows(dataset, table):
    """Return a table of windows for one learning rate, and what it says."""
    ranges = [
        f"lags {int(low)}-{int(high)}"
        for low, high in zip(table.lag_min.values, table.lag_max.values, strict=True)
    ]
    motions = [motion for motion in table.motion.values if motion in COLUMNS]
    block = CELL * len(motions)
    lines = [
        f"{rate_in_words(float(dataset.learning_rate))}{diverged(dataset)}",
        " " * 8 + "".join(f"{f'{name}:':^{block}}" for name in ranges),
        "     t_w"
        + "".join(f"{COLUMNS[motion]:>{CELL}}" for motion in motions) * len(ranges)
        + f"{'tau_0':>7}{'crossover':>11}"
        + f"{'loss':>8}" * ("loss" in dataset)
        + f"{'accuracy':>10}" * ("test_accuracy" in dataset),
    ]
    for window in range(dataset.sizes["window"]):
        fits, here = table.isel(window=window), dataset.isel(window=window)
        lines.append(
            f"{int(here.waiting_time):8d}"
            + exponents(fits, motions)
            + f"{median(fits.onset.values):>7}{_crossover(fits):>11}"
            + (f"{mean(here.loss.mean('point').values):>8}" if "loss" in here else "")
            + (f"{mean(here.test_accuracy.values):>10}" if "test_accuracy" in here else "")
        )
    return lines + [f"  {verdict}" for verdict in _verdicts(table, ranges)]


def exponents(row: xr.Dataset, motions: Sequence[str]) -> str:
    """Return the exponents of a table without windows, by range and motion, as cells of a line."""
    return "".join(
        f"{with_error(row.isel(range=number).sel(motion=motion), 'exponent'):>{CELL}}"
        for number in range(row.sizes["range"])
        for motion in motions
    )


def _verdicts(table, ranges):
    """Yield what the first and the last window say, and what holds for all of them."""
    for label, window in (("first", 0), ("last", -1)):
        said = [
            f"{_verdict(table.isel(window=window, range=number))} on {name}"
            for number, name in enumerate(ranges)
        ]
        yield f"{label} window: " + ", ".join(said)
    if SIGNS_FLIPPED in table.motion:
        flipped = table.exponent.sel(motion=SIGNS_FLIPPED).values
        flipped = flipped[np.isfinite(flipped)]
        if flipped.size:
            extremes = f"{flipped.min():.2f} to {flipped.max():.2f}"
            yield f"signs flipped: {extremes} in all windows and ranges"
    if "regime_boundary" in table:
        boundary = median(table.regime_boundary.values)
        yield f"first window that is one subdiffusive power law: t_w = {boundary}"


def median(values):
    """Return the median over seeds; a seed without a value counts as one beyond the window."""
    present = np.where(np.isnan(values), np.inf, values)
    middle = np.median(present)
    return f"{middle:.0f}" if np.isfinite(middle) else "-"


def _crossover(fits):
    return median(fits.crossover.values) if "crossover" in fits else "-"


def _verdict(fits):
    """Return whether a mean exponent is super- or subdiffusive, and what the drift does.

    It is so if it is more than two standard errors away from 1.
    """
    average = ensemble_average(fits.exponent.sel(motion="SGD").values)
    if average.count == 0:
        return "no member left"
    error = (
        average.standard_error
        if average.count > 1
        else np.nanmax(fits.exponent_error.sel(motion="SGD").values)
    )
    if abs(average.mean - 1) <= 2 * error:
        return "not distinguishable from normal diffusion"
    if average.mean < 1:
        return "subdiffusive"
    if DRIFT_SUBTRACTED in fits.motion:
        without = ensemble_average(fits.exponent.sel(motion=DRIFT_SUBTRACTED).values).mean
        return f"superdiffusive ({average.mean:.2f}; {without:.2f} without the mean drift)"
    return "superdiffusive"
