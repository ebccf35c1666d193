"""Quotients, powers and missing values with derivatives that are finite wherever the value is.

A division by zero that is masked afterwards has a derivative of NaN. So has the root of a square
that is zero. NaN that stands for "no value" is made only here, also under `jax_debug_nans`, which
looks for NaN that nobody meant.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import is_traced
from sgd_diffusion._types import ArrayLike

__all__ = ["power", "ratio", "where_known"]


def power(values: Float[Array, "*shape"], exponent: float) -> Float[Array, "*shape"]:
    """Return values ** exponent of values >= 0, with a derivative of 0 where a value is 0.

    The exponent is a positive number.
    """
    zero = values == 0
    values = jnp.where(zero, 1, values)
    return jnp.where(zero, 0, jnp.sqrt(values) if exponent == 0.5 else values**exponent)


def ratio(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the quotient, NaN where the denominator is 0, with a derivative of 0 there."""
    if is_traced(numerator):
        # XLA would multiply by the inverse of a denominator that it knows. Whether it knows it
        # depends on the loops around, so the last digit would depend on them.
        denominator = jax.lax.optimization_barrier(denominator)
    known = denominator != 0
    return where_known(known, numerator / jnp.where(known, denominator, 1))


def where_known(known: ArrayLike, values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the values where they are known, and NaN elsewhere."""
    with jax.debug_nans(False):
        return jnp.where(known, values, jnp.nan)
