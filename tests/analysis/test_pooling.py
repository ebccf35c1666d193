"""Many series as one sample: what is drawn, and units of their own.

The mixture of scales that mimics heavy tails is with the stable law, whose table it takes.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.analysis import pooling
from sgd_diffusion.errors import InputError

NUMBERED = np.arange(40.0).reshape(10, 4)  # entry (t, s) is 4 t + s


@partial(jax.jit, static_argnums=3)
def _drawn(key, samples, weights, count):
    return pooling.draw_entries(key, samples, weights, count)


def draw_entries(key, samples, weights, count):
    """The function in one program, in double precision."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _drawn(key, samples, np.asarray(weights), count))


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([1, 15, 60]),
    weights=st.lists(st.just(0) | st.floats(1e-3, 9), min_size=4, max_size=4),
)
def test_entries_are_those_of_their_times_and_shares_are_the_weights(seed, count, weights):
    weights = np.float32(weights)
    entries = draw_entries(jax.random.key(seed), NUMBERED, weights, count)
    if weights.sum() == 0:
        assert np.isnan(entries.values).all()
        return
    assert np.array_equal(
        entries.values, 4 * np.asarray(entries.times) + np.asarray(entries.series)
    )
    drawn = np.bincount(entries.series, minlength=4)
    share = count * weights / weights.sum()
    assert np.all(abs(drawn - share) < 1 + 1e-4 * count) and np.all(
        drawn[weights == 0] == 0
    )  # rounding of sums in float32
    by_time = np.bincount(entries.times, minlength=10)
    assert np.ptp(by_time) <= 1  # as equal as possible


def test_nothing_is_drawn_twice_while_there_is_something_left():
    entries = draw_entries(jax.random.key(0), NUMBERED, np.ones(4), 40)
    assert sorted(entries.values.tolist()) == NUMBERED.ravel().tolist()
    one = draw_entries(jax.random.key(1), NUMBERED, [0.0, 0.0, 1.0, 0.0], 15)
    values, counts = np.unique(one.values, return_counts=True)
    assert values.tolist() == NUMBERED[:, 2].tolist() and sorted(counts) == [1] * 5 + [2] * 5


def test_every_entry_is_drawn_with_the_probability_of_its_weight():
    draws, weights = 4000, np.array([1.0, 2.0, 3.0, 0.5])
    keys = jax.random.split(jax.random.key(0), draws)
    draw = jax.jit(
        jax.vmap(
            lambda key: pooling.draw_entries(key, jnp.asarray(NUMBERED, jnp.float32), weights, 7)
        )
    )
    entries = draw(keys)
    found = (
        np.bincount(np.asarray(entries.values, int).ravel(), minlength=40).reshape(10, 4) / draws
    )
    expected = np.broadcast_to(7 * weights / weights.sum() / 10, (10, 4))
    assert np.all(
        abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / draws)
    )  # 40 binomial counts


def test_the_order_is_random():
    """Neighbors share their series no more often than by chance: mean 1/4, its standard error
    below 0.01.
    """
    series = draw_entries(jax.random.key(0), np.zeros((1000, 4)), np.ones(4), 4000).series
    assert abs(np.mean(series[1:] == series[:-1]) - 0.25) < 0.03


def test_series_in_units_of_their_own():
    random = np.random.default_rng(0)
    samples = random.normal(size=(20_000, 3)) * [1e-6, 1.0, 50.0] + [0.0, -3.0, 7.0]
    found = pooling.standardized(samples)
    assert found.values.dtype == jnp.float64 and found.usable.all()
    values, scale, location = (
        np.asarray(field) for field in (found.values, found.scale, found.location)
    )
    # standard errors with n values: 1.17 sigma/sqrt(n) of the scale from quartiles, 1.25
    # sigma/sqrt(n) of the median
    np.testing.assert_allclose(scale, [1e-6, 1, 50], rtol=4 * 1.17 / np.sqrt(20_000))
    assert np.all(abs(location - [0, -3, 7]) < 4 * 1.25 * np.array([1e-6, 1, 50]) / np.sqrt(20_000))
    np.testing.assert_allclose(values * scale + location, samples, rtol=1e-12, atol=1e-18)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_units_of_their_own_know_neither_scale_nor_location(seed, scale, shift):
    samples = np.random.default_rng(seed).standard_t(2, size=(30, 2))
    first, second = (
        np.asarray(pooling.standardized(x).values) for x in (samples, scale * samples + shift)
    )
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-6)


