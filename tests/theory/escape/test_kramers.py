"""Closed forms of escape times: known values, identities, exact passages, transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.escape import (
    effective_path,
    kramers_sgd,
    kramers_white,
    mean_first_passage_time,
    quasi_potential,
)

CONVENTIONS = ("ito", "stratonovich", "klimontovich")
positive = st.floats(0.01, 100)


@pytest.fixture(autouse=True)
def double_precision():
    """Results are compared with each other, which JAX does in the mode of 64 bits only."""
    with jax.enable_x64(True):
        yield


def sgd(minimum=2.0, saddle=-1.0, barrier=0.25, batch=1.0, rate=0.1, path=0.5, **options):
    return kramers_sgd(
        minimum, saddle, barrier, batch_size=batch, learning_rate=rate, path=path, **options
    )


def test_known_values():
    np.testing.assert_allclose(np.exp(kramers_white(2.0, -1.0, 0.25, 0.05)), 659.382, rtol=1e-6)
    for minimum, cold, expected in [(2, 10, 267.168), (2, 30, 483050.8), (4, 30, 74078.24)]:
        found = np.exp(sgd(minimum=minimum, batch=cold, rate=1.0))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_only_the_ratio_of_determinants_is_left_of_other_directions():
    minimum, saddle = np.array([2.0, 3.0, 5.0]), np.array([-1.0, 12.0, 5.0])
    found = kramers_white(minimum, saddle, 0.25, 0.05) - kramers_white(2.0, -1.0, 0.25, 0.05)
    np.testing.assert_allclose(found, np.log(2), rtol=1e-12)
    shuffled = kramers_white(minimum[::-1], saddle[[1, 2, 0]], 0.25, 0.05)
    np.testing.assert_allclose(shuffled, kramers_white(minimum, saddle, 0.25, 0.05), rtol=1e-14)


white_once = jax.jit(kramers_white)
sgd_once = jax.jit(sgd, static_argnames="convention")


@settings(max_examples=20)
@given(positive, positive, positive, positive, positive)
def test_the_family_of_sharpness(minimum, saddle, barrier, noise, k):
    """White noise escapes k times as fast, SGD as if eta were k times as large."""
    white = white_once(minimum, -saddle, barrier, noise)
    np.testing.assert_allclose(
        white_once(k * minimum, -k * saddle, barrier, noise),
        white - np.log(k),
        rtol=1e-10,
    )
    both = np.array([minimum, 1.0]), np.array([-saddle, 3.0])
    np.testing.assert_allclose(
        white_once(k * both[0], k * both[1], barrier, noise) + np.log(k),
        white_once(*both, barrier, noise),
        rtol=1e-10,
        atol=1e-10,
    )
    for convention in CONVENTIONS:
        sharp = sgd_once(k * minimum, -k * saddle, barrier, convention=convention)
        fast = sgd_once(minimum, -saddle, barrier, rate=0.1 * k, convention=convention)
        np.testing.assert_allclose(sharp, fast - np.log(k), rtol=1e-10, atol=1e-10)


@settings(max_examples=20)
@given(positive, positive, st.floats(0, 1), st.floats(1, 1e4), st.floats(1e-4, 10))
def test_sgd_is_as_cold_as_white_noise_where_both_curvatures_are_one(
    curvature, barrier, path, batch, rate
):
    noise = rate * curvature / (2 * batch)
    expected = white_once(curvature, -curvature, barrier, noise)
    for convention in CONVENTIONS:
        found = sgd_once(curvature, -curvature, barrier, batch, rate, path, convention=convention)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_conventions_differ_by_powers_of_the_ratio_of_curvatures():
    ito, stratonovich, klimontovich = (sgd(3.0, -0.5, convention=name) for name in CONVENTIONS)
    np.testing.assert_allclose(klimontovich - ito, np.log(6), rtol=1e-12)
    np.testing.assert_allclose(stratonovich - ito, np.log(6) / 2, rtol=1e-12)
    np.testing.assert_allclose(sgd(3.0, -0.5), klimontovich, rtol=0)


def force(x):
    return x**3 - x


def passage_of_two_temperatures(path, cold, convention):
    """The log time to the saddle of the double well, with the theory's noise and B / eta = cold.

    (x^2 - 1)^2 is the share of the barrier at x.
    """
    turn = np.sqrt(1 - np.sqrt(path))

    def diffusion(x):
        return jnp.where(abs(x) > turn, 2.0, 1.0) / (2 * cold)

    return np.log(mean_first_passage_time(force, diffusion, -1, 0, -3, convention=convention))


@pytest.mark.parametrize(
    ("path", "slope"),
    [(0.3, 0.425), pytest.param(0.5, 0.375, marks=pytest.mark.slow), (0.7, 0.325)],
)
def test_exponent_and_prefactors_are_those_of_exact_passages(path, slope):
    """Twice the time to the saddle; what is missing shrinks as 1 / cold."""
    cold = 320
    for convention, known in zip(CONVENTIONS, (3.153, 4.459, 6.305), strict=True):
        exact = passage_of_two_temperatures(path, cold, convention)
        closed = sgd(batch=cold, rate=1.0, path=path, convention=convention)
        np.testing.assert_allclose(np.log(2) + exact, closed, atol=1.3 / cold)
        prefactor = np.exp(np.log(2) + exact - slope * cold)
        np.testing.assert_allclose(prefactor, known, rtol=1e-3)
    half = passage_of_two_temperatures(path, cold / 2, "klimontovich")
    np.testing.assert_allclose((exact - half) / (cold / 2), slope, rtol=1e-3)
    closed -= sgd(batch=cold / 2, rate=1.0, path=path)
    np.testing.assert_allclose(closed / (cold / 2), slope, rtol=1e-12)


def test_the_effective_path_has_the_exponent_of_the_noise():
    exponent = quasi_potential(force, lambda x: 1 + x**2, -1, 0)
    path = effective_path(exponent, 2.0, -1.0, 0.25)
    np.testing.assert_allclose(exponent, 0.386294, atol=5e-7)
    np.testing.assert_allclose(path, 0.45482, atol=5e-6)
    slope = sgd(batch=7.0, rate=1.0, path=path) - sgd(batch=6.0, rate=1.0, path=path)
    np.testing.assert_allclose(slope, exponent, rtol=1e-12)
    # against the exact passage, whose slope has corrections of 1 / cold^2
    exact = [
        np.log(mean_first_passage_time(force, lambda x, cold=c: (1 + x**2) / (2 * cold), -1, 0, -3))
        for c in (80, 160)
    ]
    np.testing.assert_allclose((exact[1] - exact[0]) / 80, exponent, rtol=2e-3)


def test_a_path_of_two_temperatures_is_found_again():
    for path in (0.0, 0.3, 1.0):
        exponent = 2 * 0.25 * (path / 2 + (1 - path) / 1)
        np.testing.assert_allclose(effective_path(exponent, 2.0, -1.0, 0.25), path, atol=1e-14)


def test_barriers_of_hundreds_of_the_noise_are_finite():
    for barrier in (500.0, 1e5):
        assert barrier < kramers_white(2.0, -1.0, barrier, 1.0) < barrier + 2
        assert np.isfinite(sgd(barrier=barrier, batch=1e3, rate=1e-3))


@pytest.mark.parametrize("mode", [False, True])
def test_results_are_in_double_precision_in_both_modes(mode):
    with jax.enable_x64(mode):
        assert kramers_white(2.0, -1.0, 0.25, 0.05).dtype == np.float64
        assert sgd().dtype == effective_path(0.4, 2.0, -1.0, 0.25).dtype == np.float64
        found = jax.jit(sgd)()
    np.testing.assert_allclose(found, np.log(2 * np.pi) + 3.75, rtol=1e-14)


def test_transformations():
    minimum, saddle = np.array([2.0, 3.0]), np.array([-1.0, 4.0])
    arguments = minimum, saddle, 0.25, 0.05
    jitted = jax.jit(kramers_white)(*arguments)
    np.testing.assert_allclose(jitted, kramers_white(*arguments), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(sgd)(), sgd(), rtol=1e-12)
    noises = np.array([0.05, 0.1])
    mapped = jax.jit(jax.vmap(lambda noise: kramers_white(minimum, saddle, 0.25, noise)))(noises)
    assert mapped.shape == (2,)
    np.testing.assert_allclose(mapped[1], kramers_white(minimum, saddle, 0.25, 0.1), rtol=1e-12)
    mapped = jax.jit(jax.vmap(lambda rate: sgd(rate=rate)))(noises)
    np.testing.assert_allclose(mapped[0], sgd(rate=0.05), rtol=1e-12)
    slopes = jax.jit(jax.grad(kramers_white, (0, 1, 2, 3)))(*arguments)
    expected = -1 / (2 * minimum), [0.5, 0.125], 20, -100
    for found, value in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12)
    slopes = jax.jit(jax.grad(sgd, tuple(range(6))))(2.0, -1.0, 0.25, 1.0, 0.1, 0.5)
    np.testing.assert_allclose(slopes, [-0.625, 3.5, 15, 3.75, -37.5, -2.5], rtol=1e-12)
    slopes = jax.jit(jax.grad(effective_path, (0, 1, 2, 3)))(0.4, 2.0, -1.0, 0.25)
    assert np.isfinite(slopes).all()


def test_traced_arguments_out_of_range_give_nan():
    white = jax.jit(kramers_white)
    assert np.isfinite(white(np.array([2.0, 1.0]), np.array([-1.0, 1.0]), 0.25, 0.05))
    for wrong in [
        ([2.0, 0.0], [-1.0, 1.0], 0.25, 0.05),
        ([2.0, 1.0], [-1.0, -1.0], 0.25, 0.05),
        ([2.0, 1.0], [1.0, 1.0], 0.25, 0.05),
        ([2.0, 1.0], [-1.0, 0.0], 0.25, 0.05),
        ([2.0, 1.0], [-1.0, 1.0], -0.25, 0.05),
        ([2.0, 1.0], [-1.0, 1.0], 0.25, 0.0),
        ([2.0, np.nan], [-1.0, 1.0], 0.25, 0.05),
        ([2.0, 1.0], [-1.0, 1.0], np.inf, 0.05),
    ]:
        assert np.isnan(white(*(np.asarray(value, np.float32) for value in wrong))), wrong
    jitted, usual = jax.jit(sgd), {"minimum": 2.0, "saddle": -1.0, "barrier": 0.25}
    usual |= {"batch": 1.0, "rate": 0.1, "path": 0.5}
    assert np.isfinite(jitted(**usual))
    for wrong in [
        {"minimum": 0.0},
        {"saddle": 1.0},
        {"barrier": 0.0},
        {"batch": 0.5},
        {"rate": 0.0},
        {"path": 1.1},
    ]:
        assert np.isnan(jitted(**(usual | wrong))), wrong
    path = jax.jit(effective_path)
    assert np.isnan(path(0.4, 1.0, -1.0, 0.25)) and np.isnan(path(0.4, 2.0, 1.0, 0.25))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: kramers_white(2.0, -1.0, 0.0, 0.05), "barrier is 0.0; expected .* above 0"),
        (lambda: kramers_white(2.0, -1.0, -1.0, 0.05), "barrier is -1.0"),
        (lambda: kramers_white(2.0, -1.0, 0.25, 0.0), "diffusion is 0.0"),
        (lambda: kramers_white(2.0, 1.0, 0.25, 0.05), "has 0 eigenvalues below 0 and 0 equal"),
        (lambda: kramers_white([2.0, 1.0], [-1.0, -2.0], 0.25, 0.05), "has 2 eigenvalues below"),
        (lambda: kramers_white([2.0, 1.0], [-1.0, 0.0], 0.25, 0.05), "and 1 equal to 0"),
        (lambda: kramers_white([2.0, -1.0], [-1.0, 2.0], 0.25, 0.05), "the eigenvalue -1"),
        (lambda: kramers_white([2.0, 1.0], -1.0, 0.25, 0.05), "curvatures_saddle has shape"),
        (lambda: kramers_white(np.eye(2), -np.eye(2), 0.25, 0.05), r"expected \(n,\)"),
        (lambda: kramers_white(np.nan, -1.0, 0.25, 0.05), "not finite"),
        (lambda: sgd(minimum=-2.0), "curvature_minimum is -2.0"),
        (lambda: sgd(saddle=1.0), "curvature_saddle is 1.0"),
        (lambda: sgd(barrier=0.0), "barrier is 0.0"),
        (lambda: sgd(path=-0.1), "path is -0.1"),
        (lambda: sgd(convention="fick"), '"ito" or "stratonovich" or "klimontovich"'),
        (lambda: effective_path(0.4, 1.0, -1.0, 0.25), "all paths have the same exponent"),
        (lambda: effective_path(0.4, -1.0, -1.0, 0.25), "curvature_minimum is -1.0"),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()
