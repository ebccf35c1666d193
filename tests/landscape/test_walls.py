"""Walls: the truncated normal law, mirrors and periods."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgd_diffusion.landscape.walls import BOUNDARIES, reject


@pytest.mark.parametrize("mean", [0.0, 0.97, 1.02, 1.029, 1.032, 1.2, 4.0, -0.99, -1.033, -2.0])
def test_rejection_is_the_truncated_normal_law(mean):
    """By inversion: quantiles of the law at 10,000 uniform numbers, to a thousandth of its width at mid levels."""
    std, uniform = 0.01, (jnp.arange(10_000) + 0.5) / 10_000
    found, outside = reject(jnp.float32(mean), jnp.float32(std), uniform, jnp.float32(1))
    law = stats.truncnorm((-1 - mean) / std, (1 - mean) / std, loc=mean, scale=std)
    levels = np.asarray(uniform, dtype=float)
    expected = law.ppf(levels)
    width = min(std, law.std())
    tolerance = 3e-3 * width + np.spacing(np.float32(1))
    np.testing.assert_allclose(found[200:-200], expected[200:-200], rtol=0, atol=tolerance)
    assert np.abs(found - expected).max() < 0.05 * width + np.spacing(np.float32(1))
    chance = 1 - (stats.norm.cdf((1 - mean) / std) - stats.norm.cdf((-1 - mean) / std))
    assert abs(np.mean(outside) - chance) < 2e-4


@pytest.mark.parametrize("mean", [0.5, 1.0, 1.05, 30.0, -1e6])
def test_rejection_without_noise_stays_on_the_wall(mean):
    found, outside = reject(jnp.float32(mean), jnp.float32(0), jnp.float32(0.3), jnp.float32(1))
    assert found == np.clip(mean, -1, 1)
    assert outside == (abs(mean) >= 1) or mean == 1


def test_rejection_with_noise_as_wide_as_the_square():
    """The far wall cuts the tail as well."""
    uniform = (jnp.arange(1000) + 0.5) / 1000
    for mean, std in [(0.2, 50.0), (-7.0, 2.0), (-300.0, 60.0)]:
        found, _ = reject(jnp.float32(mean), jnp.float32(std), uniform, jnp.float32(1))
        law = stats.truncnorm((-1 - mean) / std, (1 - mean) / std, loc=mean, scale=std)
        np.testing.assert_allclose(np.clip(found, -1, 1), law.ppf(np.asarray(uniform, dtype=float)), atol=6e-3)


@pytest.mark.parametrize(
    ("place", "mirrored", "wrapped"),
    [(0.9, 0.9, 0.9), (1.25, 0.75, -0.75), (-1.5, -0.5, 0.5), (3.5, -0.5, -0.5), (-5.25, -0.75, 0.75)],
)
def test_reflection_and_periodicity_far_outside(place, mirrored, wrapped):
    for boundary, expected in ("reflect", mirrored), ("periodic", wrapped):
        found, outside = BOUNDARIES[boundary](jnp.float32(place), 0.0, jnp.float32(0.5), jnp.float32(1))
        assert found == pytest.approx(expected, abs=1e-6)
        assert outside == (abs(place) > 1)
