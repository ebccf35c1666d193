"""Geometry of a path: closed forms, the weights themselves and scikit-learn, invariances,
transforms, verdicts.
"""

from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from sgd_diffusion.analysis.pairs import average, block_bootstrap
from sgd_diffusion.analysis.paths import (
    Excursions,
    components_of_weights,
    contour_length,
    end_to_end,
    excursion_slope,
    excursions_by_length,
    path_dimension,
    principal_components,
    self_affinity,
    transverse_excursions,
)
from sgd_diffusion.errors import InputError

KEY = jax.random.key(1)
BROWNIAN = np.eye(
    400
)  # step Gram matrix of Brownian motion in infinitely many dimensions: orthogonal steps


def step_gram(weights):
    steps = np.diff(np.asarray(weights, dtype=np.float64), axis=0)
    return steps @ steps.T


@cache
def compiled(function, **options):
    """A function of a Gram matrix, in one program in double precision."""
    jitted = jax.jit(partial(function, **options))

    def call(gram):
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, jitted(gram))

    return call


def random_walk(seed, steps=12, dim=5):
    return np.random.default_rng(seed).normal(size=(steps + 1, dim)).cumsum(axis=0)


def lattice_walk(seed, steps=12, dim=2):
    """Comes back to where it was, exactly."""
    rng = np.random.default_rng(seed)
    return np.pad(
        rng.choice([-1, 1], (steps, 1)) * np.eye(dim)[rng.integers(dim, size=steps)],
        ((1, 0), (0, 0)),
    ).cumsum(axis=0)


def brute_force_excursions(weights, length):
    """Of every fragment: squared end-to-end distance and largest squared distance from the line
    through the ends.
    """
    ends, heights = [], []
    for first, last in zip(weights[:-length], weights[length:], strict=True):
        start = len(ends)
        offsets, chord = weights[start : start + length + 1] - first, last - first
        if chord @ chord > 0:
            offsets = offsets - np.outer(offsets @ chord, chord) / (chord @ chord)
        ends.append(chord @ chord)
        heights.append((offsets**2).sum(axis=1).max())
    return np.array(ends), np.array(heights)


paths = st.builds(random_walk, st.integers(0, 2**31), steps=st.just(7), dim=st.integers(1, 4))


# Contour length and end-to-end distance


@given(paths)
@settings(deadline=None, max_examples=20)
def test_contour_length_is_the_sum_of_step_lengths(weights):
    expected = np.append(0, np.cumsum(np.linalg.norm(np.diff(weights, axis=0), axis=1)))
    np.testing.assert_allclose(compiled(contour_length)(step_gram(weights)), expected, rtol=1e-12)


@given(paths)
@settings(deadline=None, max_examples=20)
def test_end_to_end_against_the_weights(weights):
    length = np.append(0, np.cumsum(np.linalg.norm(np.diff(weights, axis=0), axis=1)))
    squares = cdist(weights, weights, "sqeuclidean")
    fragments = [(length[j] - length[i], squares[i, j]) for i in range(8) for j in range(i + 1, 8)]
    edges = (0.5, 2.0, 4.0, 7.0, 50.0)
    expected = [
        np.mean([square for contour, square in fragments if low <= contour < high] or np.nan)
        for low, high in pairwise(edges)
    ]
    np.testing.assert_allclose(
        average(compiled(end_to_end, bins=edges)(step_gram(weights))), expected, rtol=1e-9
    )


def test_straight_line_and_right_angles():
    one_lag_each = compiled(end_to_end, bins=(0.5, 1.5, 2.5, 3.5, 4.5, 5.5))  # steps of length 1
    straight = one_lag_each(np.ones((5, 5)))
    np.testing.assert_allclose(straight.x, [1, 2, 3, 4, 5], rtol=1e-14)
    np.testing.assert_allclose(average(straight), [1, 4, 9, 16, 25], rtol=1e-14)
    np.testing.assert_allclose(average(one_lag_each(np.eye(5))), [1, 2, 3, 4, 5], rtol=1e-14)


