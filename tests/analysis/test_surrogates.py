"""Surrogates: the same operation on the weights, all permutations, what they do to motions of known
exponent.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.analysis.processes import (
    brownian,
    fractional_brownian,
    ornstein_uhlenbeck,
    period_two_with_drift,
)
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.analysis.surrogates import (
    bridge_factor,
    drift_subtracted,
    drift_subtracted_msd,
    shuffled_msd,
    shuffled_steps,
    sign_flipped_steps,
)

KEY = jax.random.key(11)
OF_A_PATH = {
    "drift_subtracted": drift_subtracted,
    "shuffled_steps": functools.partial(shuffled_steps, KEY),
    "sign_flipped_steps": functools.partial(sign_flipped_steps, KEY),
    "drift_subtracted_msd": drift_subtracted_msd,
    "shuffled_msd": shuffled_msd,
}
of_a_path = pytest.mark.parametrize("function", OF_A_PATH.values(), ids=OF_A_PATH)


def gram_of(steps):
    steps = np.asarray(steps, dtype=np.float64)
    return steps @ steps.T


def step_gram(weights):
    return gram_of(np.diff(np.asarray(weights, dtype=np.float64), axis=0))


def random_steps(seed, steps=8, dim=4):
    return np.random.default_rng(seed).normal(0.5, 1, size=(steps, dim))


@functools.cache
def compiled(function, lags=None):
    """A function of a Gram matrix, or of a key and one, in one program in the precision of the
    matrix.
    """
    jitted = jax.jit(function if lags is None else functools.partial(function, lags=lags))

    def call(*arguments):
        with jax.enable_x64(arguments[-1].dtype == np.float64):
            return np.asarray(jitted(*arguments))

    return call


# The same on the weights

some_steps = st.builds(
    random_steps, st.integers(0, 2**31), steps=st.sampled_from([1, 2, 8]), dim=st.integers(1, 5)
)
keys = st.integers(0, 2**31).map(jax.random.key)


@given(some_steps)
@settings(deadline=None, max_examples=20)
def test_drift_subtracted(steps):
    centered = compiled(drift_subtracted)(gram_of(steps))
    np.testing.assert_allclose(centered, gram_of(steps - steps.mean(axis=0)), rtol=1e-9, atol=1e-12)
    assert np.array_equal(centered, centered.T)
    count = len(steps)
    lags = np.arange(1, count)
    expected = (
        compiled(time_averaged_msd)(gram_of(steps - steps.mean(axis=0)))[:-1]
        * (count - 1)
        / (count - lags)
    )
    msd = compiled(drift_subtracted_msd)(gram_of(steps))
    np.testing.assert_allclose(msd[:-1], expected, rtol=1e-9, atol=1e-12)
    assert np.isnan(msd[-1])


@given(some_steps, keys)
@settings(deadline=None, max_examples=20)
def test_shuffled_steps(steps, key):
    order = np.diagonal(compiled(shuffled_steps)(key, np.diag(np.arange(1.0 * len(steps))))).astype(
        int
    )
    assert sorted(order) == list(range(len(steps)))
    np.testing.assert_allclose(
        compiled(shuffled_steps)(key, gram_of(steps)), gram_of(steps[order]), rtol=1e-9, atol=1e-12
    )


@given(some_steps, keys)
@settings(deadline=None, max_examples=20)
def test_sign_flipped_steps(steps, key):
    flipped = compiled(sign_flipped_steps)
    signs = flipped(key, np.ones((len(steps),) * 2))[0]  # up to a sign of all, which cancels
    assert set(signs) <= {-1.0, 1.0}
    np.testing.assert_allclose(
        flipped(key, gram_of(steps)), gram_of(signs[:, None] * steps), rtol=1e-9, atol=1e-12
    )


# Averages over every permutation and every choice of signs


def test_average_over_all_permutations():
    gram = gram_of(random_steps(1, steps=5, dim=3))
    grams = [gram[np.ix_(order, order)] for order in itertools.permutations(range(5))]
    lags = np.arange(1, 6)
    shuffled = np.mean([compiled(time_averaged_msd)(one) for one in grams], axis=0)
    averaged, msd, centered = (
        compiled(shuffled_msd)(gram),
        compiled(time_averaged_msd),
        compiled(drift_subtracted),
    )
    np.testing.assert_allclose(averaged, shuffled, rtol=1e-12)
    np.testing.assert_allclose(averaged[0], msd(gram)[0], rtol=1e-12)
    np.testing.assert_allclose(averaged[4], msd(gram)[4], rtol=1e-12)
    variance = np.mean(np.diagonal(centered(gram)))
    bent = np.mean([msd(centered(one)) for one in grams], axis=0)
    np.testing.assert_allclose(bent, variance * lags * (5 - lags) / 4, rtol=1e-12, atol=1e-13)
    corrected = np.mean([compiled(drift_subtracted_msd)(one) for one in grams], axis=0)
    np.testing.assert_allclose(corrected, np.where(lags < 5, variance * lags, np.nan), rtol=1e-12)


def test_average_over_all_signs():
    gram = gram_of(random_steps(2, steps=5, dim=3))
    msd = compiled(time_averaged_msd)
    msds = [msd(np.outer(signs, signs) * gram) for signs in itertools.product([-1, 1], repeat=5)]
    np.testing.assert_allclose(np.mean(msds, axis=0), msd(np.diag(np.diagonal(gram))), rtol=1e-12)


def test_orders_and_signs_are_equally_likely():
    many = jax.random.split(KEY, 6000)
    orders = jax.jit(
        jax.vmap(lambda key: jnp.diagonal(shuffled_steps(key, jnp.diag(jnp.arange(3.0)))))
    )(many)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.all(
        np.abs(counts / 6000 - 1 / 6) < 4 * np.sqrt(1 / 6 * 5 / 6 / 6000)
    )  # binomial standard errors
    signs = jax.jit(jax.vmap(lambda key: sign_flipped_steps(key, jnp.ones((3, 3)))[0]))(many)
    _, counts = np.unique(signs, axis=0, return_counts=True)  # s_0 s_v: four of them
    assert len(counts) == 4
    assert np.all(np.abs(counts / 6000 - 1 / 4) < 4 * np.sqrt(1 / 4 * 3 / 4 / 6000))


# Closed forms and edges


def test_bridge_factor():
    np.testing.assert_allclose(bridge_factor(1000, [1, 500, 1000]), [1, 500 / 999, 0], rtol=1e-15)
    assert bridge_factor(1, [1]).tolist() == [0.0]
    assert bridge_factor(2, [1, 2]).tolist() == [1.0, 0.0]


def test_constant_velocity():
    gram = np.full((8, 8), 25.0)
    lags = np.arange(1, 9)
    assert not np.any(compiled(drift_subtracted)(gram))
    assert not np.any(compiled(drift_subtracted_msd, tuple(lags[:-1]))(gram))
    np.testing.assert_array_equal(compiled(shuffled_steps)(KEY, gram), gram)
    np.testing.assert_allclose(compiled(shuffled_msd)(gram), 25 * lags**2)


def test_period_two_with_drift():
    """Even T: the bounces sum to zero, so that the drift is the mean step."""
    steps, lags = 8, np.arange(1, 9)
    bounce = np.where(np.arange(steps) % 2, -1.0, 1.0)
    gram = 0.09 * np.outer(bounce, bounce) + 0.01
    np.testing.assert_allclose(compiled(drift_subtracted)(gram), gram - 0.01, rtol=1e-12)
    odd = np.where(lags % 2, 0.09, 0)[:-1]
    corrected = compiled(drift_subtracted_msd)(gram)[:-1]
    np.testing.assert_allclose(corrected, odd / bridge_factor(8, lags)[:-1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        compiled(shuffled_msd)(gram),
        0.09 * lags * bridge_factor(8, lags) + 0.01 * lags**2,
        rtol=1e-12,
    )


def test_a_single_step():
    gram = np.array([[4.0]])
    assert compiled(drift_subtracted)(gram).tolist() == [[0.0]]
    assert np.isnan(compiled(drift_subtracted_msd)(gram)).tolist() == [True]
    assert compiled(shuffled_steps)(KEY, gram).tolist() == [[4.0]]
    assert compiled(sign_flipped_steps)(KEY, gram).tolist() == [[4.0]]
    assert compiled(shuffled_msd)(gram).tolist() == [4.0]


def test_two_steps():
    gram = gram_of([[3.0, 0.0], [1.0, 0.0]])
    assert compiled(drift_subtracted)(gram).tolist() == [[1.0, -1.0], [-1.0, 1.0]]
    np.testing.assert_array_equal(compiled(drift_subtracted_msd)(gram), [1.0, np.nan])
    assert compiled(shuffled_msd)(gram).tolist() == [5.0, 16.0]


def test_a_path_that_never_moves():
    gram = np.zeros((8, 8))
    for function in (
        drift_subtracted,
        OF_A_PATH["shuffled_steps"],
        OF_A_PATH["sign_flipped_steps"],
        shuffled_msd,
    ):
        assert not np.any(compiled(function)(gram))
    np.testing.assert_array_equal(compiled(drift_subtracted_msd)(gram), [0] * 7 + [np.nan])


@pytest.mark.parametrize("function", [drift_subtracted_msd, shuffled_msd])
def test_chosen_lags(function):
    gram = gram_of(random_steps(3))
    np.testing.assert_array_equal(
        function(gram, lags=[7, 1, 8]), np.asarray(function(gram))[[6, 0, 7]]
    )
    with pytest.raises(ValueError, match=r"lags is .*integers in 1..8"):
        function(gram, lags=[9])


# What they do to known motions

STEPS, DIM = 500, 2000
LAGS = np.arange(1, STEPS + 1)
CONFINED = {
    "ornstein_uhlenbeck": functools.partial(ornstein_uhlenbeck, relaxation_time=10),
    "period_two": functools.partial(period_two_with_drift, amplitude=20.0, drift=0.0, step_std=0.3),
    "fractional_brownian": functools.partial(fractional_brownian, hurst=0.25),
}


def path_of(process):
    return process(KEY, STEPS, DIM)


def exponents(msds, x_min, x_max):
    lags = np.arange(1, msds.shape[-1] + 1)
    return fit_power_law(lags, msds, x_min=x_min, x_max=x_max).exponent


@pytest.mark.parametrize("process", CONFINED.values(), ids=CONFINED)
def test_shuffled_steps_without_drift_have_exponent_one(process):
    gram = step_gram(path_of(process))
    assert exponents(compiled(time_averaged_msd)(gram), 1, 50) < 0.8
    # The path ends near its start, and so do its shuffles: a bridge. Uncorrected, it has the slope
    # 0.978 on lags 1-50.
    lags = tuple(range(1, 51))
    bridge = bridge_factor(STEPS, lags)
    average = fit_power_law(lags, compiled(shuffled_msd, lags)(gram) / bridge).exponent
    assert (
        abs(average - 1) < 0.005
    )  # |w_T - w_0|^2 is left, which adds 1 % to the MSD at lag 50 (the bounces' walk)
    shuffles = (compiled(shuffled_steps)(key, gram) for key in jax.random.split(KEY, 8))
    msds = np.stack([compiled(time_averaged_msd, lags)(shuffle) for shuffle in shuffles])
    slopes = fit_power_law(lags, msds / bridge).exponent
    error = slopes.std(ddof=1) / np.sqrt(8)
    assert abs(slopes.mean() - average) < 4 * error
    # The TAMSD of a walk scatters by sqrt(4 lag / (3 T dim)), 0.8 % at lag 50 in 2000 dimensions,
    # which moves single slopes by about 0.003; the bounces all lie in one dimension, and move them
    # by twenty times as much.
    if process is CONFINED["period_two"]:
        assert error < 0.05
    else:
        assert np.abs(slopes - 1).max() < 0.02


def test_a_shuffle_takes_persistence_over_the_window_for_drift():
    """Fractional Brownian motion: |w_T - w_0|^2 = a T^(2 hurst) fixes b = a (T^(2 hurst - 1) -
    1)/(T - 1).
    """
    gram = step_gram(path_of(functools.partial(fractional_brownian, hurst=0.75)))
    expected = LAGS + LAGS * (LAGS - 1) * (STEPS**0.5 - 1) / (STEPS - 1)
    # A squared distance in 2000 dimensions has the relative standard error sqrt(2/2000) = 3 %.
    msd = compiled(shuffled_msd)(gram)
    np.testing.assert_allclose(msd, DIM * expected, rtol=4 * 0.032)
    assert exponents(msd, 100, 250) > 1.8  # more than the 1.5 of the motion itself


def test_brownian_motion_with_drift():
    """Drift as long as the noise in a step: the raw exponent goes to 2, the noise alone has 1."""
    process = functools.partial(brownian, steps=STEPS, dim=200, drift=200**0.5)
    grams = [
        step_gram(path)
        for path in np.asarray(jax.jit(jax.vmap(process))(jax.random.split(KEY, 16)))
    ]
    raw, shuffled, corrected = (
        np.stack([compiled(function)(gram) for gram in grams])
        for function in (time_averaged_msd, shuffled_msd, drift_subtracted_msd)
    )
    assert np.all(
        exponents(raw, 100, 250) > 1.98
    )  # 200 lag (1 + lag): slope 1 + lag/(1 + lag), at least 1.99
    assert np.all(exponents(shuffled, 100, 250) > 1.98)
    for x_min, x_max, largest_error in ((1, 50, 0.005), (50, 250, 0.03)):
        slopes = exponents(corrected, x_min, x_max)
        error = slopes.std(ddof=1) / 4
        assert error < largest_error
        # A logarithm averages low by half the relative variance of the TAMSD, 4 lag / (3 T dim) / 2
        # < 0.2 % here.
        assert abs(slopes.mean() - 1) < 4 * error + 0.002
    pulls = corrected[:, :450] / (200 * LAGS[:450]) - 1
    assert np.all(
        np.abs(pulls.mean(axis=0)) < 5 * pulls.std(axis=0, ddof=1) / 4 + 1 / STEPS
    )  # 1/T is lost: s^2


def test_drift_subtraction_bends_correlated_motion_as_documented():
    """The expected step Gram matrix gives the expected MSDs, for both are linear in it."""
    lags = np.arange(1, 1001)
    powers = np.abs(np.arange(-1.0, 1001)) ** 1.5
    covariance = np.diff(powers, 2) / 2
    persistent = covariance[np.abs(np.subtract.outer(np.arange(1000), np.arange(1000)))]
    np.testing.assert_allclose(compiled(time_averaged_msd)(persistent), lags**1.5, rtol=1e-9)
    corrected = compiled(drift_subtracted_msd)
    assert round(float(exponents(corrected(persistent), 10, 100)), 2) == 1.42
    assert round(float(exponents(corrected(persistent), 100, 500)), 2) == 1.25
    plateau = -0.5 * (np.eye(1000, k=1) + np.eye(1000, k=-1)) + np.eye(
        1000
    )  # of independent positions
    ends = (
        2 * lags / 1000 / (1001 - lags)
    )  # the first and the last pair contain an end themselves: small before lag T
    turned_up = (1 + (lags / 1000) ** 2 - ends)[:-1] / bridge_factor(1000, lags[:-1])
    np.testing.assert_allclose(corrected(plateau)[:-1], turned_up, rtol=1e-9)


# Precision and transformations


@of_a_path
def test_precision_follows_the_input(function):
    gram = gram_of(random_steps(4))
    single = gram.astype(np.float32)
    with jax.enable_x64(True):
        double = jnp.asarray(gram)
        expected = np.asarray(function(double))
        assert function(single).dtype == np.float32
    batch = jax.jit(jax.vmap(function))(double[None])
    for result in (function(gram), function(double), jax.jit(function)(double), batch[0]):
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)
    for result in (function(single), jax.jit(jax.vmap(function))(single[None])[0]):
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_single_precision_survives_a_long_drift():
    """Ten times as long as the noise: the products of float32 steps are 100 times larger than what
    is left of them.
    """
    steps = np.random.default_rng(5).normal(size=(1000, 300)) + 10 * np.random.default_rng(
        6
    ).normal(size=300)
    exact = np.asarray(drift_subtracted_msd(gram_of(steps)))[:-1]
    for function in (drift_subtracted_msd, jax.jit(drift_subtracted_msd)):
        single = np.asarray(function(gram_of(steps).astype(np.float32)))[:-1]
        assert np.abs(single / exact - 1).max() < 1e-3


@of_a_path
def test_a_diverged_member_stays_nan(function):
    grams = np.stack([gram_of(random_steps(seed)) for seed in range(3)]).astype(np.float32)
    grams[1] = np.nan
    results = np.asarray(jax.jit(jax.vmap(function))(grams))
    assert np.all(np.isnan(results[1]))
    for member in (0, 2):
        np.testing.assert_allclose(results[member], function(grams[member]), rtol=1e-5, atol=1e-5)


def test_many_surrogates_of_one_path():
    gram = gram_of(random_steps(5))
    many = jax.random.split(KEY, 3)
    for surrogate in (shuffled_steps, sign_flipped_steps):
        with jax.enable_x64(True):
            results = jax.jit(jax.vmap(surrogate, in_axes=(0, None)))(many, jnp.asarray(gram))
        np.testing.assert_array_equal(results, [surrogate(key, gram) for key in many])
        assert np.any(results[0] != results[1])


@of_a_path
def test_rejects_what_is_not_one_path(function):
    for shape in ((3, 4), (2, 3, 3), (0, 0)):
        with pytest.raises(ValueError, match=r"step_gram has shape .*jax.vmap for several paths"):
            function(np.zeros(shape))
