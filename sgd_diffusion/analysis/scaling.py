"""Power laws in curves: local exponents, fits on a stated range, and where a power law begins.

Everything here is float64 NumPy on the host and works on many curves at once: ``x`` is one axis of shape (L,) and ``y``
is (..., L). A curve that is NaN (a member that diverged), zero or negative inside the range has no power law there: its
numbers are NaN, and the other curves are not affected.
"""

from typing import NamedTuple

import numpy as np

from sgd_diffusion.errors import InputError

__all__ = [
    "LocalExponent",
    "Onset",
    "PowerLawFit",
    "fit_power_law",
    "local_exponent",
    "standard_ranges",
    "superdiffusion_onset",
]

MIN_POINTS = 3  # a line through two points has no residual, hence no uncertainty
ONSET_POINTS = 10  # fewer points, or less than ONSET_DECADES, fit any smooth curve within 0.03
ONSET_DECADES = 0.5


class LocalExponent(NamedTuple):
    """Exponent along a curve."""

    lags: np.ndarray  # (L - stride,) where each exponent belongs
    exponent: np.ndarray  # (..., L - stride)


class PowerLawFit(NamedTuple):
    """Least-squares power laws y = prefactor * x**exponent; every field has the leading shape (...) of the curves."""

    exponent: np.ndarray
    exponent_error: np.ndarray  # standard error if residuals were independent: a lower bound, see fit_power_law
    prefactor: np.ndarray
    rmse: np.ndarray  # root mean square of the residuals of ln y
    x_min: np.ndarray  # first and last x that entered, and how many
    x_max: np.ndarray
    num_points: np.ndarray


class Onset(NamedTuple):
    """Where superdiffusion begins."""

    lag: np.ndarray  # (...), tau_0
    fit: PowerLawFit  # of [fit.x_min, largest lag]: the longest power law that ends at the largest lag


def local_exponent(lags, msd, stride=20):
    """Logarithmic derivative beta = d ln msd / d ln lag, over ``stride`` entries of the curve.

    beta = ln(msd[k + stride] / msd[k]) / ln(lags[k + stride] / lags[k]) (Chen, Qu & Gong, arXiv:2009.10588, Fig. 2c,
    with their stride of 20). It belongs to the geometric mean of its two lags, where it is exact for any
    ln msd quadratic in ln lag; the authors' code plots it at the smaller lag, too early by a factor of 4.6 at lag 1.

    Args:
        lags: (L,) positive and increasing.
        msd: (..., L).
        stride: entries between the two lags of a derivative, 1 <= stride < L.

    Returns:
        :class:`LocalExponent`; NaN where one of the two values is not positive and finite.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, or a stride outside 1..L-1.

    >>> local_exponent([1, 2, 4], [3.0, 6.0, 24.0], stride=1).exponent.round(6).tolist()
    [1.0, 2.0]
    """
    log_lags, log_msd = _logarithms("lags", lags, "msd", msd)
    if not 1 <= stride < len(log_lags):
        raise InputError(f"stride is {stride}; expected 1..{len(log_lags) - 1}, less than the {len(log_lags)} lags")
    exponent = (log_msd[..., stride:] - log_msd[..., :-stride]) / (log_lags[stride:] - log_lags[:-stride])
    return LocalExponent(np.exp((log_lags[stride:] + log_lags[:-stride]) / 2), exponent)