def test_published_contour_counts_the_step_before_the_fragment():
    pairs = compiled(end_to_end, bins=(0.5, 1.5, 2.5, 3.5, 4.5, 5.5), published_contour=True)(
        np.eye(5)
    )
    # Lag l is found at l + 1, but for the fragments that start at w_0.
    assert np.asarray(pairs.counts).sum(axis=0).tolist() == [1, 1 + 4, 1 + 3, 1 + 2, 1 + 1]
    np.testing.assert_allclose(
        average(pairs), [1, (2 + 4 * 1) / 5, (3 + 3 * 2) / 4, (4 + 2 * 3) / 3, (5 + 4) / 2]
    )


# Dimension of the path


def dimension_of(gram, num_blocks=10, **options):
    pairs = compiled(end_to_end, bins=tuple(np.geomspace(0.9, 404, 26)))(gram)
    replicates = block_bootstrap(KEY, pairs, num_blocks=num_blocks)
    return path_dimension(pairs.x, average(pairs), replicates=replicates, **options)


def test_dimension_of_ballistic_and_brownian_motion():
    assert (
        abs(dimension_of(np.ones((400, 400))).dimension - 1) < 1e-3
    )  # bins: mean square over squared geometric mean
    assert abs(dimension_of(BROWNIAN).dimension - 2) < 2e-3


def test_dimension_is_two_over_the_exponent_with_its_error():
    contour = np.geomspace(1, 100, 30)
    rng = np.random.default_rng(0)
    curve, replicates = contour**1.6, contour**1.6 * np.exp(rng.normal(scale=0.01, size=(100, 30)))
    result = path_dimension(contour, curve, replicates=replicates, x_min=5, x_max=60)
    assert result.error_source == "replicates"
    assert 5 <= result.x_min < 6
    assert 50 < result.x_max <= 60
    assert abs(result.dimension - 2 / 1.6) < 1e-12
    used = (contour >= 5) & (contour <= 60)
    slopes = np.array(
        [
            np.polyfit(np.log(contour[used]), np.log(replicate[used]), 1)[0]
            for replicate in replicates
        ]
    )
    assert (
        abs(result.dimension_error / (2 / slopes).std(ddof=1) - 1) < 0.01
    )  # the delta method, at 1 percent noise
    assert np.isnan(
        [result.dimension_below, result.dimension_above, result.crossover]
    ).all()  # there is no crossover


def test_dimension_on_either_side_of_a_crossover():
    """Straight at short lengths, confined to a line's length of Brownian motion at long ones:
    persistent motion.
    """
    contour = np.geomspace(0.1, 1000, 60)
    curve = 2 * (
        contour - 1 + np.exp(-contour)
    )  # worm-like chain of persistence length 1: asymptotes meet at 2
    replicates = curve * np.exp(np.random.default_rng(1).normal(scale=1e-3, size=(100, 60)))
    empty = np.arange(60) % 7 == 3
    curves = (np.where(empty, np.nan, values) for values in (contour, curve, replicates))
    contour, curve, replicates = curves
    result = path_dimension(contour, curve, replicates=replicates)
    assert abs(result.dimension_below - 1) < 0.02
    assert abs(result.dimension_above - 2) < 0.04
    assert 1.8 < result.crossover < 2.2
    assert result.crossover_low <= result.crossover <= result.crossover_high
    assert result.dimension_below < result.dimension < result.dimension_above


def test_a_path_without_fragments_has_no_dimension():
    for gram in (np.zeros((5, 5)), np.full((5, 5), np.nan)):
        pairs = compiled(end_to_end, bins=4)(gram)
        result = path_dimension(pairs.x, average(pairs))
        assert np.isnan(result[:-2]).all()
        assert result.num_points == 0


# Transverse excursions


