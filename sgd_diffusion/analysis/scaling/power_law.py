"""One power law on a range, and two that meet."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion._arrays import number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike, NumberLike
from sgd_diffusion.analysis import crossover
from sgd_diffusion.analysis.least_squares import (
    Moments,
    log_replicates,
    logarithms,
    points_in_range,
    replicate_error,
)

__all__ = ["CrossoverFit", "PowerLawFit", "fit_crossover", "fit_power_law"]

MIN_POINTS = 3  # a line through two points has no residual, hence no uncertainty


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
        line.slope,
        error,
        exp_or_inf(line.intercept),
        line.rmse,
        *_fitted_range(x, points, log_y),
        source,
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


def _fitted_range(x, points, curves) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first and last x that entered, and how many, for each of the curves."""
    first, last = x[points[[0, -1]]]
    shape = curves.shape[:-1]
    return np.full(shape, first), np.full(shape, last), np.full(shape, len(points))


def exp_or_inf(intercept: Float[HostArray, "..."]) -> Float[HostArray, "..."]:
    """Return the prefactor of a line's intercept; it may leave the range of numbers at x = 1."""
    with np.errstate(over="ignore"):
        return np.exp(intercept)
