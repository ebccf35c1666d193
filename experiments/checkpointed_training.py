"""Training of many copies of one network at once, with all of their weights at equal distances.

A stride is the steps between two checkpoints. It is made by mini-batches, or by the full gradient
with normal noise of the same covariance.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.plain_sgd import sgd_steps
from sgd_diffusion._types import Key
from sgd_diffusion.dynamics.matched_noise import gradient_with_matched_noise
from sgd_diffusion.dynamics.sgd import Carry, resting_carry, sgd, update
from sgd_diffusion.problems.objectives import Problem


class Setting(NamedTuple):
    """What a compiled training is told.

    Attributes:
        learning_rate: eta.
        steps: from one checkpoint to the next.
        noise: covariance of normal noise over that of single gradients; of no use to mini-batches.
    """

    learning_rate: Any
    steps: Any
    noise: Any = 0.0


Stride = Callable[[Carry, Key, Array, Setting], Carry]
"""`(carry, key, number, setting) -> carry`: the steps from checkpoint `number` to the next."""
Training = Callable[[Any, Key, int, Setting], Any]
"""`(params, keys (copy,), first, setting) -> params (point, copy, ...)`.

All copies begin at checkpoint `first` and at the same weights, and differ in their keys. Points
before it are zero. A copy that diverges stays where it was.
"""


def by_batches(problem: Problem, *, batch_size: int, steps: int) -> Stride:
    """Return the stride of SGD, whose epochs are permutations, of a fixed number of steps."""

    def stride(carry, key, number, setting):
        return sgd_steps(
            problem,
            carry,
            key,
            number * steps,
            steps,
            setting.learning_rate,
            batch_size=batch_size,
        )[0]

    return stride


def by_matched_noise(problem: Problem) -> Stride:
    """Return the stride of full gradients with normal noise of the covariance of gradients."""

    def stride(carry, key, number, setting):
        def step(index, carry):
            loss, gradient = gradient_with_matched_noise(
                jax.random.fold_in(key, index),
                problem,
                carry.params,
                carry.state,
                batch_size=1,
                sampling="replacement",
                scale=setting.noise,
            )
            rate, state = setting.learning_rate, carry.state
            return update(sgd(), carry, loss, gradient, state, rate, index)[0]

        return jax.lax.fori_loop(number * setting.steps, (number + 1) * setting.steps, step, carry)

    return stride


def training(stride: Stride, strides: int) -> Training:
    """Return a training of so many strides, compiled."""

    @jax.jit
    def train(params, keys, first, setting):
        def advance(number, state):
            carries, path = state
            carries = jax.vmap(stride, (0, 0, None, None))(carries, keys, number, setting)
            return carries, _with_point(path, number + 1, carries.params)

        begin = jax.vmap(lambda _: resting_carry(sgd(), params, ()))(keys)
        path = jax.tree.map(
            lambda leaf: jnp.zeros((strides + 1, *leaf.shape), leaf.dtype), begin.params
        )
        path = _with_point(path, first, begin.params)
        return jax.lax.fori_loop(first, strides, advance, (begin, path))[1]

    return train


def _with_point(path, number, params):
    return jax.tree.map(lambda leaf, own: leaf.at[number].set(own), path, params)
