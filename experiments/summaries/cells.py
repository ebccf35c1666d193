"""Exponents, losses and accuracies of many runs in words and numbers."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from experiments.summaries.anomalous_diffusion import COLUMNS, exponents, median
from experiments.summaries.common import CELL, mean, paragraph
from sgd_diffusion.tables import each_cell

SHOWN = ("SGD", "drift subtracted", "shuffled")
LEGEND = paragraph("""
Exponents of the time-averaged MSD, from least squares in ln-ln: mean ± standard deviation over
seeds (one seed: ± its error from a block bootstrap over the window). No drift: steps less their
mean. Shuffled: steps in random order. Both are 1 for independent steps. tau_0: median onset of
superdiffusion. Loss: mean over the window. Accuracy: on test data, where it ends. A dash: diverged,
or not there.
""")


def cells(table: xr.Dataset, names: Sequence[str]) -> str:
    """Return what many runs measured in their first and in their last window, as text.

    Args:
        table: of all runs (`tables.over_cells` of `tables.overview`).
        names: its dimensions that tell the runs apart.
    """
    lines = [LEGEND]
    windows = table.sizes["window"]
    for number in dict.fromkeys((0, windows - 1)):
        lines += ["", *_block(table.isel(window=number), names, number)]
    return "\n".join(lines)


def _block(table, names, number):
    motions = [motion for motion in SHOWN if motion in table.motion.values]
    named = each_cell(table, names)
    width = max(len(name) for name, _ in named)
    ranges = table.range.values
    head = f"window {number + 1}, " + _at(table, "waiting_time", "t_w = {:.0f}")
    head = f"{head:<{width}}"
    lags = [f"{name} lags" + _lags(table.sel(range=name)) for name in ranges]
    lines = [
        head + "".join(f"{text:^{CELL * len(motions)}}" for text in lags),
        " " * width
        + "".join(f"{COLUMNS[motion]:>{CELL}}" for motion in motions) * len(ranges)
        + f"{'tau_0':>7}{'loss':>8}{'accuracy':>10}",
    ]
    for name, row in named:
        lines.append(
            f"{name:<{width}}"
            + exponents(row, motions)
            + f"{median(np.atleast_1d(row.onset.values)):>7}"
            + f"{mean(np.atleast_1d(row.loss.values)):>8}{_accuracy(row):>10}"
        )
    return lines


def _accuracy(row):
    return mean(np.atleast_1d(row.test_accuracy.values)) if "test_accuracy" in row else "-"


def _lags(table):
    return _at(table, "lag_min", " {:.0f}") + _at(table, "lag_max", "-{:.0f}")


def _at(table, name, text):
    """Return a text with a number, or nothing where the runs differ."""
    return text.format(float(table[name])) if table[name].ndim == 0 else ""
