"""Geometry of a path from the Gram matrix of its steps: how long, how crooked, how wide and in how
many directions.

A path w_0, ..., w_T enters as `step_gram`, as in `analysis.displacement`;
precision, transformations and NaN are handled as there. Fits (`path_dimension`,
`self_affinity`) are float64 NumPy on the host.

Errors come from resampling the window (`analysis.pairs`): they are about this
stretch of this path, and the spread over seeds is another matter.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import host_array, integer, integer_array, own_precision, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.analysis.displacement import squared_displacements
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.gram import (
    by_start_and_lag,
    checked_integer,
    non_negative,
    one_path,
    upper_squared_displacements,
)
from sgd_diffusion.analysis.guarded import power, ratio, where_known
from sgd_diffusion.analysis.pairs import (
    NUM_BLOCKS,
    PairAverages,
    average,
    block_bootstrap,
    by_lag,
    in_bins,
)
from sgd_diffusion.analysis.scaling import fit_crossover, fit_power_law
from sgd_diffusion.errors import InputError

__all__ = [
    "ExcursionSlope",
    "Excursions",
    "ExcursionsByLength",
    "PathDimension",
    "PrincipalComponents",
    "SelfAffinity",
    "contour_length",
    "end_to_end",
    "excursion_slope",
    "excursions_by_length",
    "path_dimension",
    "principal_components",
    "self_affinity",
    "transverse_excursions",
]

DISCRETENESS = 0.1  # what chi of Brownian motion in two dimensions is above 1, see self_affinity


@shown_briefly
class PathDimension(NamedTuple):
    """Dimension D_f in squared end-to-end distance ~ contour length^(2/D_f): 1 straight, 2 for
    Brownian motion.
    """

    dimension: np.ndarray  # of a single power law, with its standard error
    dimension_error: np.ndarray
    dimension_below: (
        np.ndarray
    )  # of the two power laws that meet at the crossover; NaN where there is none
    dimension_below_error: np.ndarray
    dimension_above: np.ndarray
    dimension_above_error: np.ndarray
    crossover: np.ndarray  # contour length, and its confidence interval
    crossover_low: np.ndarray
    crossover_high: np.ndarray
    x_min: np.ndarray  # first and last contour length that entered, and how many
    x_max: np.ndarray
    num_points: np.ndarray
    error_source: str  # as in fit_power_law


@shown_briefly
class Excursions(NamedTuple):
    """Fragments of one length, by the point at which they start."""

    squared_end_to_end: jax.Array  # (T+1-length,), squared weight units
    squared_excursion: (
        jax.Array
    )  # (T+1-length,), largest squared distance of a point from the line through the ends


@shown_briefly
class ExcursionsByLength(NamedTuple):
    """Fragments of several lengths, ready to be averaged and resampled."""

    squared_end_to_end: PairAverages
    squared_excursion: PairAverages


@shown_briefly
class ExcursionSlope(NamedTuple):
    """How ln squared excursion goes with ln squared end-to-end distance among fragments of one
    length.
    """

    slope: jax.Array  # ()
    slope_error: jax.Array  # () standard error, from resampling the window


@shown_briefly
class SelfAffinity(NamedTuple):
    """Whether width and length of fragments grow alike; (...) are the leading axes of the curves."""

    exponent: np.ndarray  # (...), chi of <squared excursion> ~ <squared end-to-end distance>^chi
    exponent_error: np.ndarray  # (...), standard deviation over the replicates
    verdict: np.ndarray  # (...), "self-similar", "self-affine" or "undecided"


@shown_briefly
class PrincipalComponents(NamedTuple):
    """Principal components of the points of a path, largest variance first."""

    variances: jax.Array  # (K,) along the components, with T in the denominator for the T+1 points
    explained_variance_ratio: jax.Array  # (K,) shares of the total variance
    scores: jax.Array  # (T+1, K) coordinates of the points along the components, about their mean


def contour_length(step_gram):
    """Length of the path up to each of its points, the sum of the lengths of its steps.

    s_t = sum over u < t of |dw_u|, so that the contour length of the fragment from i to j is s_j -
    s_i.

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


def end_to_end(step_gram, *, bins, published_contour=False):
    """Squared end-to-end distance of all fragments of the path, by contour length.

    |w_j - w_i|^2 for all i < j against s_j - s_i (Chen, Qu & Gong, arXiv:2009.10588, Fig. 6b); `average` of it is
    the curve whose exponent `path_dimension` reads.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        bins: (K+1,) increasing, positive contour lengths, known before tracing: the edges of the
            bins. Or K, for so many bins of equal ratio from the shortest step to the whole length.
        published_contour: count the step that leads to the first point of a fragment as part of the
            fragment, except for fragments that start at w_0, as the published code does: about (lag
            + 1)/lag too long, twice at lag 1, which bends the curve at short lengths. To compare
            with published figures only.

    Returns:
        `pairs.PairAverages`, n = T+1.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; `bins` is
            neither.

    >>> average(end_to_end([[1.0, 1.0], [1.0, 1.0]], bins=[0.5, 1.5, 2.5])).tolist()      # straight on
    [1.0, 4.0]
    """
    with one_path(step_gram) as gram:
        length = contour_length(gram)
        start = jnp.pad(length[:-1], (1, 0)) if published_contour else length
        return in_bins(length[None] - start[:, None], upper_squared_displacements(gram), bins)


