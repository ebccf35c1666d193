"""Aging: two-time displacements against the weights, and collapses of known exponents, of none,
and under noise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sgd_diffusion.analysis.aging import fit_aging, two_time_displacements
from sgd_diffusion.analysis.displacement import displacement_from_start

WAITING_TIMES = np.array([1, 3, 10, 30, 100, 300])
LAGS = np.unique(np.geomspace(1, 1000, 40).round().astype(int))
TIMES = WAITING_TIMES[:, None]


def scaled_brownian(alpha):
    return (TIMES + LAGS) ** alpha - TIMES**alpha


def sub_aging(mu=0.5, amplitude=0.3):
    scaled = LAGS / TIMES**mu
    return TIMES**amplitude * scaled / (1 + scaled**0.6)


# Two-time displacements


@given(st.integers(0, 2**31), st.sampled_from([1, 7]))
@settings(deadline=None, max_examples=20)
def test_two_time_displacements_against_brute_force(seed, steps):
    weights = np.random.default_rng(seed).normal(size=(steps + 1, 3)).cumsum(axis=0)
    moves = np.diff(weights, axis=0)
    waiting_times, lags = np.arange(steps), np.arange(1, steps + 1)
    expected = [
        [
            np.sum((weights[t + lag] - weights[t]) ** 2) if t + lag <= steps else np.nan
            for lag in lags
        ]
        for t in waiting_times
    ]
    result = np.asarray(two_time_displacements(moves @ moves.T, waiting_times, lags))
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)
    last = waiting_times[-1]
    np.testing.assert_allclose(
        result[-1, :1], displacement_from_start(moves @ moves.T, waiting_time=last), rtol=1e-9
    )


@pytest.mark.parametrize("enabled", [False, True])
def test_two_time_displacements_under_transformations(enabled):
    def function(gram):
        return two_time_displacements(gram, [0, 3], [1, 2, 6])

    gram = np.cov(np.random.default_rng(0).normal(size=(6, 20)))
    with jax.enable_x64(True):
        expected, double = np.asarray(function(gram)), jnp.asarray(gram)
        members = jnp.stack([double, jnp.full_like(double, jnp.nan)])
    assert np.isnan(expected).tolist() == [[False] * 3, [False, False, True]]
    with jax.enable_x64(enabled):
        batch = np.asarray(jax.jit(jax.vmap(jax.jit(function)))(members))
        assert np.all(np.isnan(batch[1]))
        for result in (function(gram), function(double), jax.jit(function)(double), batch[0]):
            assert result.dtype == np.float64
            np.testing.assert_allclose(result, expected, rtol=1e-12)
        single = jax.vmap(function)(gram.astype(np.float32)[None])[0]
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_a_path_that_never_moves():
    found = two_time_displacements(np.zeros((7, 7)), np.arange(7), np.arange(1, 8))
    assert np.nanmin(found) == np.nanmax(found) == 0
    assert two_time_displacements([[4.0]], [0], [1]).tolist() == [[4.0]]


# Known exponents. What a polynomial of degree 7 misses of a crossover over five decades is 0.3 %
# (see `rmse`).


@pytest.mark.parametrize("alpha", [0.5, 1.5])
@pytest.mark.parametrize("window", [1000, np.inf])
def test_scaled_brownian_motion_ages_fully(alpha, window):
    fit = fit_aging(
        WAITING_TIMES, LAGS, np.where(TIMES + LAGS > window, np.nan, scaled_brownian(alpha))
    )
    np.testing.assert_allclose(
        [fit.amplitude_exponent, fit.aging_exponent], [alpha, 1.0], atol=5e-4
    )
    assert fit.rmse < 0.004
    assert fit.num_points == np.count_nonzero(TIMES + LAGS <= window)
    assert max(fit.amplitude_exponent_error, fit.aging_exponent_error) < 0.003


@pytest.mark.parametrize("mu", [-0.5, 0.5, 1.3])
def test_sub_and_super_aging(mu):
    fit = fit_aging(WAITING_TIMES, LAGS, sub_aging(mu))
    np.testing.assert_allclose([fit.amplitude_exponent, fit.aging_exponent], [0.3, mu], atol=5e-4)
    assert fit.rmse < 0.003


def test_a_stationary_process_does_not_age():
    fit = fit_aging(WAITING_TIMES, LAGS, np.broadcast_to(1 - np.exp(-LAGS / 30), (6, len(LAGS))))
    np.testing.assert_allclose([fit.amplitude_exponent, fit.aging_exponent], [0.0, 0.0], atol=1e-5)


def test_a_master_curve_within_the_family_is_found_exactly():
    log_scaled = np.log(LAGS) - 0.7 * np.log(TIMES)
    fit = fit_aging(
        WAITING_TIMES, LAGS, TIMES**-0.2 * np.exp(0.8 * log_scaled - 0.05 * log_scaled**2)
    )
    np.testing.assert_allclose([fit.amplitude_exponent, fit.aging_exponent], [-0.2, 0.7], atol=2e-5)
    assert fit.rmse < 1e-5
    assert fit.aging_exponent_error < 1e-4


def test_dividing_by_the_noise_leaves_what_it_does_not_explain():
    noise = np.array([5.0, 2.0, 4.0, 1.0, 0.5, 0.7])[:, None]  # no power of the waiting time
    assert fit_aging(WAITING_TIMES, LAGS, noise * sub_aging()).rmse > 0.1
    fit = fit_aging(WAITING_TIMES, LAGS, noise * sub_aging() / noise)
    np.testing.assert_allclose([fit.amplitude_exponent, fit.aging_exponent], [0.3, 0.5], atol=5e-4)


def test_search_agrees_with_least_squares():
    displacements = sub_aging() * np.exp(0.1 * np.random.default_rng(0).normal(size=(6, len(LAGS))))
    fit = fit_aging(WAITING_TIMES, LAGS, displacements)
    times = np.broadcast_to(np.log(TIMES), displacements.shape).ravel()
    for mu, amplitude, rmse in zip(
        fit.searched, fit.searched_amplitude_exponent, fit.searched_rmse, strict=True
    ):
        scaled = np.broadcast_to(np.log(LAGS), displacements.shape).ravel() - mu * times
        design = np.column_stack([times, np.vander((scaled - scaled.mean()) / np.ptp(scaled), 8)])
        solution, squares, _, _ = np.linalg.lstsq(design, np.log(displacements).ravel())
        if np.isnan(rmse):
            assert np.abs(mu) * np.log(10 / 3) > np.log(
                1000
            )  # neighbors at a ratio of 10/3 do not overlap
        else:
            np.testing.assert_allclose(
                [amplitude, rmse**2], [solution[0], squares[0] / times.size], rtol=1e-7
            )
    assert fit.rmse <= np.nanmin(fit.searched_rmse)


# What the curves do not determine


@pytest.mark.parametrize("slope", [0.0, 0.7])
def test_a_power_law_leaves_a_combination(slope):
    fit = fit_aging(WAITING_TIMES, LAGS, TIMES**0.3 * LAGS**slope)
    assert np.isinf(fit.aging_exponent_error) and np.isinf(fit.amplitude_exponent_error)
    np.testing.assert_allclose(
        fit.searched_amplitude_exponent - slope * fit.searched, 0.3, rtol=1e-9
    )
    assert np.all(fit.searched_rmse < 1e-9)


def test_curves_that_do_not_meet_determine_nothing():
    times = np.array([1, 1e3, 1e6])[:, None]
    fit = fit_aging(
        times[:, 0], LAGS, (times + LAGS) ** 0.5 - times**0.5
    )  # full aging puts them side by side
    assert np.all(np.isnan(fit.searched_rmse[fit.searched >= 1]))
    assert np.isinf(fit.aging_exponent_error)
    apart = fit_aging([1, 1e13, 1e26], LAGS[:10], np.ones((3, 10)) * LAGS[:10])
    assert np.isnan(apart.aging_exponent) and np.isnan(apart.aging_exponent_error)
    assert apart.num_points == 30


def brownian_paths(alpha, members, dim, seed):
    """Step Gram matrices (members, T, T) of scaled Brownian motion, T = 400."""
    std = np.sqrt(np.diff(np.arange(401.0) ** alpha))[:, None]
    steps = std * np.random.default_rng(seed).normal(size=(members, 400, dim))
    return steps @ steps.swapaxes(1, 2)


def fit_of_paths(grams):
    lags = np.unique(np.geomspace(1, 400, 20).round().astype(int))
    waiting_times = [1, 2, 5, 10, 25, 60, 150]
    displacements = np.stack([two_time_displacements(gram, waiting_times, lags) for gram in grams])
    return fit_aging(waiting_times, lags, displacements)


@pytest.mark.parametrize("alpha", [0.5, pytest.param(1.5, marks=pytest.mark.slow)])
def test_paths_of_scaled_brownian_motion(alpha):
    members = 12
    fit = fit_of_paths(brownian_paths(alpha, members, 1000, seed=1))
    assert np.all(np.isfinite(fit.aging_exponent_error))
    for estimate, truth in ((fit.amplitude_exponent, alpha), (fit.aging_exponent, 1.0)):
        # The mean of 12 members in its own standard error is Student's t with 11 degrees of
        # freedom: |t| < 4.4 at 0.1 %.
        error = estimate.std(ddof=1) / np.sqrt(members)
        assert abs(estimate.mean() - truth) < 4.4 * error
        assert error < 0.03


def test_paths_of_brownian_motion_are_a_power_law():
    fit = fit_of_paths(brownian_paths(1.0, 6, 1000, seed=2))
    assert np.all(np.isinf(fit.aging_exponent_error))


def test_errors_cover_for_independent_curves():
    members = 60
    noise = np.random.default_rng(3).normal(size=(members, 6, len(LAGS)))
    fit = fit_aging(WAITING_TIMES, LAGS, sub_aging() * np.exp(0.05 * noise))
    for estimate, error, truth in (
        (fit.amplitude_exponent, fit.amplitude_exponent_error, 0.3),
        (fit.aging_exponent, fit.aging_exponent_error, 0.5),
    ):
        assert abs(estimate.mean() - truth) < 4 * estimate.std(ddof=1) / np.sqrt(members)
        # A jackknife over 6 curves has 5 degrees of freedom: Student's t within 2 and within 1/2 of
        # its errors, and the binomial standard errors over 60 members.
        pulls = np.abs(estimate - truth) / error
        for within in (2.0, 0.5):
            share = 1 - 2 * stats.t.sf(within, df=5)
            assert abs(np.mean(pulls < within) - share) < 3 * np.sqrt(share * (1 - share) / members)


# Members, missing values, units


def test_leading_axes_and_a_diverged_member():
    displacements = sub_aging() * np.exp(
        0.1 * np.random.default_rng(1).normal(size=(2, 2, 6, len(LAGS)))
    )
    displacements[0, 1] = np.nan
    fit = fit_aging(WAITING_TIMES, LAGS, displacements)
    for field, alone in zip(fit, fit_aging(WAITING_TIMES, LAGS, displacements[1, 1]), strict=True):
        np.testing.assert_allclose(
            field if field.shape == fit.searched.shape else field[1, 1], alone
        )
    assert fit.searched_rmse.shape == (2, 2, len(fit.searched))
    assert (
        np.isnan(fit.aging_exponent).tolist()
        == np.isnan(fit.rmse).tolist()
        == [[False, True], [False, False]]
    )
    assert np.isnan(fit.aging_exponent_error[0, 1]) and np.all(np.isnan(fit.searched_rmse[0, 1]))
    assert fit.num_points.tolist() == [[6 * len(LAGS), 0], [6 * len(LAGS)] * 2]


def test_values_without_a_logarithm_are_left_out():
    displacements = sub_aging()
    kept = displacements.copy()
    kept[2], kept[:, 5] = np.nan, np.nan
    displacements[2] = 0.0  # a whole curve
    displacements[:, 5] = [np.nan, np.inf, 0.0, -1.0, 0.0, np.nan]
    for field, expected in zip(
        fit_aging(WAITING_TIMES, LAGS, displacements),
        fit_aging(WAITING_TIMES[[0, 1, 3, 4, 5]], LAGS, kept[[0, 1, 3, 4, 5]]),
        strict=True,
    ):
        np.testing.assert_array_equal(field, expected)


def test_too_few_curves_left():
    displacements = sub_aging()
    displacements[2:] = np.nan
    fit = fit_aging(WAITING_TIMES, LAGS, displacements)
    assert np.isnan(fit.aging_exponent) and np.isnan(fit.aging_exponent_error)
    assert fit.num_points == 2 * len(LAGS)


@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e6), st.floats(-1, 1), st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_units(time_unit, unit, shift, seed):
    displacements = sub_aging() * np.exp(
        0.05 * np.random.default_rng(seed).normal(size=(6, len(LAGS)))
    )
    fit = fit_aging(WAITING_TIMES, LAGS, displacements)
    other = fit_aging(
        time_unit * WAITING_TIMES, time_unit * LAGS, unit * displacements * TIMES**shift
    )
    np.testing.assert_allclose(
        other.aging_exponent, fit.aging_exponent, atol=2e-5
    )  # the search stops at 1e-5
    np.testing.assert_allclose(other.amplitude_exponent, fit.amplitude_exponent + shift, atol=2e-5)
    np.testing.assert_allclose(other.rmse, fit.rmse, rtol=1e-6)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: two_time_displacements(np.eye(3), [3], [1]),
            r"waiting_times is \[3\]; .*integers in 0..2",
        ),
        (
            lambda: two_time_displacements(np.eye(3), [0.0], [1]),
            r"waiting_times is \[0\.0\]; expected .*integers",
        ),
        (lambda: two_time_displacements(np.eye(3), [0], [4]), r"lags is \[4\].*integers in 1..3"),
        (
            lambda: two_time_displacements(np.zeros((2, 3)), [0], [1]),
            r"step_gram has shape \(2, 3\)",
        ),
        (
            lambda: fit_aging([0, 1, 2], LAGS, np.ones((3, len(LAGS)))),
            "waiting_times is .*at least 3 increasing, positive",
        ),
        (lambda: fit_aging([1, 2], LAGS, np.ones((2, len(LAGS)))), "waiting_times is .*at least 3"),
        (
            lambda: fit_aging([1, 2, 3], LAGS[:8], np.ones((3, 8))),
            "lags is .*at least 9 increasing",
        ),
        (
            lambda: fit_aging([1, 2, 3], LAGS, np.ones((len(LAGS), 3))),
            r"displacements has shape .*\(..., 3, 35\)",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
