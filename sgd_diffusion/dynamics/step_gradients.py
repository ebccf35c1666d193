"""By which gradient a step is made: of a mini-batch, of all examples, or of these with noise.

Without mini-batches the loss is that of all examples, the mean over a fixed partition into batches,
with their augmentation drawn once (see `gradient_descent`). The noise is fresh at every update. The
state of the problem, such as averages of batch norm, sees the mini-batch of the update, as in SGD.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._types import ArrayLike, Key, PyTree
from sgd_diffusion.dynamics.batches import mean_over_batches, take_batch
from sgd_diffusion.dynamics.gradient_descent import TWIN, full_batch_gradient
from sgd_diffusion.dynamics.matched_noise import (
    check_mean_over_examples,
    gradient_with_matched_noise,
)
from sgd_diffusion.dynamics.sgd import Carry, loss_and_gradient
from sgd_diffusion.dynamics.sharpness import uphill
from sgd_diffusion.dynamics.white_noise import gradient_with_white_noise
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.label_noise import FRESH
from sgd_diffusion.problems.objectives import Problem

__all__ = ["MINIBATCH", "NOISES", "StepGradient", "check_noise", "step_gradient", "step_loss"]

NOISES = ("minibatch", "none", "white", "gaussian")
"""The kinds of gradient noise."""

NOISE = TWIN + 1  # folded into a member's augmentation key for its noise


class StepGradient(NamedTuple):
    """By which gradient the steps of a plan are made.

    Attributes:
        noise: one of `NOISES`.
        variance: of every coordinate of white noise, or None for the strength of mini-batches.
        sampling: "epochs" or "replacement", whose mini-batches the noise is like.
        radius: of SAM (see `sharpness.uphill`), or 0.
    """

    noise: str = "minibatch"
    variance: float | None = None
    sampling: str = "epochs"
    radius: float = 0.0


MINIBATCH = StepGradient()


def check_noise(
    kind: StepGradient, problem: Problem, batch_size: int, *, full_batch_twin: bool
) -> None:
    """Refuse noise that a problem cannot have.

    Raises:
        InputError: normal noise of the covariance of mini-batches for a loss that is no mean over
            examples, white noise as strong as that of a batch which is all examples, or labels
            drawn anew at every update where a gradient of all examples is asked for, which draws
            them once.
    """
    if FRESH in problem.description and (full_batch_twin or kind.noise != "minibatch"):
        asked = "full_batch_twin (--full-batch-twin)" if full_batch_twin else "noise (--noise)"
        raise invalid(
            asked,
            f"is {full_batch_twin or kind.noise!r} while labels are drawn anew at every update",
            "False" if full_batch_twin else "'minibatch'",
            "a full-batch gradient keeps one draw of them, and the network could learn it by "
            "heart; take label noise that is drawn once (--label-noise)",
        )
    if kind.noise == "gaussian":
        check_mean_over_examples(problem)
    all_examples = batch_size >= problem.num_examples
    if kind == StepGradient("white", None, "replacement", kind.radius) and all_examples:
        raise invalid(
            "batch_size",
            f"is {batch_size}, all training examples, while noise is 'white'",
            f"at most {problem.num_examples - 1}",
            "the strength of the noise is measured on two or more batches; or set noise_variance",
        )


def step_gradient(
    kind: StepGradient,
    problem: Problem,
    carry: Carry,
    rows: ArrayLike,
    augmentation_key: Key,
    step: ArrayLike,
) -> tuple[Float[Array, ""], PyTree, PyTree]:
    """Return the loss where a member stands, the gradient of its update, and the state after it.

    Args:
        kind: which gradient.
        problem: what is optimized.
        carry: where the member stands.
        rows: (B,) rows of the examples of the mini-batch.
        augmentation_key: key of the member's augmentation, from which the noise has its own.
        step: () number of the update, may be traced.
    """
    batch = _batch(problem, rows, augmentation_key, step)
    if kind.noise == "minibatch":

        def evaluate(params):
            return loss_and_gradient(problem, params, carry.state, batch)

    else:
        gradient = _without_batches(kind, problem, carry, rows, augmentation_key, step)
        state = problem.loss(carry.params, carry.state, batch, True)[1][0]

        def evaluate(params):
            return *gradient(params), state

    return uphill(evaluate, kind.radius)(carry.params)


def step_loss(
    kind: StepGradient,
    problem: Problem,
    carry: Carry,
    rows: ArrayLike,
    augmentation_key: Key,
    step: ArrayLike,
) -> Float[Array, ""]:
    """Return the loss alone of `step_gradient`."""

    def loss(batch):
        return problem.loss(carry.params, carry.state, batch, True)[0]

    if kind.noise == "minibatch":
        return loss(_batch(problem, rows, augmentation_key, step))
    return mean_over_batches(
        problem,
        loss,
        jnp.arange(problem.num_examples),
        batch_size=jnp.shape(rows)[0],
        augmentation_key=jax.random.fold_in(augmentation_key, TWIN),
    )[0]


def _batch(problem, rows, augmentation_key, step):
    return take_batch(problem, rows, jax.random.fold_in(augmentation_key, step))


def _without_batches(
    kind: StepGradient, problem: Problem, carry: Carry, rows, augmentation_key: Key, step
) -> Callable[[PyTree], tuple[Float[Array, ""], PyTree]]:
    """Return `params -> (loss, gradient)` of all examples, with the noise of an update."""
    options = {
        "batch_size": jnp.shape(rows)[0],
        "augmentation_key": jax.random.fold_in(augmentation_key, TWIN),
    }
    key = jax.random.fold_in(jax.random.fold_in(augmentation_key, NOISE), step)

    def gradient(params):
        if kind.noise == "none":
            return full_batch_gradient(problem, params, carry.state, **options)
        options["sampling"] = kind.sampling
        if kind.noise == "gaussian":
            return gradient_with_matched_noise(key, problem, params, carry.state, **options)
        return gradient_with_white_noise(
            key, problem, params, carry.state, variance=kind.variance, **options
        )

    return gradient
