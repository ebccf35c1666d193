"""Parts that processes share: checked sizes, random directions, and positions from steps."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer, is_traced, number
from sgd_diffusion._types import Key

__all__ = ["MOST", "checked_size", "positions_from", "random_directions", "size_or_speed"]

MOST = 2**31 - 1  # steps or coordinates: int32 counts them


@jax.jit
def positions_from(steps: Any) -> Float[Array, "point ..."]:
    """Return positions from steps along the first axis, from the origin."""
    return jnp.concatenate([jnp.zeros_like(steps[:1]), steps]).cumsum(axis=0)


def checked_size(steps: Any, dim: Any, least_dim: int = 1) -> tuple[int, int]:
    """Return the numbers of steps and coordinates as integers.

    Raises:
        InputError: there are too few or too many.
    """
    return integer("steps", steps, 1, MOST), integer("dim", dim, least_dim, MOST)


def size_or_speed(name: str, value: Any) -> float | Array:
    """Return a length or a speed, which may be traced."""
    return value if is_traced(value) else number(name, value)


def random_directions(key: Key, count: int, dim: int) -> Float[Array, "count coordinate"]:
    """Return uniformly random unit vectors, (count, dim)."""
    vectors = jax.random.normal(key, (count, dim))
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
