"""Loss surfaces and their dimensions in words and numbers."""

import json

import numpy as np
import xarray as xr

from experiments.summaries.common import diverged, mean, paragraph, what
from sgd_diffusion.analysis.ensembles import ensemble_average

LEGEND = """
Loss of {examples} training examples, batch norm by {statistics}, on {grid} x {grid} points of
planes through the end of training. Off: how far the path, halfway and at its start, is from the
plane, as a share of its distance from its end. Dimensions on the random plane: of the level set
at the median, and of the graph of ln loss by three estimators. Raw: mean ± standard deviation
over seeds (one seed: ± its error); calibrated on exact fractional Brownian surfaces of as many
points: mean, and the widest of the 95 % intervals. Smooth: the same of a polynomial of degree 4,
the control, which shows what a surface of this shape gives without roughness. Smooth residual:
what the polynomial leaves of the spread of ln loss.
"""
COLUMNS = [
    ("raw", 14),
    ("calibrated", 12),
    ("interval", 14),
    ("smooth, raw", 16),
    ("calibrated", 12),
    ("interval", 14),
]
STATISTICS = {"batch": "statistics of these examples", "running": "running averages"}
PAPER = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588; ResNet-14 on CIFAR-10, batch 1024) report a box dimension of 1.8
of a filter-normalized plane; estimator, size and range are not stated. No graph of a function of
two variables has less than 2, so it can be that of a level set.
""")


COLUMNS_OF_PLANES = [
    ("loss_at_end", "loss at end", 12, ".3g"),
    ("smallest_loss", "smallest", 12, ".3g"),
    ("largest_loss", "largest", 12, ".3g"),
    ("off_halfway", "off, halfway", 14, ".2f"),
    ("off_start", "off, start", 12, ".2f"),
]


def loss_surface(run: xr.Dataset, grid: int, planes: xr.Dataset, table: xr.Dataset) -> str:
    """Return what a run of experiments.loss_surface measured, as text.

    Args:
        run: of the training (`run_directories.load_run`).
        grid: points of a side of a plane.
        planes: their losses (`tables.planes`).
        table: their dimensions (`tables.loss_surface`).
    """
    options = json.loads(run.attrs["metadata"])["options"]
    legend = LEGEND.format(
        examples=options["surface_examples"],
        statistics=STATISTICS[options["statistics"]],
        grid=grid,
    )
    lines = [what(run), paragraph(legend), ""]
    for rate in run.learning_rate.values:
        lines += [
            f"learning rate {rate:g}{diverged(run.sel(learning_rate=rate))}",
            *_planes(planes.sel(learning_rate=rate)),
            "",
            *_dimensions(table.sel(learning_rate=rate)),
            "",
        ]
    return "\n".join([*lines, PAPER, ""])


def _planes(table):
    titles = "".join(f"{title:>{width}}" for _, title, width, _ in COLUMNS_OF_PLANES)
    yield f"  {'plane':<12}{titles}"
    for plane in table.plane.values:
        yield f"  {plane:<12}" + "".join(
            f"{mean(table[name].sel(plane=plane).values, spec):>{width}}"
            for name, _, width, spec in COLUMNS_OF_PLANES
        )


def _dimensions(table):
    columns = "".join(f"{title:>{width}}" for title, width in COLUMNS)
    yield f"  {'dimension':<20}{columns}"
    for name in table.estimator.values:
        cells = [
            cell
            for surface in ("loss", "smooth")
            for cell in _cells(table.sel(estimator=name, surface=surface))
        ]
        yield f"  {name:<20}" + "".join(
            f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)
        )
    yield f"  smooth residual: {mean(table.smooth_residual.values, '.2f')}"
    yield f"  {_verdict(table)}"


def _cells(row):
    raw = ensemble_average(row.raw.values)
    if raw.count == 0:
        return "-", "-", "-"
    error = raw.std if raw.count > 1 else np.nanmax(row.raw_error.values, initial=-np.inf)
    spread = f" ± {error:.2f}" if np.isfinite(error) else ""
    return (
        f"{raw.mean:.2f}{spread}",
        f"{ensemble_average(row.dimension.values).mean:.2f}",
        f"{np.nanmin(row.low.values):.2f}-{np.nanmax(row.high.values):.2f}",
    )


def _verdict(table):
    """Return whether any estimator tells the loss from a smooth surface of its shape."""
    rough = []
    for name in table.estimator.values:
        loss, smooth = (
            table.sel(estimator=name, surface=surface) for surface in ("loss", "smooth")
        )
        known = np.isfinite(loss.low.values) & np.isfinite(smooth.high.values)
        if not known.any():
            return "no surface left"
        if np.all((loss.low.values > smooth.dimension.values)[known]):
            rough.append(name)
    if not rough:
        return (
            "not told from a smooth surface of the same shape by any of them: no evidence of a "
            "fractal"
        )
    return f"rougher than a smooth surface of the same shape, in all seeds, by: {'; '.join(rough)}"
