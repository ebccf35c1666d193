"""Gradient descent with noise that is as strong as that of mini-batches and the same everywhere.

It separates the strength of the gradient noise from its shape. The noise of mini-batches is large
along the sharp directions of the loss; this one has no direction.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sgd_diffusion._types import Key, PyTree
from sgd_diffusion.dynamics.batches import mean_over_batches
from sgd_diffusion.dynamics.parameters import computing_dtype, count, real_parts
from sgd_diffusion.dynamics.sgd import loss_and_gradient
from sgd_diffusion.problems.objectives import Problem

__all__ = ["gradient_with_white_noise"]


def gradient_with_white_noise(
    key: Key,
    problem: Problem,
    params: PyTree,
    state: PyTree,
    *,
    batch_size: int,
    augmentation_key: Key,
    sampling: str = "epochs",
    variance: float | None = None,
) -> tuple[Float[Array, ""], PyTree]:
    r"""Return the gradient of all examples with isotropic normal noise.

    The gradient is `gradient_descent.full_batch_gradient`, a mean over batches. Their scatter about
    it is the trace of the covariance of mini-batches at this point, without bias where the order of
    the examples is random. The noise has this trace, shared out equally among the P coordinates. So
    it costs nothing beyond the gradient, and batch norm may be there.

    Formula:
        White noise. $g + \sqrt{\frac{\mathrm{tr} \, C_B}{P}} z, \quad \mathrm{tr} \, C_B =
        \frac{N - B}{B (n - 1)} \sum_b \frac{B_b}{N} |g_b - g|^2$ (definition; g_b are the gradients
        of the n batches of a partition, and N - B is N - 1 with replacement)

    Args:
        key: PRNG key of the noise.
        problem: what is optimized.
        params: the point.
        state: the problem's state there.
        batch_size: B, smaller than the number of examples N; or N, without replacement.
        augmentation_key: see `gradient_descent.full_batch_gradient`.
        sampling: "epochs" or "replacement", whose covariance of a single batch is taken.
        variance: of every coordinate, the same at all points, in place of the matched one.

    Returns:
        The loss () of all examples and the gradient, like params.
    """

    def evaluate(batch):
        loss, gradient, _ = loss_and_gradient(problem, params, state, batch)
        return loss, gradient, _squared_norm(gradient)

    total = problem.num_examples
    (loss, gradient, squares), _ = mean_over_batches(
        problem,
        evaluate,
        jnp.arange(total),
        batch_size=batch_size,
        augmentation_key=augmentation_key,
    )
    if variance is None:
        scatter = jnp.maximum(squares - _squared_norm(gradient), 0)
        others = total - (batch_size if sampling == "epochs" else 1)
        parts = -(-total // batch_size)
        matched = scatter * (others / (batch_size * max(parts - 1, 1) * count(params)))
    else:
        matched = jnp.float32(variance)
    return loss, _with_normal(key, gradient, jnp.sqrt(matched))


def _squared_norm(gradient: PyTree) -> Float[Array, ""]:
    return optax.tree.norm(real_parts(gradient), squared=True)


def _with_normal(key: Key, gradient: PyTree, scale: Float[Array, ""]) -> PyTree:
    """Return a pytree with independent normal numbers of a scale added to its real parts."""
    leaves, structure = jax.tree.flatten(gradient)

    def noisy(key, leaf):
        dtype = computing_dtype(leaf.dtype)
        real = jnp.finfo(dtype).dtype  # of the parts
        parts = (2,) if jnp.iscomplexobj(leaf) else ()
        # float32, so that 64-bit mode draws the same numbers
        normal = jax.random.normal(key, (*parts, *leaf.shape), jnp.float32)
        normal = scale.astype(real) * normal.astype(real)
        return (leaf.astype(dtype) + (jax.lax.complex(*normal) if parts else normal)).astype(
            leaf.dtype
        )

    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, list(map(noisy, keys, leaves)))
