"""How the theory of freezing reads its arguments."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import is_traced, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid

__all__ = ["noise_strength", "of_one_shape", "slow_coordinate"]

Numbers = Float[Array | np.ndarray, "..."]  # those of NumPy are converted by the compiled programs


def of_one_shape(**arguments: ArrayLike) -> list[Numbers]:
    """Return arguments of one shape, in float32 where all are floats of 4 bytes and fewer.

    Raises:
        InputError: one is no array of real numbers, or their shapes cannot be broadcast.
    """
    read = {name: real_array(name, value) for name, value in arguments.items()}
    single = all(
        jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize <= 4
        for value in read.values()
    )
    module: Any = np if all(isinstance(value, np.ndarray) for value in read.values()) else jnp
    arrays = [
        module.asarray(value, np.float32 if single else np.float64) for value in read.values()
    ]
    try:
        return list(module.broadcast_arrays(*arrays))
    except ValueError:
        *others, last = ((name, value.shape) for name, value in read.items())
        expected = " and ".join(f"of {name} {shape}" for name, shape in others)
        raise invalid(
            last[0], f"has shape {last[1]}", f"one that can be broadcast with that {expected}"
        ) from None


def slow_coordinate(y: Numbers) -> Numbers:
    """Return y; NaN where a traced one is out of range.

    Raises:
        InputError: it is negative, or not finite.
    """
    known = (y >= 0) & (y < np.inf)
    if is_traced(y):
        return where_known(known, jnp.asarray(y))
    if not known.all():
        raise invalid("y", "is negative or not finite", "the slow coordinate, at least 0")
    return y


def noise_strength(noise: ArrayLike) -> Numbers:
    """Return Delta_S in float64; NaN where a traced one is out of range.

    Raises:
        InputError: it is not above 0, or not finite.
    """
    strength = real_array("noise", noise).astype(np.float64)
    known = (strength > 0) & (strength < np.inf)
    if is_traced(strength):
        return where_known(known, jnp.asarray(strength))
    if not known.all():
        raise invalid(
            "noise", "is not above 0 or not finite", "Delta_S, the learning rate times sigma"
        )
    return strength