@pytest.mark.parametrize("walk", [random_walk, lattice_walk])
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_excursions_against_the_weights(walk, seed):
    weights = walk(seed)
    gram = step_gram(weights)
    for length in (1, 4, 12):
        ends, heights = compiled(transverse_excursions, fragment_length=length)(gram)
        expected_ends, expected_heights = brute_force_excursions(weights, length)
        np.testing.assert_allclose(ends, expected_ends, rtol=1e-9)
        np.testing.assert_allclose(heights, expected_heights, rtol=1e-9, atol=1e-11)


def test_triangle_and_closed_fragment():
    two_steps = compiled(transverse_excursions, fragment_length=2)
    for gram, expected in (
        (np.diag([9.0, 16.0]), (25.0, 5.76)),  # height of the 3-4-5 triangle: 12/5
        (np.array([[4.0, -4.0], [-4.0, 4.0]]), (0.0, 4.0)),  # there and back
        (np.ones((2, 2)), (4.0, 0.0)),  # straight on
        (np.zeros((2, 2)), (0.0, 0.0)),
    ):
        assert tuple(float(field[0]) for field in two_steps(gram)) == expected
    assert np.asarray(
        compiled(transverse_excursions, fragment_length=1)(np.array([[4.0]]))
    ).tolist() == [[4.0], [0.0]]


@pytest.mark.parametrize("length", [2, 3, 50, 399])
def test_excursion_of_brownian_motion_in_many_dimensions(length):
    """A Brownian bridge of n orthogonal steps is m (n - m) / n from its chord after m of them."""
    _, heights = compiled(transverse_excursions, fragment_length=length)(BROWNIAN)
    half = length // 2
    np.testing.assert_allclose(
        heights, np.full(401 - length, half * (length - half) / length), rtol=1e-10
    )


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_excursions_by_length_are_those_of_each_length(seed):
    gram = step_gram(random_walk(seed))
    lengths = (2, 5, 12)
    by_length = compiled(excursions_by_length, lengths=lengths)(gram)
    for column, length in enumerate(lengths):
        for field, pairs in zip(
            compiled(transverse_excursions, fragment_length=length)(gram), by_length, strict=True
        ):
            np.testing.assert_allclose(
                np.asarray(pairs.sums)[: 13 - length, column], field, rtol=1e-12, atol=1e-13
            )
            assert not np.asarray(pairs.sums)[13 - length :, column].any()
            np.testing.assert_allclose(
                average(pairs)[column], np.mean(field), rtol=1e-12, atol=1e-13
            )


@pytest.mark.parametrize("kind", ["walk", "long drift"])
def test_accuracy_of_excursions(kind):
    """In double precision to 1e-6 or better, also where the chord is a thousand times longer than
    the excursion.
    """
    weights = random_walk(0, steps=300, dim=20)
    if kind == "long drift":
        weights[:, 0] += 100.0 * np.arange(301)
    for length in (20, 250):
        _, heights = compiled(transverse_excursions, fragment_length=length)(step_gram(weights))
        _, expected = brute_force_excursions(weights, length)
        error = np.abs(np.asarray(heights) / expected - 1).max()
        assert error < (1e-11 if kind == "walk" else 1e-8), f"worst relative error {error:.1e}"


# Self-affinity

LENGTHS = (10, 14, 20, 28, 40, 56, 80)


def affinity_of(gram):
    pairs = compiled(excursions_by_length, lengths=LENGTHS)(gram)
    replicates = [block_bootstrap(KEY, curve) for curve in pairs]
    return self_affinity(LENGTHS, *(average(curve) for curve in pairs), replicates=replicates)


def test_self_affinity_in_infinitely_many_dimensions():
    result = affinity_of(BROWNIAN)
    assert abs(result.exponent - 1) < 1e-9
    assert result.exponent_error < 1e-9
    assert result.verdict == "self-similar"
    result = affinity_of(BROWNIAN + 100.0)  # a drift of ten steps' length a step
    assert abs(result.exponent - 0.5) < 0.01
    assert result.verdict == "self-affine"


