"""Power laws in curves: local exponents, fits on a stated range, and where a power law begins or
gives way to another.

Everything here is float64 NumPy on the host and works on many curves at once: `x` is one axis of
shape (L,) and `y` is (..., L). A curve that is NaN (a member that diverged), zero or negative
inside the range has no power law there: its numbers are NaN, and the other curves are not affected.

Errors. Lags of one window share their steps, so the residuals of a fit to an MSD are alike from lag
to lag, and the textbook error of a slope is far too small. Functions that give errors therefore
take `replicates` (..., B, L): B curves for each curve, such as those of a bootstrap over blocks
of the window or over the members of an ensemble. The error of an estimate is the standard deviation
of the same estimate over the replicates, without those that are NaN there, and NaN if fewer than 10
are left.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sgd_diffusion._arrays import host_array, integer, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.analysis import crossover
from sgd_diffusion.analysis.least_squares import (
    Moments,
    log_replicates,
    logarithms,
    points_in_range,
    replicate_error,
    thinned,
)
from sgd_diffusion.errors import InputError

__all__ = [
    "CrossoverFit",
    "LocalExponent",
    "Onset",
    "PowerLawFit",
    "fit_crossover",
    "fit_power_law",
    "local_exponent",
    "normal_diffusion_crossing",
    "regime_boundary",
    "superdiffusion_onset",
]

MIN_POINTS = 3  # a line through two points has no residual, hence no uncertainty
ONSET_POINTS = 10  # fewer points, or less than ONSET_DECADES, fit any smooth curve within 0.03
ONSET_DECADES = 0.5


@shown_briefly
@dataclass(frozen=True, eq=False, repr=False)
class LocalExponent:
    """Exponent along a curve; it unpacks into `lags, exponent`."""

    lags: np.ndarray  # (L - stride,) where each exponent belongs
    exponent: np.ndarray  # (..., L - stride)
    error: np.ndarray | None = None  # (..., L - stride) standard error; None without replicates

    def __iter__(self):
        return iter((self.lags, self.exponent))


@shown_briefly
class PowerLawFit(NamedTuple):
    """Least-squares power laws y = prefactor * x**exponent; every array has the leading shape (...)
    of the curves.
    """

    exponent: np.ndarray
    exponent_error: np.ndarray  # standard error
    prefactor: np.ndarray
    rmse: np.ndarray  # root mean square of the residuals of ln y
    x_min: np.ndarray  # first and last x that entered, and how many
    x_max: np.ndarray
    num_points: np.ndarray
    error_source: str  # "replicates", or "residuals" as if these were independent: a lower bound


@shown_briefly
class CrossoverFit(NamedTuple):
    """Where one power law gives way to another; every array has the leading shape (...) of the
    curves.
    """

    crossover: (
        np.ndarray
    )  # the x at which the two laws meet; NaN where the curve shows no crossover
    crossover_low: np.ndarray  # its confidence interval
    crossover_high: np.ndarray
    exponent_below: np.ndarray  # of the asymptotes, with standard errors
    exponent_below_error: np.ndarray
    exponent_above: np.ndarray
    exponent_above_error: np.ndarray
    sharpness: np.ndarray  # k and m of the bend, see fit_crossover
    asymmetry: np.ndarray
    rmse: np.ndarray  # root mean square of the residuals of ln y,
    single_rmse: np.ndarray  # and what a single power law leaves at the same points
    x_min: np.ndarray  # first and last x that entered, and how many
    x_max: np.ndarray
    num_points: np.ndarray
    error_source: str  # "replicates", or "residuals" as if these were independent: a lower bound


@shown_briefly
class Onset(NamedTuple):
    """Where superdiffusion begins."""

    lag: np.ndarray  # (...), tau_0
    fit: PowerLawFit  # of [fit.x_min, largest lag]: the longest power law that ends at the largest lag


def local_exponent(lags, msd, stride=20, replicates=None):
    """Logarithmic derivative beta = d ln msd / d ln lag, over `stride` entries of the curve.

    beta = ln(msd[k + stride] / msd[k]) / ln(lags[k + stride] / lags[k]) (Chen, Qu & Gong,
    arXiv:2009.10588, Fig. 2c, with their stride of 20). It belongs to the geometric mean of its two
    lags, where it is exact for any ln msd quadratic in ln lag; the authors' code plots it at the
    smaller lag, too early by a factor of 4.6 at lag 1.

    Args:
        lags: (L,) positive and increasing.
        msd: (..., L).
        stride: entries between the two lags of a derivative, 1 <= stride < L.
        replicates: (..., B, L) of `msd`, for the error.

    Returns:
        `LocalExponent`; NaN where one of the two values is not positive and finite.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, or a stride outside
            1..L-1.

    >>> local_exponent([1, 2, 4], [3.0, 6.0, 24.0], stride=1).exponent.round(6).tolist()
    [1.0, 2.0]
    """
    _, log_lags, log_msd = logarithms("lags", lags, "msd", msd)
    stride = integer("stride", stride, 1, len(log_lags) - 1, what=f"for {len(log_lags)} lags")
    first, second = log_lags[:-stride], log_lags[stride:]

    def slope(curves):
        return (curves[..., stride:] - curves[..., :-stride]) / (second - first)

    exponent, error = slope(log_msd), None
    if replicates is not None:
        spread = replicate_error(np.moveaxis(slope(log_replicates(replicates, log_msd)), -2, -1))
        error = np.where(np.isfinite(exponent), spread, np.nan)
    return LocalExponent(np.exp((first + second) / 2), exponent, error)


def normal_diffusion_crossing(lags, exponent):
    """Lag at which the local exponent first rises through 1, that of normal diffusion, from below.

    The first two neighbouring lags with an exponent below 1 and then one of at least 1; between
    them beta is taken to be linear in ln lag. A curve that begins at or above 1 has been below 1
    nowhere yet, and rises through it only when it has come down before.

    Args:
        lags: (L,) positive and increasing.
        exponent: (..., L), as `local_exponent` gives it; NaN is neither below nor above.

    Returns:
        (...) lags; NaN where the exponent never rises through 1.

    Raises:
        InputError: lags not increasing and positive, or shapes that do not fit.

    >>> float(normal_diffusion_crossing([1, 10, 100], [0.5, 0.9, 1.1]).round(3))
    31.623
    """
    exponent = host_array("exponent", exponent)
    _, log_lags, _ = logarithms("lags", lags, "exponent", exponent)
    if len(log_lags) == 1:
        return np.full(exponent.shape[:-1], np.nan)
    rises = (exponent[..., :-1] < 1) & (exponent[..., 1:] >= 1)
    first = rises.argmax(axis=-1)
    below, above = (
        np.take_along_axis(exponent, (first + step)[..., None], axis=-1)[..., 0] for step in (0, 1)
    )
    rise = np.where(rises.any(axis=-1), above - below, np.nan)
    return np.exp(log_lags[first] + (1 - below) / rise * (log_lags[first + 1] - log_lags[first]))


def fit_power_law(x, y, *, x_min=None, x_max=None, num_points=50, replicates=None):
    """Least-squares line through (ln x, ln y) at log-spaced points of [x_min, x_max].

    The points are taken from the given ones, so nothing is interpolated: `num_points` targets at
    equal ratios from the first to the last x in the range, for each of them the x nearest in ln x,
    and every x once. Where the given points are sparse on the log axis (small lags) all of them
    enter, and fewer than `num_points` are left.

    `exponent_error` is the standard deviation of the replicates' exponents. Without replicates it
    is the textbook standard error of a slope, sqrt(SSR / (n - 2) / Sxx), as if the residuals were
    independent: for an MSD a lower bound. `error_source` says which of the two it is.

    How good it is, measured on T = 1000 steps: on lags 1..100 of fractional Brownian motion (dim
    2000, 200 paths) the error of a block bootstrap over the window was 0.84, 0.82, 0.83 and 0.80 of
    the scatter from path to path for H = 0.2, 0.35, 0.5 and 0.65, but 0.66 for H = 0.8, whose
    memory is longer than the blocks. On lags 100..500 of Brownian motion (dim 200) the exponent
    scatters by 0.040; the block bootstrap says 0.026, the textbook 0.002.

    Args:
        x: (L,) positive and increasing.
        y: (..., L) curves.
        x_min: lower end of the range, inclusive; the first x when None.
        x_max: upper end, inclusive; the last x when None.
        num_points: points wanted.
        replicates: (..., B, L) of `y`, for the error.

    Returns:
        `PowerLawFit`; all of it but x_min, x_max and num_points is NaN for a curve that is
        NaN, infinite, zero or negative at one of the points.

    Raises:
        InputError: x not increasing and positive, shapes that do not fit, or fewer than 3 points in
            the range.

    >>> fit = fit_power_law(range(1, 101), [2.0 * lag**1.5 for lag in range(1, 101)], x_min=10, x_max=50)
    >>> print(f"{fit.exponent:.6f} {fit.prefactor:.6f} {fit.error_source}")
    1.500000 2.000000 residuals
    """
    x, log_x, log_y = logarithms("x", x, "y", y)
    points = points_in_range(x, x_min, x_max, num_points, MIN_POINTS)
    line = Moments.of(log_x[points], log_y[..., points]).line()
    error, source = line.slope_error, "residuals"
    if replicates is not None:
        slopes = (
            Moments.of(log_x[points], log_replicates(replicates, log_y)[..., points]).line().slope
        )
        error, source = (
            np.where(np.isfinite(line.slope), replicate_error(slopes), np.nan),
            "replicates",
        )
    return PowerLawFit(
        line.slope, error, _exp(line.intercept), line.rmse, *_fitted_range(x, points, log_y), source
    )


def fit_crossover(x, y, *, x_min=None, x_max=None, num_points=50, replicates=None, confidence=0.95):
    """Where one power law gives way to another, the exponents of both, and how well they are known.

    Least squares in ln y, at the points of `fit_power_law`, for the smoothly broken power law

        y = A x^b (1 - (1 + (x / x_c)^k / m)^-m)^((a - b) / k),

    exponent a below and b above the crossover x_c, where the asymptotes meet. For m = 1 this is the
    symmetric y = A x^a (1 + (x / x_c)^k)^((b - a) / k), for k = inf two straight lines. Sharpness k
    and asymmetry m come from a small set; `analysis.crossover` gives reasons,
    and how far results can be trusted. A third of a decade and three points of the range are kept
    on either side.

    There is a crossover where the best place is not at an end of those allowed and the exponents
    differ: the central `confidence` interval of b - a over the replicates leaves out 0.
    Elsewhere, as for a single power law, crossover, exponents and shape are NaN. The interval of
    the crossover is that of the replicates' percentiles.

    Without replicates residuals are taken for independent: an F-test compares the broken power law
    (6 parameters) with the single one (2), the interval is where the residual sum of squares,
    minimised over all else, stays below its F-bound, and exponents have linearised errors. Of an
    MSD these are lower bounds, and most single power laws seem bent.

    Args:
        x: (L,) positive and increasing.
        y: (..., L) curves.
        x_min: lower end of the range, inclusive; the first x when None.
        x_max: upper end, inclusive; the last x when None. An MSD scatters above half the window.
        num_points: points wanted.
        replicates: (..., B, L) of `y`; at least 2 / (1 - confidence) that are not NaN, 40 for
            0.95.
        confidence: of the interval and of the decision that there is a crossover.

    Returns:
        `CrossoverFit`; all of it but x_min, x_max and num_points is NaN for a curve that is
        NaN, infinite, zero or negative at one of the points, and all but the two rmse as well where
        too few replicates are finite.

    Raises:
        InputError: x not increasing and positive, shapes that do not fit, fewer than 10 points in
            the range or no room in it, too few replicates, or a confidence outside (0, 1).

    >>> lags = np.arange(1, 1001)
    >>> fit = fit_crossover(lags, 1 - np.exp(-lags / 40))
    >>> print(f"{fit.crossover:.3f} {fit.exponent_below:.3f} {abs(fit.exponent_above):.3f}")
    40.000 1.000 0.000
    """
    x, log_x, log_y = logarithms("x", x, "y", y)
    confidence = number("confidence", confidence, above=0, below=1)
    points = points_in_range(x, x_min, x_max, num_points, crossover.MIN_POINTS)
    u = log_x[points]
    fit = crossover.fit_broken_lines(u, log_y[..., points])
    if replicates is None:
        known, source = crossover.uncertainty_from_residuals(u, fit, confidence), "residuals"
    else:
        log_replicated = log_replicates(
            replicates, log_y, at_least=crossover.min_replicates(confidence)
        )
        of_replicates = crossover.fit_broken_lines(u, log_replicated[..., points])
        known, source = (
            crossover.uncertainty_from_replicates(of_replicates, confidence),
            "replicates",
        )
    found = fit.inside & known.bent & (fit.single_rmse > crossover.ROUNDING)

    def where_found(*fields):
        return (np.where(found, field, np.nan) for field in fields)

    return CrossoverFit(
        *np.exp([*where_found(fit.place, known.low, known.high)]),
        *where_found(
            fit.below, known.below_error, fit.above, known.above_error, fit.sharpness, fit.asymmetry
        ),
        fit.rmse,
        fit.single_rmse,
        *_fitted_range(x, points, log_y),
        source,
    )


def superdiffusion_onset(lags, msd, *, max_rmse=0.03):
    """Lag tau_0 from which on the MSD is one superdiffusive power law.

    The smallest lag tau for which the least-squares power law on [tau, largest lag] leaves a root
    mean square residual of ln msd of at most `max_rmse`, if its exponent is above 1 (the rule of
    Chen, Qu & Gong, arXiv:2009.10588, for Fig. 2a; natural logarithms and the bound are choices:
    tau_0 moves with both). Candidates are 200 log-spaced points of `lags` that leave at least 10
    of these points and half a decade to fit, since any smooth curve is a power law over less: for
    lags 1..1000 the largest possible tau_0 is 316.

    Where this longest power law that ends at the largest lag has an exponent of at most 1 the lag
    is NaN, and `fit` gives exponent and range of the law. Near exponent 1 chance decides between
    the two: look at the fits of several seeds.

    Args:
        lags: (L,) positive and increasing.
        msd: (..., L).
        max_rmse: largest root mean square residual of ln msd.

    Returns:
        `Onset`; all NaN (`num_points` 0) where no candidate meets the bound, as for a
        curve that is NaN.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, or lags too few for a
            candidate.
    """
    lags, log_lags, log_msd = logarithms("lags", lags, "msd", msd)
    max_rmse = number("max_rmse", max_rmse, at_least=0)
    points = thinned(log_lags, 200)
    lags, log_lags, log_msd = lags[points], log_lags[points], log_msd[..., points]
    enough = np.arange(len(points), 0, -1) >= ONSET_POINTS
    candidates = np.count_nonzero(
        enough & (log_lags[-1] - log_lags >= ONSET_DECADES * np.log(10) - 1e-9)
    )
    if candidates == 0:
        raise InputError(
            f"lags runs from {lags[0]:g} to {lags[-1]:g} with {len(points)} log-spaced points; "
            f"expected at least {ONSET_POINTS} over {ONSET_DECADES} decades: record a longer window"
        )
    lines = Moments.of_tails(log_lags, log_msd).line()
    with np.errstate(invalid="ignore"):
        good = (lines.rmse <= max_rmse)[..., :candidates]
    first, found = good.argmax(axis=-1), good.any(axis=-1)
    intercept, slope, error, rmse = (
        np.where(found, np.take_along_axis(field, first[..., None], axis=-1)[..., 0], np.nan)
        for field in lines
    )
    x_min, x_max = np.where(found, lags[first], np.nan), np.where(found, lags[-1], np.nan)
    fit = PowerLawFit(
        slope,
        error,
        _exp(intercept),
        rmse,
        x_min,
        x_max,
        np.where(found, len(points) - first, 0),
        "residuals",
    )
    return Onset(np.where(fit.exponent > 1, fit.x_min, np.nan), fit)


def regime_boundary(
    waiting_times, lags, msd, *, x_min=None, x_max=None, num_points=50, max_rmse=0.03
):
    """Waiting time of the first window that is subdiffusive throughout: the beginning of the second
    regime.

    The first window whose single power law on [x_min, x_max] leaves a root mean square residual of
    ln msd of at most `max_rmse` and has an exponent below 1 (the rule of Chen, Qu & Gong,
    arXiv:2009.10588, for Fig. 2a; natural logarithms and the bound are choices). Later windows are
    not asked: one that is superdiffusive again changes nothing.

    Args:
        waiting_times: (W,) increasing, at the start of each window.
        lags: (L,) positive and increasing.
        msd: (..., W, L).
        x_min: smallest lag of the fit, inclusive; the first when None.
        x_max: largest lag, inclusive; the last when None.
        num_points: points wanted, as in `fit_power_law`.
        max_rmse: largest root mean square residual of ln msd.

    Returns:
        (...) waiting times; NaN where no window meets the rule. Windows that are NaN are passed
        over.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, waiting times that do
            not increase, or fewer than 3 lags in the range.
    """
    fit = fit_power_law(lags, msd, x_min=x_min, x_max=x_max, num_points=num_points)
    max_rmse = number("max_rmse", max_rmse, at_least=0)
    waiting_times = host_array("waiting_times", waiting_times)
    matching = waiting_times.ndim == 1 and waiting_times.shape == fit.exponent.shape[-1:]
    if not matching or not np.all(np.diff(waiting_times) > 0):
        raise InputError(
            f"waiting_times has shape {waiting_times.shape} with msd {np.shape(msd)}; expected "
            "(W,) increasing numbers and (..., W, L)"
        )
    subdiffusive = (fit.rmse <= max_rmse) & (fit.exponent < 1)
    return np.where(subdiffusive.any(axis=-1), waiting_times[subdiffusive.argmax(axis=-1)], np.nan)


def _fitted_range(x, points, curves):
    """First and last x that entered, and how many, for each of the curves."""
    first, last = x[points[[0, -1]]]
    shape = curves.shape[:-1]
    return np.full(shape, first), np.full(shape, last), np.full(shape, len(points))


def _exp(intercept):
    with np.errstate(over="ignore"):  # an extrapolation to x = 1 may leave the range of numbers
        return np.exp(intercept)
