"""Exponents of the variances of components, by rank and by flatness."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion._arrays import host_array, integer, integer_array, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike, NumberLike
from sgd_diffusion.analysis.least_squares import Moments
from sgd_diffusion.errors import invalid

__all__ = [
    "ComponentFit",
    "components_for_share",
    "rank_exponent",
    "variance_flatness_exponent",
]

MOST = 2**31 - 1  # components
LEAST = 3  # a line through two points has no residual, hence no error


@shown_briefly
class ComponentFit(NamedTuple):
    """A power law of the variances of components, sigma^2 ~ x^(-exponent).

    Attributes:
        exponent: minus the slope of ln sigma^2 on ln x.
        exponent_error: standard error of the least-squares line, as if residuals were independent.
        pearson: correlation of ln sigma^2 and ln x.
        first: smallest rank that entered.
        last: largest rank that entered.
        num_components: how many entered.
        dropped: components of the range that did not, since their x is infinite or NaN, or one of
            the two is not positive.
    """

    exponent: float
    exponent_error: float
    pearson: float
    first: int
    last: int
    num_components: int
    dropped: int


def variance_flatness_exponent(
    variances: ArrayLike,
    flatnesses: ArrayLike,
    *,
    first: IntegerLike = 1,
    last: IntegerLike | None = None,
    ranks: ArrayLike | None = None,
) -> ComponentFit:
    r"""Return the exponent psi of variances by flatness, on a range of ranks.

    The error is that of the fit alone. Neighboring components are not independent: they are
    directions of one path, ordered by the variance that is fitted. So it is a lower bound, and says
    nothing about other windows or seeds. A random walk has such an exponent too (see
    `theory.flatness`), so a large correlation is no evidence for a mechanism.

    Formula:
        Variance-flatness relation. $\sigma_i^2 \propto F_i^{-\psi}$ (Feng & Tu, arXiv:2001.01678)

    Args:
        variances: (n,) of the components, largest first.
        flatnesses: (n,) F of each, infinite or NaN where it is not known.
        first: smallest rank of the range; 1 leaves out the drift, which has rank 0.
        last: largest rank, inclusive; the last one when None.
        ranks: (n,) increasing ranks of these components; 0, 1, ... when None.

    Returns:
        `ComponentFit` of Python numbers.

    Raises:
        InputError: shapes differ, ranks do not increase, or fewer than three components are left.

    >>> fit = variance_flatness_exponent([9.0, 1.0, 1 / 16, 1 / 256, 0.1], [3, 1, 2, 4, np.inf])
    >>> round(fit.exponent, 6), fit.num_components, fit.dropped
    (4.0, 3, 1)
    """
    widths = _one_axis("flatnesses", flatnesses)
    values = _one_axis("variances", variances)
    if widths.shape != values.shape:
        raise invalid("flatnesses", f"has shape {widths.shape}", f"{values.shape}, as variances")
    numbers = np.arange(len(values)) if ranks is None else integer_array("ranks", ranks, 0, MOST)
    if numbers.shape != values.shape or (np.diff(numbers) <= 0).any():
        raise invalid(
            "ranks", f"has shape {numbers.shape}", f"{len(values)} integers that increase"
        )
    return _fit(widths, values, numbers, first, last)


def rank_exponent(
    variances: ArrayLike, *, first: IntegerLike = 20, last: IntegerLike | None = None
) -> ComponentFit:
    r"""Return the exponent gamma of variances by rank.

    Every component of the range enters. A random walk in many dimensions has gamma = 2 (see
    `analysis.principal_components`).

    Formula:
        Rank spectrum. $\sigma_i^2 \propto (i + 1)^{-\gamma}$ (Feng & Tu, arXiv:2001.01678; ranks i
        from 0)

    Args:
        variances: (n,) of the components, largest first, n at least 3.
        first: smallest rank of the range.
        last: largest rank, inclusive; the last one when None.

    Returns:
        `ComponentFit` of Python numbers. Its error is that of the fit alone.

    Raises:
        InputError: an argument is not as stated, or fewer than three components are left.

    >>> round(rank_exponent(np.arange(1, 101) ** -2.5).exponent, 6)
    2.5
    """
    values = _one_axis("variances", variances)
    numbers = np.arange(len(values))
    return _fit(numbers + 1.0, values, numbers, first, last)


def components_for_share(
    variances: ArrayLike, share: NumberLike = 0.9, *, skip: IntegerLike = 0
) -> int:
    """Return how many components, largest first, have a share of the variance.

    Args:
        variances: (n,) of all components, largest first.
        share: in (0, 1).
        skip: components that are left out at the beginning, such as 1 for the drift. They count
            neither as variance nor as components.

    Returns:
        The number of components.

    Raises:
        InputError: an argument is not as stated; variances are negative, not finite or all zero.

    >>> components_for_share([90.0, 8.0, 1.0, 1.0]), components_for_share([90.0, 8.0, 2.0], skip=1)
    (1, 2)
    """
    values = _one_axis("variances", variances)
    share = number("share", share, above=0, below=1)
    values = values[integer("skip", skip, 0, len(values) - 1) :]
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise invalid(
            "variances", "has entries that are negative, not finite or all 0", "variances"
        )
    cumulative = np.cumsum(values)
    return int(np.searchsorted(cumulative, share * cumulative[-1])) + 1


def _one_axis(name: str, values: ArrayLike) -> Float[np.ndarray, "component"]:
    array = host_array(name, values)
    if array.ndim != 1 or not array.size:
        raise invalid(name, f"has shape {array.shape}", "(n,), one for each component")
    return array


def _fit(
    x: Float[np.ndarray, "component"],
    y: Float[np.ndarray, "component"],
    ranks: Int[np.ndarray, "component"],
    first: IntegerLike,
    last: IntegerLike | None,
) -> ComponentFit:
    low = integer("first", first, 0, MOST)
    high = int(ranks[-1]) if last is None else integer("last", last, low, MOST)
    inside = (ranks >= low) & (ranks <= high)
    known = inside & (x > 0) & (x < np.inf) & (y > 0) & (y < np.inf)
    count = int(known.sum())
    if count < LEAST:
        raise invalid(
            "the range",
            f"has {count} components to fit in ranks {low}..{high}",
            f"at least {LEAST} with a positive variance and a finite positive flatness",
            "widen the range, or look for the flatness up to a larger limit",
        )
    moments = Moments.of(np.log(x[known]), np.log(y[known]))
    line = moments.line()
    with np.errstate(invalid="ignore", divide="ignore"):
        pearson = moments.xy / np.sqrt(moments.xx * moments.yy)
    ends = ranks[known][[0, -1]]
    return ComponentFit(
        -float(line.slope),
        float(line.slope_error),
        float(pearson),
        int(ends[0]),
        int(ends[1]),
        count,
        int(inside.sum()) - count,
    )
