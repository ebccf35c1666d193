"""Fractional Brownian surfaces: the covariance of their embedding, increments over independent
surfaces, exponents.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.landscape.box_counting import variogram_exponent
from sgd_diffusion.landscape.fractal_surfaces import brownian, fractional_brownian_surface

KEY = jax.random.key(5)
SIZE = 9


def variogram(hurst, size):
    """|x - y|^(2 hurst) between all points of the unit square, by the steps between them."""
    place = np.arange(size) / (size - 1)
    return np.hypot(place[:, None], place) ** (2 * hurst)


@functools.cache
def surfaces(hurst, count=4000):
    draw = jax.jit(
        jax.vmap(lambda key: fractional_brownian_surface(key, SIZE, hurst=hurst).heights)
    )
    return np.asarray(draw(jax.random.split(KEY, count)), dtype=np.float64)


# Distribution


@pytest.mark.parametrize("size", [2, 9, 64])
@pytest.mark.parametrize("hurst", [0.1, 0.3, 0.5, 0.7, 0.75, 0.8, 0.9, 0.99])
def test_the_embedding_is_a_covariance_with_the_increments_of_the_surface(size, hurst):
    """Without sampling: c(0) - c(lag), twice, plus the plane's variance is |lag|^(2H) at every lag
    of the square.
    """
    eigenvalues, slope_variance = brownian._embedding(size, hurst)
    assert eigenvalues.min() > 0  # the rounding of an FFT is far below the smallest at these sizes
    covariance = np.fft.irfft2(eigenvalues, (len(eigenvalues),) * 2)[:size, :size]
    plane = slope_variance * variogram(1, size)
    np.testing.assert_allclose(
        2 * (covariance[0, 0] - covariance) + plane, variogram(hurst, size), atol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("hurst", np.linspace(0.1, 0.9, 17))
def test_the_smallest_eigenvalue_at_full_size(hurst):
    for size in (256, 1024):
        eigenvalues, _ = brownian._embedding(size, float(hurst))
        assert eigenvalues.min() > -1e-16 * len(eigenvalues) ** 2


def test_an_embedding_that_is_no_covariance_is_refused(monkeypatch):
    brownian._embedding.cache_clear()
    monkeypatch.setattr(brownian, "ROUNDING", -1.0)  # no eigenvalue is as large
    with pytest.raises(
        ValueError, match=r"hurst is 0.5 with size 8, where the embedding has the eigenvalue"
    ):
        fractional_brownian_surface(KEY, 8, hurst=0.5)
    brownian._embedding.cache_clear()


@pytest.mark.parametrize("hurst", [0.2, 0.5, 0.9])
def test_variance_of_increments(hurst):
    """Between the first corner, where h = 0, or an inner point and all others: within 4.5 standard
    errors each.

    The mean of n squares of normal numbers of variance v has the standard error v sqrt(2/n).
    """
    heights = surfaces(hurst)
    assert not np.any(heights[:, 0, 0])
    place = np.arange(SIZE) / (SIZE - 1)
    for i, j in ((0, 0), (2, 6)):
        expected = np.hypot(place[:, None] - place[i], place - place[j]) ** (2 * hurst)
        measured = ((heights - heights[:, i, j, None, None]) ** 2).mean(axis=0)
        assert np.all(
            np.abs(measured - expected) <= 4.5 * np.sqrt(2 / len(heights)) * expected + 1e-9
        )


def test_heights_are_normal():
    """Kurtosis at the far corner: 3 within 4 of the standard error sqrt(24/n)."""
    far = surfaces(0.5)[:, -1, -1]
    assert abs(np.mean(far**4) / np.mean(far**2) ** 2 - 3) < 4 * np.sqrt(24 / len(far))


def test_hurst_one_is_a_plane():
    heights = np.asarray(fractional_brownian_surface(KEY, SIZE, hurst=1).heights)
    steps = np.diff(heights, axis=0)
    np.testing.assert_allclose(steps, steps[0, 0], rtol=1e-4)
    assert abs(steps[0, 0]) > 1e-3


@pytest.mark.parametrize("hurst", [0.2, 0.5, 0.8])
def test_variogram_exponent(hurst):
    """Six surfaces of 256 x 256 points; their mean within 4 standard errors, which are small enough
    to tell.
    """
    draw = jax.jit(lambda key: fractional_brownian_surface(key, 256, hurst=hurst).heights)
    found = [
        variogram_exponent(draw(key), sizes=[1, 2, 4, 8], tol=np.inf).value
        for key in jax.random.split(KEY, 6)
    ]
    error = np.std(found, ddof=1) / np.sqrt(6)
    assert error < 0.02
    assert abs(np.mean(found) - hurst) < 4 * error + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("hurst", [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
def test_variogram_exponent_of_large_surfaces(hurst):
    """Mean of four; one scatters by 0.002 at H = 0.3, but by 0.02 at H = 0.8."""
    heights = [
        fractional_brownian_surface(key, 1024, hurst=hurst).heights
        for key in jax.random.split(KEY, 4)
    ]
    found = [
        variogram_exponent(surface, sizes=[1, 2, 4, 8], tol=np.inf).value for surface in heights
    ]
    assert abs(np.mean(found) - hurst) < 0.03


# A function of a key


@pytest.mark.slow
def test_keys_precision_and_transformations():
    keys = jax.random.split(KEY, 3)
    draw = functools.partial(fractional_brownian_surface, size=SIZE, hurst=0.5)
    batch = jax.jit(jax.vmap(draw))(keys)
    assert batch.heights.shape == (3, SIZE, SIZE)
    assert batch.heights.dtype == np.float32
    np.testing.assert_array_equal(batch.extent, np.ones(3))
    np.testing.assert_allclose(draw(keys[0]).heights, batch.heights[0], atol=1e-5)
    assert np.any(batch.heights[0] != batch.heights[1])
    with jax.enable_x64(True):
        double = draw(keys[0]).heights
        assert double.dtype == jnp.float64
        assert np.isfinite(np.asarray(double)).all()


@pytest.mark.parametrize(
    ("size", "hurst", "message"),
    [
        (1, 0.5, "size is 1; expected an integer in 2..32769 points"),
        (8, 0.0, "hurst is 0.0; expected a finite number above 0 and of at most 1"),
        (8, 1.1, "hurst is 1.1; expected"),
        (8, np.nan, "hurst is nan; expected"),
    ],
)
def test_errors_say_what_was_expected(size, hurst, message):
    with pytest.raises(ValueError, match=message):
        fractional_brownian_surface(KEY, size, hurst=hurst)
