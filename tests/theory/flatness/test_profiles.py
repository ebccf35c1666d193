"""The width of a loss against closed forms, on profiles of all shapes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.flatness import flatness, quadratic_flatness

CURVATURES = np.array([1e-4, 1.0, 50.0, 3e4])


def bowls(x):
    return 0.3 + jnp.asarray(CURVATURES) * x**2 / 2


def test_a_quadratic_loss_has_the_flatness_of_its_curvature():
    """Over eight decades of curvature in one program."""
    found = flatness(bowls, 0.3, limit=1000)
    expected = quadratic_flatness(0.3, CURVATURES)
    np.testing.assert_allclose(expected, np.sqrt(8 * (math.e - 1) * 0.3 / CURVATURES), rtol=1e-14)
    np.testing.assert_allclose(found.flatness, expected, rtol=1e-6)
    np.testing.assert_allclose(found.right, -found.left, rtol=1e-14)
    assert found.flatness.dtype == jnp.float64


def test_sides_that_differ():
    """L = e^(a x) to the right and e^(-b x) to the left reach e at 1/a and -1/b."""
    found = flatness(lambda x: jnp.exp(jnp.where(x > 0, 4 * x, -0.5 * x)), 1.0, limit=100)
    np.testing.assert_allclose(found, [2.25, -2, 0.25], rtol=1e-6)


PROFILES = {
    "waves": (lambda x: 1 + 3 * jnp.sin(x) ** 2, math.asin(math.sqrt((math.e - 1) / 3))),
    "a wall with a valley behind": (lambda x: 1 + 9 * (abs(x) > 0.25) * (abs(x) < 0.5), 0.25),
    "down, then NaN": (lambda x: jnp.where(abs(x) < 2, 1 - 0.2 * abs(x), jnp.nan), 2.0),
    "an infinite wall": (lambda x: jnp.where(abs(x) < 0.125, 1.0, jnp.inf), 0.125),
}


@pytest.mark.parametrize(("loss", "edge"), PROFILES.values(), ids=PROFILES)
def test_the_first_crossing_outward_counts(loss, edge):
    found = flatness(loss, 1.0, limit=10)
    np.testing.assert_allclose(found, [2 * edge, -edge, edge], rtol=1e-6)


def test_a_side_that_stays_below_is_infinite():
    """The flat side, one that crosses beyond the limit, and one that crosses just before it."""

    def loss(x):
        edges = jnp.array([jnp.inf, 10.1, 9.9])
        return jnp.where(x > 0, 1 + 2 * (x > edges), 1 + x**2)

    found = flatness(loss, 1.0, limit=10)
    np.testing.assert_allclose(found.right, [np.inf, np.inf, 9.9], rtol=1e-6)
    np.testing.assert_allclose(found.left, -math.sqrt(math.e - 1), rtol=1e-6)
    assert np.isinf(found.flatness).tolist() == [True, True, False]


def test_compiled_and_mapped_it_is_the_same():
    """Many directions at once, mapped one by one, and compiled outside of 64-bit mode."""

    def one(curvature, base):
        return flatness(lambda x: base + curvature * x**4, base, limit=50, ratio=1.5)

    curvatures = np.array([0.25, 3.0, 1e-9], np.float32)
    direct = flatness(lambda x: 2.0 + curvatures * x**4, 2.0, limit=50, ratio=1.5)
    mapped = jax.jit(jax.vmap(one, (0, None)))(curvatures, 2.0)
    edges = ((math.e - 1) * 2 / curvatures[:2]) ** 0.25
    np.testing.assert_allclose(direct.right[:2], edges, rtol=2e-6)
    assert np.isinf(direct.flatness[2])
    for found, expected in zip(mapped, direct, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert np.isnan(jax.jit(one)(1.0, -1.0).flatness)


def test_displacements_below_the_first_are_found_too():
    found = flatness(lambda x: 1 + abs(x) / 0.003, 1.0, factor=2, limit=10, smallest=1.0, tol=1e-6)
    np.testing.assert_allclose(found.right, 0.003, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"loss_along": 1.0}, "loss_along is 1.0; expected a function"),
        ({"base_loss": 0.0}, "base_loss is 0"),
        ({"base_loss": 0.1}, "the loss at 0 is above"),
        ({"factor": 1.0}, "factor is 1"),
        ({"limit": np.inf}, "limit is inf"),
        ({"smallest": 20.0}, "smallest is 20; expected below the limit, 10"),
        ({"ratio": 1.0}, "ratio is 1"),
        ({"tol": 0.0}, "tol is 0"),
        ({"loss_along": lambda x: 1j * x}, "loss_along has dtype complex"),
    ],
)
def test_bad_arguments(changed, words):
    values = {"loss_along": lambda x: 1 + x**2, "base_loss": 1.0, "limit": 10.0} | changed
    with pytest.raises(InputError, match=words):
        flatness(values.pop("loss_along"), values.pop("base_loss"), **values)


def test_a_quadratic_loss_without_curvature_is_flat():
    found = quadratic_flatness([1.0, 1.0], [0.0, 8.0], factor=2)
    assert found.tolist() == [np.inf, 1.0]
    for changed, words in (
        ({"base_loss": [0.0]}, "base_loss has entries out of range"),
        ({"curvature": -1.0}, "curvature has entries out of range"),
        ({"base_loss": np.ones(2), "curvature": np.ones(3)}, r"\(3,\); expected \(2,\)"),
    ):
        with pytest.raises(InputError, match=words):
            quadratic_flatness(**({"base_loss": 1.0, "curvature": 1.0} | changed))
