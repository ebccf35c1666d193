"""Uniform numbers between 0 and 1, both excluded: the middles of equal cells."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from sgd_diffusion._types import Key

__all__ = ["open_uniform", "open_uniform_double", "open_uniform_of_words"]


def open_uniform(key: Key, shape: Sequence[Any]) -> Float[Array, "..."]:
    """Return uniform numbers in the default precision, with all bits that its mantissa holds."""
    uniform = jax.random.uniform(key, shape)
    return uniform + jnp.finfo(uniform.dtype).eps / 2


@functools.partial(jax.jit, static_argnames="shape")
def open_uniform_double(key: Key, shape: Sequence[Any]) -> Float[Array, "..."]:
    """Return uniform numbers of 52 bits, the same in and out of 64-bit mode.

    Bits of 64 at once compile in that mode only, so each number takes two words.
    """
    high, low = jax.random.bits(key, (2, *shape), jnp.uint32)
    return (high * 2.0**20 + (low >> 12) + 0.5) * 2.0**-52


def open_uniform_of_words(words: UInt32[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Return uniform numbers of 23 bits, one of each random word."""
    return ((words >> 9).astype(dtype) + 0.5) * 2.0**-23