def test_verdicts():
    lengths = np.geomspace(10, 1000, 8)
    ends = lengths**1.5
    spread = np.random.default_rng(0).normal(size=(50, 1))

    def verdict(chi, error):
        heights = ends**chi
        replicates = (
            np.broadcast_to(ends, (50, 8)),
            heights * lengths ** (1.5 * error * spread / spread.std(ddof=1)),
        )
        result = self_affinity(lengths, ends, heights, replicates=replicates)
        np.testing.assert_allclose(
            [result.exponent, result.exponent_error], [chi, error], rtol=1e-9, atol=1e-12
        )
        return str(result.verdict)

    assert [verdict(chi, 0.01) for chi in (1.0, 0.95, 1.09, 0.89, 0.5)] == ["self-similar"] * 3 + [
        "self-affine"
    ] * 2
    assert [verdict(chi, 0.12) for chi in (0.8, 1.2, 0.7)] == ["self-similar"] * 2 + ["self-affine"]
    assert [verdict(chi, 0.13) for chi in (1.0, 0.5)] == ["undecided"] * 2
    assert [verdict(chi, 0.01) for chi in (1.11, 3.0)] == ["undecided"] * 2


def test_verdicts_of_many_members_and_one_without_a_path():
    ends = np.outer([1.0, np.nan], LENGTHS)
    replicates = [np.repeat(curves[:, None], 20, axis=1) for curves in (ends, ends**0.5)]
    result = self_affinity(LENGTHS, ends, ends**0.5, replicates=replicates)
    np.testing.assert_allclose(result.exponent, [0.5, np.nan], rtol=1e-12)
    assert result.verdict.tolist() == ["self-affine", "undecided"]


def test_self_affinity_of_a_walk_in_few_dimensions():
    walk = random_walk(3, steps=400, dim=20)
    assert affinity_of(step_gram(walk)).verdict == "self-similar"
    assert (
        affinity_of(step_gram(walk + 20.0 * np.arange(401)[:, None] * np.eye(20)[0])).verdict
        == "self-affine"
    )


def test_excursion_slope_is_the_regression_of_the_logarithms():
    fragments = compiled(transverse_excursions, fragment_length=20)(
        step_gram(random_walk(5, steps=60))
    )
    slope, error = excursion_slope(KEY, fragments)
    expected = stats.linregress(*(np.log(np.asarray(field)) for field in fragments)).slope
    np.testing.assert_allclose(slope, expected, rtol=1e-9)
    assert 0 < float(error) < 2
    lengths = np.geomspace(1, 3, 30)
    slope, error = excursion_slope(KEY, Excursions(lengths, 5 * lengths**0.7))
    np.testing.assert_allclose([slope, error], [0.7, 0], atol=1e-9)


def test_excursion_slope_does_not_tell_brownian_motion_from_a_self_affine_path():
    """Brownian bridges are independent of their ends: slope 0. Steps that only change their length:
    slope 1.
    """
    fragments = compiled(transverse_excursions, fragment_length=20)
    walks = [step_gram(random_walk(seed, steps=200, dim=10)) for seed in range(30)]
    slopes, errors = np.transpose([excursion_slope(KEY, fragments(gram)) for gram in walks])
    assert abs(slopes.mean()) < 4 * slopes.std() / np.sqrt(30)
    assert (
        0.5 < errors.mean() / slopes.std() < 1.5
    )  # a standard deviation of 30 is known to 13 percent
    assert slopes.std() < 0.5
    growing = np.linspace(1, 20, 200)
    slope, _ = excursion_slope(KEY, fragments(np.diag(growing**2)))
    assert abs(float(slope) - 1) < 0.05


# Principal components