def path_dimension(contour, squared_end_to_end, *, x_min=None, x_max=None, replicates=None):
    """Dimension of one path from its squared end-to-end distances by contour length.

    R^2 ~ s^(2/D_f) on [x_min, x_max] (Chen, Qu & Gong, arXiv:2009.10588, Fig. 6b), so that D_f = 2
    / exponent, of a single power law (`scaling.fit_power_law`) and of
    two that meet at a crossover (`scaling.fit_crossover`). Where
    there is a crossover the single value describes neither side. Confined motion has exponent 0:
    its D_f is large, not known, and not a dimension. A single step is straight, so that contour
    lengths below a few of the longest steps show D_f = 1.

    Errors are those of the exponents, 2 error / exponent^2. Resampling does not see scatter on
    times longer than a block: on Brownian motion (T = 1000, 100 dimensions, 10 blocks) the error is
    0.9 of the scatter of D_f between paths for x_max at 1/20 of the whole length, 0.7 at 1/5, 0.4
    at 1/2 and 0.2 for all of it, and 1 to 3 paths in 10 are found to have a crossover.

    Args:
        contour: (K,) increasing, NaN where a bin is empty, and
        squared_end_to_end: (K,), from `end_to_end`: every path has bins of its own.
        x_min: smallest contour length, inclusive; the smallest there is when None.
        x_max: largest, inclusive; the largest there is when None.
        replicates: (B, K) of `squared_end_to_end` from `block_bootstrap`. Without them errors
            are lower bounds, and nearly every path is found to have a crossover.

    Returns:
        `PathDimension`; NaN for a path that never moves or has diverged.

    Raises:
        InputError: shapes that do not fit, or fewer than 10 bins with fragments in the range.
    """
    contour, squared_end_to_end = (
        host_array("contour", contour),
        host_array("squared_end_to_end", squared_end_to_end),
    )
    if contour.ndim != 1 or squared_end_to_end.shape != contour.shape:
        raise InputError(
            f"contour and squared_end_to_end have shapes {contour.shape} and "
            f"{squared_end_to_end.shape}; expected (K,), the bins of one path"
        )
    filled = np.isfinite(contour)
    if not filled.any():
        return PathDimension(*np.full(11, np.nan), 0, "none")
    if replicates is not None:
        replicates = host_array("replicates", replicates)
        if replicates.shape[1:] != contour.shape:
            raise InputError(
                f"replicates has shape {replicates.shape}; expected (B, {len(contour)}), B of the "
                "curve"
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


def _dimension(exponent, error):
    with np.errstate(divide="ignore", invalid="ignore"):  # a path that stays where it is
        return 2 / exponent, 2 * error / exponent**2


def transverse_excursions(step_gram, fragment_length):
    """How far fragments of the path stray from the straight line between their ends.

    For the fragment from A = w_i to B = w_{i+n}, the largest squared distance of its points C from
    the line through A and B, |C-A|^2 - ((C-A).(B-A))^2 / |B-A|^2 with (C-A).(B-A) = (|C-A|^2 +
    |B-A|^2 - |C-B|^2) / 2 (Chen, Qu & Gong, arXiv:2009.10588, text on Fig. 6; their code takes 50
    random fragments of 100 steps, here it is all T+1-n). A closed fragment, A = B, has no such
    line, and the distance is that from A.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        fragment_length: n, an integer in 1..T known before tracing; the excursion is 0 for a single
            step.

    Returns:
        `Excursions`, squared weight units, nowhere negative. The squared excursion is a
        difference, and known to about 1e-14 (from float32 1e-6) of the squared end-to-end distance.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1;
            `fragment_length` is not an integer in 1..T.

    >>> transverse_excursions([[9.0, 0.0], [0.0, 16.0]], 2).squared_excursion.tolist()    # 2.4, height of a 3-4-5 triangle
    [5.76]
    """
    with one_path(step_gram) as gram:
        length = checked_integer("fragment_length", fragment_length, 1, len(gram), len(gram))
        upper = upper_squared_displacements(gram)
        fragments = len(upper) - length
        return Excursions(
            jnp.diagonal(upper, length), _squared_excursions(upper, length)[:fragments]
        )


def _squared_excursions(upper, length):
    """Squared excursions by starting point, from squared distances between the points i < j; 0
    where no fragment fits.

    All shapes are independent of the length, so that one compiled program serves many.
    """
    last = len(upper) - 1
    points = jnp.arange(last + 1, dtype=jnp.int32)
    start, offset = points[:, None], points[None]
    end = start + length
    from_start = by_start_and_lag(upper)
    chord = jnp.take(from_start, length, axis=1)[:, None]
    from_end = upper[jnp.minimum(start + offset, last), jnp.minimum(end, last)]
    along = (from_start + chord - from_end) / 2
    squared_heights = from_start - jnp.where(
        chord > 0, along**2 / jnp.where(chord > 0, chord, 1), 0
    )
    inside = (offset <= length) & (end <= last)
    highest = jnp.where(inside, squared_heights, 0).max(axis=1)
    # The chord is NaN if any step of the fragment is; compiled for CPU, max does not always pass
    # NaN on.
    return where_known(~jnp.isnan(chord[:, 0]), non_negative(highest))


def excursions_by_length(step_gram, lengths):
    """End-to-end distances and transverse excursions of all fragments of several lengths.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        lengths: (L,) integers in 1..T, known before tracing; from 2 on fragments have an excursion.

    Returns:
        `ExcursionsByLength` of `pairs.PairAverages` with n =
        T+1 and K = L. Replicates of the two by `block_bootstrap` with the same key have the same
        weights.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; a length is
            not an integer in 1..T.
    """
    with one_path(step_gram) as gram:
        lengths = integer_array("lengths", lengths, 1, len(gram))
        chords, upper = by_lag(gram, lengths), upper_squared_displacements(gram)
        _, sums = jax.lax.scan(_next_squared_excursions, upper, jnp.asarray(lengths, jnp.int32))
        return ExcursionsByLength(chords, chords._replace(sums=sums.T))


def _next_squared_excursions(upper, length):
    return upper, _squared_excursions(upper, length)


def excursion_slope(key, excursions, *, num_resamples=200):
    """Whether, among fragments of one length, those that end farther away also stray farther.

    Least-squares slope of ln squared excursion against ln squared end-to-end distance over the
    fragments: the scatter plot of Chen, Qu & Gong, arXiv:2009.10588, who find no relation at 100
    steps and call the path self-affine. The slope does not support that: it is 0 for Brownian
    motion, whose excursions are independent of where it ends although it is self-similar, and 1
    where all that differs between fragments is the length of their steps. `self_affinity`
    compares fragments of different lengths instead.

    Args:
        key: PRNG key.
        excursions: `Excursions` of at least 10 fragments, from
            `transverse_excursions`.
        num_resamples: replicates for the error, at least 2.

    Returns:
        `ExcursionSlope`; NaN if a fragment is closed or straight, and without meaning, as
        its error tells, where all are equally long.

    Raises:
        InputError: fewer than 10 fragments, fields of the excursions that do not fit, or fewer than
            2 replicates.
    """
    num_resamples = integer("num_resamples", num_resamples, 2)
    with own_precision("squared_end_to_end", excursions.squared_end_to_end) as ends:
        heights = jnp.asarray(
            real_array("squared_excursion", excursions.squared_excursion), ends.dtype
        )
        if ends.ndim != 1 or heights.shape != ends.shape or len(ends) < NUM_BLOCKS:
            raise InputError(
                f"squared_end_to_end and squared_excursion have shapes {ends.shape} and "
                f"{heights.shape}; expected (N,) both, of N >= {NUM_BLOCKS} fragments"
            )
        known = jnp.all((ends != 0) & (heights != 0))
        ends, heights = (jnp.log(jnp.where(known, squares, 1)) for squares in (ends, heights))
        ends, heights = ends - ends.mean(), heights - heights.mean()
        moments = jnp.stack([ends, heights, ends**2, ends * heights], axis=1)
        pairs = PairAverages(None, moments, jnp.ones_like(moments))

        def slope(end, height, end_end, end_height):
            spread = end_end - end**2
            return (end_height - end * height) / jnp.where(spread == 0, 1, spread), jnp.all(
                spread != 0
            )

        found, differ = slope(*average(pairs))
        replicates, all_differ = slope(*block_bootstrap(key, pairs, num_resamples=num_resamples).T)
        known = known & differ
        return ExcursionSlope(
            where_known(known, found), where_known(known & all_differ, replicates.std(ddof=1))
        )


def self_affinity(lengths, squared_end_to_end, squared_excursion, *, replicates):
    """Whether a path looks the same at all scales, or is narrower than long the larger the scale.

    chi in <squared excursion> ~ <squared end-to-end distance>^chi across lengths of fragments, as
    the ratio of the exponents with which the two grow with the length. A self-similar path has chi
    = 1, in many dimensions and in few; chi = 1/2 is a straight motion with Brownian noise across
    it, which no magnification makes look alike (self-affine).

    The verdict is "self-similar" where chi is 1 within 2 errors or within 0.1, and "self-affine"
    where it is less. The 0.1 is for discrete steps, which miss the largest excursion by less in a
    long fragment: Brownian motion on lengths from 10 to 250 has chi 1.10 in 2 dimensions, 1.05 in
    10 and 1.02 in 100. It is "undecided" where 2 errors are above 1/4, half the way from 1 to 1/2,
    where chi is NaN, and where it is more than 1: that is no scaling but a crossover within these
    lengths, from straight to Brownian motion (1.5 on 10 to 320 steps at a persistence time of 30)
    or to confinement. Steps that bounce between the walls of a valley give even short fragments a
    width and chi a value near 0, until fragments are much wider than a step.

    Args:
        lengths: (L,) increasing, L >= 3; fragments of few steps are not yet what they look like
            from afar.
        squared_end_to_end: (..., L), and
        squared_excursion: (..., L), averages over fragments (`excursions_by_length`).
        replicates: two arrays (..., B, L), of the one and of the other, from `block_bootstrap`
            with one key.

    Returns:
        `SelfAffinity`.

    Raises:
        InputError: lengths too few or not increasing, shapes that do not fit.
    """
    try:
        of_ends, of_excursions = (host_array("replicates", curves) for curves in replicates)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"replicates is a {type(replicates).__name__} of other than two arrays; expected those "
            "of squared_end_to_end and of squared_excursion"
        ) from None
    ends, excursions = (
        host_array("squared_end_to_end", squared_end_to_end),
        host_array("squared_excursion", squared_excursion),
    )
    shapes = ends.shape, excursions.shape, of_ends.shape, of_excursions.shape
    if not (shapes[0] == shapes[1] == shapes[2][:-2] + shapes[2][-1:] and shapes[2] == shapes[3]):
        raise InputError(
            f"squared_end_to_end, squared_excursion and the two replicates have shapes {shapes}; "
            "expected (..., L) twice and (..., B, L) twice"
        )

    def exponent(ends, excursions):
        with np.errstate(divide="ignore", invalid="ignore"):  # a path that stays where it is
            return (
                fit_power_law(lengths, excursions).exponent / fit_power_law(lengths, ends).exponent
            )

    chi = exponent(ends, excursions)
    error = ensemble_average(exponent(of_ends, of_excursions), axis=-1).std
    margin = np.maximum(2 * error, DISCRETENESS)
    verdict = np.where(chi < 1 - margin, "self-affine", "self-similar")
    return SelfAffinity(
        chi, error, np.where((chi <= 1 + margin) & (2 * error <= 1 / 4), verdict, "undecided")
    )


