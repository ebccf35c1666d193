"""Multiply curvature matrices with vectors, exactly over a set of examples and in bounded memory.

A product is a function of a vector, a pytree like the parameters. It costs about four evaluations
of the loss; the P x P matrix is never formed. The functions of `landscape.curvature` take it.

Batch normalization has two curvatures. With running averages, examples do not see each other (the
loss is called with `train=False`). The Hessian of a set of examples is then the mean over its
chunks. With batch statistics every chunk has its own statistics, as mini-batches have in
training. Then the mean over chunks depends on how they are cut.

Products are computed in the precision of the parameters, leaf by leaf: float64 where its numbers
have 8 bytes, float32 otherwise. Products of matrices and convolutions within the loss have full
precision on every device, unless the loss itself gives them a precision.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion._pytrees import checked_floating, in_precision_of, mean_over_parts
from sgd_diffusion._types import IntegerLike, Matvec, PyTree
from sgd_diffusion.errors import invalid

__all__ = ["gauss_newton_product", "hessian_vector_product", "layer_block", "mean_over_chunks"]


def hessian_vector_product(
    loss: Callable[..., Any],
    params: PyTree,
    examples: PyTree | None = None,
    *,
    chunk_size: IntegerLike | None = None,
) -> Matvec:
    r"""Return the product of the Hessian of a loss with a vector, as a function of the vector.

    It is exact to rounding: H v = d/dr grad L(w + r v) at r = 0, the derivative of the gradient
    along the vector, forward over reverse (Pearlmutter, Neural Comput. 6, 147, 1994).

    Formula:
        Hessian-vector product. $H v = \left. \frac{d}{dr} \nabla L(w + r v) \right|_{r=0}$
        (Pearlmutter, Neural Comput. 6, 147, 1994)

    Args:
        loss: `params -> ()`, or `(params, examples) -> ()`, a mean over the examples.
        params: w, a pytree of floating arrays.
        examples: pytree of arrays with examples along the leading axis, or None for a loss without
            examples.
        chunk_size: number of examples whose activations are held at a time; all if None. If it does
            not divide the examples, the last chunk has fewer and counts for as many as it has.

    Returns:
        A function `vector -> H vector` of pytrees like params. With 16-bit parameters, the product
        of a vector of float32 stays in float32, and that of a 16-bit vector is returned in 16 bits.

    Raises:
        InputError: the parameters are not floating, the chunk size is below 1, or the examples have
            no common leading axis. The function raises it for a vector that does not match.

    >>> product = hessian_vector_product(lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 2.0]))
    >>> product(jnp.array([1.0, 0.0])).tolist()
    [4.0, 2.0]
    """

    def product(params, vector, *chunk):
        return jax.jvp(jax.grad(lambda point: loss(point, *chunk)), (params,), (vector,))[1]

    return _over(product, params, examples, chunk_size)


def gauss_newton_product(
    predict: Callable[[PyTree, PyTree], PyTree],
    loss: Callable[[PyTree, PyTree], Any],
    params: PyTree,
    examples: PyTree,
    *,
    chunk_size: IntegerLike | None = None,
) -> Matvec:
    r"""Return the product of the Gauss-Newton matrix with a vector, as a function of the vector.

    The generalized Gauss-Newton matrix is J^T H_L J, with the Jacobian J of the outputs and the
    Hessian H_L of the loss with respect to the outputs. It is the Hessian without the curvature of
    the network itself (Schraudolph, Neural Comput. 14, 1723, 2002). It is positive semi-definite
    where the loss is convex in the outputs, and equal to the Hessian where the outputs are linear
    in the parameters. For cross-entropy it is the Fisher information.

    Formula:
        Gauss-Newton product. $J^{\top} H_L J v$ (Schraudolph, Neural Comput. 14, 1723, 2002)

    Args:
        predict: `(params, examples) -> outputs`, any pytree.
        loss: `(outputs, examples) -> ()`, a mean over the examples.
        params: pytree of floating arrays.
        examples: as for `hessian_vector_product`.
        chunk_size: as for `hessian_vector_product`.

    Returns:
        A function `vector -> product` of pytrees like params.

    Raises:
        InputError: as for `hessian_vector_product`.
    """

    def product(params, vector, chunk):
        outputs, along = jax.jvp(lambda point: predict(point, chunk), (params,), (vector,))
        curved = jax.jvp(jax.grad(lambda point: loss(point, chunk)), (outputs,), (along,))[1]
        return jax.vjp(lambda point: predict(point, chunk), params)[1](curved)[0]

    return _over(product, params, examples, chunk_size)


def layer_block(
    loss: Callable[..., Any], params: PyTree, layer: Any
) -> tuple[Callable[..., Any], PyTree]:
    """Return the loss as a function of the parameters of one layer, and these parameters.

    The other parameters are fixed. The curvature of this loss is the diagonal block of the layer.

    Args:
        loss: `params -> ()`, or with examples after params.
        params: a mapping whose values are the layers.
        layer: one of its keys.

    Returns:
        `(loss, params)` of the layer.

    Raises:
        InputError: there is no such layer.
    """
    if not isinstance(params, Mapping):
        raise invalid(
            "params", f"is a {type(params).__name__}", "a mapping whose values are the layers"
        )
    if not isinstance(layer, Hashable) or layer not in params:
        raise invalid(
            "layer",
            f"is {layer!r}",
            f"one of {', '.join(map(str, params))}, the layers of params",
        )
    return lambda own, *examples: loss({**params, layer: own}, *examples), params[layer]


def mean_over_chunks(
    function: Callable[[PyTree], PyTree], examples: PyTree, chunk_size: IntegerLike | None = None
) -> PyTree:
    """Return the mean over examples of a function of chunks, computed one chunk after the other.

    Args:
        function: `chunk -> pytree of arrays`, each a mean over the examples of the chunk.
        examples: pytree of arrays with N examples along the leading axis.
        chunk_size: examples in a chunk; all N if None.

    Returns:
        The sum over chunks c of N_c / N times the value of chunk c.

    Raises:
        InputError: the chunk size is below 1, or the examples have no common leading axis.
    """
    examples = jax.tree.map(_example_array, examples)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(examples)}
    if len(lengths) != 1 or not min(lengths) or not min(lengths)[0]:
        raise invalid(
            "examples",
            f"has leaves with leading axes {sorted(lengths)}",
            "one axis for all, with at least one example",
        )
    total = min(lengths)[0]
    size = total if chunk_size is None else min(_checked_chunk_size(chunk_size), total)
    return mean_over_parts(
        lambda number, chunk: jax.tree.map(_at_least_single, function(chunk)), examples, size
    )[0]


def _example_array(leaf):
    """Examples in their own type; a loss may take complex ones."""
    if isinstance(leaf, np.ndarray | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return leaf
    leaf = real_array("examples", leaf)
    return leaf.astype(np.float64) if leaf.dtype.itemsize > 8 else leaf


def _checked_chunk_size(chunk_size):
    return integer(
        "chunk_size",
        chunk_size,
        1,
        2**63 - 1,
        what="(the examples of a chunk), or None for all at once",
    )


def _at_least_single(leaf):
    """Means of chunks in a type in which they can be added."""
    leaf = jnp.asarray(leaf)
    inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
    return leaf if inexact and leaf.dtype.itemsize >= 4 else leaf.astype(jnp.float32)


def _over(product, params, examples, chunk_size):
    """The product as a function of vectors, in full precision and summed over chunks."""
    types = checked_floating("params", params)
    if chunk_size is not None:
        _checked_chunk_size(chunk_size)

    def cast(leaf, of_params, of_vector):
        half = max(of_params.itemsize, of_vector.itemsize) < 4
        return leaf.astype(of_params if half else leaf.dtype)

    def of_vector(vector):
        with in_precision_of("params", params, vector=vector) as (point, along):
            if examples is None:
                image = product(point, along)
            else:
                image = mean_over_chunks(
                    lambda chunk: product(point, along, chunk), examples, chunk_size
                )
            return jax.tree.map(
                cast,
                image,
                types,
                jax.tree.map(lambda leaf: real_array("vector", leaf).dtype, vector),
            )

    return of_vector