def test_principal_components_agree_with_scikit_learn():
    weights = random_walk(1, steps=40, dim=7)
    pca = PCA().fit(weights)
    ours = compiled(principal_components, k=9)(step_gram(weights))
    for field, expected in (
        (ours.variances, pca.explained_variance_),
        (ours[1], pca.explained_variance_ratio_),
    ):
        np.testing.assert_allclose(field, np.pad(expected, (0, 2)), rtol=1e-10, atol=1e-12)
    scores = np.asarray(ours.scores)[:, :7]
    np.testing.assert_allclose(np.abs(scores), np.abs(pca.transform(weights)), atol=1e-10)
    assert np.all(np.take_along_axis(scores, np.abs(scores).argmax(axis=0)[None], axis=0) > 0)


@given(paths)
@settings(deadline=None, max_examples=20)
def test_scores_are_the_path_in_other_coordinates(weights):
    variances, ratio, scores = (
        np.asarray(field) for field in compiled(principal_components)(step_gram(weights))
    )
    np.testing.assert_allclose(
        cdist(scores, scores, "sqeuclidean"), cdist(weights, weights, "sqeuclidean"), atol=1e-9
    )
    np.testing.assert_allclose(scores.mean(axis=0), np.zeros(7), atol=1e-6)
    np.testing.assert_allclose(np.cov(scores.T), np.diag(variances), atol=1e-9)
    np.testing.assert_allclose(ratio.sum(), 1, rtol=1e-9)
    assert np.all(np.diff(variances) <= 0)
    assert np.all(variances >= 0)


@pytest.mark.parametrize(("steps", "dim"), [(9, 20), (20, 9)])
def test_components_of_weights_are_those_of_the_gram_matrix_with_directions(steps, dim):
    """With more coordinates than steps, and with fewer."""
    weights = random_walk(2, steps=steps, dim=dim)
    found = components_of_weights(weights)
    expected = compiled(principal_components, k=9)(step_gram(weights))
    for one, other in zip(found[:3], expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9 * np.abs(other).max())
    directions = np.asarray(found.directions)
    assert directions.shape == (9, dim)
    np.testing.assert_allclose(directions @ directions.T, np.eye(9), atol=1e-9)
    centered = weights - weights.mean(axis=0)
    np.testing.assert_allclose(centered @ directions.T, found.scores, atol=1e-9)
    few = jax.jit(lambda weights: components_of_weights(weights, 2))(weights)
    np.testing.assert_allclose(few.directions, directions[:2], atol=1e-5)  # given in float32


