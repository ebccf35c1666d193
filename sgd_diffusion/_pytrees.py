"""Pytrees of parameters as vectors: checked, in their own precision, with norms and inner products.

The modules that move through weight space share these functions; users find the public functions
there.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import own_precision, real_array
from sgd_diffusion._types import PyTree
from sgd_diffusion.errors import invalid

__all__ = [
    "behind",
    "checked_floating",
    "divided",
    "full_precision",
    "in_precision_of",
    "is_key",
    "matched",
    "mean_over_parts",
    "norms",
    "on_host",
    "precision",
    "take_out",
    "tree_norm",
    "with_keys_of",
]

# Matrix products and convolutions that are traced inside have full precision on every device. GPUs
# and TPUs by default round their float32 operands to 11 and 8 bits, which is made for training.
full_precision = functools.partial(jax.default_matmul_precision, "highest")


def is_key(leaf: Any) -> bool:
    """Say whether an array has random keys of JAX as entries."""
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def on_host(leaf: Any) -> np.ndarray:
    """Return an array, or the numbers of random keys, as a NumPy array."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def with_keys_of(leaf: Any, numbers: Any) -> Any:
    """Return numbers as random keys of the kind of a leaf, or as they are if it has none."""
    return (
        jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
        if is_key(leaf)
        else numbers
    )


def checked_floating(name: str, tree: PyTree) -> PyTree:
    """Return the types of the leaves of a pytree, if all are floating."""

    def dtype_of(path, leaf):
        described = isinstance(leaf, jax.ShapeDtypeStruct)
        return np.dtype(
            leaf.dtype if described else real_array(name + jax.tree_util.keystr(path), leaf).dtype
        )

    types = jax.tree.map_with_path(dtype_of, tree)
    leaves = jax.tree.leaves(types)
    if not leaves or not all(jnp.issubdtype(dtype, jnp.floating) for dtype in leaves):
        raise invalid(
            name,
            f"has leaves of {[str(dtype) for dtype in leaves]}",
            "floating arrays",
            "convert integers with .astype(float)",
        )
    return types


@contextlib.contextmanager
def in_precision_of(name: str, tree: PyTree, **others: PyTree) -> Iterator[tuple[PyTree, ...]]:
    """Yield a pytree with its leaves as JAX arrays in their own precision, and others like it.

    All come in one tuple. Inside, products of matrices have full precision, also those of a loss
    that is called there.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(full_precision())

        def own(path, leaf):
            return stack.enter_context(own_precision(name + jax.tree_util.keystr(path), leaf))

        tree = jax.tree.map_with_path(own, tree)
        if not jax.tree.leaves(tree):
            raise invalid(name, "has no leaves", "a pytree of arrays")
        yield tree, *(matched(other, value, tree)[0] for other, value in others.items())


def matched(
    name: str, tree: PyTree, like: PyTree, *, batched: bool = False
) -> tuple[PyTree, tuple[int, ...]]:
    """Return a pytree in the shapes and the precision of another one, and its leading axes.

    The leading axes (...) are those that all its leaves have before these shapes. There are none
    unless `batched`.
    """
    _check_structure(name, tree, like)
    batches = set()
    for (path, leaf), expected in zip(
        jax.tree.leaves_with_path(tree), jax.tree.leaves(like), strict=True
    ):
        shape = np.shape(leaf)
        extra = len(shape) - expected.ndim
        if extra < 0 or shape[extra:] != expected.shape or (extra and not batched):
            wanted = f"(..., {', '.join(map(str, expected.shape))})" if batched else expected.shape
            raise invalid(f"{name}{jax.tree_util.keystr(path)}", f"has shape {shape}", f"{wanted}")
        batches.add(shape[:extra])
    if len(batches) > 1:
        raise invalid(name, f"has leaves with leading axes {sorted(batches)}", "the same for all")

    def cast(path, leaf, expected):
        with own_precision(name + jax.tree_util.keystr(path), leaf) as leaf:
            return leaf.astype(expected.dtype)

    return jax.tree.map_with_path(cast, tree, like), batches.pop()


def _check_structure(name, tree, like):
    if jax.tree.structure(tree) == jax.tree.structure(like):
        return
    found, wanted = (
        {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(each)}
        for each in (tree, like)
    )
    if found == wanted:
        raise invalid(
            name, f"is a {type(tree).__name__} with containers of other types", "the same pytree"
        )
    raise invalid(
        name,
        f"has the leaves {sorted(found - wanted)} that are not expected, and lacks "
        f"{sorted(wanted - found)}",
        "the same pytree",
    )


def precision(tree: PyTree) -> np.dtype:
    """Return the type in which numbers of all leaves (arrays or types) are computed together."""
    types: list[Any] = [getattr(leaf, "dtype", leaf) for leaf in jax.tree.leaves(tree)]
    return max(types, key=lambda dtype: dtype.itemsize)


def behind(batch: tuple[int, ...], leaf: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return an array with axes of length 1 in front, for the leading axes (...) of others."""
    return leaf.reshape((1,) * len(batch) + leaf.shape)


