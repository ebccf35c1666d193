"""The paper's freezing point: published values, its equations, derivatives, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.freezing import (
    TwoValleys,
    flat_occupation,
    freezing_constant,
    freezing_point,
)

LANDSCAPE = TwoValleys()
NOISES = np.logspace(-4, np.log10(4e-3), 6)


def test_the_constant_of_the_paper():
    phi = freezing_constant(LANDSCAPE)
    assert phi.dtype == jnp.float64 and float(phi) == pytest.approx(1.33265e-5, rel=3e-6)
    equal = freezing_constant(LANDSCAPE._replace(x2=0.8))
    assert float(equal) == 0


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (30, [1.22, 1.90, 2.99, 4.76, 7.79, 13.5]),  # as in Fig. 4c
        (0.01, [2.36, 3.60, 5.60, 9.0, 15.4, 29.7]),  # as in the text
    ],
)
def test_the_curve_of_the_paper(factor, expected):
    epsilon = factor * float(freezing_constant(LANDSCAPE))
    found = freezing_point(NOISES, LANDSCAPE, epsilon=epsilon)
    np.testing.assert_allclose(found.y, expected, rtol=5e-3)
    assert (np.diff(found.y) > 0).all() and (np.diff(found.flat_occupation) > 0).all()


def test_its_equations():
    """There e^(-z^2) of the sharp valley is epsilon / sqrt(Delta_S); P is that at high barriers."""
    epsilon = 4e-4
    found = freezing_point(NOISES, LANDSCAPE, epsilon=epsilon)
    y = np.asarray(found.y)
    depth = (0.65 * y / (y + 30)) ** 2 / (2 * NOISES)
    np.testing.assert_allclose(np.exp(-depth), epsilon / NOISES**0.5, rtol=1e-12)
    expected = flat_occupation(y, NOISES, LANDSCAPE, form="asymptotic")
    np.testing.assert_allclose(found.flat_occupation, expected, rtol=1e-12)


def test_jit_vmap_grad_and_range():
    def place(noise, epsilon=4e-4):
        return freezing_point(noise, LANDSCAPE, epsilon=epsilon)

    with jax.enable_x64(True):
        mapped = jax.jit(jax.vmap(place))(jnp.asarray([*NOISES, 1e-8, 0.1, -1.0]))
        slope = jax.jit(jax.grad(lambda noise: place(noise).y))(1e-3)
        outside = jax.jit(place)(1e-3, -1.0)
    known = np.isfinite(np.array(mapped))
    assert known[:, :6].all() and not known[:, 6:].any() and np.isnan(outside).all()
    np.testing.assert_allclose(np.array(mapped)[:, :6], place(NOISES), rtol=1e-13)
    ahead, behind = (float(place(noise).y) for noise in (1.0001e-3, 0.9999e-3))
    assert float(slope) == pytest.approx((ahead - behind) / 2e-7, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"noise": 1e-8}, r"noise has no freezing point with epsilon=0.0004; .* Q below x2"),
        ({"noise": 0.1}, "noise has no freezing point"),
        ({"noise": -1.0}, "noise is not above 0"),
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"landscape": 1.0}, "landscape is a float"),
    ],
)
def test_out_of_range(given, expected):
    values = {"noise": 1e-3, "landscape": LANDSCAPE, "epsilon": 4e-4} | given
    with pytest.raises(InputError, match=expected):
        freezing_point(values.pop("noise"), values.pop("landscape"), **values)
