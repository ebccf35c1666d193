"""Return random directions in weight space, and rescale directions.

Directions are pytrees. Users find these functions in `landscape.planes`, which says how they treat
precision and transformations.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._pytrees import in_precision_of, norms
from sgd_diffusion._types import Key, PyTree
from sgd_diffusion.errors import invalid

__all__ = ["filter_normalize", "layer_normalize", "random_direction"]


def random_direction(key: Key, params: PyTree) -> PyTree:
    """Return independent standard normal numbers in the shapes of `params`.

    The numbers are the same in either precision.

    Args:
        key: PRNG key.
        params: pytree of arrays.

    Returns:
        Pytree like `params`.

    Raises:
        InputError: `params` has no leaf, or a leaf that does not hold real numbers.
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


def filter_normalize(direction: PyTree, params: PyTree, *, ignore_vectors: bool = True) -> PyTree:
    r"""Rescale each filter of a direction to the norm of the same filter of `params`.

    A network stays the same if the weights of a filter before batch norm are rescaled, or those of
    one layer against the next. Directions with this rescaling do not depend on it, so that
    landscapes of different networks compare (Li et al., NeurIPS 2018, Sec. 4). Filters are the
    slices along the last axis, as in the kernels of Flax: (..., in, out) and (in, out).

    Formula:
        Filter normalization. $d_i \leftarrow \frac{\lVert w_i \rVert}{\lVert d_i \rVert} d_i$ (Li
        et al., NeurIPS 2018, Sec. 4)

    Args:
        direction: pytree like `params`.
        params: pytree of arrays.
        ignore_vectors: whether the direction becomes zero in leaves of fewer than two axes. These
            are biases, and the scales and offsets of batch norm. Otherwise their direction gets the
            norm of the leaf as a whole.

    Returns:
        Pytree like `params`. A filter is zero where either of the two is, and NaN where either has
        NaN.

    Raises:
        InputError: the two pytrees do not match, or there are only vectors and they are ignored.

    >>> direction, params = jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([[3.0, 0.0], [4.0, 0.0]])
    >>> filter_normalize(direction, params).tolist()
    [[5.0, 0.0], [0.0, 0.0]]
    """
    return _normalize(direction, params, ignore_vectors, by_filter=True)


def layer_normalize(direction: PyTree, params: PyTree, *, ignore_vectors: bool = True) -> PyTree:
    r"""Rescale each leaf of a direction to the norm of the same leaf of `params`.

    Arguments, result and errors are those of `filter_normalize`.

    Formula:
        Layer normalization of directions. $d_l \leftarrow \frac{\lVert w_l \rVert}{\lVert d_l
        \rVert} d_l$ (as filter normalization, by leaf)
    """
    return _normalize(direction, params, ignore_vectors, by_filter=False)


def _normalize(direction, params, ignore_vectors, *, by_filter):
    with in_precision_of("params", params, direction=direction) as (params, direction):
        if ignore_vectors and all(leaf.ndim < 2 for leaf in jax.tree.leaves(params)):
            raise invalid(
                "params",
                "has no leaf with two or more axes, so that the direction would be zero",
                "kernels",
                "pass ignore_vectors=False to keep vectors",
            )
        return _rescaled(direction, params, bool(ignore_vectors), by_filter)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _rescaled(direction, params, ignore_vectors, by_filter):
    def rescale(direction, params):
        if ignore_vectors and params.ndim < 2:
            return jnp.zeros_like(params)
        axes = tuple(range(params.ndim - 1 if by_filter and params.ndim > 1 else params.ndim))
        norm = norms(direction, axes)
        return direction / jnp.where(norm == 0, 1, norm) * norms(params, axes)

    return jax.tree.map(rescale, direction, params)
