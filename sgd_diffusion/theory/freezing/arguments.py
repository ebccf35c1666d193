"""How the theory of freezing reads its arguments.

What is known is checked by NumPy, as JAX would compile a program for each comparison and shape.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import is_traced, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid

__all__ = ["noise_strength", "of_one_shape", "slow_coordinate"]


def of_one_shape(**arguments: ArrayLike) -> list[Float[Array, "*shape"]]:
    """Return arguments of one shape, in float32 where all are floats of 4 bytes and fewer.

    Raises:
        InputError: one is no array of real numbers, or their shapes cannot be broadcast.
    """
    read = {name: real_array(name, value) for name, value in arguments.items()}
    single = all(
        jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize <= 4
        for value in read.values()
    )
    dtype = np.float32 if single else np.float64
    try:
        shape = np.broadcast_shapes(*(value.shape for value in read.values()))
    except ValueError:
        *others, last = ((name, value.shape) for name, value in read.items())
        expected = " and ".join(f"of {name} {shape}" for name, shape in others)
        raise invalid(
            last[0], f"has shape {last[1]}", f"one that can be broadcast with that {expected}"
        ) from None
    return [
        jnp.asarray(_module(value).broadcast_to(value.astype(dtype), shape))
        for value in read.values()
    ]


def slow_coordinate(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return y; NaN where a traced one is out of range.

    Raises:
        InputError: it is negative, or not finite.
    """
    return _known(
        "y",
        y,
        lambda values: (values >= 0) & (values < np.inf),
        "is negative or not finite",
        "the slow coordinate, at least 0",
    )


def noise_strength(noise: ArrayLike) -> Float[Array, "..."]:
    """Return Delta_S in float64; NaN where a traced one is out of range.

    Raises:
        InputError: it is not above 0, or not finite.
    """
    strength = jnp.asarray(real_array("noise", noise).astype(np.float64))
    return _known(
        "noise",
        strength,
        lambda values: (values > 0) & (values < np.inf),
        "is not above 0 or not finite",
        "Delta_S, the learning rate times sigma",
    )


def _known(name, values, in_range, wrong, expected):
    """Values; NaN where traced ones are out of range.

    Raises:
        InputError: known ones are.
    """
    if is_traced(values):
        return where_known(in_range(values), values)
    if not in_range(np.asarray(values)).all():
        raise invalid(name, wrong, expected)
    return values


def _module(values: Any) -> Any:
    return np if isinstance(values, np.ndarray) else jnp