def fit_power_law(x, y, *, x_min=None, x_max=None, num_points=50):
    """Least-squares line through (ln x, ln y) at log-spaced points of [x_min, x_max].

    The points are taken from the given ones, so nothing is interpolated: ``num_points`` targets at equal ratios from
    the first to the last x in the range, for each of them the x nearest in ln x, and every x once. Where the given
    points are sparse on the log axis (small lags) all of them enter, and fewer than ``num_points`` are left.

    ``exponent_error`` is the textbook standard error of a slope, sqrt(SSR / (n - 2) / Sxx), as if the residuals were
    independent. Lags of one window share their steps and neighbouring residuals are alike: for an MSD it is a lower
    bound, and the spread over seeds is the honest uncertainty.

    Args:
        x: (L,) positive and increasing.
        y: (..., L) curves.
        x_min: lower end of the range, inclusive; the first x when None.
        x_max: upper end, inclusive; the last x when None.
        num_points: points wanted.

    Returns:
        :class:`PowerLawFit`; all of it but x_min, x_max and num_points is NaN for a curve that is NaN, infinite, zero
        or negative at one of the points.

    Raises:
        InputError: x not increasing and positive, shapes that do not fit, or fewer than 3 points in the range.

    >>> fit = fit_power_law(range(1, 101), [2.0 * lag**1.5 for lag in range(1, 101)], x_min=10, x_max=50)
    >>> print(f"{fit.exponent:.6f} {fit.prefactor:.6f}")
    1.500000 2.000000
    """
    log_x, log_y = _logarithms("x", x, "y", y)
    x = np.asarray(x, dtype=np.float64)
    low, high = x[0] if x_min is None else x_min, x[-1] if x_max is None else x_max
    inside = np.flatnonzero((x >= low) & (x <= high))
    points = inside[_log_spaced(log_x[inside], num_points)] if len(inside) else inside
    if len(points) < MIN_POINTS:
        raise InputError(
            f"{len(points)} points to fit with x_min = {x_min}, x_max = {x_max}, num_points = {num_points} on x from "
            f"{x[0]:g} to {x[-1]:g}; expected at least {MIN_POINTS}: widen the range"
        )
    sums = _Moments.of(log_x[points], log_y[..., points])
    shape = log_y.shape[:-1]
    return sums.fit(np.full(shape, x[points[0]]), np.full(shape, x[points[-1]]))


def superdiffusion_onset(lags, msd, *, max_rmse=0.03):
    """Lag tau_0 from which on the MSD is one superdiffusive power law.

    The smallest lag tau for which the least-squares power law on [tau, largest lag] leaves a root mean square residual
    of ln msd of at most ``max_rmse``, if its exponent is above 1 (the rule of Chen, Qu & Gong, arXiv:2009.10588, for
    Fig. 2a; natural logarithms and the bound are choices: tau_0 moves with both). Candidates are 200 log-spaced points
    of ``lags`` that leave at least 10 of these points and half a decade to fit, since any smooth curve is a power law
    over less: for lags 1..1000 the largest possible tau_0 is 316.

    Where this longest power law that ends at the largest lag has an exponent of at most 1 the lag is NaN, and ``fit``
    gives exponent and range of the law. Near exponent 1 chance decides between the two: look at the fits of several
    seeds.

    Args:
        lags: (L,) positive and increasing.
        msd: (..., L).
        max_rmse: largest root mean square residual of ln msd.

    Returns:
        :class:`Onset`; all NaN (``num_points`` 0) where no candidate meets the bound, as for a curve that is NaN.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, or lags too few for a candidate.
    """
    log_lags, log_msd = _logarithms("lags", lags, "msd", msd)
    points = _log_spaced(log_lags, 200)
    log_lags, log_msd = log_lags[points], log_msd[..., points]
    lags = np.asarray(lags, dtype=np.float64)[points]
    enough = np.arange(len(points), 0, -1) >= ONSET_POINTS
    candidates = np.count_nonzero(enough & (log_lags[-1] - log_lags >= ONSET_DECADES * np.log(10) - 1e-9))
    if candidates == 0:
        raise InputError(
            f"lags runs from {lags[0]:g} to {lags[-1]:g} with {len(points)} log-spaced points; expected at least "
            f"{ONSET_POINTS} over {ONSET_DECADES} decades: record a longer window"
        )
    fits = _Moments.of_tails(log_lags, log_msd).fit(*np.broadcast_arrays(lags, lags[-1], log_msd)[:2])
    with np.errstate(invalid="ignore"):
        good = (fits.rmse <= max_rmse)[..., :candidates]
    first, found = good.argmax(axis=-1)[..., None], good.any(axis=-1)
    chosen = [np.take_along_axis(field, first, axis=-1)[..., 0] for field in fits]
    fit = PowerLawFit(*(np.where(found, field, 0 if field.dtype.kind == "i" else np.nan) for field in chosen))
    return Onset(np.where(fit.exponent > 1, fit.x_min, np.nan), fit)


