"""Modes as oscillators: known values, regimes, the propagator against matrix exponentials."""

import jax
import numpy as np
import pytest
import scipy.linalg

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.limiting import Hyperparameters, modes, propagator

HYPER = Hyperparameters(0.01, momentum=0.9)
CRITICAL = 0.263157894736842


def known(eigenvalues, hyper):
    """Modes in NumPy, where float64 numbers need no 64-bit mode."""
    return jax.tree.map(np.asarray, modes(eigenvalues, hyper))


def test_known_modes():
    found = known([1.0, 0.1, CRITICAL], HYPER)
    np.testing.assert_allclose(found.damping, 5.263157894736841, rtol=1e-12)
    np.testing.assert_allclose(
        found.frequency[:2], [10.259783520851542, 3.244428422615251], rtol=1e-12
    )
    np.testing.assert_allclose(
        found.oscillation[:2], [8.806947647727114, 4.14421467053253], rtol=1e-12
    )
    assert found.regime.tolist() == ["under", "over", "critical"]
    period = 2 * np.pi / (found.oscillation[0] * HYPER.learning_rate)
    np.testing.assert_allclose(period, 71.34350695, rtol=1e-9)


@pytest.mark.parametrize(
    ("momentum", "damping", "oscillation", "period"),
    [
        (0.9, 5263.158, 8312.68, 75.59),
        (0.99, 502.5126, 9600.57, 65.45),
        (0.999, 50.02501, 9591.92, 65.50),
    ],
)
def test_the_top_mode_of_linear_regression_on_images(momentum, damping, oscillation, period):
    found = known(919.6143, Hyperparameters(1e-5, momentum))
    np.testing.assert_allclose(found.damping, damping, rtol=1e-6)
    np.testing.assert_allclose(found.oscillation, oscillation, rtol=1e-6)
    np.testing.assert_allclose(2 * np.pi / (1e-5 * found.oscillation), period, rtol=1e-4)


def test_known_propagators():
    found = propagator(0.05, [1.0, 0.1, CRITICAL], HYPER)
    expected = [
        [[0.8910917324748676, 0.03720101250864316], [-3.9158960535413865, 0.4995021271207293]],
        [[0.9888996215234077, 0.038706631607880924], [-0.4074382274513782, 0.5814613940720298]],
        [[0.9708890862236662, 0.03843102632968679], [-1.0645713664733176, 0.5663519669638054]],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_propagators_are_exponentials_and_times_add_up():
    eigenvalues, times = np.array([-0.2, 0.0, 1e-6, CRITICAL, 3.0]), np.array([0.0, 0.3, 2.0])
    found = propagator(times, eigenvalues, HYPER)
    assert found.shape == (3, 5, 2, 2)
    mass = HYPER.learning_rate * (1 + HYPER.momentum)
    for j, eigenvalue in enumerate(eigenvalues):
        drift = np.array([[0, 1], [-2 * eigenvalue / mass, -2 * (1 - HYPER.momentum) / mass]])
        for i, time in enumerate(times):
            np.testing.assert_allclose(
                found[i, j], scipy.linalg.expm(time * drift), rtol=1e-10, atol=1e-13
            )
    together = propagator(2.3, eigenvalues, HYPER)
    np.testing.assert_allclose(
        np.asarray(found[2]) @ np.asarray(found[1]), together, rtol=1e-11, atol=1e-14
    )


def test_modes_of_no_and_of_negative_curvature():
    found = known([0.0, -1.0], HYPER)
    assert found.frequency[0] == 0
    assert np.isnan(found.frequency[1])
    assert found.regime.tolist() == ["over", "over"]
    np.testing.assert_allclose(found.oscillation[0], found.damping)


@jax.jit
def total(h):
    return propagator(0.05, h, HYPER).sum()


slope_of_total = jax.jit(jax.grad(total))


@pytest.mark.parametrize("eigenvalue", [CRITICAL, 5 / 19, 0.0, 1.0])
def test_derivatives_are_finite_and_those_of_differences(eigenvalue):
    step = 1e-5
    with jax.enable_x64(True):
        slope = float(slope_of_total(eigenvalue))
        difference = float(total(eigenvalue + step) - total(eigenvalue - step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


def test_derivatives_of_modes_are_finite_at_critical_damping():
    with jax.enable_x64(True):
        for part in ("frequency", "oscillation"):
            for eigenvalue in (0.0, 5 / 19):
                slope = jax.grad(lambda h, part=part: getattr(modes(h, HYPER), part))(eigenvalue)
                assert np.isfinite(slope)


def test_jit_vmap_and_eager_agree():
    eigenvalues = np.array([0.0, CRITICAL, 1.0])
    eager = propagator(0.3, eigenvalues, HYPER)
    with jax.enable_x64(True):
        jitted = jax.jit(propagator)(0.3, eigenvalues, HYPER)
        mapped = jax.vmap(lambda h: propagator(0.3, h, HYPER))(eigenvalues)
        found = jax.jit(modes)(eigenvalues, HYPER)
    np.testing.assert_allclose(jitted, eager, rtol=1e-12)
    np.testing.assert_allclose(mapped, eager, rtol=1e-12)
    assert found.regime is None
    np.testing.assert_allclose(found.frequency, modes(eigenvalues, HYPER).frequency, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: modes(400.0, HYPER), "do not settle"),
        (lambda: modes([np.nan], HYPER), "finite"),
        (lambda: propagator(-1.0, 1.0, HYPER), "times >= 0"),
        (lambda: propagator(np.nan, 1.0, HYPER), "times >= 0"),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()


def test_traced_arguments_out_of_range_give_nan():
    with jax.enable_x64(True):
        found = jax.jit(lambda h: propagator(0.1, h, HYPER))(np.array([1.0, 400.0]))
        late = jax.jit(lambda t: propagator(t, 1.0, HYPER))(-1.0)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    assert np.isnan(late).all()
