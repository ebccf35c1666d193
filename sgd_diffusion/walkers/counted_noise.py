"""Draw normal numbers by counters: those of one step of one walker, and of no other.

Nothing is carried from step to step. So a walker has the same noise alone, among others, and on any
device. The generators of JAX are counters too. On CPU their rounds are a loop over memory, though,
and the cosine takes one number after the other. What is here is fused with the step of the walker.
"""

import functools
import math
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt32

from sgd_diffusion.analysis.draws import open_uniform_of_words

__all__ = ["hashed", "normal_pair"]

Words: TypeAlias = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
TERMS = 7  # of the series of sine and cosine up to a quarter turn: exact in float32


def normal_pair(
    key: Words, step: UInt32[Array, "..."], walker: UInt32[Array, "..."]
) -> tuple[Float32[Array, "..."], Float32[Array, "..."]]:
    """Return two independent standard normal numbers for a step of a walker (Box and Muller 1958).

    Their largest distance from 0 is 5.8, since a uniform number has 23 bits.

    Args:
        key: the two words of a PRNG key.
        step: number of the step.
        walker: number of the walker. Shapes are broadcast.

    Returns:
        Two arrays of normal numbers.
    """
    radius, angle = (
        open_uniform_of_words(word, jnp.float32) for word in hashed(key, (step, walker))
    )
    radius = jnp.sqrt(-2 * jnp.log(radius))
    cosine, sine = _circle(angle)
    return radius * cosine, radius * sine


def hashed(key: Words, counter: Words) -> Words:
    """Return two random words: Threefry-2x32 of 20 rounds (Salmon et al. 2011), as in `jax.random`.

    Args:
        key: two words.
        counter: two words.

    Returns:
        Two words.
    """
    keys = (*key, key[0] ^ key[1] ^ jnp.uint32(PARITY))
    one, other = counter[0] + keys[0], counter[1] + keys[1]
    for turn in range(5):
        for distance in ROTATIONS[turn % 2]:
            one = one + other
            other = one ^ ((other << distance) | (other >> (32 - distance)))
        one = one + keys[(turn + 1) % 3]
        other = other + keys[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return one, other


def _circle(turns):
    """Return cosine and sine of minus a half to a half turn, by their series at half the angle."""
    angle = math.pi * (turns - 0.5)
    square = angle * angle

    def series(first):
        """Sum (-angle^2)^k / (2k + first)!."""
        terms = [(-1) ** k / math.factorial(2 * k + first) for k in reversed(range(TERMS))]
        return functools.reduce(lambda total, term: total * square + term, terms)

    cosine, sine = series(0), angle * series(1)
    return (cosine - sine) * (cosine + sine), 2 * sine * cosine
