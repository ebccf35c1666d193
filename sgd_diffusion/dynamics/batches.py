"""Which examples each step sees, as a pure function of (key, step).

So a run can start anywhere in its own history.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgd_diffusion._arrays import integer, is_traced
from sgd_diffusion._pytrees import mean_over_parts
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, PyTree
from sgd_diffusion.dynamics.shards import spread
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = ["SAMPLINGS", "batch_indices", "mean_over_batches", "take_batch"]

SAMPLINGS = ("epochs", "replacement")


def batch_indices(
    key: Key,
    start: IntegerLike,
    num_steps: IntegerLike,
    *,
    num_examples: IntegerLike,
    batch_size: IntegerLike,
    sampling: str = "epochs",
) -> Int[Array, "step example"]:
    """Return the rows of the examples in the mini-batches of consecutive steps.

    The result depends on `key` and the absolute steps alone: any two calls agree on the steps that
    they share.

    Args:
        key: the key of the data order.
        start: first step, counted from 0; may be traced.
        num_steps: number of steps, static.
        num_examples: number of training examples.
        batch_size: examples in a batch.
        sampling: "epochs": every epoch is a fresh permutation cut into num_examples // batch_size
            full batches (the rest of the permutation is left out of that epoch). "replacement":
            examples are drawn independently.

    Returns:
        (num_steps, batch_size) int32, for the steps start, ..., start + num_steps - 1.

    Raises:
        InputError: the batch is larger than the data, or the sampling is unknown.
    """
    num_steps, num_examples = (
        integer("num_steps", num_steps, 1),
        integer("num_examples", num_examples, 1, 2**31 - 1),
    )
    batch_size = integer(
        "batch_size", batch_size, 1, num_examples, what="(at most all training examples)"
    )
    if not isinstance(sampling, str) or sampling not in SAMPLINGS:
        raise invalid("sampling", f"is {sampling!r}", f"one of {', '.join(SAMPLINGS)}")
    start = jnp.asarray(
        start if is_traced(start) else integer("start", start, 0, 2**31 - 1), jnp.int32
    )
    return _batch_indices(key, start, num_steps, num_examples, batch_size, sampling)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _batch_indices(key, start, num_steps, num_examples, batch_size, sampling):
    steps = start + jnp.arange(num_steps, dtype=jnp.int32)
    if sampling == "replacement":

        def draw(step):
            return jax.random.randint(
                jax.random.fold_in(key, step), (batch_size,), 0, num_examples, dtype=jnp.int32
            )

        return jax.vmap(draw)(steps)

    steps_per_epoch = num_examples // batch_size
    first = start // steps_per_epoch
    epochs = first + jnp.arange((num_steps - 1) // steps_per_epoch + 2, dtype=jnp.int32)

    def shuffle(epoch):
        order = jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)
        return order[: steps_per_epoch * batch_size].reshape(steps_per_epoch, batch_size)

    # One epoch at a time, because a permutation sorts num_examples keys.
    orders = jax.lax.map(shuffle, epochs).reshape(-1, batch_size)
    return orders[steps - first * steps_per_epoch].astype(jnp.int32)


def take_batch(problem: Problem, rows: ArrayLike, key: Key) -> PyTree:
    """Return the training examples in `rows` (B,), augmented if the problem has an augmentation.

    Args:
        problem: has the examples.
        rows: (B,) integers.
        key: of the augmentation.
    """
    batch = spread(jax.tree.map(lambda leaf: leaf[rows], problem.examples))
    return batch if problem.augment is None else problem.augment(key, batch)


def mean_over_batches(
    problem: Problem,
    function: Callable[[PyTree], PyTree],
    rows: ArrayLike,
    *,
    batch_size: int,
    augmentation_key: Key,
    keep: Callable[[PyTree], PyTree] = lambda value: None,
) -> tuple[PyTree, PyTree]:
    """Return the mean of a function over the batches into which some examples are cut.

    The batches are taken one after the other, in one `lax.scan`.

    Args:
        problem: has the examples.
        function: `batch -> pytree of arrays`.
        rows: (N,) rows of the examples; batch b takes those from b * batch_size on.
        batch_size: examples in a batch; the last one has fewer where they do not divide N.
        augmentation_key: key of the augmentation; the number of the batch is folded in.
        keep: what is kept of the value of a batch, as arrays; nothing unless given.

    Returns:
        The sum over batches b of B_b / N times the value of batch b, and what is kept of the N //
        batch_size full batches, stacked along a leading axis.
    """

    def evaluate(number, own):
        return function(take_batch(problem, own, jax.random.fold_in(augmentation_key, number)))

    return mean_over_parts(evaluate, rows, batch_size, keep=keep)
