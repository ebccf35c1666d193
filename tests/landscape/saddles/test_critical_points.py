"""Minima and saddles found to rounding: losses whose critical points are known, and scipy's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from saddle_losses import gradients, muller_brown, on_host

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.saddles import critical_point
from sgd_diffusion.theory.escape import styblinski_tang

ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
SADDLES = on_host(jax.vmap(functools.partial(critical_point, muller_brown)))


def rotated_well(theta):
    """A double well along the first row of the rotation, and parabolas along the others."""
    x, y, z = jnp.asarray(ROTATION) @ theta
    return x**4 / 4 - x**2 / 2 + y**2 + 2 * z**2


SADDLE_OF_WELL = on_host(functools.partial(critical_point, rotated_well))


def test_saddle_of_a_rotated_double_well():
    found = SADDLE_OF_WELL(ROTATION.T @ [0.3, -0.2, 0.1])
    assert bool(found.converged) and int(found.index) == 1 and int(found.num_flat) == 0
    np.testing.assert_allclose(found.point, 0, atol=1e-10)
    np.testing.assert_allclose(found.eigenvalues, [-1, 2, 4], rtol=1e-12)
    np.testing.assert_allclose(abs(found.direction @ ROTATION[0]), 1, rtol=1e-12)
    assert float(found.loss) == pytest.approx(0, abs=1e-15)


def test_saddles_of_muller_and_brown_are_those_that_scipy_finds():
    """Many at a time, compiled; index 1 is sought from points that are not near."""
    starts = np.array([[-0.75, 0.55], [0.25, 0.25]])
    found = SADDLES(starts)
    assert bool(found.converged.all())
    np.testing.assert_array_equal(found.index, 1)
    for start, point in zip(starts, np.asarray(found.point), strict=True):
        root = scipy.optimize.fsolve(lambda x: gradients(x[None])[0], start, xtol=1e-12)
        np.testing.assert_allclose(point, root, atol=1e-9)
    np.testing.assert_allclose(found.loss, [-0.40665, -0.72249], atol=1e-5)


@pytest.mark.parametrize(
    ("index", "start"),
    [
        (1, [0.5, -2.5, -2.5, 2.5]),
        pytest.param(0, [-2.5] * 4, marks=pytest.mark.slow),
        pytest.param(2, [0.3, 0.2, -2.5, 2.5], marks=pytest.mark.slow),
    ],
)
def test_indices_of_the_styblinski_tang_function(index, start):
    """Every coordinate is at one of the three critical points of the function of one."""
    search = on_host(functools.partial(critical_point, styblinski_tang, index=index))
    found = search(np.array(start))
    assert bool(found.converged) and int(found.index) == index
    places = np.array([-2.903534, 0.156731, 2.746803])
    nearest = places[abs(np.array(start)[:, None] - places).argmin(axis=1)]
    np.testing.assert_allclose(found.point, nearest, atol=1e-6)
    np.testing.assert_allclose(found.eigenvalues, np.sort(6 * nearest**2 - 16), rtol=1e-5)


def test_a_minimum_is_not_reported_as_a_saddle():
    """At a minimum the gradient vanishes, and nothing is followed: said by `converged`."""
    minimum = ROTATION.T @ [1.0, 0, 0]  # in float64, which an argument of a program would not be
    found = jax.jit(lambda: critical_point(rotated_well, minimum))()
    assert float(found.gradient_norm) <= 1e-10 and int(found.index) == 0
    assert not bool(found.converged)


@pytest.mark.slow
def test_steps_run_out():
    few = critical_point(rotated_well, ROTATION.T @ [0.3, -0.2, 0.1], max_steps=1)
    assert not bool(few.converged) and int(few.num_steps) == 1


def test_flat_directions_are_counted_and_have_no_sign():
    found = critical_point(
        lambda x: x["a"][0] ** 2 - x["b"] ** 2 + 0 * x["a"][1],
        {"a": np.array([1.0, 2.0]), "b": np.float64(0.1)},
    )
    assert int(found.num_flat) == 1 and int(found.index) == 1 and bool(found.converged)
    assert found.point["a"][1].item() == 2 and found.direction["b"].shape == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": 3}, "loss is 3; expected a function"),
        ({"loss": lambda x: x}, "loss returns"),
        ({"start": np.array([1, 2])}, "start has leaves of"),
        ({"start": np.array([np.nan, 2])}, "start is not finite"),
        ({"start": np.zeros(0)}, "start has no numbers"),
        ({"index": 3}, "index is 3; expected an integer in 0..2"),
        ({"tolerance": 0.0}, "tolerance is 0"),
        ({"max_step": -1.0}, "max_step is -1"),
        ({"max_steps": True}, "max_steps is True"),
    ],
)
def test_unusable_arguments(changed, message):
    values = {"loss": muller_brown, "start": np.array([0.0, 0.5])} | changed
    with pytest.raises(InputError, match=message):
        critical_point(**values)
