"""Sharpness-aware minimization: the gradient is taken uphill of the point."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sgd_diffusion._types import PyTree
from sgd_diffusion.dynamics.parameters import computing_dtype, real_parts

__all__ = ["RADIUS", "uphill"]

RADIUS = 0.05
"""The radius of SAM unless given, that of Foret et al."""

Evaluation = Callable[[PyTree], tuple[Float[Array, ""], PyTree, PyTree]]
"""`params -> (loss, gradient, state after it)`."""


def uphill(evaluate: Evaluation, radius: float) -> Evaluation:
    r"""Return an evaluation whose gradient is that at the point of a distance uphill.

    The loss and the state are those of the point itself, so that averages of batch norm see every
    point once. Without a slope the second point is the first.

    Formula:
        Sharpness-aware gradient. $\nabla L\left(w + \rho \frac{\nabla L(w)}{|\nabla L(w)|}\right)$
        (Foret et al., arXiv:2010.01412, eq. 2 and 3)

    Args:
        evaluate: `params -> (loss, gradient, state)`; both gradients are from it.
        radius: rho; with 0 the evaluation stays as it is.
    """
    if not radius:
        return evaluate

    def evaluate_uphill(params):
        loss, gradient, state = evaluate(params)
        norm = optax.tree.norm(real_parts(gradient))
        length = jnp.where(norm > 0, radius / jnp.where(norm > 0, norm, 1), 0)

        def climb(leaf, slope):
            dtype = computing_dtype(leaf.dtype)
            return leaf + (length.astype(dtype) * slope.astype(dtype)).astype(leaf.dtype)

        return loss, evaluate(jax.tree.map(climb, params, gradient))[1], state

    return evaluate_uphill
