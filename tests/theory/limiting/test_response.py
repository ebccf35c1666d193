"""Responses against powers of the matrix of a step, in many digits, and against exp."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion._arrays import in_double
from sgd_diffusion.theory.limiting.response import after_steps, later, of_steps, of_time

STEPS = np.array([0, 1, 2, 3, 10, 100, 1234, 10**5])
MOMENTA = (0.0, 0.5, 0.9, 0.999)


def exact_response(curvature, momentum, steps):
    """Velocity, way and what is kept, by powers of the matrix of a step in 60 digits."""
    with mp.workdps(60):
        y, beta = mp.mpf(curvature), mp.mpf(momentum)
        # (x, last step, sum of steps) after a push of the velocity, and after a displacement
        step = mp.matrix([[1 - y, beta, 0], [-y, beta, 0], [-y, beta, 1]])
        found = []
        for count in map(int, steps):
            first = mp.matrix([1, 1, 1]) if count else mp.matrix([0, 0, 0])
            pushed = step ** max(count - 1, 0) * first
            kept = (step**count * mp.matrix([1, 0, 0]))[0]
            way = (1 - kept) / y if y else _flat_way(beta, count)
            found.append([pushed[0], way, kept])
        return np.array(found, float).T


def _flat_way(beta, count):
    return (count - beta * (1 - beta**count) / (1 - beta)) / (1 - beta)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_steps_against_many_digits(momentum):
    sharpest = 2 * (1 + momentum)
    critical = (1 - momentum**0.5) ** 2
    for curvature in (0.0, 1e-13, 1e-7, critical, 0.01, 0.5, 0.75 * sharpest):
        with in_double():
            law, one = of_steps(np.float64(curvature), momentum)
            found = after_steps(law, one, jnp.asarray(STEPS), int(STEPS.max()))
        expected = exact_response(curvature, momentum, STEPS)
        # A phase of so many steps is known to their number times rounding, of what has not decayed.
        size = np.maximum(momentum ** (STEPS / 2), abs(expected))
        wrong = abs(np.asarray(found) - expected)
        assert (wrong <= 1e-14 * (10 + STEPS) * size).all(), (curvature, wrong / size)


def test_time_against_the_exponential_of_the_matrix():
    for curvature, friction in [
        (0.0, 1.0),
        (105.3, 10.5),
        (27.70083102493075, 10.526315),
        (1e-9, 2.0),
    ]:
        times = np.array([0.0, 1e-9, 0.05, 1.0, 7.0])
        with in_double():
            _, found = of_time(curvature, friction, times)
        for time, velocity, kept in zip(times, found.velocity, found.kept, strict=True):
            expected = scipy.linalg.expm(time * np.array([[0, 1], [-curvature, -friction]]))
            np.testing.assert_allclose(kept, expected[0, 0], rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(velocity, expected[0, 1], rtol=1e-12, atol=1e-14)


@settings(max_examples=20)
@given(st.floats(0, 2.9), st.sampled_from(MOMENTA[1:3]), st.integers(0, 300), st.integers(0, 300))
def test_times_add_up(curvature, momentum, first, second):
    with in_double():
        law, one = of_steps(np.float64(curvature), momentum)
        parts = [after_steps(law, one, jnp.asarray(count), 600) for count in (first, second)]
        whole = after_steps(law, one, jnp.asarray(first + second), 600)
        together = later(law, *parts)
    for found, expected in zip(together, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_traced_numbers_of_steps():
    with in_double():
        law, one = of_steps(np.float64(0.3), 0.9)
        known = after_steps(law, one, jnp.asarray(STEPS), int(STEPS.max()))
        traced = jax.jit(lambda steps: after_steps(law, one, steps))(jnp.asarray(STEPS))
    np.testing.assert_allclose(known, traced, rtol=1e-12)