def take_out(
    points: PyTree, unit: PyTree, batch: tuple[int, ...] = ()
) -> tuple[Float[Array, "..."], PyTree]:
    """Return inner products of points with a unit vector, and the points without that component.

    The products are (*batch); the vector has norm 1.
    """

    def product(point, unit):
        return (point * behind(batch, unit)).sum(axis=tuple(range(len(batch), point.ndim)))

    def without(point, unit):
        return point - along.reshape(*batch, *(1,) * unit.ndim).astype(unit.dtype) * behind(
            batch, unit
        )

    dtype = precision(unit)
    along = sum(part.astype(dtype) for part in jax.tree.leaves(jax.tree.map(product, points, unit)))
    return along, jax.tree.map(without, points, unit)


def mean_over_parts(
    function: Callable[[Any, PyTree], PyTree],
    examples: PyTree,
    size: int,
    *,
    keep: Callable[[PyTree], PyTree] = lambda value: None,
) -> tuple[PyTree, PyTree]:
    """Return the mean over examples of a function of parts, computed one part after the other.

    Args:
        function: `(number of the part, part) -> pytree of arrays`, each a mean over the part.
        examples: pytree of arrays with N >= 1 examples along the leading axis.
        size: examples in a part; the last part has fewer where they do not divide N.
        keep: what is kept of the value of a part, as arrays; nothing unless given.

    Returns:
        The sum over parts b of N_b / N times the value of part b, and what is kept of the N // size
        full parts, stacked along a leading axis.
    """
    total = jax.tree.leaves(examples)[0].shape[0]
    others = (total - 1) // size  # full parts before the last one, which has 1 to size examples

    def share(number, part):
        value, count = function(number, part), jax.tree.leaves(part)[0].shape[0]
        return jax.tree.map(lambda leaf: leaf * (count / total), value), keep(value)

    def add(sums, numbered_part):
        value, kept = share(*numbered_part)
        return jax.tree.map(jnp.add, sums, value), kept

    mean, last = share(others, jax.tree.map(lambda leaf: leaf[others * size :], examples))
    kept = jax.tree.map(lambda leaf: leaf[None][:0], last)
    if others:
        before = jax.tree.map(
            lambda leaf: leaf[: others * size].reshape(others, size, *leaf.shape[1:]), examples
        )
        mean, kept = jax.lax.scan(add, mean, (jnp.arange(others), before))
    if total % size == 0:
        kept = jax.tree.map(lambda *parts: jnp.concatenate([parts[0], parts[1][None]]), kept, last)
    return mean, kept


def tree_norm(tree: PyTree, batch: tuple[int, ...] = ()) -> Float[Array, "..."]:
    """Return Euclidean norms (*batch) over all leaves."""
    dtype, axes = precision(tree), len(batch)
    flat = [leaf.reshape(*batch, math.prod(leaf.shape[axes:])) for leaf in jax.tree.leaves(tree)]
    return norms(jnp.concatenate([norms(leaf, -1).astype(dtype) for leaf in flat], axis=-1), -1)[
        ..., 0
    ]


def divided(tree: PyTree, number: Float[Array, "..."]) -> PyTree:
    """Return a pytree over a number, in the types of its leaves."""
    return jax.tree.map(lambda leaf: leaf / number.astype(leaf.dtype), tree)


@functools.partial(jax.jit, static_argnames="axes")
def norms(leaf: Float[Array, "..."], axes: int | tuple[int, ...]) -> Float[Array, "..."]:
    """Return Euclidean norms over some axes, which stay with length 1.

    The squares of large and of small numbers stay in range.
    """
    largest = jnp.abs(leaf).max(axis=axes, keepdims=True, initial=0)
    unit = jnp.where(largest > 0, largest, 1)
    return unit * jnp.sqrt(((leaf / unit) ** 2).sum(axis=axes, keepdims=True))
