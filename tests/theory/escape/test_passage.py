"""First passages: known values, closed forms, SciPy's quadrature, the backward equation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.escape import (
    double_well,
    kramers_white,
    mean_first_passage_time,
    quasi_potential,
)

ALPHA = {"ito": 1.0, "stratonovich": 0.5, "klimontovich": 0.0}
# A tenth of the usual points, where the number of them is not what a test is about.
FEWER = 20_001
passage_time = functools.partial(mean_first_passage_time, num_points=FEWER)


@pytest.fixture(autouse=True)
def double_precision():
    """Results are compared with each other, which JAX does in the mode of 64 bits only."""
    with jax.enable_x64(True):
        yield


def force(x):
    return x**3 - x


def curved(x):
    return 0.1 * (1 + x**2)


def white(noise, end=1.0, **options):
    return mean_first_passage_time(force, lambda x: noise, -1.0, end, -3.0, **options)


@pytest.mark.parametrize(
    ("noise", "expected", "ratio"),
    [(0.05, 729.671, 1.107), (0.025, 102108.4, 1.043), (0.0125, 2.198644e9, 1.020)],
)
def test_known_values_between_minima(noise, expected, ratio):
    found = white(noise)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    closed = np.exp(kramers_white(2.0, -1.0, 0.25, noise))
    np.testing.assert_allclose(found / closed, ratio, atol=6e-4)


def test_the_saddle_is_half_way():
    assert (
        abs(white(0.0125, end=0.0, num_points=FEWER) / white(0.0125, num_points=FEWER) - 0.5) < 1e-6
    )


def test_free_diffusion_and_a_constant_force():
    """With a reflecting wall at 0: (x1^2 - x0^2) / 2D, and x1 - x0 less what the wall gives."""
    found = mean_first_passage_time(lambda x: 0.0, lambda x: 0.25, 0.5, 2.0, 0.0)
    np.testing.assert_allclose(found, (4 - 0.25) / 0.5, rtol=1e-9)
    pull, noise = 0.7, 0.3
    found = mean_first_passage_time(lambda x: pull, lambda x: noise, 0.5, 2.0, 0.0)
    rate = pull / noise
    expected = (np.exp(rate * 2) - np.exp(rate * 0.5)) * noise / pull**2 - 1.5 / pull
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("convention", ALPHA)
def test_against_the_quadrature_of_scipy(convention):
    alpha = ALPHA[convention]

    def potential(x):  # of L' / D, exactly: (x^3 - x) / (1 + x^2) = x - 2x / (1 + x^2)
        return 10 * (x**2 / 2 - np.log(1 + x**2))

    expected, _ = scipy.integrate.dblquad(
        lambda z, y: (
            np.exp(potential(y) - potential(z)) * curved(y) ** (alpha - 1) / curved(z) ** alpha
        ),
        -0.8,
        0.6,
        -2.0,
        lambda y: y,
        epsrel=1e-9,
    )
    found = mean_first_passage_time(force, curved, -0.8, 0.6, -2.0, convention=convention)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_against_the_backward_equation():
    """D T'' - L' T' = -1 by finite differences, with T' = 0 at the wall and T = 0 at the end."""
    count = 40_001
    x, width = np.linspace(-2.0, 0.6, count, retstep=True)
    diffusion, drift = curved(x) / width**2, force(x) / (2 * width)
    bands = np.zeros((3, count))
    bands[0, 1:] = (diffusion - drift)[:-1]
    bands[1] = -2 * diffusion
    bands[2, :-1] = (diffusion + drift)[1:]
    bands[0, 1] = 2 * diffusion[0]  # the mirror image of the first point
    times = scipy.linalg.solve_banded((1, 1), bands[:, :-1], -np.ones(count - 1))
    start = x[20_000]
    found = mean_first_passage_time(force, curved, start, 0.6, -2.0)
    np.testing.assert_allclose(found, times[20_000], rtol=1e-6)


