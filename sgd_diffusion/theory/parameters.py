"""Numbers that theories are told: refused out of range, and NaN there where they are traced."""

import operator
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import is_traced, parameter
from sgd_diffusion.analysis.guarded import where_known

__all__ = ["real"]


def real(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    what: str = "",
) -> Float[Array, ""]:
    """Return a parameter as a float64 scalar; NaN for a traced one out of range.

    Raises:
        InputError: the value is not one finite real number, or not in the range.
    """
    found = parameter(
        name, value, above=above, at_least=at_least, below=below, at_most=at_most, what=what
    )
    scalar = jnp.asarray(found, jnp.float64)
    if not is_traced(found):
        return scalar
    inside = jnp.isfinite(scalar)
    for holds, limit in (
        (operator.gt, above),
        (operator.ge, at_least),
        (operator.lt, below),
        (operator.le, at_most),
    ):
        if limit is not None:
            inside &= holds(scalar, limit)
    return where_known(inside, scalar)
