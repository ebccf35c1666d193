"""Compare the covariance of gradients with the Hessian, in its eigenbasis and by elements."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sgd_diffusion._arrays import host_array, integer, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike, NumberLike
from sgd_diffusion.analysis.least_squares import Moments
from sgd_diffusion.errors import invalid

__all__ = ["HessianComparison", "compare_with_hessian"]

MOST = 2**31 - 1
LEAST_POINTS = 3  # for a slope and its error
ASYMMETRY = 1e-3  # of the largest element, as float32 leaves it after long sums


@shown_briefly
class HessianComparison(NamedTuple):
    """How far the covariance C of gradients is the Hessian H.

    Where C = H, the trace ratio, the slope and the correlations are 1, and the ratio of elements
    off the diagonal is 0. A correlation does not see a factor, nor the smaller eigenvalues.

    Attributes:
        trace_ratio: Tr C / Tr H.
        slope: of ln v . C v over the logarithm of the eigenvalue, over the top eigenvectors v.
        slope_error: standard error of that slope, as if the residuals were independent.
        median_ratio: of v . C v to the eigenvalue, the median over the same eigenvectors.
        diagonal_correlation: Pearson's coefficient of v . C v and the eigenvalues, over all.
        element_correlation: Pearson's coefficient of the elements C_ij and H_ij, where |H_ij| is at
            least the threshold; NaN with fewer than three of them.
        offdiagonal_ratio: Frobenius norm of C in the eigenbasis without its diagonal, over that of
            the diagonal.
        eigenvalues: (P,) of H, falling.
        variances: (P,) v . C v along their eigenvectors.
    """

    trace_ratio: float
    slope: float
    slope_error: float
    median_ratio: float
    diagonal_correlation: float
    element_correlation: float
    offdiagonal_ratio: float
    eigenvalues: Float[HostArray, "parameter"]
    variances: Float[HostArray, "parameter"]


def compare_with_hessian(
    covariance: ArrayLike,
    hessian: ArrayLike,
    *,
    top: IntegerLike = 100,
    threshold: NumberLike = 1e-4,
) -> HessianComparison:
    """Return how far the covariance of gradients is the Hessian, in its basis and by elements.

    At a minimum of a negative log-likelihood of a model that is right, C is H, and the noise of
    mini-batches of B examples is H / B. It is not so for other losses, and not where a network
    interpolates. It is computed on the host in float64.

    Args:
        covariance: (P, P) C, symmetric, as from `gradient_covariance`.
        hessian: (P, P) H, symmetric, as from `dense_matrix`.
        top: number of the largest eigenvalues for the slope; those above zero with variances above
            zero enter.
        threshold: smallest |H_ij| of the elements that are compared.

    Returns:
        `HessianComparison`.

    Raises:
        InputError: the matrices are not finite, square, symmetric and of the same shape; or an
            option is out of range.

    >>> hessian = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]
    >>> comparison = compare_with_hessian([[4.0, 0, 0], [0, 1, 0], [0, 0, 0.25]], hessian)
    >>> round(comparison.slope, 6), comparison.trace_ratio
    (2.0, 1.5)
    """
    count = integer("top", top, LEAST_POINTS, MOST)
    least = number("threshold", threshold, at_least=0)
    noise, curvature = _symmetric("covariance", covariance), _symmetric("hessian", hessian)
    if noise.shape != curvature.shape:
        raise invalid("hessian", f"has shape {curvature.shape}", f"{noise.shape}, as covariance")
    eigenvalues, vectors = np.linalg.eigh(curvature)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    images = noise @ vectors
    variances = (vectors * images).sum(axis=0)
    # The norm does not depend on the basis.
    others = max((noise**2).sum() - (variances**2).sum(), 0)
    used = (eigenvalues[:count] > 0) & (variances[:count] > 0)
    first, second = eigenvalues[:count][used], variances[:count][used]
    slope, error = _slope(first, second)
    large = abs(curvature) >= least
    return HessianComparison(
        _ratio(np.trace(noise), np.trace(curvature)),
        slope,
        error,
        float(np.median(second / first)) if len(first) else math.nan,
        _correlation(eigenvalues, variances),
        _correlation(curvature[large], noise[large]),
        _ratio(others**0.5, (variances**2).sum() ** 0.5),
        eigenvalues,
        variances,
    )


def _symmetric(name, value):
    matrix = host_array(name, value)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise invalid(name, f"has shape {matrix.shape}", "(P, P)")
    if not np.isfinite(matrix).all():
        raise invalid(name, "is not finite", "finite numbers")
    away = abs(matrix - matrix.T).max()
    if away > ASYMMETRY * abs(matrix).max():
        raise invalid(name, f"differs from its transpose by {away:.3g}", "a symmetric matrix")
    return (matrix + matrix.T) / 2


def _slope(x, y):
    """The slope of ln y over ln x and its error; NaN with fewer than three points."""
    if len(x) < LEAST_POINTS or np.ptp(x) == 0:
        return math.nan, math.nan
    line = Moments.of(np.log(x), np.log(y)).line()
    return float(line.slope), float(line.slope_error)


def _correlation(x, y):
    if len(x) < LEAST_POINTS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def _ratio(numerator, denominator):
    return float(numerator / denominator) if denominator else math.nan
