"""Contour length of a path, and its dimension: how end-to-end distances grow with it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import host_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, NumberLike
from sgd_diffusion.analysis.gram import non_negative, one_path, upper_squared_displacements
from sgd_diffusion.analysis.guarded import power
from sgd_diffusion.analysis.pairs import PairAverages, in_bins
from sgd_diffusion.analysis.scaling import fit_crossover, fit_power_law
from sgd_diffusion.errors import invalid

__all__ = ["PathDimension", "contour_length", "end_to_end", "path_dimension"]


@shown_briefly
class PathDimension(NamedTuple):
    """Dimension D_f in squared end-to-end distance ~ contour length^(2/D_f).

    D_f is 1 for a straight path and 2 for Brownian motion.

    Attributes:
        dimension: of a single power law.
        dimension_error: its standard error.
        dimension_below: of the power law below the crossover; NaN where there is no crossover.
        dimension_below_error: its standard error.
        dimension_above: of the power law above the crossover; NaN where there is no crossover.
        dimension_above_error: its standard error.
        crossover: contour length where the two power laws meet.
        crossover_low: lower end of its confidence interval.
        crossover_high: upper end of its confidence interval.
        x_min: first contour length that entered.
        x_max: last contour length that entered.
        num_points: how many contour lengths entered.
        error_source: as in `fit_power_law`.
    """

    dimension: Float[HostArray, ""]
    dimension_error: Float[HostArray, ""]
    dimension_below: Float[HostArray, ""]
    dimension_below_error: Float[HostArray, ""]
    dimension_above: Float[HostArray, ""]
    dimension_above_error: Float[HostArray, ""]
    crossover: Float[HostArray, ""]
    crossover_low: Float[HostArray, ""]
    crossover_high: Float[HostArray, ""]
    x_min: Float[HostArray, ""]
    x_max: Float[HostArray, ""]
    num_points: Int[HostArray, ""] | int
    error_source: str


def contour_length(step_gram: ArrayLike) -> Float[Array, "point"]:
    r"""Return the length of a path up to each of its points, the sum of the lengths of its steps.

    s_t = sum over u < t of |dw_u|. The fragment from i to j has the contour length s_j - s_i.

    Formula:
        Contour length. $s_t = \sum_{u=0}^{t-1} \lVert \Delta w_u \rVert$ (definition)

    Args:
        step_gram: (T, T); only its diagonal is read.

    Returns:
        (T+1,) weight units, starting at 0, never decreasing.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1.

    >>> contour_length([[9.0, 0.0], [0.0, 16.0]]).tolist()            # steps of length 3 and 4
    [0.0, 3.0, 7.0]
    """
    with one_path(step_gram) as gram:
        return jnp.pad(jnp.cumsum(power(non_negative(jnp.diagonal(gram)), 0.5)), (1, 0))


def end_to_end(
    step_gram: ArrayLike, *, bins: ArrayLike, published_contour: bool = False
) -> PairAverages:
    """Return the squared end-to-end distance of all fragments of a path, by contour length.

    |w_j - w_i|^2 for all i < j against s_j - s_i (Chen, Qu & Gong, arXiv:2009.10588, Fig. 6b). The
    `average` of it is the curve whose exponent `path_dimension` reads.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        bins: (K+1,) increasing, positive contour lengths, known before tracing: the edges of the
            bins. Or K, for so many bins of equal ratio from the shortest step to the whole length.
        published_contour: count the step before the first point of a fragment as part of it, except
            for fragments that start at w_0. The published code does so. Such contour lengths are
            about (lag + 1)/lag too long, twice at lag 1, which bends the curve at short lengths.
            Use it to compare with published figures only.

    Returns:
        `pairs.PairAverages`, n = T+1.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; `bins` is
            neither.

    >>> from sgd_diffusion.analysis.pairs import average
    >>> average(end_to_end([[1.0, 1.0], [1.0, 1.0]], bins=[0.5, 1.5, 2.5])).tolist()  # straight on
    [1.0, 4.0]
    """
    with one_path(step_gram) as gram:
        length = contour_length(gram)
        start = jnp.pad(length[:-1], (1, 0)) if published_contour else length
        return in_bins(length[None] - start[:, None], upper_squared_displacements(gram), bins)


def path_dimension(
    contour: ArrayLike,
    squared_end_to_end: ArrayLike,
    *,
    x_min: NumberLike | None = None,
    x_max: NumberLike | None = None,
    replicates: ArrayLike | None = None,
) -> PathDimension:
    r"""Fit the dimension of one path to its squared end-to-end distances by contour length.

    R^2 ~ s^(2/D_f) on [x_min, x_max] (Chen, Qu & Gong, arXiv:2009.10588, Fig. 6b), so that D_f = 2
    / exponent. One result is from a single power law (`scaling.fit_power_law`), the other from two
    that meet at a crossover (`scaling.fit_crossover`). Where there is a crossover, the single value
    describes neither side. Confined motion has exponent 0: its D_f is large, not known, and not a
    dimension. A single step is straight, so that contour lengths below a few of the longest steps
    show D_f = 1.

    Errors are those of the exponents, 2 error / exponent^2.

    Formula:
        Path dimension, D_f. $\langle R^2 \rangle \propto s^{2 / D_f}$ (Chen, Qu & Gong,
        arXiv:2009.10588, Fig. 6b)

    Args:
        contour: (K,) increasing, NaN where a bin is empty, from `end_to_end`.
        squared_end_to_end: (K,), from `end_to_end`. Every path has bins of its own.
        x_min: smallest contour length, inclusive; the smallest there is when None.
        x_max: largest, inclusive; the largest there is when None.
        replicates: (B, K) of `squared_end_to_end` from `block_bootstrap`. Without them errors are
            lower bounds, and nearly every path is found to have a crossover.

    Returns:
        `PathDimension`; NaN for a path that never moves or has diverged.

    Raises:
        InputError: shapes that do not fit, or fewer than 10 bins with fragments in the range.

    Notes:
        Resampling does not see scatter on times longer than a block. On Brownian motion (T = 1000,
        100 dimensions, 10 blocks) the error was compared with the scatter of D_f between paths. It
        is 0.9 of that for x_max at 1/20 of the whole length, 0.7 at 1/5, 0.4 at 1/2 and 0.2 for all
        of it. There 1 to 3 paths in 10 are found to have a crossover.
    """
    contour, squared_end_to_end = (
        host_array("contour", contour),
        host_array("squared_end_to_end", squared_end_to_end),
    )
    if contour.ndim != 1 or squared_end_to_end.shape != contour.shape:
        raise invalid(
            "contour and squared_end_to_end",
            f"have shapes {contour.shape} and {squared_end_to_end.shape}",
            "(K,), the bins of one path",
        )
    filled = np.isfinite(contour)
    if not filled.any():
        return PathDimension._make([*np.full(11, np.nan), 0, "none"])
    if replicates is not None:
        replicates = host_array("replicates", replicates)
        if replicates.shape[1:] != contour.shape:
            raise invalid(
                "replicates",
                f"has shape {replicates.shape}",
                f"(B, {len(contour)}), B replicates of the curve",
            )
        replicates = replicates[:, filled]
    curve = contour[filled], squared_end_to_end[filled]
    single = fit_power_law(*curve, x_min=x_min, x_max=x_max, replicates=replicates)
    double = fit_crossover(*curve, x_min=x_min, x_max=x_max, replicates=replicates)
    return PathDimension(
        *_dimension(single.exponent, single.exponent_error),
        *_dimension(double.exponent_below, double.exponent_below_error),
        *_dimension(double.exponent_above, double.exponent_above_error),
        double.crossover,
        double.crossover_low,
        double.crossover_high,
        single.x_min,
        single.x_max,
        single.num_points,
        single.error_source,
    )


def _dimension(exponent, error) -> tuple[Any, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):  # a path that stays where it is
        return 2 / exponent, 2 * error / exponent**2