def standard_ranges(window_length):
    """Ranges of lags on which short-lag and long-lag exponents of a window are fitted.

    ``{"short": (10, 100), "long": (100, T/2)}`` for windows of T >= 1000 steps: the bouncing between the first few lags
    is left out below, and the last lags, for which few independent pairs are left, above. Shorter windows use the same
    shares of T as T = 1000 does, (T/100, T/10) and (T/10, T/2), with at least three lags in each.

    Raises:
        InputError: T < 10.

    >>> standard_ranges(1000)
    {'short': (10, 100), 'long': (100, 500)}
    """
    if window_length < 10:
        raise InputError(f"window_length is {window_length}; expected at least 10 steps for two ranges of lags")
    middle = min(100, max(3, window_length // 10))
    return {"short": (max(1, middle // 10), middle), "long": (middle, window_length // 2)}


class _Moments(NamedTuple):
    """Sums of centred squares of n points, for lines through them."""

    n: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    @classmethod
    def of(cls, x, y):
        dx, dy = x - x.mean(), y - y.mean(axis=-1, keepdims=True)
        n = np.full(y.shape[:-1], len(x))
        return cls(n, x.mean(), y.mean(axis=-1), dx @ dx, dy @ dx, (dy**2).sum(axis=-1))

    @classmethod
    def of_tails(cls, x, y):
        """Of the points k, k+1, ... for every k: suffix sums, about the last point to keep digits."""
        from_last = y[..., -1:]
        origin, y = x[-1], y - from_last
        x = x - origin
        n = np.broadcast_to(np.arange(len(x), 0, -1), y.shape)

        def tails(values):
            return np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]

        mean_x, mean_y = tails(x) / n, tails(y) / n
        xx, xy, yy = (tails(values) for values in (x * x, x * y, y * y))
        products = xx - n * mean_x**2, xy - n * mean_x * mean_y, yy - n * mean_y**2
        return cls(n, mean_x + origin, mean_y + from_last, *products)

    def fit(self, x_min, x_max):
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            slope = self.xy / self.xx
            residual = np.maximum(self.yy - slope * self.xy, 0.0)
            error = np.sqrt(residual / np.maximum(self.n - 2, 0) / self.xx)
            prefactor = np.exp(self.y - slope * self.x)
            return PowerLawFit(slope, error, prefactor, np.sqrt(residual / self.n), x_min, x_max, self.n)


def _logarithms(x_name, x, y_name, y):
    """Natural logarithms of a checked axis and its curves, NaN where a curve is not positive and finite."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not (np.all(np.diff(x) > 0) and 0 < x[0] and x[-1] < np.inf):
        raise InputError(f"{x_name} has shape {x.shape}; expected (L,) increasing, positive, finite numbers")
    if y.shape[-1:] != x.shape:
        raise InputError(f"{y_name} has shape {y.shape}; expected (..., {len(x)}), one value for each of {x_name}")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(x), np.log(np.where((y > 0) & (y < np.inf), y, np.nan))


def _log_spaced(log_x, num_points):
    """Indices of the points nearest to ``num_points`` equally spaced targets, each once."""
    targets = np.linspace(log_x[0], log_x[-1], num_points)
    right = np.searchsorted(log_x, targets).clip(max=len(log_x) - 1)
    left = np.maximum(right - 1, 0)
    return np.unique(np.where(targets - log_x[left] < log_x[right] - targets, left, right))
