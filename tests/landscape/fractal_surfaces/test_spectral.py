"""Periodic surfaces: exact spectrum and expected variance, equal opposite sides, exponents at short
lags.
"""

import functools

import jax
import numpy as np
import pytest

from sgd_diffusion.landscape.box_counting import variogram_exponent
from sgd_diffusion.landscape.fractal_surfaces import spectral_surface

KEY = jax.random.key(11)


@pytest.mark.parametrize("size", [3, 17, 24])
def test_the_filter_is_the_power_law_with_expected_variance_one(size):
    """Without sampling: the spectrum of the surface over that of its noise."""
    period = size - 1
    with jax.enable_x64(True):
        heights = np.asarray(
            jax.jit(lambda key: spectral_surface(key, size, hurst=0.3).heights)(KEY)
        )[:-1, :-1]
        noise = np.asarray(jax.random.normal(KEY, heights.shape))
    gain = np.fft.fft2(heights) / np.fft.fft2(noise)
    waves = np.fft.fftfreq(period, 1 / period)
    length = np.hypot(waves[:, None], waves)
    length[0, 0] = np.inf
    np.testing.assert_allclose(gain, gain[0, 1] * length**-1.3, atol=1e-12)
    np.testing.assert_allclose(np.mean(np.abs(gain) ** 2), 1, rtol=1e-12)


def test_opposite_sides_are_equal():
    heights = np.asarray(jax.jit(lambda key: spectral_surface(key, 20, hurst=0.5).heights)(KEY))
    assert heights.shape == (20, 20)
    np.testing.assert_array_equal(heights[0], heights[-1])
    np.testing.assert_array_equal(heights[:, 0], heights[:, -1])
    assert len(np.unique(heights)) > 0.95 * 19**2


@pytest.mark.parametrize("hurst", [0.2, 0.8])
def test_mean_and_variance(hurst):
    """Of 2000 tori: mean 0 of each, mean square 1 within 4 standard errors."""
    draw = jax.jit(jax.vmap(lambda key: spectral_surface(key, 17, hurst=hurst).heights[:-1, :-1]))
    heights = np.asarray(draw(jax.random.split(KEY, 2000)), dtype=float)
    assert np.abs(heights.mean(axis=(1, 2))).max() < 1e-6
    variances = heights.var(axis=(1, 2))
    assert abs(variances.mean() - 1) < 4 * variances.std(ddof=1) / np.sqrt(2000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hurst", "expected"), [(0.3, 0.431), (0.5, 0.573), (0.7, 0.726), (0.8, 0.800)]
)
def test_variogram_exponents_of_the_docstring(hurst, expected):
    """Both means are of ten."""
    draw = jax.jit(lambda key: spectral_surface(key, 1025, hurst=hurst).heights)
    found = [
        variogram_exponent(draw(key), sizes=[1, 2, 4, 8], tol=np.inf).value
        for key in jax.random.split(KEY, 10)
    ]
    assert (
        abs(np.mean(found) - expected) < 4 * np.sqrt(2) * np.std(found, ddof=1) / np.sqrt(10) + 1e-3
    )


def test_keys_exponents_precision_and_transformations():
    keys, draw = jax.random.split(KEY, 3), functools.partial(spectral_surface, size=9)
    hursts = np.float32([0.2, 0.5, 0.9])
    batch = jax.jit(jax.vmap(lambda key, hurst: draw(key, hurst=hurst)))(keys, hursts)
    assert batch.heights.shape == (3, 9, 9)
    assert batch.heights.dtype == np.float32
    np.testing.assert_array_equal(batch.extent, [2, 2, 2])
    np.testing.assert_allclose(draw(keys[1], hurst=0.5).heights, batch.heights[1], atol=1e-5)
    with jax.enable_x64(True):
        surface = draw(KEY, hurst=0.5, extent=7)
        assert surface.heights.dtype == np.float64
        assert surface.extent.shape == ()
        assert surface.extent == 7


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match=r"size is 2; expected an integer in 3..32769 points"):
        spectral_surface(KEY, 2, hurst=0.5)
