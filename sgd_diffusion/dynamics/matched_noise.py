"""Gradient descent with normal noise that has the covariance of mini-batches.

It separates noise from step size. At a small step size it has the noise that SGD has at a large
one, where mini-batches small enough do not exist. And it separates the covariance of mini-batches
from all else that they have: their higher moments, and the memory of an epoch.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer, parameter
from sgd_diffusion._types import IntegerLike, Key, NumberLike, PyTree
from sgd_diffusion.dynamics.batches import SAMPLINGS, take_batch
from sgd_diffusion.dynamics.gradient_descent import full_batch_gradient
from sgd_diffusion.dynamics.parameters import real_parts
from sgd_diffusion.dynamics.sgd import loss_and_gradient
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = ["check_mean_over_examples", "gradient_with_matched_noise"]

EXAMPLES = 4  # of a batch that is compared with them one by one
ROUNDING = 1e-2  # of their gradients; batch norm makes differences of the order of 1


def gradient_with_matched_noise(
    key: Key,
    problem: Problem,
    params: PyTree,
    state: PyTree,
    *,
    batch_size: IntegerLike,
    sampling: str = "epochs",
    scale: NumberLike = 1.0,
    augmentation_key: Key | None = None,
) -> tuple[Float[Array, ""], PyTree]:
    r"""Return the gradient of all examples with normal noise of the covariance of mini-batches.

    The losses of examples are weighted with normal numbers less their mean. So one backward pass
    gives gradient and noise, and no covariance is estimated. A step costs as much as one of
    full-batch gradient descent.

    Formula:
        Matched noise. $\sum_n \left[ \frac{1}{N} + \sqrt{\frac{s}{N B}} (z_n - \bar{z}) \right]
        \nabla \ell_n, \quad z_n \sim N(0, 1), \quad \mathrm{Cov} = \frac{s}{B} C$ (definition; C is
        the covariance of gradients, and s has the factor (N - B) / (N - 1) without replacement)

    Args:
        key: PRNG key of the noise.
        problem: a loss that is a mean over examples, without batch norm or random layers.
        params: the point.
        state: the problem's state there.
        batch_size: B in 1..N.
        sampling: "epochs" or "replacement", whose covariance of a single batch is taken.
        scale: what the covariance is multiplied with, at least 0; may be traced.
        augmentation_key: with a key the examples are augmented by it and evaluated in batches, as
            by `gradient_descent.full_batch_gradient`. None takes them as they are and all at once.

    Returns:
        The loss () of all examples, without noise, and the gradient, like params.

    Raises:
        InputError: the batch is larger than the data, the sampling is unknown, or the scale is
            negative.
    """
    count = problem.num_examples
    batch_size = integer("batch_size", batch_size, 1, count, what="(all training examples)")
    scale = parameter("scale", scale, at_least=0)
    if not isinstance(sampling, str) or sampling not in SAMPLINGS:
        raise invalid("sampling", f"is {sampling!r}", f"one of {', '.join(SAMPLINGS)}")
    if sampling == "epochs":
        scale = scale * (count - batch_size) / max(count - 1, 1)
    normal = jax.random.normal(key, (count,), jnp.float32)  # the same numbers in 64-bit mode
    weights = (scale / (count * batch_size)) ** 0.5 * (normal - normal.mean(keepdims=True))
    weighted = dataclasses.replace(_weighted(problem), examples=(problem.examples, weights))
    if augmentation_key is None:
        return loss_and_gradient(weighted, params, state, weighted.examples)[:2]
    return full_batch_gradient(
        weighted, params, state, batch_size=batch_size, augmentation_key=augmentation_key
    )


def check_mean_over_examples(problem: Problem) -> None:
    """Refuse a loss that is no mean over the examples of a batch.

    It compares the gradient of a few examples with the mean of their own, at a first point.

    Raises:
        InputError: they differ by more than rounding.
    """
    count = min(problem.num_examples, EXAMPLES)
    first = take_batch(problem, jnp.arange(count), jax.random.key(0))
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(first)}

    @jax.jit
    def gradients(key):
        params, state = problem.init(key)
        pairs = first, jnp.zeros(count, jnp.float32)
        alone = loss_and_gradient(_weighted(problem), params, state, pairs)[1]
        together = loss_and_gradient(problem, params, state, first)[1]
        difference = jax.tree.map(jnp.subtract, alone, together)
        return [optax.tree.norm(real_parts(each)) for each in (difference, together)]

    if sizes == {(count,)}:
        difference, size = gradients(jax.random.key(0))
        if difference <= ROUNDING * size:
            return
    raise invalid(
        "noise (--noise)",
        "is 'gaussian', and the loss of a batch is not the mean over its examples",
        "a network without batch norm and random layers, which make examples depend on each other",
        "take one such as fc3 (ResNets named -nobatchnorm keep that of the stem), freeze the "
        "averages with problems.with_frozen_state, or take white noise",
    )


def _weighted(problem: Problem) -> Problem:
    """Return a problem of pairs (example, weight) whose weighted losses are in the gradient only.

    In a batch of B pairs they count N / B times, so that the mean over batches has their sum.
    """

    def loss(params, state, batch, train):
        examples, weights = batch

        def single(example):
            alone = jax.tree.map(lambda leaf: leaf[None], example)
            return problem.loss(params, state, alone, train)[0]

        losses = jax.vmap(single)(examples)
        noise = (weights.astype(losses.dtype) @ losses) * (problem.num_examples / len(weights))
        return losses.mean() + noise - jax.lax.stop_gradient(noise), (state, None)

    def augment(key, pair):
        return problem.augment(key, pair[0]), pair[1]

    return dataclasses.replace(problem, loss=loss, augment=problem.augment and augment)
