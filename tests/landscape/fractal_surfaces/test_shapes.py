"""Smooth surfaces have the heights of their formulas at the places of their points."""

import jax
import numpy as np
import pytest

from sgd_diffusion.landscape.fractal_surfaces import cone, gaussian_well, paraboloid

FORMULAS = [
    (cone, {"slope": 0.7}, lambda r: 0.7 * r),
    (paraboloid, {"curvature": 3.0}, lambda r: 1.5 * r**2),
    (gaussian_well, {"depth": 2.0, "width": 0.4}, lambda r: -2 * np.exp(-(r**2) / 0.32)),
]


@pytest.mark.parametrize("size", [2, 8, 9])
@pytest.mark.parametrize(("shape", "parameters", "formula"), FORMULAS)
def test_formula(shape, parameters, formula, size):
    surface = shape(size, extent=3.0, **parameters)
    place = np.linspace(-1.5, 1.5, size)
    np.testing.assert_allclose(
        surface.heights, formula(np.hypot(place[:, None], place)), rtol=1e-5, atol=1e-7
    )
    assert surface.extent.shape == ()
    assert surface.extent == 3
    assert surface.heights.dtype == np.float32


def test_defaults():
    """On [-1, 1]^2; the middle of an odd number of points is the center, exactly."""
    for shape, center, side in (
        (cone, 0, 0.5),
        (paraboloid, 0, 0.5),
        (gaussian_well, -1, -np.exp(-2)),
    ):
        surface = shape(5)
        assert surface.extent == 2
        assert surface.heights[2, 2] == center
        np.testing.assert_allclose(surface.heights[2, [0, -1]], side, rtol=1e-6)
        np.testing.assert_allclose(surface.heights[[0, -1], 2], side, rtol=1e-6)


@pytest.mark.parametrize(("shape", "parameters", "formula"), FORMULAS)
def test_parameters_and_extents_may_be_traced(shape, parameters, formula):
    values = {
        name: np.float32([value, 2 * value])
        for name, value in (parameters | {"extent": 3.0}).items()
    }
    batch = jax.jit(jax.vmap(lambda values: shape(6, **values)))(values)
    for index in range(2):
        single = shape(6, **{name: value[index] for name, value in values.items()})
        np.testing.assert_allclose(batch.heights[index], single.heights, rtol=1e-5, atol=1e-7)
        assert batch.extent[index] == single.extent
    with jax.enable_x64(True):
        assert shape(6, **parameters).heights.dtype == np.float64


@pytest.mark.parametrize("shape", [cone, paraboloid, gaussian_well])
def test_errors_say_what_was_expected(shape):
    with pytest.raises(ValueError, match=r"size is 1; expected an integer in 2..32769 points"):
        shape(1)
