"""Which parameters SGD can move, and the real numbers that they consist of.

A complex parameter counts as two real ones, its real and its imaginary part, in everything that is
measured. Parameters of 16 bits are trained as they are; what is measured of them is at least
float32.
"""

from typing import Any

import jax
import jax.numpy as jnp

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.objectives import Problem


def initial_shapes(problem: Problem) -> tuple[Any, Any]:
    """Shapes and dtypes of the parameters and of the state with which a problem starts.

    Raises:
        InputError: if `init` returns something else, or parameters that SGD cannot move (see
              `check_parameters`).
    """
    found = jax.eval_shape(problem.init, jax.random.key(0))
    if not (isinstance(found, tuple) and len(found) == 2):
        raise InputError(
            f"init of the problem returned {type(found).__name__}; expected (params, state), the "
            "state () if there is none"
        )
    check_parameters(found[0])
    return found


def check_parameters(params) -> None:
    """Raise InputError unless parameters, a pytree of arrays or of their shapes, are floating or
    complex, and not empty.
    """
    leaves = jax.tree.leaves_with_path(params)
    for path, leaf in leaves:
        if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise InputError(
                f"params{jax.tree_util.keystr(path)} is {kind}; expected floating or complex "
                "arrays: convert it with .astype(float), or keep it in the state of the problem"
            )
    if not sum(leaf.size for _, leaf in leaves):
        raise InputError("params is empty; expected one or more arrays that are optimized")


def computing_dtype(dtype):
    """In which numbers of this type are computed with: those of 8 bytes and complex ones as they
    are, others as float32.
    """
    return (
        dtype
        if jnp.issubdtype(dtype, jnp.complexfloating) or dtype == jnp.float64
        else jnp.dtype(jnp.float32)
    )


def real_parts(tree) -> Any:
    """A pytree of arrays as real ones of at least float32; complex leaves (...) become (..., 2)."""

    def parts(leaf):
        if jnp.iscomplexobj(leaf):
            return jnp.stack([leaf.real, leaf.imag], axis=-1)
        return leaf.astype(computing_dtype(leaf.dtype))

    return jax.tree.map(parts, tree)


def layer_name(path) -> str:
    """Name of the top-level layer that a leaf of params belongs to, from its path in the tree."""
    return jax.tree_util.keystr(path[:1], simple=True)


def flatten(tree) -> jax.Array:
    """The real parts of a pytree like params as one vector, leaf by leaf in the order of
    `jax.tree.leaves`, (P,).
    """
    leaves = jax.tree.leaves(real_parts(tree))
    dtype = max((leaf.dtype for leaf in leaves), key=lambda dtype: dtype.itemsize)
    return jnp.concatenate([leaf.ravel().astype(dtype) for leaf in leaves])


def real_shapes(params) -> Any:
    """The shapes and dtypes of the real parts of parameters, of which shapes are enough."""
    return jax.eval_shape(real_parts, params)


def count(params) -> int:
    """P, the number of real parameters, from arrays or their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(real_shapes(params)))
