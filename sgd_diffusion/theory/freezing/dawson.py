"""Dawson's integral, which is erfi without its overflow; older JAX has neither."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["log_dawson_ratio"]

NEGLIGIBLE = 40.0  # e^-40 is below the rounding of 1
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)  # weights of more are less precise


def log_dawson_ratio(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Return the logarithm of D(z) / z, which is 0 at z = 0.

    Formula:
        Dawson's integral. $D(z) = e^{-z^2} \int_0^z e^{t^2} dt = \frac{\sqrt{\pi}}{2} e^{-z^2}
        \mathrm{erfi}(z) = z \int_0^1 e^{-z^2 (1 - s^2)} ds$ (definition)
    """
    square = z**2
    # The integral begins where the exponent is no longer negligible, so it always takes the same
    # nodes. The place does not matter for it, nor for its derivatives.
    part = NEGLIGIBLE / jnp.maximum(square, NEGLIGIBLE)
    length = jax.lax.stop_gradient(part / (1 + jnp.sqrt(1 - part)))[..., None]
    below = length * (1 + NODES) / 2  # 1 - s
    values = jnp.exp(-square[..., None] * below * (2 - below))
    return jnp.log((length * values * WEIGHTS / 2).sum(axis=-1))
