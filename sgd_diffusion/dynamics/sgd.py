"""How SGD moves: one pure step, and a member that stays where its run has diverged."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._arrays import number, usual_promotion
from sgd_diffusion._types import ArrayLike, Key, NumberLike, PyTree
from sgd_diffusion.dynamics.parameters import check_parameters, computing_dtype, real_parts
from sgd_diffusion.dynamics.schedules import LearningRate
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = [
    "ALIVE",
    "Carry",
    "StepInfo",
    "initial_carry",
    "loss_and_gradient",
    "resting_carry",
    "sgd",
    "sgd_step",
    "update",
]

ALIVE = -1
"""The value of `Carry.diverged_at` while all is well."""


class Carry(NamedTuple):
    """Where a member of the ensemble stands after some number of updates.

    Attributes:
        params: pytree of arrays, the point w.
        state: what the problem carries along and does not optimize, such as batch-norm averages.
        optimizer_state: state of the optimizer, such as the momentum buffer.
        diverged_at: (...) int32, () for one member: the update that could not be made; -1 while
            all is well.
        average: like params, the averaged weights (see `Plan.average`), or None.
    """

    params: PyTree
    state: PyTree
    optimizer_state: PyTree
    diverged_at: Int[Array | np.ndarray, "*members"]
    average: PyTree | None = None


class StepInfo(NamedTuple):
    """What one step saw, all of it at the point before the update.

    Attributes:
        loss: () mini-batch loss.
        gradient: the gradient that the step was made by, like params.
        increment: w_{t+1} - w_t, like the real parts of params, as it was rounded; zero where the
            member is frozen.
    """

    loss: Float[Array, ""]
    gradient: PyTree
    increment: PyTree


def sgd(
    *, momentum: NumberLike = 0.0, weight_decay: NumberLike = 0.0
) -> optax.GradientTransformation:
    r"""Return heavy-ball SGD as an optax transformation, up to the learning rate.

    buf <- momentum buf + (gradient + weight_decay w), and the update is -buf. The learning rate
    multiplies the update in `sgd_step`, because it is traced.

    Formula:
        Heavy-ball SGD. $b_t = \mu b_{t-1} + \nabla L_t(w_t) + \lambda w_t, \quad w_{t+1} = w_t -
        \eta b_t$ (Polyak, USSR Comput. Math. Math. Phys. 4, 1, 1964)

    Args:
        momentum: in [0, 1).
        weight_decay: at least 0.

    Raises:
        InputError: a number is outside its range.
    """
    momentum, weight_decay = (
        number("momentum", momentum, at_least=0, below=1),
        number("weight_decay", weight_decay, at_least=0),
    )
    parts = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
    parts += [optax.trace(decay=momentum)] if momentum else []
    return optax.chain(*parts, optax.scale(-1.0))


def initial_carry(problem: Problem, optimizer: optax.GradientTransformation, key: Key) -> Carry:
    """Return the carry before the first update, from the key of the initialization.

    Args:
        problem: what SGD optimizes.
        optimizer: as returned by `sgd`.
        key: PRNG key of the initialization.
    """
    return resting_carry(optimizer, *problem.init(key))


def resting_carry(optimizer: optax.GradientTransformation, params: PyTree, state: PyTree) -> Carry:
    """Return the carry of a member at rest at a point, with a momentum of zero.

    Args:
        optimizer: as returned by `sgd`.
        params: the point.
        state: the problem's state there.
    """
    return Carry(params, state, optimizer.init(params), jnp.int32(ALIVE))


def loss_and_gradient(
    problem: Problem, params: PyTree, state: PyTree, batch: PyTree
) -> tuple[Float[Array, ""], PyTree, PyTree]:
    """Return the mean loss of a batch in training mode, its gradient, and the state after it.

    The gradient by a complex parameter w = a + ib is dL/da + i dL/db, along which the loss rises
    most; `jax.grad` gives its conjugate.

    Raises:
        InputError: parameters are not floating or complex, or the loss has another form than
            `Problem` says.
    """
    check_parameters(params)

    def loss(params):
        found = problem.loss(params, state, batch, True)
        _check_loss(found, state)
        return found[0], found[1][0]

    (value, state_after), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    gradient = jax.tree.map(
        lambda leaf: jnp.conj(leaf) if jnp.iscomplexobj(leaf) else leaf, gradient
    )
    return value, gradient, state_after


def _check_loss(found: Any, state: PyTree) -> None:
    """Raise InputError unless `found` is (loss, (state, outputs)) and the state keeps its form."""
    if not (
        isinstance(found, tuple)
        and len(found) == 2
        and isinstance(found[1], tuple)
        and len(found[1]) == 2
    ):
        raise invalid(
            "loss of the problem",
            f"returned {type(found).__name__}",
            "(loss, (state, outputs))",
            "the state has the form of the one given to the loss, and outputs may be None",
        )
    value = jnp.asarray(found[0])
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise invalid(
            "loss of the problem",
            f"returned {jax.typeof(value)}",
            "a real floating scalar, the mean over the batch",
        )
    before, after = (
        jax.tree.map(lambda leaf: str(jax.typeof(leaf)).lstrip("~"), tree)
        for tree in (state, found[1][0])
    )
    if before != after:
        raise invalid(
            "loss of the problem",
            f"turned the state {before} into {after}",
            "the same names, shapes and dtypes",
            "convert it with .astype",
        )


def sgd_step(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    carry: Carry,
    batch: PyTree,
    learning_rate: LearningRate,
    step: ArrayLike,
) -> tuple[Carry, StepInfo]:
    """Make one update w_{t+1} = w_t - learning_rate * buf_t on a mini-batch.

    Args:
        problem: what SGD optimizes.
        optimizer: as returned by `sgd`.
        carry: where the member stands.
        batch: like `Problem.examples`, with B rows.
        learning_rate: () step size, may be traced, or a function of the number of the update.
        step: () number of the update, may be traced.

    Returns:
        The carry after the update (see `update` for a member that diverges), and what the step saw.
    """
    loss, gradient, state = loss_and_gradient(problem, carry.params, carry.state, batch)
    return update(optimizer, carry, loss, gradient, state, learning_rate, step)


def update(
    optimizer: optax.GradientTransformation,
    carry: Carry,
    loss: ArrayLike,
    gradient: PyTree,
    state: PyTree,
    learning_rate: LearningRate,
    step: ArrayLike,
) -> tuple[Carry, StepInfo]:
    """Make one update w_{t+1} = w_t - learning_rate * buf_t by a gradient, whatever its source.

    The update is made only if loss, gradient and new weights are finite. Otherwise the member stays
    where it is for good, and `diverged_at` is `step`.
    """
    with usual_promotion():
        direction, optimizer_state = optimizer.update(gradient, carry.optimizer_state, carry.params)
        rate = learning_rate(step) if callable(learning_rate) else learning_rate
    params = jax.tree.map(
        lambda w, d: w + _scaled(rate, d).astype(w.dtype), carry.params, direction
    )
    alive = (carry.diverged_at == ALIVE) & _all_finite(loss, gradient, params)
    # The increment is to be the difference of the weights as they were rounded and stored. Without
    # the barrier the compiler may compute the sum again, with a fused multiply-add.
    params = jax.lax.optimization_barrier(params)
    moved = carry._replace(params=params, state=state, optimizer_state=optimizer_state)
    frozen = carry._replace(
        diverged_at=jnp.where(carry.diverged_at == ALIVE, jnp.int32(step), carry.diverged_at)
    )
    following = jax.tree.map(lambda new, old: jnp.where(alive, new, old), moved, frozen)
    increment = jax.tree.map(jnp.subtract, real_parts(following.params), real_parts(carry.params))
    return following, StepInfo(loss, gradient, increment)


def _scaled(learning_rate: ArrayLike, direction: Array) -> Array:
    dtype = computing_dtype(direction.dtype)  # so 16 bits are rounded once, into the weights
    return jnp.asarray(learning_rate, dtype) * direction.astype(dtype)


def _all_finite(loss: ArrayLike, gradient: PyTree, params: PyTree) -> Bool[Array, ""]:
    """Return whether the loss, the gradient and the new weights are finite."""
    leaves = zip(*map(jax.tree.leaves, (gradient, params)), strict=True)
    finite = jnp.stack(
        [jnp.isfinite(loss), *(jnp.all(jnp.isfinite(d) & jnp.isfinite(w)) for d, w in leaves)]
    )
    # They are counted, because XLA turns `all` into a chain of conjunctions, and computes it once
    # more for every leaf that depends on it. That was half of the program of a small ResNet.
    return jnp.sum(finite) == finite.size
