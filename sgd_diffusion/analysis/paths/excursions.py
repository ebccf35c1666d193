"""Transverse excursions of fragments of a path, and whether it is self-affine."""

import contextlib
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from sgd_diffusion._arrays import host_array, integer, integer_array, own_precision, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike, Key
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.gram import (
    by_start_and_lag,
    checked_integer,
    non_negative,
    one_path,
    upper_squared_displacements,
)
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.analysis.pairs import (
    NUM_BLOCKS,
    PairAverages,
    average,
    block_weights,
    by_lag,
    reweighted,
)
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.errors import InputError, invalid

__all__ = [
    "ExcursionSlope",
    "Excursions",
    "ExcursionsByLength",
    "SelfAffinity",
    "excursion_slope",
    "excursions_by_length",
    "self_affinity",
    "transverse_excursions",
]

DISCRETENESS = 0.1  # excess over 1 of chi of Brownian motion in two dimensions, see self_affinity


@shown_briefly
class Excursions(NamedTuple):
    """Fragments of one length, by the point at which they start.

    Attributes:
        squared_end_to_end: (T+1-length,), squared weight units.
        squared_excursion: (T+1-length,), squared weight units, the largest squared distance of a
            point from the line through the ends.
    """

    squared_end_to_end: Float[Array, "fragment"]
    squared_excursion: Float[Array, "fragment"]


@shown_briefly
class ExcursionsByLength(NamedTuple):
    """Fragments of several lengths, ready to be averaged and resampled.

    Attributes:
        squared_end_to_end: by starting point and length.
        squared_excursion: by starting point and length.
    """

    squared_end_to_end: PairAverages
    squared_excursion: PairAverages


@shown_briefly
class ExcursionSlope(NamedTuple):
    """Slope of ln squared excursion against ln squared end-to-end distance.

    Attributes:
        slope: (), over fragments of one length.
        slope_error: (), standard error, from a resampling of the window.
    """

    slope: Float[Array, ""]
    slope_error: Float[Array, ""]


@shown_briefly
class SelfAffinity(NamedTuple):
    """Whether width and length of fragments grow alike; (...) are the leading axes of the curves.

    Attributes:
        exponent: (...), chi of <squared excursion> ~ <squared end-to-end distance>^chi.
        exponent_error: (...), standard deviation over the replicates.
        verdict: (...), "self-similar", "self-affine" or "undecided".
    """

    exponent: Float[HostArray, "*paths"]
    exponent_error: Float[HostArray, "*paths"]
    verdict: Shaped[HostArray, "*paths"]


def transverse_excursions(step_gram: ArrayLike, fragment_length: IntegerLike) -> Excursions:
    r"""Return how far fragments of a path stray from the straight line between their ends.

    For the fragment from A = w_i to B = w_{i+n}, this is the largest squared distance of its points
    C from the line through A and B. That distance is |C-A|^2 - ((C-A).(B-A))^2 / |B-A|^2 with
    (C-A).(B-A) = (|C-A|^2 + |B-A|^2 - |C-B|^2) / 2 (Chen, Qu & Gong, arXiv:2009.10588, text on Fig.
    6). Their code takes 50 random fragments of 100 steps; here it is all T+1-n. A closed fragment,
    A = B, has no such line, and the distance is that from A.

    Formula:
        Transverse excursion. $S^2 = \max_C \left( \lVert C - A \rVert^2 - \frac{\langle C - A, B -
        A \rangle^2}{\lVert B - A \rVert^2} \right)$ (Chen, Qu & Gong, arXiv:2009.10588, text on
        Fig. 6)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        fragment_length: n, an integer in 1..T known before tracing; the excursion is 0 for a single
            step.

    Returns:
        `Excursions`, squared weight units, nowhere negative. The squared excursion is a difference,
        and known to about 1e-14 (from float32 1e-6) of the squared end-to-end distance.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1;
            `fragment_length` is not an integer in 1..T.

    >>> triangle = [[9.0, 0.0], [0.0, 16.0]]                  # sides 3, 4 and 5; its height is 2.4
    >>> transverse_excursions(triangle, 2).squared_excursion.tolist()
    [5.76]
    """
    with one_path(step_gram) as gram:
        length = checked_integer("fragment_length", fragment_length, 1, len(gram), len(gram))
        return _excursions(gram, length)


