"""A matrix that is known by its products with pytrees, as one that multiplies vectors (n,).

Numbers are computed in float64 where one of the weights has 8 bytes and in float32 otherwise,
16-bit weights included. Products of matrices and convolutions have full precision on every device,
in whatever the product calls too.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._pytrees import checked_floating, full_precision, matched, precision
from sgd_diffusion.errors import InputError

__all__ = ["FlatMatrix", "flat_matrix"]


class FlatMatrix(NamedTuple):
    """An (n, n) matrix, and the way between vectors and pytrees."""

    matvec: Callable[[jax.Array], jax.Array]  # (n,) -> (n,)
    zero: jax.Array  # (n,), of the type in which all is computed
    tree: Callable[[jax.Array], Any]  # (n,) -> pytree in the types of the weights
    flat: Callable[[str, Any], jax.Array]  # name and pytrees along a leading axis of m -> (m, n)


@contextlib.contextmanager
def flat_matrix(matvec, like):
    """The matrix of a product of pytrees like `like`; all that is done with it has to be done
    inside.

    The product is called with vectors in the precision of the computation; where it takes no other
    than those in the types of 16-bit weights, with these. A product that gives back less than
    float64 is not computed with in float64.
    """
    types = jax.tree.map(lambda dtype: _of_bytes(dtype, 1, 8), checked_floating("like", like))
    if precision(types) == np.float64 and not _gives(matvec, like, types, at_least=8):
        types = jax.tree.map(lambda dtype: _of_bytes(dtype, 1, 4), types)
    computed = jax.tree.map(lambda dtype: _of_bytes(dtype, 4, 8), types)
    taken = computed if computed == types or _gives(matvec, like, computed) else types
    own, dtype = _zeros(like, computed), precision(computed)
    leaves, structure = jax.tree.flatten(own)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def tree(vector, types):
        parts = [
            vector[end - leaf.size : end].reshape(leaf.shape)
            for leaf, end in zip(leaves, ends, strict=True)
        ]
        return jax.tree.map(
            lambda part, own: part.astype(own), jax.tree.unflatten(structure, parts), types
        )

    def flat(name, trees):
        trees, batch = matched(name, trees, own, batched=True)
        if len(batch) != 1:
            raise InputError(
                f"{name} has leaves with leading axes {batch}; expected one, of the vectors"
            )
        count = batch[0]
        rows = zip(jax.tree.leaves(trees), leaves, strict=True)
        return jnp.concatenate(
            [found.reshape(count, leaf.size).astype(dtype) for found, leaf in rows], axis=1
        )

    def of_vector(vector):
        found = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], matvec(tree(vector, taken)))
        return flat("matvec(vector)", found)[0]

    with full_precision(), _mode_of(computed):
        yield FlatMatrix(
            of_vector, jnp.zeros(ends[-1], dtype), lambda vector: tree(vector, types), flat
        )


def _of_bytes(dtype, low, high):
    """A floating type of low..high bytes: the given one where it is."""
    size = min(max(dtype.itemsize, low), high)
    return dtype if size == dtype.itemsize else np.dtype(f"f{size}")


def _gives(matvec, like, types, at_least=0):
    """Whether a product takes vectors of these types, and gives back numbers of so many bytes."""
    try:
        with _mode_of(types):
            found = jax.eval_shape(matvec, _zeros(like, types))
    except (
        TypeError
    ):  # of jax.jvp, loops and convolutions, for numbers of another type than the weights'
        return False
    return max((leaf.dtype.itemsize for leaf in jax.tree.leaves(found)), default=0) >= at_least


def _mode_of(types):
    return jax.enable_x64(True) if precision(types) == np.float64 else contextlib.nullcontext()


def _zeros(like, types):
    return jax.tree.map(lambda leaf, dtype: np.zeros(np.shape(leaf), dtype), like, types)
