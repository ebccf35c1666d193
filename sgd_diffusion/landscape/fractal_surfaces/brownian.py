"""Make fractional Brownian surfaces, exact at every lag."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from sgd_diffusion._arrays import integer, number
from sgd_diffusion._types import IntegerLike, Key, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.fractal_surfaces.surface import MOST_POINTS, Surface

__all__ = ["fractional_brownian_surface"]

# Share of the number of points, for covariances of order 1. An FFT rounds less than this, so that a
# more negative eigenvalue is a real one.
ROUNDING = 1e-14


def fractional_brownian_surface(key: Key, size: IntegerLike, *, hurst: NumberLike) -> Surface:
    r"""Return a fractional Brownian surface on size x size points of the unit square.

    The sides of the square have points too. The heights are Gaussian with h = 0 at the first corner
    and E (h(x) - h(y))^2 = |x - y|^(2 hurst) for any two points, those across the diagonal
    included. The graph has box dimension 3 - hurst and its level sets 2 - hurst; hurst = 1 is a
    plane of random slope.

    It is exact by intrinsic embedding (Stein, J. Comput. Graph. Stat. 11, 587, 2002). In units of
    the diagonal, take a stationary field with the compactly supported covariance

        rho(r) = c_0 - r^(2H) + c_2 r^2    for r <= 1,
        rho(r) = b (R - r)^3 / r           for 1 < r <= R,    and 0 beyond.

    Its sum with the random plane sqrt(2 c_2) (x_1 n_1 + x_2 n_2) has increments of variance 2
    r^(2H). H <= 3/4 takes R = 1 and b = 0, larger H takes R = 2; the other constants make rho
    smooth at r = 1. The field is periodic, with a period of R plus the side: copies overlap only at
    lags that do not occur in the square. The eigenvalues of its covariance are computed in float64
    whatever the precision of the heights.

    Formula:
        Fractional Brownian surface. $E (h(x) - h(y))^2 = |x - y|^{2H}$ (exact by intrinsic
        embedding; Stein, J. Comput. Graph. Stat. 11, 587, 2002)

    Args:
        key: PRNG key.
        size: points along a side, at least 2, known before tracing.
        hurst: Hurst exponent, in (0, 1], known before tracing.

    Returns:
        `fractal_surfaces.Surface` with heights (size, size) and extent 1.

    Raises:
        InputError: `size` is below 2 or above 32769, `hurst` is outside (0, 1], or the embedding
            has a negative eigenvalue.

    Notes:
        For H from 0.01 to 1, no measured eigenvalue was negative but by rounding.
    """
    size = integer("size", size, 2, MOST_POINTS, what="points along a side")
    hurst = number("hurst", hurst, above=0, at_most=1, what="where 1 is a plane")
    eigenvalues, slope_variance = _embedding(size, hurst)
    gain = np.sqrt(np.maximum(eigenvalues, 0))
    return Surface(_heights(key, gain, math.sqrt(slope_variance), size), jnp.ones(()))


@functools.partial(jax.jit, static_argnums=3)
def _heights(key, gain, slope, size):
    """The heights (size, size) of a periodic field on a random plane, 0 at the first corner."""
    field_key, plane_key = jax.random.split(key)
    noise = jax.random.normal(field_key, (len(gain), len(gain)))
    spectrum = jnp.fft.rfft2(noise)
    field = jnp.fft.irfft2(gain.astype(spectrum.dtype) * spectrum, noise.shape)[:size, :size]
    slopes = slope * jax.random.normal(plane_key, (2,))
    place = jnp.linspace(0, 1, size)
    plane = slopes[0] * place[:, None] + slopes[1] * place[None]
    return field - field[0, 0] + plane


@functools.lru_cache(maxsize=2)
def _embedding(size, hurst):
    """Eigenvalues (L, L//2 + 1) of the periodic covariance, and the variance of the plane's slopes.

    Both are on the unit square.
    """
    power, reach = 2 * hurst, 1 if hurst <= 0.75 else 2
    tail = power * (2 - power) / (3 * reach * (reach**2 - 1)) if reach > 1 else 0.0
    curvature = (power - tail * (reach - 1) ** 2 * (reach + 2)) / 2
    variance = tail * (reach - 1) ** 3 + 1 - curvature

    def covariance(r):
        beyond = tail * np.maximum(reach - r, 0) ** 3 / np.maximum(r, 1)
        return np.where(r <= 1, variance - r**power + curvature * r**2, beyond)

    spacing = 1 / (math.sqrt(2) * (size - 1))
    period = scipy.fft.next_fast_len(size - 1 + math.ceil(reach / spacing), real=True)
    lags = spacing * np.arange(period)
    images = np.stack([lags, lags - period * spacing])
    periodic = sum(
        covariance(np.hypot(rows[:, None], columns)) for rows in images for columns in images
    )
    eigenvalues = np.fft.rfft2(periodic).real
    if eigenvalues.min() < -ROUNDING * periodic.size:
        raise invalid(
            "hurst",
            f"is {hurst} with size {size}, where the embedding has the eigenvalue "
            f"{eigenvalues.min():g} beside a largest of {eigenvalues.max():g} and is no covariance",
            "a hurst with an embedding, such as 0.01 to 0.99",
        )
    # This scale turns increments of variance 2 r^(2H) on a square of diagonal 1 into |x - y|^(2H)
    # on a square of side 1.
    scale = 2**hurst / 2
    return scale * eigenvalues, scale * curvature
