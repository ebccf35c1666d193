"""From what is measured at several sizes to one exponent: which sizes, which of them are fitted,
and the error.

Shared by the estimators of this package, which all take `sizes` and `tolerance`.

Sizes are integers, in pixels of a mask and in steps of the grid of a surface, by default up to a
quarter of the shorter side, above which fewer than 16 boxes decide: powers of two for surfaces, for
sets those of `.sets`. A power law is fitted, by least squares in logarithms, to the *plateau*:
the longest range of at least four sizes and a factor of 8 over which no local exponent, that of a
size and of the next one at least twice as large, differs from the fitted one by more than
`tolerance`; of several such ranges the one with the smallest residual. A tolerance of infinity
fits all the sizes.

Errors. Counts at different sizes are taken from one image, and their residuals are not independent;
nor are the parts of an image, as the structure that decides is as large as the image. But a part of
a self-affine surface looks like the whole, and its estimate scatters as much: the error is the
standard deviation of the estimates, at the same sizes, of the nine windows of half the side that 4
x 4 tiles make, without those in which nothing is counted, and NaN if fewer than five are left. It
is at least the textbook error of the slope: windows of a set that is no power law may all say the
same. It knows nothing of the bias. Every estimator says how its error compares with the scatter
over independent surfaces; a jackknife over the tiles would say 0.2 of it for smooth ones.

A slope beyond the range that a dimension can have, such as that of one spike on a plain, is no
dimension: the value is the end of the range then, with status AT_BOUND.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sgd_diffusion._arrays import host_array, integer_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.least_squares import Moments
from sgd_diffusion.errors import InputError

__all__ = [
    "ScalingEstimate",
    "bounded_estimate",
    "box_sizes",
    "powers_up_to",
    "scaling_estimate",
    "window_means",
]

MOST = 2**30  # pixels along a side
TILES = 4  # along each side, two of them along that of a window
MIN_WINDOWS = 5  # as many as four hold a set that lies within one tile, and say all the same
MIN_SIZES = 4  # three local exponents that agree over
MIN_RANGE = 8  # this factor in size; fewer are no plateau
ROUNDING = 1e-9  # of logarithms and slopes


@shown_briefly
class ScalingEstimate(NamedTuple):
    """A dimension or an exponent, and what it was fitted to."""

    value: (
        np.ndarray
    )  # (), NaN unless status is OK, or AT_BOUND: the slope is beyond the range of a dimension
    error: np.ndarray  # (), its standard error, that of the slope
    sizes: np.ndarray  # (K,) integers, pixels or steps of the grid
    curve: np.ndarray  # (K,) what the estimator measures at each of them, see there
    fitted: np.ndarray  # (K,) which of them entered the fit
    status: Status


def box_sizes(sizes, shape):
    """Checked sizes (K,) for images of this shape; powers of two when None."""
    largest = min(shape) // TILES
    if sizes is None:
        sizes = powers_up_to(largest, (2,))
    sizes = integer_array("sizes", sizes, 1, MOST)
    if np.any(np.diff(sizes) <= 0) or len(sizes) < MIN_SIZES or sizes[-1] > largest:
        raise InputError(
            f"sizes is {sizes.tolist()} on {shape[0]} x {shape[1]} cells; expected at least "
            f"{MIN_SIZES} increasing integers in 1..{largest}, a quarter of the shorter side: "
            f"powers of two take {TILES * 2 ** (MIN_SIZES - 1)} cells"
        )
    return sizes


def powers_up_to(largest, bases):
    """All powers of some integers up to the largest, 1 among them, increasing."""
    exponents = np.arange(largest.bit_length())
    powers = np.power.outer(
        np.array(bases), exponents, dtype=np.float64
    )  # exact where they are small enough
    return np.unique(powers[powers <= largest]).astype(int)


def window_means(field):
    """Mean of a field (n, m), then its means over the nine windows, (10,)."""
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


def scaling_estimate(sizes, curves, *, value, bounds, tolerance, status=Status.OK, lengths=None):
    """Estimate from the curves (10, K) of an image and of its windows.

    Args:
        sizes: (K,), from `box_sizes`.
        curves: (10, K), from `window_means`.
        value: what an exponent says, a straight line, such as the dimension ``lambda exponent:
            -exponent``.
        bounds: least and largest value that there can be.
        tolerance: largest deviation of a local exponent on the plateau, positive.
        status: why there is no estimate, if that is known.
        lengths: (K,) what the curves are power laws in; the sizes when None.

    Raises:
        InputError: a tolerance that is not positive.
    """
    largest = host_array("tolerance", tolerance)
    if largest.ndim or not largest > 0:
        raise InputError(
            f"tolerance is {tolerance}; expected a positive number, or infinity to fit all the "
            "sizes"
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


def bounded_estimate(sizes, lengths, curves, fitted, *, value, bounds):
    """Estimate from the slope of the curves (10, K) of an image and of its windows at the
    `fitted` (K,) sizes.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(curves[:, fitted])
    x = np.log(lengths[fitted])
    lines = Moments.of(x, np.where(np.isfinite(logs), logs, np.nan)).line()
    found, of_windows = value(lines.slope[0]), ensemble_average(value(lines.slope[1:]))
    residuals = logs[0] - lines.intercept[0] - lines.slope[0] * x
    of_slope = np.sqrt(residuals @ residuals / max(len(x) - 2, 1)) / (x.std() * np.sqrt(len(x)))
    error = (
        max(of_windows.std, abs(value(of_slope) - value(0.0)))
        if of_windows.count >= MIN_WINDOWS
        else np.nan
    )
    inside = np.clip(found, *bounds)
    status = Status.OK if abs(found - inside) < ROUNDING else Status.AT_BOUND
    return ScalingEstimate(np.array(inside), np.array(error), sizes, curves[0], fitted, status)


def _plateau(x, y, tolerance):
    """Indices of the longest range on which y is a line in x, or None."""
    twice = np.searchsorted(x, x + np.log(2) - ROUNDING)
    start = np.flatnonzero(twice < len(x))
    end = twice[start]
    local = (y[end] - y[start]) / (x[end] - x[start])
    least = min(np.log(MIN_RANGE), x[-1] - x[0]) - ROUNDING
    found = {}
    for first in range(len(x) - MIN_SIZES + 1):
        for last in range(first + MIN_SIZES - 1, len(x)):
            line = Moments.of(x[first : last + 1], y[first : last + 1]).line()
            within = (start >= first) & (end <= last)
            if x[last] - x[first] >= least and np.all(
                np.abs(local[within] - line.slope) <= tolerance
            ):
                found[first, last + 1] = x[last] - x[first], -line.rmse
    return np.arange(*max(found, key=found.get)) if found else None