def test_components_of_weights_at_the_edges():
    still = components_of_weights(np.ones((4, 2)))
    assert still.variances.tolist() == [0, 0] and np.isnan(still[1]).all()
    line = components_of_weights([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    np.testing.assert_allclose(line.directions[0], [1, 0, 0], atol=1e-12)
    for wrong, words in (([1.0, 2.0], r"\(2,\)"), ([[1.0]], r"\(1, 1\)")):
        with pytest.raises(InputError, match=f"weights has shape {words}"):
            components_of_weights(wrong)
    with pytest.raises(InputError, match=r"k is 3; expected an integer in 1..2"):
        components_of_weights(np.ones((4, 2)), k=3)


def test_principal_components_of_brownian_motion():
    """Orthogonal unit steps: the inverse of the path graph's Laplacian, whose eigenvectors are
    cosines.
    """
    points, k = 401, np.arange(1, 401)
    variances, ratio, scores = compiled(principal_components)(BROWNIAN)
    expected = 1 / (4 * np.sin(np.pi * k / (2 * points)) ** 2)
    np.testing.assert_allclose(variances, expected / 400, rtol=1e-9)
    np.testing.assert_allclose(
        ratio[:10], 6 / (np.pi * k[:10]) ** 2, rtol=2e-3
    )  # Antognini & Sohl-Dickstein
    first = np.sqrt(2 * expected[0] / points) * np.cos(np.pi * (np.arange(points) + 0.5) / points)
    np.testing.assert_allclose(np.abs(scores[:, 0]), np.abs(first), atol=1e-9)


def test_principal_components_of_a_drift_with_noise():
    """A variance 1e8 times smaller than the largest is known to 1e-6."""
    weights = random_walk(2, steps=300, dim=6)
    weights[:, 0] += 1000.0 * np.arange(301)
    expected = PCA().fit(weights).explained_variance_
    assert expected[0] > 1e8 * expected[-1]
    variances, *_ = compiled(principal_components, k=6)(step_gram(weights))
    np.testing.assert_allclose(variances, expected, rtol=1e-6)


def test_principal_components_at_the_edges():
    one = compiled(principal_components)(np.array([[4.0]]))
    np.testing.assert_allclose(one.variances, [2.0], rtol=1e-14)
    np.testing.assert_allclose(np.abs(one.scores), [[1.0], [1.0]], rtol=1e-14)
    still = compiled(principal_components, k=2)(np.zeros((3, 3)))
    assert not np.any(still.variances)
    assert not np.any(still.scores)
    assert np.all(np.isnan(still.explained_variance_ratio))


# Precision, transformations, NaN


def statistics(gram):
    return (
        contour_length(gram),
        end_to_end(gram, bins=4),
        transverse_excursions(gram, 3),
        average(excursions_by_length(gram, [2, 5])[1]),
        principal_components(gram, k=2),
    )


def with_slope(gram):
    return statistics(gram), excursion_slope(KEY, transverse_excursions(gram, 3))


def test_precision_transformations_and_a_diverged_member():
    gram = step_gram(random_walk(2))
    with jax.enable_x64(True):
        double = jnp.stack([jnp.asarray(gram), jnp.full((12, 12), jnp.nan)])
        expected = jax.tree.leaves(with_slope(double[0]))
    batch = jax.tree.leaves(
        jax.jit(jax.vmap(with_slope))(double)
    )  # outside 64-bit mode, in double precision all the same
    single = jax.tree.leaves(jax.eval_shape(with_slope, jax.ShapeDtypeStruct((12, 12), np.float32)))
    for field, rounded, value in zip(batch, single, expected, strict=True):
        assert rounded.dtype == np.float32
        assert field.dtype == value.dtype == np.float64
        np.testing.assert_allclose(np.asarray(field)[0], value, rtol=1e-9, atol=1e-9)
    length, *others = (np.asarray(field)[1] for field in batch)
    assert np.isnan(length).tolist() == [False] + 12 * [True]
    assert all(np.isnan(field).all() for field in others)


def test_accuracy_in_single_precision():
    gram = step_gram(random_walk(2))
    rounded = jax.jit(statistics)(gram.astype(np.float32))
    for field, value in zip(
        jax.tree.leaves(rounded), jax.tree.leaves(statistics(gram)), strict=True
    ):
        np.testing.assert_allclose(field, value, rtol=1e-4, atol=1e-4)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contour_length(np.ones((2, 3))), r"step_gram has shape \(2, 3\)"),
        (lambda: end_to_end(np.eye(3), bins=0), "bins is 0; expected"),
        (
            lambda: transverse_excursions(np.eye(3), 4),
            r"fragment_length is 4; expected an integer in 1..3",
        ),
        (
            lambda: transverse_excursions(np.eye(3), 1.5),
            r"fragment_length is 1.5; expected an integer",
        ),
        (lambda: excursions_by_length(np.eye(3), [1, 4]), r"lengths is .*4.*integers in 1..3"),
        (lambda: principal_components(np.eye(3), k=4), r"k is 4; expected an integer in 1..3"),
        (
            lambda: excursion_slope(KEY, transverse_excursions(np.eye(9), 2)),
            r"of N >= 10 fragments",
        ),
        (
            lambda: path_dimension([1.0, 2.0, np.nan], [1.0, 2.0, np.nan]),
            r"2 points to fit.*widen the range",
        ),
        (
            lambda: self_affinity(
                [1, 2, 3], np.ones(4), np.ones(3), replicates=2 * [np.ones((9, 3))]
            ),
            r"shapes \(\(4,\)",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
