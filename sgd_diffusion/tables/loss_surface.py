"""Dimensions of loss surfaces and of their level sets, compared with smooth surfaces."""

import functools

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from sgd_diffusion._arrays import host_array, integer
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.least_squares import MIN_REPLICATES
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.box_counting import (
    box_counting_dimension,
    calibrate,
    differential_box_counting,
    graph_dimension,
    level_set,
    level_set_dimension,
    oscillation_dimension,
    variogram_exponent,
)
from sgd_diffusion.landscape.box_counting.scales import box_sizes

__all__ = ["loss_surface", "smooth_surface"]

DEGREE = 4
ALL_SIZES = np.inf


def _of_level_set(heights):
    return box_counting_dimension(
        level_set(heights, np.median(heights)), sizes=_sizes(len(heights)), tol=ALL_SIZES
    )


def _of_variogram(heights):
    estimate = variogram_exponent(heights, tol=ALL_SIZES)
    return estimate._replace(value=3 - estimate.value)


# Estimators of heights, with the true dimension that each of them estimates.
ESTIMATORS = {
    "level set, boxes": (_of_level_set, level_set_dimension),
    "graph, oscillation": (
        lambda heights: oscillation_dimension(heights, tol=ALL_SIZES),
        graph_dimension,
    ),
    "graph, boxes": (
        lambda heights: differential_box_counting(heights, tol=ALL_SIZES),
        graph_dimension,
    ),
    "graph, variogram": (_of_variogram, graph_dimension),
}


def loss_surface(surfaces: xr.Dataset, *, calibration_repeats: IntegerLike = 20) -> xr.Dataset:
    """Return box dimensions of the logarithm of the loss on random planes, raw and calibrated.

    They are of a level set, at the median, which is that of the loss itself; and of the graph of
    the logarithm by three estimators. The last of these is 3 less the Hurst exponent. All box sizes
    are fitted (`landscape.box_counting`). Calibration is on exact fractional Brownian surfaces of
    as many points, with 95 % intervals. The control, `smooth`, is the least-squares polynomial of
    degree 4 in both coordinates. It shows what a surface of this shape gives without any roughness.

    Args:
        surfaces: with `loss` (plane, seed, learning_rate, row, column), N x N points, and `random`
            among the planes.
        calibration_repeats: surfaces of each known dimension, at least 10.

    Returns:
        Dataset with dimensions (estimator, surface, seed, learning_rate), surface "loss" or
        "smooth": `raw` and its `raw_error`, `dimension` with its interval `low` to `high`, and
        `status`; with `size` behind, `curve`, what the estimator fits against the size of boxes or
        lags; and `smooth_residual` (seed, learning_rate), the standard deviation of the loss's
        logarithm about the polynomial over that of the logarithm. NaN where a loss is not finite
        and positive.

    Raises:
        InputError: fewer than 10 repeats.
    """
    repeats = integer("calibration_repeats", calibration_repeats, MIN_REPLICATES)
    losses = (
        surfaces["loss"]
        .sel(plane="random")
        .transpose("seed", "learning_rate", "row", "column")
        .values
    )
    losses = host_array("loss", losses)
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.log(losses)
    smooth = np.stack([[smooth_surface(surface) for surface in row] for row in heights])
    both = {"loss": heights, "smooth": smooth}
    rows = {}
    for name, (estimator, _) in ESTIMATORS.items():
        calibration = _calibration(name, losses.shape[-1], repeats)
        rows[name] = [
            _row(surface, estimator, calibration)
            for of_kind in both.values()
            for row in of_kind
            for surface in row
        ]
    shape = (len(rows), len(both), *losses.shape[:2])
    dims = ("estimator", "surface", "seed", "learning_rate")

    def table(field):
        values = np.stack([each[field] for row in rows.values() for each in row])
        return ((*dims, *["size"] * (values.ndim - 1)), values.reshape(*shape, *values.shape[1:]))

    spread = heights.std(axis=(-1, -2))
    residual = np.divide(
        (heights - smooth).std(axis=(-1, -2)),
        spread,
        out=np.full(spread.shape, np.nan),
        where=spread > 0,
    )
    fields = ("raw", "raw_error", "dimension", "low", "high", "status", "curve")
    return xr.Dataset(
        {field: table(field) for field in fields} | {"smooth_residual": (dims[2:], residual)},
        coords={
            "estimator": list(rows),
            "surface": list(both),
            "seed": surfaces["seed"],
            "learning_rate": surfaces["learning_rate"],
            "size": _sizes(losses.shape[-1]),
        },
    )


@functools.lru_cache  # small, and it takes seconds
def _calibration(name, size, repeats):
    estimator, truth = ESTIMATORS[name]
    return calibrate(jax.random.key(0), estimator, size, truth=truth, repeats=repeats)


def smooth_surface(heights: ArrayLike) -> Float[np.ndarray, "row column"]:
    """Return the least-squares polynomial of heights, of degree 4 in both coordinates together.

    Args:
        heights: (N, M).

    Returns:
        (N, M); NaN unless all heights are finite.

    Raises:
        InputError: the heights are no (N, M) array of real numbers.
    """
    heights = host_array("heights", heights)
    if heights.ndim != 2 or heights.size == 0:
        raise invalid("heights", f"has shape {heights.shape}", "(N, M), those of one surface")
    if not np.isfinite(heights).all():
        return np.full_like(heights, np.nan)
    y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in heights.shape), indexing="ij")
    terms = np.stack(
        [x**i * y**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)], axis=-1
    ).reshape(heights.size, -1)
    return (terms @ np.linalg.lstsq(terms, heights.ravel())[0]).reshape(heights.shape)


def _row(heights, estimator, calibration):
    """Return the numbers of one surface by name."""
    sizes = _sizes(len(heights))
    if not np.isfinite(heights).all():
        return dict.fromkeys(("raw", "raw_error", "dimension", "low", "high"), np.nan) | {
            "status": Status.NOT_FINITE.name,
            "curve": np.full(len(sizes), np.nan),
        }
    raw = estimator(heights)
    calibrated = calibration.dimension(raw)
    return {
        "raw": raw.value,
        "raw_error": raw.error,
        "dimension": calibrated.value,
        "low": calibrated.low,
        "high": calibrated.high,
        "status": calibrated.status.name,
        "curve": raw.curve,
    }


def _sizes(points):
    """Return the sizes that estimators of graphs take by default, for `points` along a side."""
    return box_sizes(None, (points - 1, points - 1))
