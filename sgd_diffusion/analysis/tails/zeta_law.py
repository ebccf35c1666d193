"""Compute the power law of whole numbers: its likelihood, its tails, and random numbers.

P(X = x) = x^-s / zeta(s, x_min) for whole numbers x >= x_min >= 1, with Hurwitz's zeta function and
s = alpha + 1. Then P(X >= x) = zeta(s, x) / zeta(s, x_min), which falls as x^-alpha (Clauset,
Shalizi & Newman, SIAM Rev. 51, 661, 2009, Sec. 2 and Appendix B). Far out it is the Pareto law,
near 1 it is not. For 1000 ones, 100 tens, 10 hundreds and 1 thousand, the Pareto law of largest
likelihood has alpha = 3.92, and the zeta law 1.60. Everything is float64 NumPy, on arrays of any
shape.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from sgd_diffusion._types import ArrayLike, HostArray

__all__ = ["distance", "draw", "exponents", "log_zeta"]

# Terms of the zeta function that are added one by one. The Euler-Maclaurin formula gives the rest.
SUMMED = 12
# Its Bernoulli numbers. The error is 1e-15 for s < 30, or large x.
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66)
STEP = 1e-4  # of differences in s, which give derivatives to 1e-8
NEWTON_STEPS = 60
LARGEST_STEP = 1.0  # in ln(alpha)
TOLERANCE = 1e-9  # of ln(alpha), where Newton's method doubles the digits


def log_zeta(s: ArrayLike, x: ArrayLike) -> Float[HostArray, "*shape"]:
    """Return the logarithm of x^s zeta(s, x), the sum over k >= 0 of (1 + k/x)^-s.

    Args:
        s: (...), s > 1.
        x: (...), x >= 1; the shapes are broadcast.

    Returns:
        (...), float64.
    """
    s, x = np.asarray(s), np.asarray(x)
    terms = np.exp(-s[..., None] * np.log1p(np.arange(1, SUMMED) / x[..., None])).sum(axis=-1)
    end = x + SUMMED
    rest, factor = end / (s - 1) + 1 / 2, s / end
    for j, number in enumerate(BERNOULLI, start=1):
        rest = rest + number / math.factorial(2 * j) * factor
        factor = factor * (s + 2 * j - 1) * (s + 2 * j) / end**2
    return np.log1p(terms + np.exp(-s * np.log1p(SUMMED / x)) * rest)


def exponents(
    mean_excess: ArrayLike, count: ArrayLike, x_min: ArrayLike
) -> tuple[Float[HostArray, "*samples"], Float[HostArray, "*samples"]]:
    """Return the exponents alpha of largest likelihood and their standard errors.

    Newton's method in ln(alpha) starts from Pareto's alpha. With the mean m of ln(x / x_min), the
    log-likelihood of a value is -s m - ln(x_min^s zeta(s, x_min)), which is concave in s. The error
    is 1 / sqrt(count times its second derivative).

    Args:
        mean_excess: (...) mean of ln(x / x_min) of the values of a tail, positive.
        count: (...) number of these values.
        x_min: (...) smallest of them.

    Returns:
        Exponents and errors, (...).
    """
    log_alpha = -np.log(mean_excess + np.log1p(0.5 / x_min))
    for _ in range(NEWTON_STEPS):
        alpha = np.exp(log_alpha)
        slope, curvature = _derivatives(alpha, x_min)
        # Derivatives of the negative log-likelihood in ln(alpha).
        score = alpha * (mean_excess + slope)
        bend = np.maximum(alpha**2 * curvature + score, alpha**2 * curvature / 4)
        change = np.clip(-score / bend, -LARGEST_STEP, LARGEST_STEP)
        log_alpha = log_alpha + change
        if np.all(np.abs(change) < TOLERANCE):
            break
    alpha = np.exp(log_alpha)
    return alpha, 1 / np.sqrt(count * _derivatives(alpha, x_min)[1])


def distance(
    alpha: float | np.floating, unique: Float[np.ndarray, "u"], above: np.ndarray
) -> np.floating:
    """Return the Kolmogorov-Smirnov distance of a tail from the law above its smallest value.

    Args:
        alpha: exponent.
        unique: (U,) the different values of the tail, increasing.
        above: (U,) for each, the number of values that are at least as large.

    Returns:
        The distance, a number.
    """
    s, x_min, share = alpha + 1, unique[0], above / above[0]
    scaled = np.exp(-s * np.log(unique / x_min) - log_zeta(s, x_min))  # the chance of each value
    law = scaled * np.exp(log_zeta(s, unique))
    # At each value, and one number later.
    gaps = np.abs(share - law), np.abs(np.append(share[1:], 0) - (law - scaled))
    return np.max(gaps)


def draw(
    random: np.random.Generator,
    alpha: float | np.ndarray | np.floating,
    x_min: float | np.ndarray | np.floating,
    shape: tuple[Any, ...],
) -> Float[np.ndarray, "*shape"]:
    """Return independent numbers of the law, as floats.

    This is rejection: whole parts y of Pareto numbers above x_min are kept with a chance that falls
    with y from 1. The chance is q(y) / q(x_min) with 1 / q(y) = y (1 - (1 + 1/y)^-alpha) (Devroye,
    Non-Uniform Random Variate Generation, 1986, X.6.1, for x_min = 1).

    Args:
        random: generator of NumPy.
        alpha: exponent.
        x_min: smallest number.
        shape: of the result.

    Returns:
        Array of shape `shape`.
    """
    numbers = np.full(math.prod(shape), np.nan)
    while (missing := np.flatnonzero(np.isnan(numbers))).size:
        proposed = np.floor(x_min * np.exp(random.exponential(1 / alpha, missing.size)))
        keep = random.random(missing.size) * _inverse_chance(alpha, proposed) < _inverse_chance(
            alpha, x_min
        )
        numbers[missing[keep]] = proposed[keep]
    return numbers.reshape(shape)


def _derivatives(alpha, x):
    """First and second derivative of `log_zeta` in s at s = alpha + 1."""
    step = STEP * np.minimum(alpha, 1 + x)  # the smaller of the scales on which it changes
    below, at, above = log_zeta(alpha + 1 + np.multiply.outer([-1, 0, 1], step), x)
    return (above - below) / (2 * step), (above - 2 * at + below) / step**2


def _inverse_chance(alpha, x):
    return -x * np.expm1(-alpha * np.log1p(1 / x))
