"""Gradient descent with normal noise that has the covariance of mini-batches.

It separates noise from step size. At a small step size it has the noise that SGD has at a large
one, where mini-batches small enough do not exist. And it separates the covariance of mini-batches
from all else that they have: their higher moments, and the memory of an epoch.
"""

import dataclasses

import jax
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer, parameter
from sgd_diffusion._types import IntegerLike, Key, NumberLike, PyTree
from sgd_diffusion.dynamics.batches import SAMPLINGS
from sgd_diffusion.dynamics.sgd import loss_and_gradient
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = ["gradient_with_matched_noise"]


def gradient_with_matched_noise(
    key: Key,
    problem: Problem,
    params: PyTree,
    state: PyTree,
    *,
    batch_size: IntegerLike,
    sampling: str = "epochs",
    scale: NumberLike = 1.0,
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
    normal = jax.random.normal(key, (count,))
    weights = (scale / (count * batch_size)) ** 0.5 * (normal - normal.mean(keepdims=True))

    def loss(params, state, batch, train):
        def single(example):
            alone = jax.tree.map(lambda leaf: leaf[None], example)
            return problem.loss(params, state, alone, train)[0]

        losses = jax.vmap(single)(batch)
        noise = weights @ losses
        # The noise is in the gradient and not in the value.
        return losses.mean() + noise - jax.lax.stop_gradient(noise), (state, None)

    weighted = dataclasses.replace(problem, loss=loss)
    return loss_and_gradient(weighted, params, state, problem.examples)[:2]
