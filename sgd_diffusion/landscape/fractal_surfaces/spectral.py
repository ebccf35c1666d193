"""Make surfaces with a power law as their spectrum, continuous under periodic boundaries."""

import functools

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import integer, parameter
from sgd_diffusion._types import IntegerLike, Key, NumberLike
from sgd_diffusion.landscape.fractal_surfaces.surface import MOST_POINTS, Surface

__all__ = ["spectral_surface"]


def spectral_surface(
    key: Key, size: IntegerLike, *, hurst: NumberLike, extent: NumberLike = 2.0
) -> Surface:
    r"""Return a periodic Gaussian surface with the power spectrum |k|^-(2 hurst + 2).

    It is white noise on a torus of size - 1 points, filtered by |k|^-(hurst + 1) without k = 0. The
    first row and column are repeated at the far side. Over the torus the heights have mean 0 and
    expected mean square 1, whatever the size.

    Formula:
        Spectral surface. $P(k) \propto |k|^{-(2H+2)}$ (definition)

    Args:
        key: PRNG key.
        size: points along a side, at least 3, known before tracing.
        hurst: () exponent.
        extent: () length of a side, the period.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size).

    Raises:
        InputError: `size` is below 3 or above 32769, `hurst` is not in -1..100, or `extent` is not
            positive.

    Notes:
        The surface is cheap and not self-affine. The shortest wave smooths rough surfaces at short
        lags; the longest wave bends smooth surfaces. Where the exponent must be right, take
        `fractal_surfaces.fractional_brownian_surface`.

        `box_counting.variogram_exponent` with lags 1, 2, 4 and 8 gave, on surfaces of 1025^2
        points, the exponents 0.431, 0.573, 0.726 and 0.800 for hurst = 0.3, 0.5, 0.7 and 0.8. These
        are means of ten with standard errors of 0.0004, 0.001, 0.002 and 0.0025. With lags up to 64
        they were 0.371, 0.530, 0.694 and 0.769, known to 0.001 to 0.005.
    """
    period = (
        integer(
            "size",
            size,
            3,
            MOST_POINTS,
            what="points along a side, the last of which repeats the first",
        )
        - 1
    )
    hurst = parameter("hurst", hurst, at_least=-1, at_most=100)
    extent = parameter("extent", extent, above=0)
    return Surface(_periodic_heights(key, period, hurst), jnp.asarray(extent, float))


@functools.partial(jax.jit, static_argnums=1)
def _periodic_heights(key, period, hurst):
    waves = period * jnp.fft.fftfreq(period)
    square = waves[:, None] ** 2 + waves[None] ** 2
    gain = jnp.where(square > 0, jnp.maximum(square, 1) ** (-(hurst + 1) / 2), 0)
    gain = (gain / jnp.sqrt((gain**2).mean()))[:, : period // 2 + 1]
    noise = jax.random.normal(key, (period, period))
    spectrum = jnp.fft.rfft2(noise)
    heights = jnp.fft.irfft2(gain.astype(spectrum.dtype) * spectrum, noise.shape)
    return jnp.pad(heights, (0, 1), "wrap")
