"""How the theory of freezing reads its arguments."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import is_traced, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid

__all__ = ["noise_strength", "of_one_shape"]


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
    arrays = [jnp.asarray(value, jnp.float32 if single else jnp.float64) for value in read.values()]
    try:
        return jnp.broadcast_arrays(*arrays)
    except ValueError:
        *others, last = ((name, value.shape) for name, value in read.items())
        expected = " and ".join(f"of {name} {shape}" for name, shape in others)
        raise invalid(
            last[0], f"has shape {last[1]}", f"one that can be broadcast with that {expected}"
        ) from None


def noise_strength(noise: ArrayLike) -> Float[Array, "..."]:
    """Return Delta_S in float64; NaN where a traced one is out of range.

    Raises:
        InputError: it is not above 0, or not finite.
    """
    strength = jnp.asarray(real_array("noise", noise), jnp.float64)
    known = (strength > 0) & (strength < jnp.inf)
    if not is_traced(strength) and not bool(known.all()):
        raise invalid(
            "noise", "is not above 0 or not finite", "Delta_S, the learning rate times sigma"
        )
    return where_known(known, strength)
