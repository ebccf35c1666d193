"""Power laws in curves: local exponents, fits on a stated range, onsets and crossovers.

Everything here is float64 NumPy on the host and works on many curves at once: `x` is one axis of
shape (L,) and `y` is (..., L). A curve that is NaN (a member that diverged), zero or negative
inside the range has no power law there. Its numbers are NaN, and the other curves are not affected.

Lags of one window share their steps, so the residuals of a fit to an MSD are alike from lag to lag.
The textbook error of a slope is then far too small. Functions that give errors therefore take
`replicates` (..., B, L): B curves for each curve, such as those of a bootstrap over blocks of the
window or over the members of an ensemble. The error of an estimate is the standard deviation of the
same estimate over the replicates. Replicates with an estimate of NaN are left out; the error is NaN
if fewer than 10 are left.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion._arrays import host_array, integer, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike, NumberLike
from sgd_diffusion.analysis import crossover
from sgd_diffusion.analysis.least_squares import (
    Moments,
    log_replicates,
    logarithms,
    points_in_range,
    replicate_error,
    thinned,
)
from sgd_diffusion.errors import invalid

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
ONSET_POINTS = 10  # fewer points, or less than ONSET_DECADES: any smooth curve fits within 0.03
ONSET_DECADES = 0.5


@shown_briefly
@dataclass(frozen=True, eq=False, repr=False)
class LocalExponent:
    """Exponent along a curve; it unpacks into `lags, exponent`.

    Attributes:
        lags: (L - stride,), where each exponent belongs.
        exponent: (..., L - stride).
        error: (..., L - stride), standard error; None without replicates.
    """

    lags: Float[np.ndarray, "lag"]
    exponent: Float[np.ndarray, "*curves lag"]
    error: Float[np.ndarray, "*curves lag"] | None = None

    def __iter__(self) -> Iterator[Float[np.ndarray, "*curves lag"]]:
        return iter((self.lags, self.exponent))


@shown_briefly
class PowerLawFit(NamedTuple):
    """Least-squares power laws y = prefactor * x**exponent.

    Every array has the leading shape (...) of the curves.

    Attributes:
        exponent: of the power law.
        exponent_error: standard error of the exponent.
        prefactor: in the unit of y at x = 1.
        rmse: root mean square of the residuals of ln y.
        x_min: first x that entered.
        x_max: last x that entered.
        num_points: how many points entered.
        error_source: "replicates", or "residuals" as if these were independent, which is a lower
            bound.
    """

    exponent: Float[HostArray, "*curves"]
    exponent_error: Float[HostArray, "*curves"]
    prefactor: Float[HostArray, "*curves"]
    rmse: Float[HostArray, "*curves"]
    x_min: Float[HostArray, "*curves"]
    x_max: Float[HostArray, "*curves"]
    num_points: Int[HostArray, "*curves"]
    error_source: str


@shown_briefly
class CrossoverFit(NamedTuple):
    """Where one power law gives way to another.

    Every array has the leading shape (...) of the curves.

    Attributes:
        crossover: the x where the two laws meet; NaN where the curve shows no crossover.
        crossover_low: lower end of the confidence interval of the crossover.
        crossover_high: its upper end.
        exponent_below: of the asymptote below the crossover.
        exponent_below_error: its standard error.
        exponent_above: of the asymptote above the crossover.
        exponent_above_error: its standard error.
        sharpness: k of the bend, see `fit_crossover`.
        asymmetry: m of the bend.
        rmse: root mean square of the residuals of ln y.
        single_rmse: what a single power law leaves at the same points.
        x_min: first x that entered.
        x_max: last x that entered.
        num_points: how many points entered.
        error_source: "replicates", or "residuals" as if these were independent, which is a lower
            bound.
    """

    crossover: Float[HostArray, "*curves"]
    crossover_low: Float[HostArray, "*curves"]
    crossover_high: Float[HostArray, "*curves"]
    exponent_below: Float[HostArray, "*curves"]
    exponent_below_error: Float[HostArray, "*curves"]
    exponent_above: Float[HostArray, "*curves"]
    exponent_above_error: Float[HostArray, "*curves"]
    sharpness: Float[HostArray, "*curves"]
    asymmetry: Float[HostArray, "*curves"]
    rmse: Float[HostArray, "*curves"]
    single_rmse: Float[HostArray, "*curves"]
    x_min: Float[HostArray, "*curves"]
    x_max: Float[HostArray, "*curves"]
    num_points: Int[HostArray, "*curves"]
    error_source: str


@shown_briefly
class Onset(NamedTuple):
    """Where superdiffusion begins.

    Attributes:
        lag: (...), tau_0.
        fit: the longest power law that ends at the largest lag; it begins at `fit.x_min`.
    """

    lag: Float[HostArray, "*curves"]
    fit: PowerLawFit


def local_exponent(
    lags: ArrayLike,
    msd: ArrayLike,
    stride: IntegerLike = 20,
    replicates: ArrayLike | None = None,
) -> LocalExponent:
    r"""Return the logarithmic derivative d ln msd / d ln lag of curves, over `stride` entries.

    beta = ln(msd[k + stride] / msd[k]) / ln(lags[k + stride] / lags[k]) (Chen, Qu & Gong,
    arXiv:2009.10588, Fig. 2c, with their stride of 20). It belongs to the geometric mean of its two
    lags, where it is exact for any ln msd quadratic in ln lag. The authors' code plots it at the
    smaller lag, too early by a factor of 4.6 at lag 1.

    Formula:
        Local exponent, beta. $\beta = \frac{\ln (y_{k+s} / y_k)}{\ln (\ell_{k+s} / \ell_k)}$ (Chen,
        Qu & Gong, arXiv:2009.10588, Fig. 2c)

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


