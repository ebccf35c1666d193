"""The effective potential: its limits, its law, and beside the exact law of SGD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.freezing import (
    TwoValleys,
    effective_potential,
    fixed_y,
    flat_occupation,
)

LANDSCAPE = TwoValleys()
GAMMA = (0.8 / 0.65) ** 2
Y, NOISE = 3.0, 1e-3
WIDTHS = np.array([0.8, 0.65]) ** 2 * ((Y + 20) / (Y + 30)) ** 2
TEMPERATURE = 2 * NOISE / np.sqrt(WIDTHS.prod())


def test_that_of_the_paper_has_no_noise_in_it():
    x = np.linspace(-0.3, 0.3, 7)
    some, other = (np.asarray(effective_potential(x, Y, noise, LANDSCAPE)) for noise in (1e-3, 1.0))
    np.testing.assert_array_equal(some, other)
    ridge = float(LANDSCAPE.loss(0.0, Y))
    expected = ridge + GAMMA ** (np.where(x >= 0, 1, -1) / 2) * (
        np.asarray(LANDSCAPE.loss(x, Y)) - ridge
    )
    np.testing.assert_allclose(some, expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("convention", "expected"), [("fick", -0.00712), ("ito", -0.01040), ("stratonovich", None)]
)
def test_difference_of_depths(convention, expected):
    bottoms = effective_potential(
        np.array(LANDSCAPE.floors(Y)), Y, NOISE, LANDSCAPE, convention=convention
    )
    found = float(bottoms[0] - bottoms[1])
    weight = {"fick": 0, "ito": 1, "stratonovich": 0.5}[convention]
    barrier = (Y / (Y + 20)) ** 2
    exact = -(GAMMA**0.5 - GAMMA**-0.5) * barrier - weight * TEMPERATURE * np.log(GAMMA)
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    if expected is not None:
        assert found == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize("convention", ["fick", "ito"])
def test_its_boltzmann_law_has_the_occupation(convention):
    u, step = np.linspace(0, 0.5, 200_001, retstep=True)
    sides = [
        np.exp(
            -np.asarray(effective_potential(x, Y, NOISE, LANDSCAPE, convention=convention))
            / TEMPERATURE
        )
        for x in (u, -np.maximum(u, 1e-300))
    ]
    flat, sharp = (step * (side.sum() - (side[0] + side[-1]) / 2) for side in sides)
    expected = flat_occupation(Y, NOISE, LANDSCAPE, form=convention)
    np.testing.assert_allclose(flat / (flat + sharp), expected, rtol=1e-8)


def test_beside_the_exact_law():
    """-T ln p of SGD with a small learning rate, less its mean: "ito" is near, "fick" a step off.

    The step, T ln gamma, has the root mean square 0.415 T sqrt(P (1 - P)) over both valleys.
    """
    at = fixed_y(Y, 0.001, NOISE / 0.001, LANDSCAPE)
    shares = at.density * np.gradient(at.points)
    shares /= shares.sum()

    def distance(convention):
        potential = effective_potential(at.points, Y, NOISE, LANDSCAPE, convention=convention)
        apart = np.log(np.maximum(at.density, 1e-300)) + np.asarray(potential) / TEMPERATURE
        return np.sqrt(shares @ (apart - shares @ apart) ** 2)

    assert distance("ito") == pytest.approx(0.025, abs=0.002)
    assert distance("fick") == pytest.approx(0.149, abs=0.002)


def test_jit_and_grad():
    x = np.array([-0.1, 0.0, 0.2])
    expected = effective_potential(x, Y, NOISE, LANDSCAPE, convention="ito")

    def potential(x):
        return effective_potential(x, Y, NOISE, LANDSCAPE, convention="ito")

    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(potential))(jnp.asarray(x))
        slopes = jax.jit(jax.vmap(jax.grad(potential)))(jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    signs = np.where(x >= 0, 1, -1)
    expected = GAMMA ** (signs / 2) * np.asarray(LANDSCAPE.gradient(x, Y))[:, 0]
    np.testing.assert_allclose(slopes, expected, rtol=1e-12)


def test_out_of_range():
    for given, expected in (
        ({"convention": "klimontovich"}, "convention is 'klimontovich'; expected \"fick\" or"),
        ({"noise": 0.0}, "noise is not above 0"),
        ({"y": -1.0}, "y is negative"),
        ({"landscape": None}, "landscape is a NoneType"),
        ({"x": [1.0, 2.0], "y": [1.0, 2.0, 3.0]}, "y has shape|noise has shape"),
    ):
        with pytest.raises(InputError, match=expected):
            effective_potential(
                **({"x": 0.1, "y": Y, "noise": NOISE, "landscape": LANDSCAPE} | given)
            )