def principal_components(step_gram, k=None):
    """Principal components of the points w_0, ..., w_T of a path.

    Eigenvectors of the doubly centred Gram matrix of the positions, -J D J / 2 with J = I - 1/(T+1)
    and D the squared distances. Those of a random walk in many dimensions explain 6 / (pi k)^2 of
    the variance, k = 1, 2, ..., and their scores are cosines (Antognini & Sohl-Dickstein, NeurIPS
    2018): large first components are no sign of structure.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        k: K in 1..T, an integer known before tracing; all T components when None.

    Returns:
        `PrincipalComponents`. Variances are known to about 1e-14 (from float32 1e-5) of the
        largest one; rounding below zero is set to zero. The largest score of each component, by
        magnitude, is positive. A path that never moves has variances 0 and ratios NaN.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; `k` is not
            an integer in 1..T.

    >>> points = principal_components([[4.0, 4.0], [4.0, 4.0]])       # -2, 0, 2 on a line
    >>> points.variances.round(6).tolist(), abs(points.scores[:, 0]).round(6).tolist()
    ([4.0, 0.0], [2.0, 0.0, 2.0])
    """
    with one_path(step_gram) as gram:
        steps = len(gram)
        components = steps if k is None else checked_integer("k", k, 1, steps, steps)
        centred = -squared_displacements(gram) / 2
        centred = centred - centred.mean(axis=0, keepdims=True)
        centred = centred - centred.mean(axis=1, keepdims=True)
        values, vectors = jnp.linalg.eigh(centred)
        values, vectors = non_negative(values[::-1][:components]), vectors[:, ::-1][:, :components]
        sign = jnp.where(vectors.max(axis=0) < -vectors.min(axis=0), -1, 1).astype(gram.dtype)
        scores = (sign * power(values, 0.5))[None] * vectors
        return PrincipalComponents(values / steps, ratio(values, jnp.trace(centred)), scores)