def test_series_without_a_scale_are_told_and_leave_the_others_alone():
    samples = np.random.default_rng(0).normal(size=(100, 5))
    samples[:, 1] = 3.0
    samples[:80, 2] = 0.0  # more than half of it
    samples[4, 3] = np.nan
    samples[4, 4] = np.inf
    found = pooling.standardized(samples)
    assert found.usable.tolist() == [True, False, False, False, False]
    assert np.isnan(np.asarray(found.values)[:, 1:]).all()
    np.testing.assert_allclose(
        found.values[:, 0], pooling.standardized(samples[:, :1]).values[:, 0], rtol=1e-12
    )


def test_surrogates_have_the_measured_scales():
    random = np.random.default_rng(1)
    samples = random.standard_t(5, size=(20_000, 4)) * [1.0, 2.0, 30.0, 0.1] + [0.0, 1.0, 0.0, 0.0]
    squares = (samples**2).mean(axis=0)
    each = np.asarray(pooling.gaussian_surrogate(jax.random.key(0), samples))
    layers = np.asarray(
        pooling.gaussian_surrogate(jax.random.key(0), samples, ["a", "b", "b", "a"])
    )
    # a mean square of n Gaussian numbers is known to sqrt(2/n), an excess kurtosis to sqrt(24/n)
    np.testing.assert_allclose((each**2).mean(axis=0), squares, rtol=4 * np.sqrt(2 / 20_000))
    expected = np.array([squares[[0, 3]].mean(), squares[[1, 2]].mean()])[[0, 1, 1, 0]]
    np.testing.assert_allclose((layers**2).mean(axis=0), expected, rtol=4 * np.sqrt(2 / 20_000))
    kurtosis = (each**4).mean(axis=0) / (each**2).mean(axis=0) ** 2 - 3
    assert np.all(abs(kurtosis) < 4 * np.sqrt(24 / 20_000)) and np.all(
        abs(each.mean(axis=0)) < 4 * np.sqrt(squares / 20_000)
    )


def test_a_group_with_nan_is_lost_alone():
    samples = np.ones((50, 3))
    samples[3, 1] = np.nan
    found = np.asarray(pooling.gaussian_surrogate(jax.random.key(0), samples, [0, 7, 0]))
    assert np.isnan(found[:, 1]).all() and np.isfinite(found[:, [0, 2]]).all()
    assert np.asarray(pooling.gaussian_surrogate(jax.random.key(0), np.zeros((1, 2)))).tolist() == [
        [0, 0]
    ]


def test_precision_jit_and_vmap():
    samples = np.random.default_rng(0).normal(size=(3, 40, 6)).astype(np.float32)
    key, weights = jax.random.key(0), np.ones(6)
    for function in (
        lambda x: pooling.draw_entries(key, x, weights, 100).values,
        lambda x: pooling.standardized(x).values,
        lambda x: pooling.gaussian_surrogate(key, x, [0, 0, 1, 1, 2, 2]),
    ):
        one, double = (function(x) for x in (samples[0], samples[0].astype(float)))
        assert one.dtype == jnp.float32 and double.dtype == jnp.float64
        np.testing.assert_allclose(jax.jit(function)(samples[0]), one, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            jax.jit(jax.vmap(function))(samples)[0], one, rtol=1e-6, atol=1e-6
        )
    single, double = (
        pooling.draw_entries(key, x, weights, 100) for x in (samples[0], samples[0].astype(float))
    )
    assert np.array_equal(single.times, double.times) and np.array_equal(
        single.series, double.series
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: pooling.draw_entries(jax.random.key(0), NUMBERED, np.ones(3), 5),
            "weights has shape",
        ),
        (lambda: pooling.draw_entries(jax.random.key(0), NUMBERED, np.ones(4), 0), "count is 0"),
        (
            lambda: pooling.draw_entries(jax.random.key(0), NUMBERED, np.ones(4), 2.5),
            "count is 2.5",
        ),
        (lambda: pooling.standardized(np.ones(5)), "samples has shape"),
        (lambda: pooling.standardized(np.ones((0, 5))), "samples has shape"),
        (
            lambda: pooling.gaussian_surrogate(jax.random.key(0), np.ones((5, 3)), [0, 1]),
            "groups has shape",
        ),
        (lambda: pooling.standardized(np.ones((5, 3), complex)), "real numbers"),
    ],
)
def test_bad_input_says_what_is_expected(call, words):
    with pytest.raises(InputError, match=words):
        call()
