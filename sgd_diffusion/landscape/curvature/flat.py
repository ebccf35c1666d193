"""Turn a matrix that is known by its products with pytrees into one that multiplies vectors (n,).

Numbers are computed in float64 where one of the weights has 8 bytes, and in float32 otherwise,
16-bit weights included. Products of matrices and convolutions have full precision on every device,
also in whatever the product calls.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._pytrees import checked_floating, full_precision, matched, precision
from sgd_diffusion._types import Matvec, PyTree
from sgd_diffusion.errors import invalid

__all__ = ["FlatMatrix", "flat_matrix"]


class FlatMatrix(NamedTuple):
    """An (n, n) matrix, and the conversions between vectors and pytrees.

    Attributes:
        matvec: function of a vector (n,) that returns its product (n,).
        zero: (n,) zeros of the type of the computation.
        tree: function of a vector (n,) that returns a pytree in the types of the weights.
        flat: function of a name and of pytrees along a leading axis of m that returns (m, n).
    """

    matvec: Callable[[jax.Array], jax.Array]
    zero: Float[Array, "n"]
    tree: Callable[[jax.Array], PyTree]
    flat: Callable[[str, PyTree], jax.Array]


@contextlib.contextmanager
def flat_matrix(matvec: Matvec, like: PyTree) -> Iterator[FlatMatrix]:
    """Yield the matrix of a product of pytrees like `like`; use it within the context only.

    The product is called with vectors in the precision of the computation. If it takes only vectors
    in the types of 16-bit weights, it is called with these. A product that returns less than
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
            raise invalid(
                name, f"has leaves with leading axes {batch}", "one axis, that of the vectors"
            )
        count = batch[0]
        rows = zip(jax.tree.leaves(trees), leaves, strict=True)
        return jnp.concatenate(
            [row.reshape(count, leaf.size).astype(dtype) for row, leaf in rows], axis=1
        )

    def of_vector(vector):
        image = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], matvec(tree(vector, taken)))
        return flat("matvec(vector)", image)[0]

    with full_precision(), _mode_of(computed):
        yield FlatMatrix(
            of_vector, jnp.zeros(ends[-1], dtype), lambda vector: tree(vector, types), flat
        )


def _of_bytes(dtype, low, high):
    """A floating type of low..high bytes, the given one where it is."""
    size = min(max(dtype.itemsize, low), high)
    return dtype if size == dtype.itemsize else np.dtype(f"f{size}")


def _gives(matvec, like, types, at_least=0):
    """Whether a product takes vectors of these types and returns numbers of that many bytes."""
    try:
        with _mode_of(types):
            image = jax.eval_shape(matvec, _zeros(like, types))
    except TypeError:
        # jax.jvp, loops and convolutions raise it for other types than those of the weights.
        return False
    return max((leaf.dtype.itemsize for leaf in jax.tree.leaves(image)), default=0) >= at_least


def _mode_of(types):
    return jax.enable_x64(True) if precision(types) == np.float64 else contextlib.nullcontext()


def _zeros(like, types):
    return jax.tree.map(lambda leaf, dtype: np.zeros(np.shape(leaf), dtype), like, types)