def normal_diffusion_crossing(lags: ArrayLike, exponent: ArrayLike) -> Float[HostArray, "*curves"]:
    """Return the lag where the local exponent first rises through that of normal diffusion, 1.

    The function looks for the first two adjacent lags with an exponent below 1 and then one of at
    least 1. Between them beta is taken to be linear in ln lag. A curve that begins at or above 1
    rises through 1 only after it has come down below it.

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


def fit_power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_min: NumberLike | None = None,
    x_max: NumberLike | None = None,
    num_points: IntegerLike = 50,
    replicates: ArrayLike | None = None,
) -> PowerLawFit:
    """Fit a power law to curves at log-spaced points of [x_min, x_max].

    The fit is the least-squares line through (ln x, ln y). Its points are given points, so nothing
    is interpolated. There are `num_points` targets at equal ratios from the first to the last x in
    the range. Each target takes the x nearest in ln x, and every x enters once. Where the given
    points are sparse on the log axis (small lags), all of them enter and fewer than `num_points`
    are left.

    `exponent_error` is the standard deviation of the exponents of the replicates. Without
    replicates it is the textbook standard error of a slope, sqrt(SSR / (n - 2) / Sxx), as if the
    residuals were independent. For an MSD this is a lower bound. `error_source` says which of the
    two it is.

    Args:
        x: (L,) positive and increasing.
        y: (..., L) curves.
        x_min: lower end of the range, inclusive; the first x when None.
        x_max: upper end, inclusive; the last x when None.
        num_points: points wanted.
        replicates: (..., B, L) of `y`, for the error.

    Returns:
        `PowerLawFit`; all of it but x_min, x_max and num_points is NaN for a curve that is NaN,
        infinite, zero or negative at one of the points.

    Raises:
        InputError: x not increasing and positive, shapes that do not fit, or fewer than 3 points in
            the range.

    >>> lags = np.arange(1, 101)
    >>> fit = fit_power_law(lags, 2.0 * lags**1.5, x_min=10, x_max=50)
    >>> print(f"{fit.exponent:.6f} {fit.prefactor:.6f} {fit.error_source}")
    1.500000 2.000000 residuals

    Notes:
        The errors were measured on T = 1000 steps. The first case is lags 1..100 of fractional
        Brownian motion (dim 2000, 200 paths), with the error of a block bootstrap over the window.
        It was 0.84, 0.82, 0.83 and 0.80 of the scatter from path to path for H = 0.2, 0.35, 0.5 and
        0.65. For H = 0.8, whose memory is longer than the blocks, it was 0.66. The second case is
        lags 100..500 of Brownian motion (dim 200). There the exponent scatters by 0.040; the block
        bootstrap says 0.026, and the textbook error 0.002.
    """
    x, log_x, log_y = logarithms("x", x, "y", y)
    points = points_in_range(x, x_min, x_max, num_points, MIN_POINTS)
    line = Moments.of(log_x[points], log_y[..., points]).line()
    error, source = line.slope_error, "residuals"
    if replicates is not None:
        log_replicated = log_replicates(replicates, log_y)[..., points]
        slopes = Moments.of(log_x[points], log_replicated).line().slope
        error = np.where(np.isfinite(line.slope), replicate_error(slopes), np.nan)
        source = "replicates"
    return PowerLawFit(
        line.slope, error, _exp(line.intercept), line.rmse, *_fitted_range(x, points, log_y), source
    )


def fit_crossover(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_min: NumberLike | None = None,
    x_max: NumberLike | None = None,
    num_points: IntegerLike = 50,
    replicates: ArrayLike | None = None,
    confidence: NumberLike = 0.95,
) -> CrossoverFit:
    r"""Fit two power laws that meet at a crossover, with confidence limits.

    The fit is least squares in ln y, at the points of `fit_power_law`, for the smoothly broken
    power law

        y = A x^b (1 - (1 + (x / x_c)^k / m)^-m)^((a - b) / k).

    The exponent is a below and b above the crossover x_c, where the asymptotes meet. For m = 1 this
    is the symmetric y = A x^a (1 + (x / x_c)^k)^((b - a) / k), and for k = inf two straight lines.
    Sharpness k and asymmetry m come from a small set. `analysis.crossover` gives reasons, and says
    how far results can be trusted. The crossover has a third of a decade and three points of the
    range on either side.

    A curve has a crossover under two conditions. The best place is not at an end of the allowed
    places, and the exponents differ: the central `confidence` interval of b - a over the replicates
    leaves out 0. Elsewhere, as for a single power law, crossover, exponents and shape are NaN. The
    interval of the crossover is that of the percentiles of the replicates.

    Without replicates residuals are taken for independent. An F-test compares the broken power law
    (6 parameters) with the single one (2). The interval is where the residual sum of squares,
    minimized over all else, stays below its F-bound, and exponents have linearized errors. For an
    MSD these are lower bounds, and most single power laws seem bent.

    Formula:
        Crossover of two power laws. $y = A x^b \left( 1 - \left( 1 + \frac{(x / x_c)^k}{m}
        \right)^{-m} \right)^{(a - b) / k}$ (smoothly broken power law)

    Args:
        x: (L,) positive and increasing.
        y: (..., L) curves.
        x_min: lower end of the range, inclusive; the first x when None.
        x_max: upper end, inclusive; the last x when None. An MSD scatters above half the window.
        num_points: points wanted.
        replicates: (..., B, L) of `y`; at least 2 / (1 - confidence) that are not NaN, 40 for 0.95.
        confidence: of the interval and of the decision that there is a crossover.

    Returns:
        `CrossoverFit`; all of it but x_min, x_max and num_points is NaN for a curve that is NaN,
        infinite, zero or negative at one of the points. Where too few replicates are finite, all
        but these three and the two rmse is NaN.

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
        known = crossover.uncertainty_from_replicates(of_replicates, confidence)
        source = "replicates"
    present = fit.inside & known.bent & (fit.single_rmse > crossover.ROUNDING)

    def where_present(*fields):
        return (np.where(present, field, np.nan) for field in fields)

    place, low, high = np.exp([*where_present(fit.place, known.low, known.high)])
    below, below_error, above, above_error, sharpness, asymmetry = where_present(
        fit.below, known.below_error, fit.above, known.above_error, fit.sharpness, fit.asymmetry
    )
    return CrossoverFit(
        place,
        low,
        high,
        below,
        below_error,
        above,
        above_error,
        sharpness,
        asymmetry,
        fit.rmse,
        fit.single_rmse,
        *_fitted_range(x, points, log_y),
        source,
    )


