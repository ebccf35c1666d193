"""Random directions in weight space, and what length to give them.

As functions of pytrees; precision and transformations are as in
`landscape.planes`, where users find them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._pytrees import in_precision_of, norms
from sgd_diffusion.errors import InputError

__all__ = ["filter_normalize", "layer_normalize", "random_direction"]


def random_direction(key, params):
    """Independent standard normal numbers in the shapes of `params`; the same ones in either
    precision.

    Raises:
        InputError: `params` has no leaf, or one that does not hold real numbers.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    noise = [
        jax.random.normal(key, np.shape(leaf), jnp.float32)
        for key, leaf in zip(keys, leaves, strict=False)
    ]
    with in_precision_of("params", params, direction=jax.tree.unflatten(structure, noise)) as (
        _,
        direction,
    ):
        return direction


def filter_normalize(direction, params, *, ignore_vectors=True):
    """The direction with each of its filters rescaled to the norm of the same filter of `params`.

    Rescaling the weights of a filter that batch norm follows, or of one layer against the next,
    leaves a network as it is; so rescaled, directions do not depend on it, and landscapes of
    different networks compare (Li et al., NeurIPS 2018, Sec. 4). Filters are the slices along the
    last axis, as Flax lays kernels out: (..., in, out) and (in, out).

    Args:
        direction: like `params`.
        params: pytree of arrays.
        ignore_vectors: what to do with leaves of fewer than two axes, biases and the scales and
            offsets of batch norm: their direction becomes zero, or else gets the norm of the leaf
            as a whole.

    Returns:
        Like `params`. A filter is zero where either of the two is, and NaN where either has NaN.

    Raises:
        InputError: the two pytrees do not match, or nothing but vectors is there and they are
            ignored.

    >>> filter_normalize(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([[3.0, 0.0], [4.0, 0.0]])).tolist()
    [[5.0, 0.0], [0.0, 0.0]]
    """
    return _normalize(direction, params, ignore_vectors, by_filter=True)


def layer_normalize(direction, params, *, ignore_vectors=True):
    """As `filter_normalize`, with each leaf as a whole in place of its filters."""
    return _normalize(direction, params, ignore_vectors, by_filter=False)


def _normalize(direction, params, ignore_vectors, *, by_filter):
    def rescale(direction, params):
        if ignore_vectors and params.ndim < 2:
            return jnp.zeros_like(params)
        axes = tuple(range(params.ndim - 1 if by_filter and params.ndim > 1 else params.ndim))
        norm = norms(direction, axes)
        return direction / jnp.where(norm == 0, 1, norm) * norms(params, axes)

    with in_precision_of("params", params, direction=direction) as (params, direction):
        if ignore_vectors and all(leaf.ndim < 2 for leaf in jax.tree.leaves(params)):
            raise InputError(
                "params has no leaf with two or more axes, and nothing would be left of the "
                "direction; expected kernels, or ignore_vectors=False"
            )
        return jax.tree.map(rescale, direction, params)