@pytest.mark.parametrize("convention", ALPHA)
def test_conventions_are_drifts_of_ito(convention):
    """The drift that is added to Ito's is (1 - alpha) D'."""

    def drifted(x):
        return force(x) - (1 - ALPHA[convention]) * 0.2 * x

    found = passage_time(force, curved, -0.8, 0.6, -2.0, convention=convention)
    expected = passage_time(drifted, curved, -0.8, 0.6, -2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@settings(max_examples=10)
@given(st.floats(-0.99, 0.99), st.sampled_from(list(ALPHA)))
def test_times_add_up_and_mirror_images_take_as_long(between, convention):
    def time(start, end):
        return passage_time(force, curved, start, end, -2.0, convention=convention)

    np.testing.assert_allclose(time(-1.0, between) + time(between, 1.0), time(-1.0, 1.0), rtol=1e-5)
    mirrored = passage_time(force, curved, 1.0, -1.0, 2.0, convention=convention)
    np.testing.assert_allclose(mirrored, time(-1.0, 1.0), rtol=1e-12)


def test_the_start_may_be_the_wall():
    at_wall = passage_time(force, curved, -2.0, 0.6, -2.0)
    near = passage_time(force, curved, -1.9999, 0.6, -2.0)
    np.testing.assert_allclose(at_wall, near, rtol=1e-4)
    assert at_wall > near


def test_a_barrier_of_500_times_the_noise():
    found = np.log(white(0.25 / 500))
    closed = kramers_white(2.0, -1.0, 0.25, 0.25 / 500)
    assert found > 500
    # the next order of Laplace's method is about 1 / 1000 here
    np.testing.assert_allclose(found, closed, atol=2e-3)
    assert np.isinf(white(0.25 / 1000))


def test_piecewise_noise_and_steep_noise_are_taken():
    def jumping(x):
        return jnp.where(x < -0.5, 1.0, 1e-3)

    def steep(x):
        return jnp.exp(-8 * x)

    for diffusion in (jumping, steep):
        assert np.isfinite(passage_time(lambda x: 0.0, diffusion, -1, 1, -2))


def test_known_quasi_potential():
    found = quasi_potential(force, lambda x: 1 + x**2, -1.0, 0.0)
    np.testing.assert_allclose(found, 2 * np.log(2) - 1, rtol=1e-9)
    np.testing.assert_allclose(quasi_potential(force, lambda x: 2.0, -1.0, 0.0), 0.25, rtol=1e-9)
    there = quasi_potential(force, curved, -1.0, 0.5)
    back = quasi_potential(force, curved, 0.5, -1.0)
    np.testing.assert_allclose(there, -back, rtol=1e-12)


def test_numpy_functions_and_derivatives_of_jax_are_taken():
    slope = jax.vmap(jax.grad(double_well))
    expected = passage_time(force, curved, -1.0, 0.0, -2.0)
    found = passage_time(slope, curved, -1.0, 0.0, -2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    grid = np.linspace(-2, 1, 1001)
    found = passage_time(force, lambda x: np.interp(x, grid, curved(grid)), -1.0, 0.0, -2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_transformations():
    def time(noise, end, start=-1.0, wall=-2.0):
        return mean_first_passage_time(
            force, lambda x: noise * (1 + x**2), start, end, wall, num_points=2001
        )

    def exponent(scale, end):
        return quasi_potential(force, lambda x: scale + x**2, -1.0, end, num_points=2001)

    np.testing.assert_allclose(jax.jit(time)(0.1, 0.3), time(0.1, 0.3), rtol=1e-12)
    mapped = jax.jit(jax.vmap(time, (0, None)))(np.array([0.1, 0.2]), 0.3)
    np.testing.assert_allclose(mapped, [time(0.1, 0.3), time(0.2, 0.3)], rtol=1e-12)
    slopes = jax.jit(jax.grad(time, (0, 1, 2, 3)))
    slope = slopes(0.1, 0.3, -1.5, -2.0)
    change = (time(0.1 + 1e-5, 0.3, -1.5) - time(0.1 - 1e-5, 0.3, -1.5)) / 2e-5
    np.testing.assert_allclose(slope[0], change, rtol=1e-6)
    assert np.isfinite(slope).all()
    assert np.isfinite(slopes(0.1, 0.3, -2.0, -2.0)[:2]).all()
    np.testing.assert_allclose(jax.jit(exponent)(1.0, 0.0), exponent(1.0, 0.0), rtol=1e-12)
    np.testing.assert_allclose(
        jax.jit(jax.grad(exponent, 1))(1.0, 0.5), 2 * -0.375 / 1.25, rtol=1e-3
    )
    for wrong in [(0.1, -1.0), (0.1, np.inf), (-0.1, 0.3), (0.0, 0.3)]:
        assert np.isnan(jax.jit(time)(*wrong)), wrong
    assert np.isnan(jax.jit(exponent)(-0.25, 0.0)) and np.isnan(jax.jit(exponent)(1.0, -1.0))


def test_results_are_in_double_precision_out_of_its_mode_too():
    with jax.enable_x64(False):
        time, exponent = white(0.05, num_points=FEWER), quasi_potential(force, curved, -1.0, 0.0)
    assert time.dtype == exponent.dtype == np.float64
    np.testing.assert_allclose(time, white(0.05, num_points=FEWER), rtol=1e-14)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"end": -1.0}, "start is -1, for reflecting=-3 and end=-1"),
        ({"end": -2.0}, "reflecting <= start < end"),
        ({"reflecting": 0.0}, "put the reflecting wall behind the start"),
        ({"start": np.nan}, "start is nan"),
        ({"reflecting": -np.inf}, "reflecting is -inf"),
        ({"diffusion": lambda x: 0 * x}, "diffusion vanishes or is negative near -3; .* the Ito"),
        ({"diffusion": lambda x: abs(3 * x**2 - 1)}, "vanishes or is negative near -0.577"),
        ({"diffusion": lambda x: x**2 + 0 * x}, "vanishes or is negative near"),
        ({"diffusion": lambda x: 0.5 - x}, "vanishes or is negative near 0.5"),
        ({"diffusion": lambda x: x[:5]}, "map a function of one point with jax.vmap"),
        ({"diffusion": lambda x: "no"}, "diffusion has dtype"),
        ({"force": 0.5}, "force is 0.5; expected a function"),
        ({"force": lambda x: np.log(np.maximum(x, 0))}, "force"),
        ({"convention": "Ito"}, "convention is 'Ito'"),
        ({"num_points": 3}, "num_points is 3"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_is_refused(changed, expected):
    usual = {
        "force": force,
        "diffusion": curved,
        "start": -1.0,
        "end": 1.0,
        "reflecting": -3.0,
    }
    with pytest.raises(InputError, match=expected):
        mean_first_passage_time(**(usual | changed))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"end": -1.0}, "end is -1, as the start"),
        ({"noise": lambda x: abs(3 * x**2 - 1)}, "noise vanishes or is negative near -0.577"),
        ({"end": np.inf}, "end is inf"),
    ],
)
def test_what_has_no_quasi_potential(changed, expected):
    with pytest.raises(InputError, match=expected):
        quasi_potential(**({"force": force, "noise": curved, "start": -1.0, "end": 0.0} | changed))