def superdiffusion_onset(lags: ArrayLike, msd: ArrayLike, *, max_rmse: NumberLike = 0.03) -> Onset:
    r"""Return the lag tau_0 from which on the MSD is one superdiffusive power law.

    tau_0 is the smallest lag tau with a good fit on [tau, largest lag], if the exponent of that fit
    is above 1. A fit is good where the least-squares power law leaves a root mean square residual
    of ln msd of at most `max_rmse`. This is the rule of Chen, Qu & Gong, arXiv:2009.10588, for Fig.
    2a. Natural logarithms and the bound are choices: tau_0 moves with both.

    The candidates are 200 log-spaced points of `lags`. Each leaves at least 10 of these points and
    half a decade to fit, since any smooth curve is a power law over less. For lags 1..1000 the
    largest possible tau_0 is 316.

    Where this longest power law has an exponent of at most 1, the lag is NaN. `fit` then gives
    exponent and range of the law. Near exponent 1 chance decides between the two: look at the fits
    of several seeds.

    Formula:
        Onset of superdiffusion, tau_0.
        $\tau_0 = \min \{ \tau : \mathrm{rmse}(\ln \delta^2; \tau, \ell_{\max}) \le \varepsilon \}$
        (Chen, Qu & Gong, arXiv:2009.10588, Fig. 2a)

    Args:
        lags: (L,) positive and increasing.
        msd: (..., L).
        max_rmse: largest root mean square residual of ln msd.

    Returns:
        `Onset`; all NaN (`num_points` 0) where no candidate meets the bound, as for a curve that is
        NaN.

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
        raise invalid(
            "lags",
            f"runs from {lags[0]:g} to {lags[-1]:g} with {len(points)} log-spaced points",
            f"at least {ONSET_POINTS} over {ONSET_DECADES} decades",
            "record a longer window",
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
    waiting_times: ArrayLike,
    lags: ArrayLike,
    msd: ArrayLike,
    *,
    x_min: NumberLike | None = None,
    x_max: NumberLike | None = None,
    num_points: IntegerLike = 50,
    max_rmse: NumberLike = 0.03,
) -> Float[HostArray, "*curves"]:
    """Return the waiting time of the first window that is subdiffusive throughout.

    The second regime begins there. It is the first window with a good single power law on [x_min,
    x_max] and an exponent below 1. A fit is good where it leaves a root mean square residual of ln
    msd of at most `max_rmse`. This is the rule of Chen, Qu & Gong, arXiv:2009.10588, for Fig. 2a;
    natural logarithms and the bound are choices. Later windows do not matter, even if one is
    superdiffusive again.

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
        raise invalid(
            "waiting_times",
            f"has shape {waiting_times.shape} with msd {np.shape(msd)}",
            "(W,) increasing numbers and (..., W, L)",
        )
    subdiffusive = (fit.rmse <= max_rmse) & (fit.exponent < 1)
    return np.where(subdiffusive.any(axis=-1), waiting_times[subdiffusive.argmax(axis=-1)], np.nan)


def _fitted_range(x, points, curves) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first and last x that entered, and how many, for each of the curves."""
    first, last = x[points[[0, -1]]]
    shape = curves.shape[:-1]
    return np.full(shape, first), np.full(shape, last), np.full(shape, len(points))


def _exp(intercept):
    with np.errstate(over="ignore"):  # an extrapolation to x = 1 may leave the range of numbers
        return np.exp(intercept)
