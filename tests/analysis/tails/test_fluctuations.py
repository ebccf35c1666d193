"""Fluctuations of series: NumPy's and SciPy's moments, digits on an offset, definitions written
out, AR(1), transforms.
"""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal, stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.tails import fluctuations
from sgd_diffusion.analysis.tails.fluctuations import loss_changes
from sgd_diffusion.errors import InputError

seeds = st.integers(0, 2**31)


def series(seed=0, *, size=60):
    return np.random.default_rng(seed).normal(size=size).cumsum(axis=-1)


def variances(losses, window):
    return sliding_window_view(losses, window, axis=-1).var(axis=-1, ddof=1)


def in_one_program(function, *static):
    """The whole function compiled, in the precision of the values and with NumPy results."""
    jitted = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def call(values, *arguments, **options):
        with jax.enable_x64(np.asarray(values).dtype == np.float64):
            return jax.tree.map(np.asarray, jitted(np.asarray(values), *arguments, **options))

    return call


moving_variance = in_one_program(fluctuations.moving_variance, "window")
excess_kurtosis = in_one_program(fluctuations.excess_kurtosis, "axis", "num_blocks")
effective_sample_size = in_one_program(fluctuations.effective_sample_size, "block_size")


def short_variance(losses):
    return fluctuations.moving_variance(losses, 7)


# Changes


def test_changes():
    losses = series(size=(2, 30))
    np.testing.assert_array_equal(loss_changes(losses), abs(np.diff(losses)))
    losses[0, 10] = np.nan
    assert np.flatnonzero(np.isnan(loss_changes(losses))).tolist() == [9, 10]
    assert loss_changes([2.0, 5.0]).tolist() == [3.0]


# Moving variance


@given(seeds, st.sampled_from([(60, 7), (60, 60)]))
@settings(deadline=None, max_examples=20)
def test_moving_variance_against_numpy(seed, sizes):
    steps, window = sizes
    losses = series(seed, size=(2, steps))
    variance = moving_variance(losses, window)
    assert variance.shape == (2, steps - window + 1)
    np.testing.assert_allclose(variance, variances(losses, window), rtol=1e-11, atol=1e-14)


def test_default_window_has_a_hundred_values():
    losses = series(size=300)
    np.testing.assert_allclose(moving_variance(losses), variances(losses, 100), rtol=1e-11)
    with pytest.raises(
        InputError, match=r"window is 100; expected an integer in 2..60 for a series of 60 points"
    ):
        moving_variance(series())


def test_an_offset_costs_no_digits():
    steps = 301  # the last block has a single value
    fluctuations = np.round(2**20 * series(size=steps)) / 2**20  # exact on the offset, too
    np.testing.assert_allclose(
        moving_variance(fluctuations + 2.0**30), variances(fluctuations, 100), rtol=1e-11
    )
    single = (np.round(2**8 * np.random.default_rng(0).normal(size=steps)) / 2**8 + 2.0**12).astype(
        np.float32
    )
    np.testing.assert_allclose(
        moving_variance(single), variances(single.astype(float), 100), rtol=1e-5
    )


def test_an_outlier_or_nan_matters_only_in_its_windows():
    losses = series(size=300)
    expected = variances(losses, 100)
    for place in (0, 99, 100, 150, 299):
        for wrong in (1e12, np.nan, np.inf):
            spoilt = losses.copy()
            spoilt[place] = wrong
            variance = np.asarray(moving_variance(spoilt))
            touched = sliding_window_view(np.arange(300) == place, 100).any(axis=1)
            np.testing.assert_allclose(variance[~touched], expected[~touched], rtol=1e-11)
            if wrong == 1e12:
                np.testing.assert_allclose(
                    variance[touched], variances(spoilt, 100)[touched], rtol=1e-11
                )
            else:
                assert np.all(np.isnan(variance[touched]))


def test_a_block_without_a_number_leaves_its_neighbors_alone():
    losses = series(size=300)
    losses[100:200] = np.nan
    variance = np.asarray(moving_variance(losses))
    assert np.flatnonzero(np.isfinite(variance)).tolist() == [0, 200]
    assert np.all(np.asarray(moving_variance(np.full(30, 0.1), 7)) == 0)