@functools.partial(jax.jit, static_argnums=1)
def _excursions(gram, length):
    upper = upper_squared_displacements(gram)
    fragments = len(upper) - length
    return Excursions(jnp.diagonal(upper, length), _squared_excursions(upper, length)[:fragments])


def _squared_excursions(upper, length):
    """Return squared excursions by starting point; 0 where no fragment fits.

    They follow from the squared distances between the points i < j. All shapes are independent of
    the length, so that one compiled program serves many lengths.
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
    # The chord is NaN if any step of the fragment is. Compiled for CPU, max can lose NaN.
    return where_known(~jnp.isnan(chord[:, 0]), non_negative(highest))


def excursions_by_length(step_gram: ArrayLike, lengths: ArrayLike) -> ExcursionsByLength:
    """Return end-to-end distances and transverse excursions of all fragments of several lengths.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        lengths: (L,) integers in 1..T, known before tracing; from 2 on fragments have an excursion.

    Returns:
        `ExcursionsByLength` of `pairs.PairAverages` with n = T+1 and K = L. Replicates of the two
        by `block_bootstrap` with the same key have the same weights.

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


def excursion_slope(
    key: Key, excursions: Excursions, *, num_resamples: IntegerLike = 200
) -> ExcursionSlope:
    """Return how the excursions of fragments of one length grow with their end-to-end distances.

    The slope is that of the least-squares line of ln squared excursion against ln squared
    end-to-end distance over the fragments. It is the scatter plot of Chen, Qu & Gong,
    arXiv:2009.10588, who find no relation at 100 steps and call the path self-affine. The slope
    does not support that. It is 0 for Brownian motion, whose excursions are independent of where it
    ends although it is self-similar. It is 1 where fragments differ only in the length of their
    steps. `self_affinity` compares fragments of different lengths instead.

    Args:
        key: PRNG key.
        excursions: `Excursions` of at least 10 fragments, from `transverse_excursions`.
        num_resamples: replicates for the error, at least 2.

    Returns:
        `ExcursionSlope`; NaN if a fragment is closed or straight. Where all fragments are equally
        long the slope has no meaning, as its error tells.

    Raises:
        InputError: fewer than 10 fragments, fields of the excursions that do not fit, or fewer than
            2 replicates.
    """
    num_resamples = integer("num_resamples", num_resamples, 2)
    with _ends_and_heights(excursions) as (ends, heights):
        return _slope(block_weights(key, len(ends), num_resamples=num_resamples), ends, heights)


def slope_with(weights: ArrayLike, excursions: Excursions) -> ExcursionSlope:
    """Return `excursion_slope` for weights (B, N) of the fragments in its replicates."""
    with _ends_and_heights(excursions) as (ends, heights):
        return _slope(weights, ends, heights)


@contextlib.contextmanager
def _ends_and_heights(excursions):
    """Yield the squares of enough fragments, in the precision of the first."""
    with own_precision("squared_end_to_end", excursions.squared_end_to_end) as ends:
        heights = jnp.asarray(
            real_array("squared_excursion", excursions.squared_excursion), ends.dtype
        )
        if ends.ndim != 1 or heights.shape != ends.shape or len(ends) < NUM_BLOCKS:
            raise invalid(
                "squared_end_to_end and squared_excursion",
                f"have shapes {ends.shape} and {heights.shape}",
                f"(N,) both, of N >= {NUM_BLOCKS} fragments",
            )
        yield ends, heights


