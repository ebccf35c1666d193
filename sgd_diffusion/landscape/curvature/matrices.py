"""Form matrices of up to some thousand parameters: Hessian, Gauss-Newton, gradient noise.

They are in the precision of the parameters: float64 where one of their numbers has 8 bytes, float32
otherwise. A pytree of parameters counts as one vector, leaf after leaf in the order of
`jax.flatten_util.ravel_pytree`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer
from sgd_diffusion._memory import check_memory
from sgd_diffusion._pytrees import checked_floating, in_precision_of, precision
from sgd_diffusion._types import IntegerLike, Matvec, PyTree
from sgd_diffusion.landscape.curvature.flat import flat_matrix
from sgd_diffusion.landscape.curvature.products import mean_over_chunks

__all__ = ["dense_matrix", "gradient_covariance"]

MOST = 2**31 - 1  # entries along an axis
COPIES = 3  # of the matrix that are in memory at a time


def dense_matrix(
    matvec: Matvec, like: PyTree, *, columns_at_once: IntegerLike = 64
) -> Float[Array, "parameter parameter"]:
    """Return a matrix that is known by its products, such as a Hessian, column by column.

    It costs one product for each parameter, and the memory of `columns_at_once` products and of
    three such matrices.

    Args:
        matvec: `vector -> A vector`, pytrees like `like`, such as those of
            `products.hessian_vector_product` and `products.gauss_newton_product`.
        like: pytree of floating arrays, P numbers in all; only shapes and types are used.
        columns_at_once: products that are computed side by side.

    Returns:
        (P, P) matrix.

    Raises:
        InputError: the pytree has other than floating arrays, the products do not match it, the
            number of columns is below 1, or the matrix does not fit into the memory.

    >>> dense_matrix(lambda v: v * jnp.array([1.0, 2.0]) + v.sum(), jnp.zeros(2)).tolist()
    [[2.0, 1.0], [1.0, 3.0]]
    """
    count = integer("columns_at_once", columns_at_once, 1, MOST)
    with flat_matrix(matvec, like) as matrix:
        size = matrix.zero.size
        _check_size(size, matrix.zero.dtype)
        units = jnp.eye(size, dtype=matrix.zero.dtype)
        return jax.lax.map(matrix.matvec, units, batch_size=min(count, size)).T


def gradient_covariance(
    loss: Callable[[PyTree, PyTree], Any],
    params: PyTree,
    examples: PyTree,
    *,
    chunk_size: IntegerLike | None = None,
) -> Float[Array, "parameter parameter"]:
    r"""Return the covariance of the gradients of single examples.

    The noise of mini-batches of B examples that are drawn with replacement has the covariance C /
    B. The gradients are gone through twice, for their mean and for the deviations from it. It costs
    2 N P^2 operations, and the memory of chunk_size P numbers and of three such matrices.

    Formula:
        Covariance of gradients. $C = \frac{1}{N} \sum_{n=1}^{N} (g_n - \bar{g}) (g_n -
        \bar{g})^{\top}$ (definition)

    Args:
        loss: `(params, examples) -> ()`, a mean over the examples, as for
            `products.hessian_vector_product`. It is called with one example at a time.
        params: pytree of floating arrays, P numbers in all.
        examples: pytree of arrays with N examples along the leading axis.
        chunk_size: number of examples whose gradients are in memory at a time; all if None.

    Returns:
        (P, P) symmetric matrix, with N in the denominator.

    Raises:
        InputError: the parameters are not floating, the chunk size is below 1, the examples have no
            common leading axis, or the matrix does not fit into the memory.

    >>> examples = jnp.array([[1.0, 0.0], [3.0, 0.0]])
    >>> gradient_covariance(lambda w, x: (x @ w).mean(), jnp.zeros(2), examples).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    checked_floating("params", params)
    with in_precision_of("params", params) as (point,):
        dtype = precision(point)
        _check_size(sum(leaf.size for leaf in jax.tree.leaves(point)), dtype)

        def gradient(example):
            alone = jax.tree.map(lambda leaf: leaf[None], example)
            leaves = jax.tree.leaves(jax.grad(loss)(point, alone))
            return jnp.concatenate([leaf.ravel().astype(dtype) for leaf in leaves])

        gradients = jax.vmap(gradient)
        mean = mean_over_chunks(lambda chunk: gradients(chunk).mean(axis=0), examples, chunk_size)

        def covariance(chunk):
            apart = gradients(chunk) - mean[None]
            return apart.T @ apart / len(apart)

        return mean_over_chunks(covariance, examples, chunk_size)


def _check_size(size, dtype):
    check_memory(
        COPIES * size**2 * dtype.itemsize,
        f"a matrix of {size} x {size} numbers",
        "take the block of one layer (curvature.layer_block), or products alone "
        "(curvature.top_eigenpairs)",
    )
