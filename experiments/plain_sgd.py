"""Steps of plain SGD, one after the other, as a part of programs that measure something else."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sgd_diffusion._types import Key
from sgd_diffusion.dynamics.batches import batch_indices, take_batch
from sgd_diffusion.dynamics.sgd import Carry, sgd, sgd_step
from sgd_diffusion.problems.objectives import Problem


def sgd_steps(
    problem: Problem,
    carry: Carry,
    key: Key,
    start: Any,
    steps: int,
    learning_rate: Any,
    *,
    batch_size: int,
    sampling: str = "epochs",
    watch: Callable[[Carry], Any] = lambda carry: None,
) -> tuple[Carry, Any]:
    """Return the carry after so many steps, and what was seen before each of them.

    Args:
        problem: what SGD optimizes.
        carry: where it stands.
        key: of the order of the data.
        start: () number of the first step, may be traced.
        steps: their number.
        learning_rate: () step size, may be traced.
        batch_size: examples in a mini-batch.
        sampling: "epochs" or "replacement" (see `batches.batch_indices`).
        watch: what is kept of a carry.

    Returns:
        The carry, and what `watch` gives, with a leading axis of steps.
    """
    rows = batch_indices(
        key,
        start,
        steps,
        num_examples=problem.num_examples,
        batch_size=batch_size,
        sampling=sampling,
    )

    def step(carry, given):
        number, own = given
        batch = take_batch(problem, own, key)
        moved, _ = sgd_step(problem, sgd(), carry, batch, learning_rate, number)
        return moved, watch(carry)

    return jax.lax.scan(step, carry, (start + jnp.arange(steps), rows))