@jax.jit
def _slope(weights, ends, heights):
    known = jnp.all((ends != 0) & (heights != 0))
    ends, heights = (jnp.log(jnp.where(known, squares, 1)) for squares in (ends, heights))
    ends, heights = ends - ends.mean(), heights - heights.mean()
    moments = jnp.stack([ends, heights, ends**2, ends * heights], axis=1)
    pairs = PairAverages(jnp.arange(4, dtype=ends.dtype), moments, jnp.ones_like(moments))

    def slope(end, height, end_end, end_height):
        spread = end_end - end**2
        quotient = (end_height - end * height) / jnp.where(spread == 0, 1, spread)
        return quotient, jnp.all(spread != 0)

    estimate, differ = slope(*average(pairs))
    replicates, all_differ = slope(*reweighted(weights, pairs.sums, pairs.counts).T)
    known = known & differ
    return ExcursionSlope(
        where_known(known, estimate), where_known(known & all_differ, replicates.std(ddof=1))
    )


def self_affinity(
    lengths: ArrayLike,
    squared_end_to_end: ArrayLike,
    squared_excursion: ArrayLike,
    *,
    replicates: Sequence[ArrayLike],
) -> SelfAffinity:
    r"""Return whether a path looks the same at all scales, or gets narrower the larger the scale.

    chi in <squared excursion> ~ <squared end-to-end distance>^chi across lengths of fragments is
    the ratio of the exponents with which the two grow with the length. A self-similar path has chi
    = 1, in many dimensions and in few. A straight motion with Brownian noise across it has chi =
    1/2; no magnification makes its parts look alike (self-affine).

    The verdict is "self-similar" where chi is 1 within 2 errors or within 0.1, and "self-affine"
    where it is less. The 0.1 is for discrete steps, see the notes. The verdict is "undecided" in
    three cases: where 2 errors are above 1/4, half the way from 1 to 1/2; where chi is NaN; and
    where chi is more than 1. The last is no scaling but a crossover within these lengths, from
    straight to Brownian motion or to confinement.

    Formula:
        Self-affinity, chi. $\langle S^2 \rangle \propto \langle R^2 \rangle^{\chi}$ (Chen, Qu &
        Gong, arXiv:2009.10588, transverse excursions)

    Args:
        lengths: (L,) increasing, L >= 3; fragments of few steps are not yet what they look like
            from afar.
        squared_end_to_end: (..., L), averages over fragments (`excursions_by_length`).
        squared_excursion: (..., L), averages over the same fragments.
        replicates: two arrays (..., B, L), of the one and of the other, from `block_bootstrap` with
            one key.

    Returns:
        `SelfAffinity`.

    Raises:
        InputError: lengths too few or not increasing, shapes that do not fit.

    Notes:
        Discrete steps miss the largest excursion by less in a long fragment. Brownian motion on
        lengths from 10 to 250 has chi 1.10 in 2 dimensions, 1.05 in 10 and 1.02 in 100. The
        crossover from straight to Brownian motion at a persistence time of 30 has chi 1.5 on 10 to
        320 steps. Steps that bounce between the walls of a valley give even short fragments a
        width. Then chi is near 0 until fragments are much wider than a step.
    """
    try:
        of_ends, of_excursions = (host_array("replicates", curves) for curves in replicates)
    except (TypeError, ValueError) as failure:
        if isinstance(failure, InputError):
            raise
        raise invalid(
            "replicates",
            f"is a {type(replicates).__name__} of other than two arrays",
            "those of squared_end_to_end and of squared_excursion",
        ) from None
    ends, excursions = (
        host_array("squared_end_to_end", squared_end_to_end),
        host_array("squared_excursion", squared_excursion),
    )
    shapes = ends.shape, excursions.shape, of_ends.shape, of_excursions.shape
    if not (shapes[0] == shapes[1] == shapes[2][:-2] + shapes[2][-1:] and shapes[2] == shapes[3]):
        raise invalid(
            "squared_end_to_end, squared_excursion and the two replicates",
            f"have shapes {shapes}",
            "(..., L) twice and (..., B, L) twice",
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
