"""Pytrees of parameters as vectors: checked against each other, in their own precision, with norms
and inner products.

Shared by the modules that move through weight space; users find the public functions there.
"""

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import own_precision, real_array
from sgd_diffusion.errors import InputError

__all__ = [
    "behind",
    "checked_floating",
    "divided",
    "full_precision",
    "in_precision_of",
    "matched",
    "norms",
    "precision",
    "take_out",
    "tree_norm",
]

# Products of matrices and convolutions that are traced inside are computed in full on every device.
# The default of GPUs and TPUs rounds their float32 operands to 11 and 8 bits, which is made for
# training.
full_precision = functools.partial(jax.default_matmul_precision, "highest")


def checked_floating(name, tree):
    """The types of the leaves of a pytree, if all are floating."""

    def dtype_of(path, leaf):
        described = isinstance(leaf, jax.ShapeDtypeStruct)
        return np.dtype(
            leaf.dtype if described else real_array(name + jax.tree_util.keystr(path), leaf).dtype
        )

    types = jax.tree.map_with_path(dtype_of, tree)
    leaves = jax.tree.leaves(types)
    if not leaves or not all(jnp.issubdtype(dtype, jnp.floating) for dtype in leaves):
        raise InputError(
            f"{name} has leaves of {[str(dtype) for dtype in leaves]}; expected floating arrays: "
            "convert integers with .astype(float)"
        )
    return types


@contextlib.contextmanager
def in_precision_of(name, tree, **others):
    """A pytree with its leaves as JAX arrays, each in its own precision, and others that have to
    match it, in a tuple.

    Inside, products of matrices have full precision, those of a loss that is called there too.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(full_precision())

        def own(path, leaf):
            return stack.enter_context(own_precision(name + jax.tree_util.keystr(path), leaf))

        tree = jax.tree.map_with_path(own, tree)
        if not jax.tree.leaves(tree):
            raise InputError(f"{name} has no leaves; expected a pytree of arrays")
        yield tree, *(matched(other, value, tree)[0] for other, value in others.items())


def matched(name, tree, like, *, batched=False):
    """A pytree in the shapes and the precision of another one, and the leading axes (...) that all
    its leaves have before these shapes; none but if `batched`.
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
            raise InputError(
                f"{name}{jax.tree_util.keystr(path)} has shape {shape}; expected {wanted}"
            )
        batches.add(shape[:extra])
    if len(batches) > 1:
        raise InputError(
            f"{name} has leaves with leading axes {sorted(batches)}; expected the same for all"
        )

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
        raise InputError(
            f"{name} is a {type(tree).__name__} with containers of other types; expected the same "
            "pytree"
        )
    raise InputError(
        f"{name} has the leaves {sorted(found - wanted)} that are not expected, and lacks "
        f"{sorted(wanted - found)}; expected the same pytree"
    )


def precision(tree):
    """The type in which numbers of all leaves, arrays or types, together are computed."""
    return max(
        (getattr(leaf, "dtype", leaf) for leaf in jax.tree.leaves(tree)),
        key=lambda dtype: dtype.itemsize,
    )


def behind(batch, leaf):
    """An array with axes of length 1 in front, in the place of others' leading axes (...)."""
    return leaf.reshape((1,) * len(batch) + leaf.shape)


def take_out(points, unit, batch=()):
    """Inner products (*batch) of points with a vector of norm 1, and what is left of the points
    without it.
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


def tree_norm(tree, batch=()):
    """Euclidean norms (*batch) over all leaves."""
    dtype, axes = precision(tree), len(batch)
    flat = [leaf.reshape(*batch, math.prod(leaf.shape[axes:])) for leaf in jax.tree.leaves(tree)]
    return norms(jnp.concatenate([norms(leaf, -1).astype(dtype) for leaf in flat], axis=-1), -1)[
        ..., 0
    ]


def divided(tree, number):
    """A pytree over a number, in the types of its leaves."""
    return jax.tree.map(lambda leaf: leaf / number.astype(leaf.dtype), tree)


def norms(leaf, axes):
    """Euclidean norms over some axes, which stay with length 1; squares of large and of small
    numbers stay in range.
    """
    largest = jnp.abs(leaf).max(axis=axes, keepdims=True, initial=0)
    unit = jnp.where(largest > 0, largest, 1)
    return unit * jnp.sqrt(((leaf / unit) ** 2).sum(axis=axes, keepdims=True))
