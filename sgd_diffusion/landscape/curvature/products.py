"""Products of curvature matrices with vectors, exact over a set of examples and in bounded memory.

A product is a function of a vector, a pytree like the parameters, and costs about four evaluations of the loss; the P x P
matrix is never there. The functions of :mod:`~sgd_diffusion.landscape.curvature` take it from here.

Batch normalisation has two curvatures: with running averages (a loss that is called with ``train=False``) examples do not see
each other, and the Hessian of a set of examples is the mean over its chunks; with batch statistics every chunk has
statistics of its own, as mini-batches have in training, and the mean over chunks depends on how they are cut.
"""

import jax
import jax.numpy as jnp

from sgd_diffusion.errors import InputError

__all__ = ["gauss_newton_product", "hessian_vector_product", "layer_block", "mean_over_chunks"]


def hessian_vector_product(loss, params, examples=None, *, chunk_size=None):
    """Product with the Hessian of a loss, exact to rounding: the derivative of the gradient along the vector.

    H v = d/dr grad L(w + r v) at r = 0, forward over reverse (Pearlmutter, Neural Comput. 6, 147, 1994).

    Args:
        loss: ``params -> ()``, or ``(params, examples) -> ()``, a mean over the examples.
        params: w, a pytree of floating arrays.
        examples: pytree of arrays with examples along the leading axis, or None for a loss without any.
        chunk_size: examples whose activations are held at a time; all of them if None. The last chunk has fewer where they
            do not divide the examples, and counts for as many as it has.

    Returns:
        A function ``vector -> H vector`` of pytrees like params.

    Raises:
        InputError: a chunk size below 1, or examples without a common leading axis.

    >>> product = hessian_vector_product(lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 2.0]))
    >>> product(jnp.array([1.0, 0.0])).tolist()
    [4.0, 2.0]
    """
    def product(vector, *chunk):
        return jax.jvp(jax.grad(lambda point: loss(point, *chunk)), (params,), (vector,))[1]

    return _over(product, examples, chunk_size)


def gauss_newton_product(predict, loss, params, examples, *, chunk_size=None):
    """Product with the generalised Gauss-Newton matrix J^T H_L J, with the Jacobian J of the outputs.

    H_L is the Hessian of the loss about the outputs. The matrix is the Hessian without the curvature of the network itself
    (Schraudolph, Neural Comput. 14, 1723, 2002): positive semi-definite where the loss is convex in the outputs, and equal
    to the Hessian where outputs are linear in the parameters. For cross-entropy it is the Fisher information.

    Args:
        predict: ``(params, examples) -> outputs``, any pytree.
        loss: ``(outputs, examples) -> ()``, a mean over the examples.
        params: pytree of floating arrays.
        examples: as for :func:`hessian_vector_product`.
        chunk_size: likewise.

    Returns:
        A function ``vector -> product`` of pytrees like params.

    Raises:
        InputError: those of :func:`hessian_vector_product`.
    """
    def product(vector, chunk):
        outputs, along = jax.jvp(lambda point: predict(point, chunk), (params,), (vector,))
        curved = jax.jvp(jax.grad(lambda point: loss(point, chunk)), (outputs,), (along,))[1]
        return jax.vjp(lambda point: predict(point, chunk), params)[1](curved)[0]

    return _over(product, examples, chunk_size)


def layer_block(loss, params, layer):
    """The loss as a function of the parameters of one layer, the others held, and these parameters.

    Curvature of the one at the other is the diagonal block of that layer.

    Args:
        loss: ``params -> ()``, or with examples after params.
        params: a mapping whose values are the layers.
        layer: one of its keys.

    Returns:
        ``(loss, params)`` of the layer.

    Raises:
        InputError: there is no such layer.
    """
    if layer not in params:
        raise InputError(f"layer is {layer!r}; expected one of {', '.join(map(str, params))}, the layers of params")
    return lambda own, *examples: loss({**params, layer: own}, *examples), params[layer]


def mean_over_chunks(function, examples, chunk_size=None):
    """Mean over examples of what a function gives for chunks of them, one chunk after the other.

    Args:
        function: ``chunk -> pytree of arrays``, each a mean over the examples of the chunk.
        examples: pytree of arrays with N examples along the leading axis.
        chunk_size: examples in a chunk; all N if None.

    Returns:
        The sum over chunks c of N_c / N times the value of chunk c.

    Raises:
        InputError: a chunk size below 1, or examples without a common leading axis.
    """
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(examples)}
    if len(lengths) != 1 or not min(lengths) or not min(lengths)[0]:
        raise InputError(f"examples has leaves with leading axes {sorted(lengths)}; expected one, of at least one example")
    if chunk_size is not None and chunk_size < 1:
        raise InputError(f"chunk_size is {chunk_size}; expected at least one example, or None for all at once")
    total = min(lengths)[0]
    size = total if chunk_size is None else min(chunk_size, total)
    others = (total - 1) // size  # full chunks before the last one, which has 1 to size examples

    def share(chunk):
        count = jax.tree.leaves(chunk)[0].shape[0]
        return jax.tree.map(lambda leaf: leaf * (count / total), function(chunk))

    last = share(jax.tree.map(lambda leaf: leaf[others * size:], examples))
    if not others:
        return last
    before = jax.tree.map(lambda leaf: leaf[:others * size].reshape(others, size, *leaf.shape[1:]), examples)
    return jax.lax.scan(lambda sums, chunk: (jax.tree.map(jnp.add, sums, share(chunk)), None), last, before)[0]


def _over(product, examples, chunk_size):
    if examples is None:
        return product
    return lambda vector: mean_over_chunks(lambda chunk: product(vector, chunk), examples, chunk_size)
