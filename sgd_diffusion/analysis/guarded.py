"""Quotients, powers and marks of no value whose derivatives are finite wherever the value is.

A division by zero that is masked afterwards has a derivative of NaN, and so has the root of a
square that is zero. NaN that stands for "no value" is made here alone, also under
`jax_debug_nans`, which looks for NaN that nobody meant.
"""

import jax
import jax.numpy as jnp

__all__ = ["power", "ratio", "where_known"]


def power(values, exponent):
    """Values ** exponent of values >= 0 for a positive number, with a derivative of 0 where a value
    is 0.
    """
    zero = values == 0
    values = jnp.where(zero, 1, values)
    return jnp.where(zero, 0, jnp.sqrt(values) if exponent == 0.5 else values**exponent)


def ratio(numerator, denominator):
    """Quotient, NaN where the denominator is 0, with a derivative of 0 there."""
    known = denominator != 0
    return where_known(known, numerator / jnp.where(known, denominator, 1))


def where_known(known, values):
    """The values where they are known, NaN elsewhere."""
    with jax.debug_nans(False):
        return jnp.where(known, values, jnp.nan)
