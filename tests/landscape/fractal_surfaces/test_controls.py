"""Shuffled surfaces keep heights but not their order; the filter is SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sgd_diffusion.landscape.fractal_surfaces import Surface, shuffled, smoothed

KEY = jax.random.key(7)
SURFACE = Surface(
    jnp.asarray(np.random.default_rng(1).normal(size=(33, 33)).cumsum(axis=0), np.float32),
    jnp.float32(2),
)


def test_without_smoothing_it_is_a_permutation():
    """Uncorrelated with its source and with its own neighbors, within 4 standard errors."""
    found = shuffled(KEY, SURFACE, smoothing=0)
    np.testing.assert_array_equal(
        np.sort(found.heights, axis=None), np.sort(SURFACE.heights, axis=None)
    )
    assert found.extent == SURFACE.extent
    heights = np.asarray(found.heights)
    for first, second in (
        (heights, SURFACE.heights),
        (heights[1:], heights[:-1]),
        (heights[:, 1:], heights[:, :-1]),
    ):
        assert abs(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]) < 4 / np.sqrt(first.size)
    assert np.any(shuffled(jax.random.key(8), SURFACE, smoothing=0).heights != heights)


@pytest.mark.parametrize("std", [0.1, 1.0, 2.5, 8.0, 40])
@pytest.mark.parametrize("shape", [(33, 33), (20, 31), (1, 5)])
def test_the_filter_is_that_of_scipy(shape, std):
    heights = np.random.default_rng(0).normal(size=shape)
    found = smoothed(Surface(jnp.asarray(heights), jnp.float32(3)), std)
    assert found.heights.dtype == np.float32
    assert found.extent == 3
    np.testing.assert_allclose(
        found.heights, gaussian_filter(heights, std, mode="nearest"), atol=1e-6
    )
    with jax.enable_x64(True):
        double = smoothed(Surface(jnp.asarray(heights), jnp.ones(())), std).heights
        np.testing.assert_allclose(
            double, gaussian_filter(heights, std, mode="nearest"), atol=1e-13
        )


def test_shuffled_then_smoothed_then_raised_to_a_signed_power():
    bare = np.asarray(shuffled(KEY, SURFACE, smoothing=0).heights, dtype=float)
    smooth = gaussian_filter(bare, 2.0, mode="nearest")
    assert smooth.min() < -0.01
    assert smooth.max() > 0.01
    np.testing.assert_allclose(shuffled(KEY, SURFACE, smoothing=2.0).heights, smooth, atol=1e-6)
    found = shuffled(KEY, SURFACE, smoothing=2.0, power=0.7).heights
    np.testing.assert_allclose(found, np.sign(smooth) * np.abs(smooth) ** 0.7, atol=1e-4)
    upside_down = SURFACE._replace(heights=-SURFACE.heights)
    np.testing.assert_allclose(
        shuffled(KEY, upside_down, smoothing=2.0, power=0.7).heights, -found, atol=1e-6
    )
    default = gaussian_filter(bare, 8.0, mode="nearest")
    np.testing.assert_allclose(shuffled(KEY, SURFACE).heights, default, atol=1e-6)


def test_transformations():
    keys = jax.random.split(KEY, 3)
    surfaces = Surface(
        jnp.stack([SURFACE.heights, -SURFACE.heights, SURFACE.heights.T]),
        jnp.array([1.0, 2.0, 3.0]),
    )
    draw = jax.jit(
        jax.vmap(lambda key, surface, power: shuffled(key, surface, smoothing=1.5, power=power))
    )
    batch = draw(keys, surfaces, jnp.array([0.5, 0.7, 1.0]))
    assert batch.heights.shape == (3, 33, 33)
    np.testing.assert_array_equal(batch.extent, surfaces.extent)
    single = shuffled(
        keys[1], Surface(surfaces.heights[1], surfaces.extent[1]), smoothing=1.5, power=0.7
    )
    np.testing.assert_allclose(batch.heights[1], single.heights, atol=1e-4)


@pytest.mark.parametrize("std", [-1.0, np.nan, np.inf])
def test_errors_say_what_was_expected(std):
    with pytest.raises(
        ValueError, match=f"smoothing is {std}; expected a finite number .* steps of the grid"
    ):
        shuffled(KEY, SURFACE, smoothing=std)
    with pytest.raises(
        ValueError, match=f"std is {std}; expected a finite number .* steps of the grid"
    ):
        smoothed(SURFACE, std)
