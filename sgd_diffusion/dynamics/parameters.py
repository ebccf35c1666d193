"""Which parameters SGD can move, and the real numbers that they consist of.

A complex parameter counts as two real ones, its real and its imaginary part, in everything that is
measured. Parameters of 16 bits are trained as they are; what is measured of them is at least
float32.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._types import PyTree
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = [
    "check_parameters",
    "computing_dtype",
    "count",
    "flatten",
    "initial_shapes",
    "layer_name",
    "layer_names",
    "real_parts",
    "real_shapes",
]


def initial_shapes(problem: Problem) -> tuple[PyTree, PyTree]:
    """Return shapes and dtypes of the parameters and of the state with which a problem starts.

    Raises:
        InputError: `init` returns something else, or parameters that SGD cannot move (see
            `check_parameters`).
    """
    found = jax.eval_shape(problem.init, jax.random.key(0))
    if not (isinstance(found, tuple) and len(found) == 2):
        raise invalid(
            "init of the problem",
            f"returned {type(found).__name__}",
            "(params, state), the state () if there is none",
        )
    check_parameters(found[0])
    return found


def check_parameters(params: PyTree) -> None:
    """Refuse parameters that SGD cannot move.

    Args:
        params: a pytree of arrays or of their shapes.

    Raises:
        InputError: they are not all floating or complex, or there are none.
    """
    leaves = jax.tree.leaves_with_path(params)
    for path, leaf in leaves:
        if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise invalid(
                f"params{jax.tree_util.keystr(path)}",
                f"is {kind}",
                "floating or complex arrays",
                "convert it with .astype(float), or keep it in the state of the problem",
            )
    if not sum(leaf.size for _, leaf in leaves):
        raise invalid("params", "is empty", "one or more arrays that are optimized")


def computing_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype for computations with numbers of a dtype.

    Numbers of 8 bytes and complex ones keep theirs; others are computed with as float32.
    """
    return (
        dtype
        if jnp.issubdtype(dtype, jnp.complexfloating) or dtype == jnp.float64
        else jnp.dtype(jnp.float32)
    )


def real_parts(tree: PyTree) -> PyTree:
    """Return a pytree of arrays as real ones of at least float32.

    Complex leaves (...) become (..., 2).
    """

    def parts(leaf):
        if jnp.iscomplexobj(leaf):
            return jnp.stack([leaf.real, leaf.imag], axis=-1)
        return leaf.astype(computing_dtype(leaf.dtype))

    return jax.tree.map(parts, tree)


def layer_name(path: tuple[Any, ...]) -> str:
    """Return the name of the top-level layer of a leaf of params, from its path in the tree."""
    return jax.tree_util.keystr(path[:1], simple=True)


def layer_names(problem: Problem) -> list[str]:
    """Return the names of the top-level layers of a problem's parameters, sorted.

    Raises:
        InputError: as for `initial_shapes`.
    """
    params, _ = initial_shapes(problem)
    return sorted({layer_name(path) for path, _ in jax.tree.leaves_with_path(params)})


def flatten(tree: PyTree) -> Float[Array, "parameter"]:
    """Return the real parts of a pytree like params as one vector (P,).

    Its leaves follow one another in the order of `jax.tree.leaves`.
    """
    leaves = jax.tree.leaves(real_parts(tree))
    dtype = max((leaf.dtype for leaf in leaves), key=lambda dtype: dtype.itemsize)
    return jnp.concatenate([leaf.ravel().astype(dtype) for leaf in leaves])


def real_shapes(params: PyTree) -> PyTree:
    """Return shapes and dtypes of the real parts of parameters, from arrays or their shapes."""
    return jax.eval_shape(real_parts, params)


def count(params: PyTree) -> int:
    """Return P, the number of real parameters, from arrays or their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(real_shapes(params)))
