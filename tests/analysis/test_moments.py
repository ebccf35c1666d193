"""Moments of displacements: closed forms, SciPy's moments and NumPy's histograms, invariances,
transforms.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.analysis.moments import (
    displacement_distribution,
    displacement_moments,
    moment_scaling_spectrum,
    non_gaussian_parameter,
)

ORDERS = np.array([0.5, 1.0, 2.0, 3.0, 4.0])
ALL_ORDERS = tuple(ORDERS)
LAGS = np.arange(1, 101)
BINS = np.linspace(-3, 3, 7)


def step_gram(weights):
    steps = np.diff(np.asarray(weights, dtype=np.float64), axis=0)
    return steps @ steps.T


def random_walk(seed, steps=12, dim=5):
    return np.random.default_rng(seed).normal(size=(steps + 1, dim)).cumsum(axis=0)


def moments_of(gram):
    return displacement_moments(gram, [0.5, 3])


def parameter_of(positions):
    return non_gaussian_parameter(positions, np.arange(1, len(positions)))


def density_of(positions):
    return displacement_distribution(positions, 2, bins=BINS).density


@cache
def compiled(function, *options, **more):
    """A function of a Gram matrix or of positions, in one program in their precision."""
    jitted = jax.jit(lambda value: function(value, *options, **more))

    def call(value):
        value = np.asarray(value)
        with jax.enable_x64(value.dtype == np.float64):
            return jax.tree.map(np.asarray, jitted(value))

    return call


OF_A_PATH = [  # with what each takes of a walk
    (moments_of, step_gram),
    (parameter_of, np.asarray),
    (density_of, np.asarray),
]

# Moments of all orders


def test_moments_at_constant_velocity():
    gram = np.full((9, 9), 25.0)  # speed 5
    np.testing.assert_allclose(
        compiled(displacement_moments, ALL_ORDERS)(gram), (5 * np.arange(1, 10)) ** ORDERS[:, None]
    )


def test_moments_of_the_shortest_paths():
    assert compiled(displacement_moments, (1, 2, 3))([[4.0]]).tolist() == [[2.0], [4.0], [8.0]]
    np.testing.assert_allclose(
        compiled(displacement_moments, (1, 4))(np.diag([1.0, 4.0])), [[1.5, 5**0.5], [8.5, 25.0]]
    )
    assert not np.any(compiled(displacement_moments, ALL_ORDERS)(np.zeros((9, 9))))


def test_order_two_is_the_msd():
    gram = step_gram(random_walk(0))
    np.testing.assert_allclose(
        compiled(displacement_moments, (2,))(gram)[0], compiled(time_averaged_msd)(gram), rtol=1e-12
    )


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 7]))
@settings(deadline=None, max_examples=20)
def test_moments_against_brute_force(seed, steps):
    weights = random_walk(seed, steps=steps, dim=3)
    expected = [
        [
            np.mean(np.linalg.norm(weights[lag:] - weights[:-lag], axis=1) ** order)
            for lag in range(1, steps + 1)
        ]
        for order in ORDERS
    ]
    moments = compiled(displacement_moments, ALL_ORDERS)(step_gram(weights))
    np.testing.assert_allclose(moments, expected, rtol=1e-9)
    chosen = compiled(displacement_moments, ALL_ORDERS, lags=(steps, 1))(step_gram(weights))
    np.testing.assert_array_equal(chosen, moments[:, [steps - 1, 0]])


def test_moments_of_brownian_motion():
    paths, steps, dim = 3000, 5, 3
    moves = np.random.default_rng(2).normal(size=(paths, steps, dim))
    with jax.enable_x64(True):
        grams = moves @ moves.swapaxes(1, 2)
        moments = np.asarray(
            jax.jit(jax.vmap(lambda gram: displacement_moments(gram, ORDERS)))(grams)
        )
    variance = 2.0 * np.arange(
        1, steps + 1
    )  # |Delta| is chi-distributed with ``dim`` degrees of freedom
    ratio = special.gamma((dim + ORDERS) / 2) / special.gamma(dim / 2)
    expected = variance ** (ORDERS[:, None] / 2) * ratio[:, None]
    error = moments.std(axis=0) / np.sqrt(paths)
    assert (
        np.max(np.abs(moments.mean(axis=0) - expected) / error) < 4.5
    )  # 25 means, in their standard errors
    assert np.max(error / expected) < 0.04


# Moment scaling


def test_ordinary_scaling_is_a_straight_spectrum():
    moments = 0.3 ** ORDERS[:, None] * LAGS ** (0.6 * ORDERS[:, None])
    spectrum = moment_scaling_spectrum(ORDERS, LAGS, moments, x_min=5, x_max=50)
    np.testing.assert_allclose(spectrum.exponents, 0.6 * ORDERS, rtol=1e-10)
    np.testing.assert_allclose(spectrum.nu, 0.6, rtol=1e-10)
    assert spectrum.deviation < 1e-10
    assert np.all(spectrum.exponent_errors < 1e-7)


def test_strong_anomalous_diffusion_bends_the_spectrum():
    expected = np.where(
        ORDERS < 2, ORDERS / 2, ORDERS - 1
    )  # a diffusive bulk with ballistic flights
    spectrum = moment_scaling_spectrum(ORDERS, LAGS, LAGS ** expected[:, None])
    np.testing.assert_allclose(spectrum.exponents, expected, rtol=1e-10)
    line = stats.linregress(
        np.concatenate([ORDERS, -ORDERS]), np.concatenate([expected, -expected])
    )  # by the origin
    np.testing.assert_allclose(spectrum.nu, line.slope, rtol=1e-10)
    np.testing.assert_allclose(
        spectrum.deviation, np.sqrt(np.mean((expected - line.slope * ORDERS) ** 2)), rtol=1e-9
    )
    assert spectrum.deviation > 0.15


def test_spectrum_of_many_members():
    moments = np.exp(np.random.default_rng(0).normal(size=(2, 3, len(ORDERS), len(LAGS))))
    moments[1, 0] = np.nan
    moments[0, 2, 1, -1] = 0.0
    spectrum = moment_scaling_spectrum(ORDERS, LAGS, moments)
    alone = moment_scaling_spectrum(ORDERS, LAGS, moments[1, 2])
    assert spectrum.exponents.shape == spectrum.exponent_errors.shape == (2, 3, 5)
    for field, expected in zip(spectrum[1:], alone[1:], strict=True):
        np.testing.assert_allclose(field[1, 2], expected)
    assert (
        np.isnan(spectrum.nu).tolist()
        == np.isnan(spectrum.deviation).tolist()
        == [[False, False, True], [True, False, False]]
    )
    assert np.isnan(spectrum.exponents[0, 2]).tolist() == [False, True, False, False, False]
    assert moment_scaling_spectrum([3.0], LAGS, LAGS[None] ** 1.5).deviation < 1e-12


# Non-Gaussian parameter


def test_displacements_of_one_length():
    time = np.arange(6.0)
    positions = np.stack([3 * time, (-1.0) ** time], axis=1)  # a drift, and a jump back and forth
    parameter = compiled(parameter_of)(positions)
    np.testing.assert_allclose(parameter[:, 0], np.full(5, -2 / 3))
    np.testing.assert_allclose(parameter[:, 1], [-2 / 3, np.nan] * 2 + [-2 / 3])
    np.testing.assert_allclose(compiled(parameter_of)([[0.0], [1e-3]]), [[-2 / 3]], rtol=1e-6)


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 7]))
@settings(deadline=None, max_examples=20)
def test_non_gaussian_parameter_agrees_with_scipy(seed, steps):
    positions = random_walk(seed, steps=steps, dim=3)
    lagged = [positions[lag:] - positions[:-lag] for lag in range(1, steps + 1)]
    expected = [
        stats.moment(x, 4, center=0) / (3 * stats.moment(x, 2, center=0) ** 2) - 1 for x in lagged
    ]
    parameter = compiled(parameter_of)(positions)
    np.testing.assert_allclose(parameter, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(
        compiled(non_gaussian_parameter, lags=(steps,))(positions), parameter[-1:]
    )


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.floats(-100, 100))
@settings(deadline=None, max_examples=20)
def test_scale_translation_and_reversal(seed, scale, shift):
    positions = random_walk(seed, steps=7, dim=2)
    moved = scale * positions[::-1] + shift
    np.testing.assert_allclose(
        compiled(parameter_of)(moved), compiled(parameter_of)(positions), rtol=1e-6, atol=1e-6
    )
    edges = tuple(np.linspace(-3.01, 3, 5))
    distribution = compiled(displacement_distribution, 2, bins=edges)
    np.testing.assert_allclose(distribution(moved[::-1]).density, distribution(positions).density)


def test_gaussian_displacements():
    pairs, directions = 50, 4000
    positions = np.random.default_rng(4).normal(size=(pairs + 1, directions)).cumsum(axis=0)
    parameter = compiled(non_gaussian_parameter, lags=(1,))(positions)[0]
    # <x^2> and <x^4> / <x^2>^2 of a normal sample are independent, which gives both moments of the
    # ratio exactly.
    fourth_squared = (105 + 9 * (pairs - 1)) / pairs
    second_to_fourth = (pairs + 2) * (pairs + 4) * (pairs + 6) / pairs**3
    variance = fourth_squared / (9 * second_to_fourth) - (pairs / (pairs + 2)) ** 2
    assert abs(parameter.mean() + 2 / (pairs + 2)) < 4 * np.sqrt(variance / directions)
    # The ratio is skewed: its excess kurtosis, about 6 here, widens the error of a variance to
    # sqrt((2 + 6) / 4000).
    assert abs(parameter.var() / variance - 1) < 4 * np.sqrt(8 / directions)
    assert abs(variance / (8 / (3 * pairs)) - 1) < 0.3  # the docstring's figure for many pairs


@pytest.mark.parametrize(("name", "excess_kurtosis"), [("laplace", 3.0), ("uniform", -1.2)])
def test_independent_steps_become_gaussian_as_one_over_the_lag(name, excess_kurtosis):
    directions, lags = 40, (1, 4)
    steps = getattr(np.random.default_rng(1), name)(-1, 1, size=(1500, directions))
    if name == "laplace":
        steps += 1  # its first argument is the mean
    parameter = compiled(non_gaussian_parameter, lags)(
        np.pad(steps.cumsum(axis=0), ((1, 0), (0, 0)))
    )
    error = parameter.std(axis=1) / np.sqrt(directions)
    assert np.all(np.abs(parameter.mean(axis=1) - excess_kurtosis / 3 / np.array(lags)) < 4 * error)
    assert np.all(error < 0.05)


# Distributions


@pytest.mark.parametrize("lag", [1, 5, 40])
def test_distribution_agrees_with_numpy_histograms(lag):
    positions = random_walk(3, steps=40, dim=4)
    edges = (-2.0, -1.5, -0.1, 0.3, 0.9, 1.7)
    distribution = compiled(displacement_distribution, lag, bins=edges)(positions)
    np.testing.assert_array_equal(distribution.edges, edges)
    for x, density in zip(
        (positions[lag:] - positions[:-lag]).T, distribution.density, strict=True
    ):
        counts, _ = np.histogram(x / np.sqrt(np.mean(x**2)), edges)
        np.testing.assert_allclose(density, counts / len(x) / np.diff(edges), rtol=1e-12)


def test_gaussian_distributions_of_all_lags_collapse_on_the_normal_density():
    pairs, directions = 200, 500
    normal = np.diff(stats.norm.cdf(BINS)) / np.diff(BINS)
    for lag in (1, 7):
        # Every seventh point of the walk makes the pairs of lag 7 independent too.
        positions = (
            np.random.default_rng(lag)
            .normal(size=(pairs * lag + 1, directions))
            .cumsum(axis=0)[::lag]
        )
        density = compiled(displacement_distribution, 1, bins=tuple(BINS))(positions).density
        error = density.std(axis=0) / np.sqrt(directions)
        # Scaling by the sample's own deviation moves the mean by O(1/pairs) of the density: less
        # than 0.4 / 200.
        assert np.all(np.abs(density.mean(axis=0) - normal) < 4 * error + 0.4 / pairs)
        assert np.all(error < 0.002)


def test_fourth_moment_of_the_distribution_is_the_non_gaussian_parameter():
    positions = random_walk(5, steps=300, dim=1)
    edges = np.linspace(-5, 5, 2001)
    density = compiled(displacement_distribution, 3, bins=tuple(edges))(positions).density[0]
    fourth = np.sum(density * np.diff(edges) * ((edges[1:] + edges[:-1]) / 2) ** 4)
    np.testing.assert_allclose(
        fourth, 3 * (1 + compiled(non_gaussian_parameter, (3,))(positions)[0, 0]), rtol=2e-3
    )


# Members and directions without values, precision, transformations


def test_a_direction_without_values_does_not_touch_the_others():
    positions = random_walk(6, steps=9, dim=3)
    clean = [compiled(of_a_path)(positions) for of_a_path in (parameter_of, density_of)]
    positions[:, 1], positions[:, 2] = np.nan, 0.25  # diverged, and frozen
    parameter, density = compiled(parameter_of)(positions), compiled(density_of)(positions)
    assert np.all(np.isnan(parameter[:, 1:])) and np.all(np.isnan(density[1:]))
    np.testing.assert_array_equal(parameter[:, 0], clean[0][:, 0])
    np.testing.assert_array_equal(density[0], clean[1][0])


@pytest.mark.parametrize(("function", "of_walk"), OF_A_PATH)
@pytest.mark.parametrize("enabled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_precision_follows_the_input(function, of_walk, enabled):
    value = of_walk(random_walk(2))
    with jax.enable_x64(True):
        expected, double = np.asarray(function(value)), jnp.asarray(value)
        members = jnp.stack([double, jnp.full_like(double, jnp.nan)])
    with jax.enable_x64(enabled):
        batch = jax.jit(jax.vmap(function))(members)
        assert np.all(np.isnan(np.asarray(batch)[1]))
        for result in (
            function(value),
            function(double),
            jax.jit(function)(double),
            np.asarray(batch)[0],
        ):
            assert result.dtype == np.float64
            np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)
        single = value.astype(np.float32)
        for result in (
            function(single),
            jax.jit(function)(single),
            jax.jit(jax.vmap(function))(single[None])[0],
        ):
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("function", "of_walk"), OF_A_PATH)
def test_double_precision_inside_a_program_of_single_precision(function, of_walk):
    walks = np.stack([random_walk(seed) for seed in range(2)]).astype(np.float32)
    values = np.stack([of_walk(walk) for walk in walks]).astype(np.float32)

    def program(value):
        with jax.enable_x64(True):
            double = value.astype(jnp.float64)
        return function(double)

    for result in (jax.jit(jax.vmap(jax.jit(program)))(values), jax.lax.map(program, values)):
        assert result.dtype == np.float64
        expected = np.stack([compiled(function)(value.astype(np.float64)) for value in values])
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)


def test_small_numbers_in_single_precision():
    positions = random_walk(7).astype(np.float32)
    tiny = np.float32(2**-60) * positions  # its fourth powers are no float32 numbers
    np.testing.assert_allclose(
        compiled(parameter_of)(tiny), compiled(parameter_of)(positions), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(compiled(density_of)(tiny), compiled(density_of)(positions))


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: displacement_moments(np.zeros((3, 4)), [1]),
            r"step_gram has shape \(3, 4\).*jax.vmap",
        ),
        (
            lambda: displacement_moments(np.eye(3), [0.0, 1.0]),
            r"orders is \[0.0, 1.0\]; expected \(Q,\) positive",
        ),
        (lambda: displacement_moments(np.eye(3), 2), "orders is 2"),
        (
            lambda: displacement_moments(np.eye(3), [2], lags=[4]),
            r"lags is \[4\].*integers in 1..3",
        ),
        (
            lambda: moment_scaling_spectrum([1, 2], LAGS, LAGS),
            r"moments has shape \(100,\); expected \(..., 2, L\)",
        ),
        (
            lambda: moment_scaling_spectrum([1], LAGS, LAGS[None], x_min=99),
            "2 points .*widen the range",
        ),
        (
            lambda: non_gaussian_parameter(np.zeros(3), [1]),
            r"positions has shape \(3,\); expected \(T\+1, K\).*jax.vmap",
        ),
        (lambda: non_gaussian_parameter(np.zeros((1, 3)), [1]), r"positions has shape \(1, 3\)"),
        (
            lambda: non_gaussian_parameter(np.zeros((3, 1)), lags=[3]),
            r"lags is \[3\].*integers in 1..2",
        ),
        (
            lambda: displacement_distribution(np.zeros((3, 1)), 3, bins=BINS),
            "lag is 3; expected an integer in 1..2",
        ),
        (
            lambda: displacement_distribution(np.zeros((3, 1)), 1, bins=[0, 0, 1]),
            r"bins is \[0, 0, 1\].*increasing",
        ),
        (lambda: displacement_distribution(np.zeros((3, 1)), 1, bins=10), "bins is 10"),
        (
            lambda: displacement_distribution(np.zeros((3, 1), complex), 1, bins=BINS),
            "positions has dtype complex128",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
