"""Averages over pairs: against loops over the pairs, edges of bins, and resampling against closed
forms of its variance.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.analysis.pairs import PairAverages, average, block_bootstrap, by_lag, in_bins


def step_gram(weights):
    steps = np.diff(weights, axis=0)
    return steps @ steps.T


def random_walk(seed, steps=12, dim=5):
    return np.random.default_rng(seed).normal(size=(steps + 1, dim)).cumsum(axis=0)


def random_pairs(seed, points):
    """Keys and values of pairs with NaN wherever nothing may be read."""
    unread = np.where(np.triu(np.ones((points, points)), 1) > 0, 0, np.nan)
    keys, values = np.random.default_rng(seed).uniform(0.1, 10, size=(2, points, points)) + unread
    return keys, values


def loop_over_pairs(keys, values, edges):
    """Geometric mean key, sums and counts, pair by pair."""
    points, bins = len(keys), len(edges) - 1
    logs, sums, counts = np.zeros(bins), np.zeros((points, bins)), np.zeros((points, bins))
    for i in range(points):
        for j in range(i + 1, points):
            for k in range(bins):
                if edges[k] <= keys[i, j] < edges[k + 1] or (
                    k == bins - 1 and keys[i, j] == edges[-1]
                ):
                    logs[k] += np.log(keys[i, j])
                    sums[i, k] += values[i, j]
                    counts[i, k] += 1
    with np.errstate(invalid="ignore"):
        return np.exp(logs / counts.sum(axis=0)), sums, counts


def as_numpy(pairs):
    return PairAverages(*(np.asarray(field) for field in pairs))


@cache
def compiled(function, **options):
    """A function of matrices, in one program in double precision."""
    jitted = jax.jit(partial(function, **options))

    def call(*matrices):
        with jax.enable_x64(True):
            return as_numpy(jitted(*matrices))

    return call


# Averages


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 9]))
@settings(deadline=None, max_examples=20)
def test_by_lag_averages_to_the_tamsd(seed, steps):
    gram = step_gram(random_walk(seed, steps))
    lags = np.unique([1, (steps + 1) // 2, steps])
    pairs = compiled(by_lag, lags=tuple(lags))(gram)
    np.testing.assert_allclose(average(pairs), time_averaged_msd(gram, lags), rtol=1e-12)
    assert pairs.x.tolist() == lags.tolist()
    assert pairs.counts.sum(axis=0).tolist() == (steps + 1 - lags).tolist()


@given(st.integers(0, 2**31), st.sampled_from([2, 11]))
@settings(deadline=None, max_examples=20)
def test_in_bins_is_a_loop_over_pairs(seed, points):
    keys, values = random_pairs(seed, points)
    edges = (0.5, 1.0, 2.0, 2.1, 8.0)
    pairs = compiled(in_bins, bins=edges)(keys, values)
    for field, expected in zip(pairs, loop_over_pairs(keys, values, edges), strict=True):
        np.testing.assert_allclose(field, expected, rtol=1e-12)


def test_edges_belong_to_the_bin_above_and_the_last_one_to_the_last():
    keys = np.zeros((4, 4))
    keys[np.triu_indices(4, 1)] = [1.0, 2.0, 4.0, 0.99, 4.01, 3.99]
    pairs = compiled(in_bins, bins=(1.0, 2.0, 4.0))(keys, keys)
    assert pairs.counts.tolist() == [[1, 2], [0, 0], [0, 1], [0, 0]]


@given(st.integers(0, 2**31), st.sampled_from([1, 4]))
@settings(deadline=None, max_examples=20)
def test_a_number_of_bins_takes_all_pairs_in(seed, bins):
    keys, values = random_pairs(seed, 8)
    read = keys[np.triu_indices(8, 1)]
    pairs = compiled(in_bins, bins=bins)(keys, values)
    assert pairs.counts.sum() == len(read)
    np.testing.assert_allclose(pairs.sums.sum(), values[np.triu_indices(8, 1)].sum(), rtol=1e-12)
    edges = np.geomspace(read.min(), read.max(), bins + 1)
    expected = np.histogram(
        read, edges * np.where(np.arange(bins + 1) == bins, 1 + 1e-9, 1 - 1e-9)
    )[0]
    assert pairs.counts.sum(axis=0).tolist() == expected.tolist()


def test_identical_points_do_not_count():
    keys = np.zeros((4, 4))
    keys[0, 1], keys[2, 3] = 2.0, 3.0
    in_five_bins = compiled(in_bins, bins=5)
    assert in_five_bins(keys, keys).counts.sum() == 2
    nothing = in_five_bins(np.zeros((4, 4)), np.ones((4, 4)))  # a path that never moves
    assert not nothing.counts.any()
    assert not nothing.sums.any()
    assert np.isnan(nothing.x).all()
    assert np.isnan(average(nothing)).all()


def test_keys_that_are_all_alike_fill_the_last_bin():
    pairs = compiled(in_bins, bins=2)(np.full((3, 3), 7.0), np.arange(9.0).reshape(3, 3))
    assert pairs.counts.sum(axis=0).tolist() == [0, 3]
    np.testing.assert_allclose(pairs.x, [np.nan, 7.0], rtol=1e-14)
    np.testing.assert_allclose(average(pairs), [np.nan, (1 + 2 + 5) / 3], rtol=1e-14)


# Resampling


def series(values):
    """One pair for each point, all in one bin."""
    return PairAverages(np.ones(1), values[:, None], np.ones((len(values), 1), values.dtype))


def variance_of_replicates(samples, num_blocks):
    def replicates(key, values):
        return block_bootstrap(key, series(values), num_resamples=50, num_blocks=num_blocks)

    keys = jax.random.split(jax.random.key(2), len(samples))
    return np.asarray(jax.jit(jax.vmap(replicates))(keys, samples.astype(np.float32)))[..., 0].var(
        axis=1, ddof=1
    )


@pytest.mark.parametrize("num_blocks", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_variance_over_independent_blocks_is_unbiased(num_blocks):
    """The variance of the mean of n independent numbers of variance 1 is 1/n."""
    samples = np.random.default_rng(0).normal(size=(600, 100))
    ratio = 100 * variance_of_replicates(samples, num_blocks)
    # The scatter of the ratio between samples says how well its mean is known.
    error = ratio.std() / np.sqrt(600)
    assert abs(ratio.mean() - 1) < 4 * error
    assert 4 * error < 0.16  # weights of shape 1 would make it 4/6 and 9/11


def test_variance_of_correlated_points():
    """Noise averaged over 8 neighbors on a circle: block means of 20 points know most of the
    variance of the mean.
    """
    points, width, num_blocks = 100, 8, 5
    noise = np.random.default_rng(1).normal(size=(600, points))
    samples = np.mean([np.roll(noise, shift, axis=1) for shift in range(width)], axis=0)
    ratio = points * variance_of_replicates(samples, num_blocks)
    block = points // num_blocks
    block_variance = (np.convolve(np.ones(block) / block, np.ones(width) / width) ** 2).sum()
    # Block means scatter about their common mean, of variance 1 / points, with (num_blocks - 1)
    # degrees of freedom.
    expected = (points * block_variance - 1) / (num_blocks - 1)
    assert 0.8 < expected < 0.9
    assert abs(ratio.mean() - expected) < 4 * ratio.std() / np.sqrt(600)


def test_replicates_scatter_about_the_average():
    pairs = compiled(by_lag, lags=(1, 5, 20))(step_gram(random_walk(3, steps=200)))
    replicates = np.asarray(block_bootstrap(jax.random.key(0), pairs))
    assert replicates.shape == (200, 3)
    error = replicates.std(axis=0)
    assert np.all(
        np.abs(replicates.mean(axis=0) - np.asarray(average(pairs))) < error
    )  # a ratio, so not unbiased
    assert np.all(error > 0)


def test_one_key_means_the_same_weights_for_all():
    values = np.random.default_rng(4).normal(size=60)
    key = jax.random.key(5)
    replicates = np.asarray(block_bootstrap(key, series(values)))
    np.testing.assert_allclose(
        block_bootstrap(key, series(3 - 2 * values)), 3 - 2 * replicates, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        block_bootstrap(key, series(np.ones(60))), np.ones((200, 1)), rtol=1e-12
    )
    single = block_bootstrap(key, series(values.astype(np.float32)))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, replicates, atol=1e-6)
    assert not np.allclose(block_bootstrap(jax.random.key(6), series(values)), replicates)


def test_a_bin_with_one_pair_has_a_replicate_in_every_draw():
    pairs = compiled(by_lag, lags=(30,))(step_gram(random_walk(6, steps=30)))
    replicates = np.asarray(block_bootstrap(jax.random.key(0), pairs))
    np.testing.assert_allclose(replicates, np.full((200, 1), average(pairs)[0]), rtol=1e-12)


# NaN, precision and transformations


def test_nan_keys_and_values():
    keys, values = random_pairs(7, 20)
    lost = np.where(np.arange(400).reshape(20, 20) == 5, np.nan, keys)
    assert all(np.isnan(field).all() for field in compiled(in_bins, bins=4)(lost, values))
    in_two_bins = compiled(in_bins, bins=(0.1, 1.0, 10.0))
    clean = in_two_bins(keys, values)
    values[0, 5] = np.nan
    one_bin = int(keys[0, 5] >= 1)
    dirty = in_two_bins(keys, values)
    assert np.flatnonzero(np.isnan(average(dirty))).tolist() == [one_bin]
    assert np.array_equal(dirty.counts, clean.counts)
    replicates = np.asarray(block_bootstrap(jax.random.key(0), dirty))
    assert np.isnan(replicates).all(axis=0).tolist() == [one_bin == 0, one_bin == 1]
    assert np.isfinite(replicates[:, 1 - one_bin]).all()


def curves(gram):
    pairs, binned = by_lag(gram, [1, 4, 12]), in_bins(abs(gram), gram, 3)
    return pairs, average(pairs), block_bootstrap(KEY, pairs), binned, average(binned)


KEY = jax.random.key(1)


def test_precision_transformations_and_a_diverged_member():
    gram = step_gram(random_walk(2))
    with jax.enable_x64(True):
        double = jnp.stack([jnp.asarray(gram), jnp.full((12, 12), jnp.nan)])
        expected = jax.tree.leaves(curves(double[0]))
    batch = jax.jit(jax.vmap(curves))(
        double
    )  # outside 64-bit mode, in double precision all the same
    single = jax.tree.leaves(jax.eval_shape(curves, jax.ShapeDtypeStruct((12, 12), np.float32)))
    for field, rounded, value in zip(jax.tree.leaves(batch), single, expected, strict=True):
        assert rounded.dtype == np.float32
        assert field.dtype == value.dtype == np.float64
        np.testing.assert_allclose(np.asarray(field)[0], value, rtol=1e-12, atol=1e-12)
    assert all(np.isnan(np.asarray(field)[1]).all() for field in jax.tree.leaves(batch[1:]))


# Errors


@pytest.mark.parametrize(
    "bins", [0, -3, 2.5, [1.0], [2.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, np.inf], [np.nan, 1.0]]
)
def test_rejects_what_are_no_bins(bins):
    with pytest.raises(ValueError, match=r"bins is .*expected .*\(K\+1,\) .*edges"):
        in_bins(np.ones((3, 3)), np.ones((3, 3)), bins)


@pytest.mark.parametrize("num_blocks", [2, 14])
def test_rejects_numbers_of_blocks(num_blocks):
    pairs = by_lag(step_gram(random_walk(0)), [1])
    with pytest.raises(
        ValueError,
        match=rf"num_blocks is {num_blocks}; expected an integer in 3..13 for the 13 points",
    ):
        block_bootstrap(jax.random.key(0), pairs, num_blocks=num_blocks)


@pytest.mark.parametrize("lags", [[0], [13], [1.5]])
def test_rejects_lags_outside_the_window(lags):
    with pytest.raises(ValueError, match=r"lags is .*integers in 1..12"):
        by_lag(step_gram(random_walk(0)), lags)