# Kurtosis


def kurtosis_without_each_block(x, num_blocks):
    blocks = np.arange(len(x)) * num_blocks // len(x)
    return np.array([stats.kurtosis(x[blocks != block]) for block in range(num_blocks)])


@given(seeds, st.sampled_from([7, 20]))
@settings(deadline=None, max_examples=20)
def test_kurtosis_written_out(seed, num_blocks):
    n = 60
    x = np.random.default_rng(seed).standard_t(3, size=n) + 100
    kurtosis = excess_kurtosis(x, num_blocks=num_blocks)
    np.testing.assert_allclose(kurtosis.value, stats.kurtosis(x), rtol=1e-9, atol=1e-9)
    without = kurtosis_without_each_block(x, num_blocks)
    np.testing.assert_allclose(
        kurtosis.error, np.sqrt((num_blocks - 1) * np.var(without)), rtol=1e-7, atol=1e-9
    )
    np.testing.assert_allclose(kurtosis.gaussian_error, np.sqrt(24 / n), rtol=1e-12)
    assert kurtosis.num_points == n


def test_kurtosis_of_two_values_and_of_one_spike():
    two = excess_kurtosis(np.tile([1.0, -1.0], 30))
    np.testing.assert_allclose(two.value, -2, rtol=1e-12)
    np.testing.assert_allclose(two.error, 0, atol=1e-12)
    spike = np.zeros(60)
    spike[10] = 1e200
    alone = excess_kurtosis(spike)
    np.testing.assert_allclose(alone.value, 60 - 5 + 1 / 59, rtol=1e-9)  # the largest of 60 values
    assert np.isnan(alone.error)  # constant without its block


