"""Training of many copies of one network at once, with all of their weights at equal distances.

A stride is the steps between two checkpoints. It is made by mini-batches, or by the full gradient
with normal noise of the same covariance.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgd_diffusion._types import Key
from sgd_diffusion.dynamics.batches import batch_indices, take_batch
from sgd_diffusion.dynamics.matched_noise import gradient_with_matched_noise
from sgd_diffusion.dynamics.sgd import Carry, resting_carry, sgd, sgd_step, update
from sgd_diffusion.problems.objectives import Problem

Stride = Callable[[Carry, Key, Array, Array], Carry]
"""`(carry, key, number, learning rate) -> carry`: the steps from checkpoint `number` to the next."""


def by_batches(problem: Problem, *, batch_size: int, steps: int) -> Stride:
    """Return the stride of SGD, whose epochs are permutations."""

    def stride(carry, key, number, learning_rate):
        first = number * steps
        rows = batch_indices(
            key, first, steps, num_examples=problem.num_examples, batch_size=batch_size
        )

        def step(carry, given):
            own, index = given
            batch = take_batch(problem, own, key)
            return sgd_step(problem, sgd(), carry, batch, learning_rate, index)[0], None

        return jax.lax.scan(step, carry, (rows, first + jnp.arange(steps)))[0]

    return stride


def by_matched_noise(problem: Problem, *, batch_size: int, scale: float, steps: int) -> Stride:
    """Return the stride of full gradients with normal noise.

    Args:
        problem: as `late_training.network` returns it.
        batch_size: of the mini-batches whose covariance the noise has.
        scale: what this covariance is multiplied with.
        steps: of a stride.
    """

    def stride(carry, key, number, learning_rate):
        def step(index, carry):
            loss, gradient = gradient_with_matched_noise(
                jax.random.fold_in(key, index),
                problem,
                carry.params,
                carry.state,
                batch_size=batch_size,
                scale=scale,
            )
            return update(sgd(), carry, loss, gradient, carry.state, learning_rate, index)[0]

        return jax.lax.fori_loop(number * steps, (number + 1) * steps, step, carry)

    return stride


def checkpoints(stride: Stride, strides: int) -> Callable[[Any, Key, Array], Any]:
    """Return `(params, keys, learning rate) -> params (point, copy, ...)`, compiled.

    Copies begin at the same weights and differ in their keys. A copy that diverges stays where it
    was. The first point is the beginning.
    """

    @jax.jit
    def trained(params, keys, learning_rate):
        def advance(carries, number):
            moved = _all_copies(stride)(carries, keys, number, learning_rate)
            return moved, moved.params

        begin = jax.vmap(lambda _: resting_carry(sgd(), params, ()))(keys)
        _, path = jax.lax.scan(advance, begin, jnp.arange(strides))
        return jax.tree.map(
            lambda first, rest: jnp.concatenate([first[None], rest]), begin.params, path
        )

    return trained


def ends(stride: Stride, strides: int) -> Callable[[Any, Key, Array, Array], Any]:
    """Return `(params, keys, number, learning rate) -> params (copy, ...)` at the end, compiled.

    Copies begin at the weights of checkpoint `number`, and make the strides that are left.
    """

    @jax.jit
    def continued(params, keys, number, learning_rate):
        def advance(number, carries):
            return _all_copies(stride)(carries, keys, number, learning_rate)

        begin = jax.vmap(lambda _: resting_carry(sgd(), params, ()))(keys)
        return jax.lax.fori_loop(number, strides, advance, begin).params

    return continued


def _all_copies(stride: Stride):
    return jax.vmap(stride, in_axes=(0, 0, None, None))
