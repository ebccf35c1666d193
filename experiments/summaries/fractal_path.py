"""Fractal paths in words and numbers."""

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

COLUMNS = [
    ("dimension", "SGD", "D_f"),
    ("dimension", "drift subtracted", "no drift"),
    ("dimension", "shuffled", "shuffled"),
    ("dimension_below", "SGD", "below"),
    ("dimension_above", "SGD", "above"),
    ("self_affinity", "SGD", "chi"),
    ("self_affinity", "drift subtracted", "no drift"),
    ("self_affinity", "shuffled", "shuffled"),
    ("probe_exponent", None, "2H probe"),
    ("batch_exponent", None, "2H batch"),
]
LEGEND = paragraph("""
Mean ± standard deviation over seeds (one seed: ± its error from a block bootstrap over the
window). D_f: path dimension of one power law, of SGD and its surrogates (steps less their mean,
steps in random order), and below and above a crossover where there is one; 1 is straight on, 2
Brownian. chi: squared excursion ~ squared end-to-end distance^chi; 1 is self-similar. 2H: mean
squared loss ~ distance^2H, of mini-batches above the floor that their noise makes; 2 is a smooth
slope.
""")
PAPER = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588, Fig. 6; ResNet-14 on CIFAR-10, batch 1024) report a mean
squared loss of mini-batches with exponent 1.8 at larger distances in the first regime, and flat
late. They call paths self-affine (single run, no error bars).
""")


def fractal_path(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """Return what a run of experiments.fractal_path measured, as text.

    Args:
        dataset: of the run (`run_directories.load_run`).
        table: its scaling (`tables.fractal_path`).
    """
    columns = [column for column in COLUMNS if column[0] in table]
    with_floor = "noise_floor" in table
    lines = [what(dataset), LEGEND, ""]
    for rate in dataset.learning_rate.values:
        here = table.sel(learning_rate=rate)
        lines += [
            f"{rate_in_words(rate)}{diverged(dataset.sel(learning_rate=rate))}",
            "     t_w"
            + "".join(f"{title:>{CELL}}" for _, _, title in columns)
            + f"{'floor':>9}" * with_floor,
        ]
        for window in range(dataset.sizes["window"]):
            row = here.isel(window=window)
            cells = [with_error(row, name, motion) for name, motion, _ in columns]
            lines.append(
                f"{int(row.waiting_time):8d}"
                + "".join(f"{cell:>{CELL}}" for cell in cells)
                + (f"{mean(row.noise_floor.values, '.2g'):>9}" if with_floor else "")
            )
        lines += [
            f"  {label} window: {_commonest(here.sel(motion='SGD').isel(window=window))}"
            for label, window in (("first", 0), ("last", -1))
        ] + [""]
    return "\n".join([*lines, PAPER, ""])


def _commonest(row):
    verdicts, counts = np.unique(
        row.verdict.values[np.isfinite(row.self_affinity.values)], return_counts=True
    )
    said = ", ".join(
        f"{verdict} ({count})" for verdict, count in zip(verdicts, counts, strict=True)
    )
    return said or "no member left"