@given(seeds, st.floats(1e-3, 1e3), st.floats(-10, 10))
@settings(deadline=None, max_examples=20)
def test_kurtosis_does_not_know_scale_and_location(seed, scale, location):
    x = series(seed)
    first, second = excess_kurtosis(x), excess_kurtosis(location - scale * x)
    np.testing.assert_allclose(second.value, first.value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(second.error, first.error, rtol=1e-6)


def test_kurtosis_along_an_axis():
    x = np.moveaxis(series(size=(2, 3, 60)), -1, 1)
    along = excess_kurtosis(x, axis=1)
    assert along.value.shape == along.error.shape == along.gaussian_error.shape == (2, 3)
    np.testing.assert_allclose(along.value, stats.kurtosis(x, axis=1), rtol=1e-9)
    for axis in (0, 3, -4):
        with pytest.raises(
            InputError,
            match=rf"samples has shape \(2, 60, 3\); expected at least 20 values along axis {axis}",
        ):
            excess_kurtosis(x, axis=axis)


# Effective number of values


@pytest.mark.parametrize("r", [0.5, 0.9])
def test_effective_size_of_an_autoregression(r):
    repeats, steps, size = 200, 20_000, 200
    noise = np.random.default_rng(1).normal(size=(repeats, steps + 200))
    estimate = effective_sample_size(signal.lfilter([1], [1, -r], noise)[:, 200:], block_size=size)
    value = np.asarray(estimate.value)
    np.testing.assert_allclose(estimate.error, value * np.sqrt(2 / 99), rtol=1e-9)  # 100 blocks
    # m Var(block mean) / Var(x) is (1+r)/(1-r) less a share for the finite block; its inverse has a
    # bias of 2/99
    of_block = (1 + r) / (1 - r) - 2 * r * (1 - r**size) / (size * (1 - r) ** 2)
    expected = steps / of_block * (1 + 2 / 99)
    assert (
        abs(value.mean() - expected) < 4 * value.std() / np.sqrt(repeats) + 0.003 * expected
    )  # and its next order
    share = 2 * r / (1 - r**2) / size  # by which the docstring says it is too large
    np.testing.assert_allclose(
        steps / of_block, steps * (1 - r) / (1 + r) * (1 + share), rtol=1.2 * share**2
    )


@given(seeds, st.sampled_from([None, 30]))
@settings(deadline=None, max_examples=20)
def test_effective_size_written_out(seed, size):
    x = series(seed, size=60)
    m = size or 7
    blocks = x[: 60 // m * m].reshape(-1, m)
    expected = 60 * blocks.var(ddof=1) / (m * blocks.mean(axis=1).var(ddof=1))
    estimate = effective_sample_size(x + 1000, block_size=size)
    np.testing.assert_allclose(estimate.value, np.clip(expected, 1, 60), rtol=1e-8)
    assert estimate.status == (Status.OK if 1 <= expected <= 60 else Status.AT_BOUND)
    assert estimate.num_points == blocks.size


def test_effective_size_stays_within_its_bounds():
    alternating, step = np.tile([1.0, -1.0], 30), np.repeat([0.0, 1.0], 30)
    known_better = effective_sample_size(alternating, block_size=30)
    assert (float(known_better.value), known_better.status) == (60, Status.AT_BOUND)
    np.testing.assert_allclose(
        effective_sample_size(step, block_size=30).value, 60 / 59
    )  # T (K-1) / (T-1) is the least
    with pytest.raises(InputError, match=r"block_size is 31; expected an integer in 2..30"):
        effective_sample_size(step, block_size=31)


# All of them


@pytest.mark.parametrize("estimator", [excess_kurtosis, effective_sample_size])
def test_bad_series_have_no_estimate_and_leave_the_others_alone(estimator):
    values = series(size=(2, 3, 60))
    values[0, 1, 50], values[0, 2, 50], values[1, 0] = np.nan, np.inf, 0.1
    estimate = estimator(values)
    assert estimate.status.ravel().tolist()[1:4] == [
        Status.NOT_FINITE,
        Status.NOT_FINITE,
        Status.CONSTANT,
    ]
    for field in (estimate.value, estimate.error):
        assert np.isfinite(field).tolist() == [[True, False, False], [False, True, True]]
    np.testing.assert_allclose(estimate.value[0, 0], estimator(values[0, 0]).value, rtol=1e-12)


def test_series_that_are_too_short_are_refused():
    for function, name in ((loss_changes, "losses"), (moving_variance, "losses")):
        for short in (np.ones(1), 1.0):
            with pytest.raises(
                InputError, match=rf"{name} has shape \(.*\); expected \(..., T\) with T >= 2"
            ):
                function(short)
    for function in (excess_kurtosis, effective_sample_size):
        with pytest.raises(InputError, match="expected at least 20 values along axis -1"):
            function(np.ones(19))
    for number in (1, 61, 2.0):
        with pytest.raises(
            InputError, match=rf"num_blocks is {number}; expected an integer in 2..60"
        ):
            excess_kurtosis(series(), num_blocks=number)
        with pytest.raises(InputError, match=rf"window is {number}; expected an integer in 2..60"):
            moving_variance(series(), number)


@pytest.mark.parametrize("function", [loss_changes, short_variance])
def test_many_series_jit_vmap_and_precision(function):
    values = series(size=(2, 3, 60))
    together = jax.tree.leaves(function(values))
    assert together[0].dtype == np.float64
    assert all(leaf.shape[:2] == (2, 3) for leaf in together)
    for leaf, one in zip(together, jax.tree.leaves(function(values[1, 2])), strict=True):
        np.testing.assert_allclose(np.asarray(leaf)[1, 2], one, rtol=1e-12)
    with jax.enable_x64(True):
        for leaf, expected in zip(
            jax.tree.leaves(jax.jit(jax.vmap(function))(values)), together, strict=True
        ):
            assert leaf.dtype == expected.dtype
            np.testing.assert_allclose(leaf, expected, rtol=1e-9)
        single = jax.tree.leaves(jax.jit(function)(values.astype(np.float32)))
    assert single[0].dtype == np.float32
    for leaf, expected in zip(single, together, strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-3, atol=1e-4)
