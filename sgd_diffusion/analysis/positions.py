"""Displacements from positions, for paths of few coordinates and for paths with gaps.

The step Gram matrix serves weights: few points of very many coordinates. Tracks of particles,
projections and single numbers recorded at every step are the other regime. There T x T numbers are
the larger ones. Time averages follow from Fourier transforms in O(P T log T) operations and O(P T)
memory.

Everything here is float64 NumPy on the host. A point with a coordinate that is NaN or infinite is
missing. The pairs that it belongs to are left out, and all other pairs have the same weight.
"""

import numpy as np
import scipy
from jaxtyping import Float

from sgd_diffusion._arrays import host_array, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.gram import checked_lags
from sgd_diffusion.analysis.pairs import PairAverages
from sgd_diffusion.errors import invalid

__all__ = ["by_lag", "time_averaged_msd"]

# Numbers that are transformed at once, which stay in the cache.
BLOCK = 2**18
LEAST = 16  # coordinates at once, however many points: numbers that share a line of the cache


def time_averaged_msd(
    positions: ArrayLike, lags: ArrayLike | None = None
) -> Float[np.ndarray, "lag"]:
    """Return the time-averaged mean squared displacement (TAMSD) of a path, from its positions.

    It is the mean of |w_{i+lag} - w_i|^2 over all pairs of a lag without a missing point. With no
    gaps it is the same as `displacement.time_averaged_msd` of the Gram matrix of the path. Sums
    over pairs are correlations of series, computed by fast Fourier transforms (Calandrini et al.,
    Collection SFN 12, 201, 2011, Sec. 4.2). The transforms take the positions less their linear
    trend; the trend is added again exactly.

    Args:
        positions: (T+1, ...) real or complex, T >= 1; NaN or infinite where a point is missing.
        lags: (L,) integers in 1..T; all of 1..T when None.

    Returns:
        (L,) squared units of the positions, never negative; NaN where no pair is there.

    Raises:
        InputError: not at least two points of real or complex numbers; a lag is not an integer in
            1..T.

    >>> time_averaged_msd([0.0, 1.0, 2.0, np.nan, 4.0])      # constant velocity, one point missing
    array([ 1.,  4.,  9., 16.])

    Notes:
        The absolute error is a few 1e-16 of the largest squared distance from the linear trend.
        Relative errors on 100,000 points in two dimensions were below 1e-10 for Brownian, ballistic
        and confined motion. Where the path leaps by 10^6 of its usual steps, take `by_lag`, which
        subtracts positions directly.
    """
    coordinates, present = _points(positions)
    steps = len(coordinates) - 1
    lags = np.arange(1, steps + 1) if lags is None else checked_lags(lags, steps)
    (counts, differences, products), speed, size = _correlations(coordinates, present)
    pairs = np.where(counts > 0, counts, np.nan)
    msd = (differences + 2 * np.arange(steps + 1) * products) / pairs * size**2
    return np.maximum(msd[lags] + lags**2 * speed, 0.0)


def by_lag(positions: ArrayLike, lags: ArrayLike) -> PairAverages:
    """Return the squared displacements of all pairs without a missing point, by lag.

    They are for averages with errors. Every pair is subtracted directly, in O(P T L) operations for
    L lags.

    Args:
        positions: (T+1, ...) real or complex, T >= 1; NaN or infinite where a point is missing.
        lags: (L,) integers in 1..T.

    Returns:
        `pairs.PairAverages` with n = T+1 and K = L, as from `pairs.by_lag`.

    Raises:
        InputError: as for `time_averaged_msd`.

    >>> by_lag([0.0, 1.0, np.nan, 3.0], [1, 3]).sums.tolist()
    [[1.0, 9.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    coordinates, present = _points(positions)
    points = len(coordinates)
    lags = checked_lags(lags, points - 1)
    sums, counts = np.zeros((2, points, len(lags)))
    for column, lag in enumerate(lags):
        both = present[lag:] & present[:-lag]
        squares = ((coordinates[lag:] - coordinates[:-lag]) ** 2).sum(axis=1)
        sums[: points - lag, column] = np.where(both, squares, 0)
        counts[: points - lag, column] = both
    return PairAverages(lags.astype(float), sums, counts)


def _points(positions):
    """Return coordinates (T+1, P), 0 for missing points, and which points are there."""
    array = real_array("positions", positions, or_complex=True)
    parts = [array.real, array.imag] if np.iscomplexobj(array) else [array]
    if array.ndim == 0 or len(array) < 2 or array.size == 0:
        raise invalid(
            "positions", f"has shape {array.shape}", "(T+1, ...) with at least two points"
        )
    parts = [host_array("positions", part).reshape(len(array), -1) for part in parts]
    coordinates = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        present = np.isfinite(coordinates.sum(axis=1))  # reads them once and makes nothing as large
    if present.all():
        return coordinates, present
    present = np.isfinite(coordinates).all(axis=1)
    return np.where(present[:, None], coordinates, 0.0), present


def _correlations(coordinates, present):
    """Return sums (T+1,) over the pairs of lags 0..T of three quantities, and two numbers.

    The quantities are 1, |r_j - r_i|^2 and v . (r_j - r_i), with the slopes v of the coordinates
    and the rest r without their trends. The numbers are |v|^2, and the unit of the sums, in which
    squares stay in range.
    """
    points = len(coordinates)
    length = scipy.fft.next_fast_len(2 * points - 1, real=True)
    times = np.arange(points) - np.arange(points) @ present / max(present.sum(), 1)
    times *= present
    columns = max(LEAST, BLOCK // length)
    squares = along = power = speed = size = 0.0
    for start in range(0, coordinates.shape[1], columns):
        rest, velocity = _without_trend(coordinates[:, start : start + columns].T, present, times)
        largest = max(rest.max(), -rest.min())
        if largest > size:
            factor, size = (size / largest) ** 2, largest
            squares, along, power = factor * squares, factor * along, factor * power
        if size > 0:
            rest /= size
        spectrum = scipy.fft.rfft(rest, length, axis=1, workers=-1).view(np.float64)
        squares = squares + np.einsum("ct,ct->t", rest, rest)
        along = along + np.einsum("c,ct->t", velocity / (size or 1), rest)
        power = power + np.einsum("ct,ct->t", spectrum, spectrum)
        speed = speed + velocity @ velocity
    mask, squares, along = scipy.fft.rfft([present * 1.0, squares, along], length, axis=1)
    power = power.reshape(-1, 2).sum(axis=1)
    sums = [
        abs(mask) ** 2,
        2 * ((mask.conj() * squares).real - power),
        2j * (mask.conj() * along).imag,
    ]
    counts, *others = scipy.fft.irfft(sums, length, axis=1)[:, :points]
    return (np.rint(counts), *others), speed, size or 1.0


def _without_trend(rows, present, times):
    """Return coordinates (c, T+1) less their least-squares lines in time, and slopes (c,).

    They are copied. The rest is 0 for missing points, where `times` are 0 too.
    """
    count = present.sum()
    rest = np.array(rows, order="C")
    rest -= rest.sum(axis=1, keepdims=True) / max(count, 1)
    if count < len(present):
        rest[:, ~present] = 0
    velocity = np.einsum("ct,t->c", rest, times) / max(times @ times, 1)
    rest -= velocity[:, None] * times
    return rest, velocity
