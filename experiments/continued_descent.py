"""Where the slope alone leads from points of a path: gradient descent that stops when it is done.

The descent from a point has no noise, so its end is that of the valley in which the point lies.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgd_diffusion.dynamics.sgd import loss_and_gradient
from sgd_diffusion.problems.objectives import Problem

STOP_LOSS = 5e-3  # of the training examples, all of which have to be right as well
STOP_AFTER = 3  # looks at it, one after the other


class Looks(NamedTuple):
    """When it is looked whether the descent is done.

    Attributes:
        every: steps between two looks.
        earliest: steps before the first that counts.
    """

    every: int
    earliest: int


def looks(learning_rate: float) -> Looks:
    """Return the looks of Yang et al. at a step size."""
    # The inverse of 0.1 and the like is a whole number and a little.
    return Looks(
        max(10, math.ceil(1 / learning_rate - 1e-9)), max(100, math.ceil(5 / learning_rate - 1e-9))
    )


def descent(problem: Problem) -> Callable[[Any, Array, Array, Looks], tuple[Any, Array]]:
    """Return `(params, steps left, learning rate, looks) -> (params, steps made)`, compiled.

    All branches (branch, ...) descend side by side. One that is done stays where it is until the
    last one is done. A branch is done when no steps are left, or when three looks in succession
    find a loss of at most 5e-3 and no training example wrong.
    """

    def one(params, left, learning_rate, looks):
        def step(_, params):
            gradient = loss_and_gradient(problem, params, (), problem.examples)[1]
            return jax.tree.map(lambda w, g: w - learning_rate * g, params, gradient)

        def on(state):
            params, made, good = state
            count = jnp.minimum(looks.every, left - made)
            params, made = jax.lax.fori_loop(0, count, step, params), made + count
            done = is_done(problem, params) & (made >= looks.earliest)
            return params, made, jnp.where(done, good + 1, 0)

        def unfinished(state):
            _, made, good = state
            return (made < left) & (good < STOP_AFTER)

        params, made, _ = jax.lax.while_loop(unfinished, on, (params, 0, 0))
        return params, made

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None, None)))


def is_done(problem: Problem, params: Any) -> Array:
    """Return whether the loss is small and every training example right."""
    loss, (_, logits) = problem.loss(params, (), problem.examples, False)
    right = logits.argmax(axis=-1) == problem.examples.labels
    return (loss <= STOP_LOSS) & right.all()
