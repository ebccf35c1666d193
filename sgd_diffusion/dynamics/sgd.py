"""How it moves: one pure step of SGD, frozen where the run has diverged."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sgd_diffusion._arrays import number
from sgd_diffusion.dynamics.parameters import check_parameters, computing_dtype, real_parts
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.objectives import Problem

ALIVE = -1


class Carry(NamedTuple):
    """Where a member of the ensemble stands after some number of updates."""

    params: Any
    state: Any  # what the problem carries along without optimising it, e.g. batch-norm averages
    optimizer_state: Any
    diverged_at: (
        jax.Array
    )  # () int32, the update that could not be made; ALIVE (-1) while all is well


class StepInfo(NamedTuple):
    """What one step saw, all of it at the point before the update."""

    loss: jax.Array  # () mini-batch loss
    gradient: Any  # mini-batch gradient of the loss, like params
    increment: Any  # w_{t+1} - w_t, like the real parts of params, as it was rounded; zero where the member is frozen


def sgd(*, momentum: float = 0.0, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Heavy-ball SGD up to its learning rate: buf <- momentum buf + (gradient + weight_decay w),
    the update is -buf.

    The learning rate is left out because it is traced: it multiplies the update in `sgd_step`.
    """
    momentum, weight_decay = (
        number("momentum", momentum, at_least=0, below=1),
        number("weight_decay", weight_decay, at_least=0),
    )
    parts = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
    parts += [optax.trace(decay=momentum)] if momentum else []
    return optax.chain(*parts, optax.scale(-1.0))


def initial_carry(
    problem: Problem, optimizer: optax.GradientTransformation, key: jax.Array
) -> Carry:
    """The carry before the first update, from the key of the initialisation."""
    params, state = problem.init(key)
    return Carry(params, state, optimizer.init(params), jnp.int32(ALIVE))


def loss_and_gradient(problem: Problem, params, state, batch) -> tuple[jax.Array, Any, Any]:
    """Mean loss of a batch in training mode, its gradient, and the state that the evaluation
    leaves.

    The gradient by a complex parameter w = a + ib is dL/da + i dL/db, along which the loss rises
    most; `jax.grad` gives its conjugate.

    Raises:
        InputError: for parameters that are not floating or complex, or a loss of another form than
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


def _check_loss(found, state) -> None:
    """Raise InputError unless a loss returned (loss, (state, outputs)), the state like the one that
    it was given.
    """
    if not (
        isinstance(found, tuple)
        and len(found) == 2
        and isinstance(found[1], tuple)
        and len(found[1]) == 2
    ):
        raise InputError(
            f"loss of the problem returned {type(found).__name__}; expected (loss, (state, "
            "outputs)), the state like the one that it is given, and None where there are no "
            "outputs"
        )
    value = jnp.asarray(found[0])
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(
            f"loss of the problem returned {jax.typeof(value)}; expected a real floating scalar, "
            "the mean over the batch"
        )
    before, after = (
        jax.tree.map(lambda leaf: str(jax.typeof(leaf)).lstrip("~"), tree)
        for tree in (state, found[1][0])
    )
    if before != after:
        raise InputError(
            f"loss of the problem turned the state {before} into {after}; expected the same names, "
            "shapes and dtypes: convert it with .astype"
        )


def sgd_step(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    carry: Carry,
    batch,
    learning_rate,
    step,
) -> tuple[Carry, StepInfo]:
    """One update w_{t+1} = w_t - learning_rate * buf_t on a mini-batch; see `update` for a member
    that diverges.
    """
    loss, gradient, state = loss_and_gradient(problem, carry.params, carry.state, batch)
    return update(optimizer, carry, loss, gradient, state, learning_rate, step)


def update(
    optimizer: optax.GradientTransformation,
    carry: Carry,
    loss,
    gradient,
    state,
    learning_rate,
    step,
) -> tuple[Carry, StepInfo]:
    """One update w_{t+1} = w_t - learning_rate * buf_t by a gradient, wherever that comes from.

    The update is made only if loss, gradient and new weights are finite; otherwise the member stays
    where it is for good and `diverged_at` is `step`.
    """
    direction, optimizer_state = optimizer.update(gradient, carry.optimizer_state, carry.params)
    params = jax.tree.map(
        lambda w, d: w + _scaled(learning_rate, d).astype(w.dtype), carry.params, direction
    )
    alive = (carry.diverged_at == ALIVE) & _all_finite((loss, gradient, params))
    # A barrier, so that the increment is the difference of the weights as they were rounded and
    # stored, not of a copy of the sum that the compiler made again with a fused multiply-add.
    params = jax.lax.optimization_barrier(params)
    moved = Carry(params, state, optimizer_state, carry.diverged_at)
    frozen = carry._replace(
        diverged_at=jnp.where(carry.diverged_at == ALIVE, jnp.int32(step), carry.diverged_at)
    )
    following = jax.tree.map(lambda new, old: jnp.where(alive, new, old), moved, frozen)
    increment = jax.tree.map(jnp.subtract, real_parts(following.params), real_parts(carry.params))
    return following, StepInfo(loss, gradient, increment)


def _scaled(learning_rate, direction: jax.Array) -> jax.Array:
    dtype = computing_dtype(direction.dtype)  # 16 bits round the product once, into the weights
    return jnp.asarray(learning_rate, dtype) * direction.astype(dtype)


def _all_finite(tree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
