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


def loss_surface(run: xr.Dataset, surfaces: xr.Dataset, table: xr.Dataset) -> str:
    """Return what a run of experiments.loss_surface measured, as text.

    Args:
        run: of the training (`run_directories.load_run`).
        surfaces: its planes, as the experiment leaves them.
        table: their dimensions (`tables.loss_surface`).
    """
    options = json.loads(run.attrs["metadata"])["options"]
    legend = LEGEND.format(
        examples=options["surface_examples"],
        statistics=STATISTICS[options["statistics"]],
        grid=surfaces.sizes["row"],
    )
    lines = [what(run), paragraph(legend), ""]
    for rate in run.learning_rate.values:
        here = surfaces.sel(learning_rate=rate)
        lines += [
            f"learning rate {rate:g}{diverged(run.sel(learning_rate=rate))}",
            *_planes(here),
            "",
            *_dimensions(table.sel(learning_rate=rate)),
            "",
        ]
    return "\n".join([*lines, PAPER, ""])


def _planes(surfaces):
    losses = "".join(f"{title:>12}" for title in ("loss at end", "smallest", "largest"))
    yield f"  {'plane':<12}{losses}{'off, halfway':>14}{'off, start':>12}"
    halfway = surfaces.sizes["update"] // 2
    for plane in surfaces.plane.values:
        here = surfaces.sel(plane=plane).transpose("seed", ...)
        at_end = [_nearest(here.isel(seed=seed)) for seed in range(here.sizes["seed"])]
        extremes = [extreme(here.loss.values, axis=(1, 2)) for extreme in (np.min, np.max)]
        with np.errstate(invalid="ignore", divide="ignore"):
            off = (here.off_plane / here.path_length).values
        cells = [mean(np.asarray(at_end), ".3g"), *(mean(extreme, ".3g") for extreme in extremes)]
        yield (
            f"  {plane:<12}"
            + "".join(f"{cell:>12}" for cell in cells)
            + f"{mean(off[:, halfway], '.2f'):>14}"
            + f"{mean(off[:, 0], '.2f'):>12}"
        )


def _nearest(member):
    """Return the loss at the point of the grid that is nearest to the end of the path."""
    x, y = float(member.path_x[-1]), float(member.path_y[-1])
    if not np.isfinite([x, y]).all():
        return np.nan
    row, column = abs(member.y.values - y).argmin(), abs(member.x.values - x).argmin()
    return float(member.loss.isel(row=row, column=column))


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
