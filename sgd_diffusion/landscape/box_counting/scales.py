"""Fit one exponent to what is measured at several sizes: choice of sizes, plateau, and error.

All estimators of this package share this and take `sizes` and `tol`.

Sizes are integers: pixels of a mask, or steps of the grid of a surface. By default they go up to a
quarter of the shorter side; above that, fewer than 16 boxes decide. They are powers of two for
surfaces, and those of `.sets` for sets.

A power law is fitted to the *plateau*, by least squares in logarithms. A local exponent is that of
a size and of the next size at least twice as large. The plateau is the longest range in which no
local exponent differs from the fitted one by more than `tol`. It has at least four sizes and
a factor of 8. Of several such ranges, the one with the smallest residual counts. A tolerance of
infinity fits all the sizes.

Errors: counts at different sizes come from one image, so their residuals are not independent. The
parts of an image are not independent either, as the structure that decides is as large as the
image. But a part of a self-affine surface looks like the whole, and its estimate scatters as much.
The error is therefore the standard deviation of the estimates of nine windows at the same sizes.
The windows have half the side and consist of 4 x 4 tiles; those without a count are left out. The
error is NaN if fewer than five windows are left. It is at least the textbook error of the slope, as
windows of a set that is no power law may all say the same.

A slope beyond the range of a dimension, such as that of one spike on a plain, is no dimension. Then
the value is the end of the range, with status AT_BOUND.

Notes:
    The error knows nothing of the bias. Every estimator says how its error compares with the
    scatter over independent surfaces. A jackknife over the tiles would say 0.2 of it for smooth
    surfaces.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from sgd_diffusion._arrays import host_array, integer_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, NumberLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.least_squares import Moments
from sgd_diffusion.errors import invalid

__all__ = [
    "ScalingEstimate",
    "bounded_estimate",
    "box_sizes",
    "powers_up_to",
    "scaling_estimate",
    "window_means",
]

MOST = 2**30  # pixels along a side
TILES = 4  # along each side of the image; a window has two along each side
# A set within one tile lies in up to four windows, which then all say the same.
MIN_WINDOWS = 5
MIN_SIZES = 4  # least sizes of a plateau: three local exponents agree
MIN_RANGE = 8  # least factor in size of a plateau
ROUNDING = 1e-9  # of logarithms and slopes


@shown_briefly
class ScalingEstimate(NamedTuple):
    """A dimension or an exponent, and the curve that it was fitted to.

    Attributes:
        value: () estimate. It is NaN unless status is OK, or AT_BOUND: then the slope is beyond the
            range of a dimension.
        error: () its standard error, that of the slope.
        sizes: (K,) pixels or steps of the grid.
        curve: (K,) what the estimator measures at each size, as it says.
        fitted: (K,) whether each size entered the fit.
        status: why there is no estimate, or OK.
    """

    value: Float[HostArray, ""]
    error: Float[HostArray, ""]
    sizes: Int[np.ndarray, "size"]
    curve: Float[np.ndarray, "size"]
    fitted: Bool[np.ndarray, "size"]
    status: Status


def box_sizes(sizes: ArrayLike | None, shape: tuple[int, int]) -> Int[np.ndarray, "size"]:
    """Return checked sizes (K,) for images of this shape; powers of two if None."""
    largest = min(shape) // TILES
    if sizes is None:
        sizes = powers_up_to(largest, (2,))
    sizes = integer_array("sizes", sizes, 1, MOST)
    if np.any(np.diff(sizes) <= 0) or len(sizes) < MIN_SIZES or sizes[-1] > largest:
        raise invalid(
            "sizes",
            f"is {sizes.tolist()} on {shape[0]} x {shape[1]} cells",
            f"at least {MIN_SIZES} increasing integers in 1..{largest}, a quarter of the shorter "
            "side",
            f"powers of two need {TILES * 2 ** (MIN_SIZES - 1)} cells",
        )
    return sizes


def powers_up_to(largest: int, bases: Iterable[int]) -> Int[np.ndarray, "size"]:
    """Return all powers of some integers up to the largest, increasing, with 1 among them."""
    exponents = np.arange(largest.bit_length())
    # Floats are exact for the powers that are small enough.
    powers = np.power.outer(np.array(bases), exponents, dtype=np.float64)
    return np.unique(powers[powers <= largest]).astype(int)


def window_means(field: np.ndarray) -> Float[np.ndarray, "10"]:
    """Return the mean of a field (n, m), then its means over the nine windows, (10,)."""
    rows, columns = (np.arange(TILES) * length // TILES for length in field.shape)
    sums = np.add.reduceat(np.add.reduceat(field, rows, axis=0, dtype=np.float64), columns, axis=1)
    numbers = np.outer(
        np.diff(rows, append=field.shape[0]), np.diff(columns, append=field.shape[1])
    )
    windows = (
        sliding_window_view(tiles, (TILES // 2, TILES // 2)).sum(axis=(2, 3))
        for tiles in (sums, numbers)
    )
    return np.append(sums.sum() / numbers.sum(), np.divide(*windows))


def scaling_estimate(
    sizes: Int[np.ndarray, "size"],
    curves: Float[np.ndarray, "10 size"],
    *,
    value: Callable[[Any], Any],
    bounds: tuple[float, float],
    tol: NumberLike,
    status: Status = Status.OK,
    lengths: np.ndarray | None = None,
) -> ScalingEstimate:
    """Return the estimate from the curves (10, K) of an image and of its windows.

    Args:
        sizes: (K,), from `box_sizes`.
        curves: (10, K), from `window_means`.
        value: linear function of an exponent that returns the estimate, such as the dimension
            `lambda exponent: -exponent`.
        bounds: least and largest possible value.
        tol: largest deviation of a local exponent on the plateau, positive.
        status: why there is no estimate, if that is known.
        lengths: (K,) lengths whose power law the curves are; the sizes if None.

    Returns:
        `ScalingEstimate`.

    Raises:
        InputError: the tolerance is not positive.
    """
    largest = host_array("tol", tol)
    if largest.ndim or not largest > 0:
        raise invalid(
            "tol",
            f"is {tol}",
            "a positive number",
            "take infinity to fit all the sizes",
        )
    curve = curves[0]
    if status is Status.OK and not np.all(curve > 0):
        status = Status.NOT_POSITIVE
    lengths = sizes if lengths is None else lengths
    plateau = _plateau(np.log(lengths), np.log(curve), largest) if status is Status.OK else None
    if plateau is None:
        reason = Status.OUT_OF_RANGE if status is Status.OK else status
        return ScalingEstimate(
            np.array(np.nan), np.array(np.nan), sizes, curve, np.zeros(len(sizes), bool), reason
        )
    fitted = np.isin(np.arange(len(sizes)), plateau)
    return bounded_estimate(sizes, lengths, curves, fitted, value=value, bounds=bounds)


def bounded_estimate(
    sizes: Int[np.ndarray, "size"],
    lengths: np.ndarray,
    curves: Float[np.ndarray, "10 size"],
    fitted: Bool[np.ndarray, "size"],
    *,
    value: Callable[[Any], Any],
    bounds: tuple[float, float],
) -> ScalingEstimate:
    """Return the estimate from the slope of the curves at the `fitted` sizes.

    Arguments are those of `scaling_estimate`; `fitted` is (K,) booleans.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(curves[:, fitted])
    x = np.log(lengths[fitted])
    lines = Moments.of(x, np.where(np.isfinite(logs), logs, np.nan)).line()
    fit, of_windows = value(lines.slope[0]), ensemble_average(value(lines.slope[1:]))
    residuals = logs[0] - lines.intercept[0] - lines.slope[0] * x
    of_slope = np.sqrt(residuals @ residuals / max(len(x) - 2, 1)) / (x.std() * np.sqrt(len(x)))
    error = (
        max(of_windows.std, abs(value(of_slope) - value(0.0)))
        if of_windows.count >= MIN_WINDOWS
        else np.nan
    )
    inside = np.clip(fit, *bounds)
    status = Status.OK if abs(fit - inside) < ROUNDING else Status.AT_BOUND
    return ScalingEstimate(np.array(inside), np.array(error), sizes, curves[0], fitted, status)


def _plateau(x, y, tol):
    """Indices of the longest range on which y is a line in x, or None."""
    twice = np.searchsorted(x, x + np.log(2) - ROUNDING)
    start = np.flatnonzero(twice < len(x))
    end = twice[start]
    local = (y[end] - y[start]) / (x[end] - x[start])
    least = min(np.log(MIN_RANGE), x[-1] - x[0]) - ROUNDING
    ranges = {}
    for first in range(len(x) - MIN_SIZES + 1):
        for last in range(first + MIN_SIZES - 1, len(x)):
            line = Moments.of(x[first : last + 1], y[first : last + 1]).line()
            within = (start >= first) & (end <= last)
            if x[last] - x[first] >= least and np.all(np.abs(local[within] - line.slope) <= tol):
                ranges[first, last + 1] = x[last] - x[first], -line.rmse
    return np.arange(*max(ranges, key=ranges.get)) if ranges else None
