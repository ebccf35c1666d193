"""How searches for saddles read a loss and its points: float64 pytrees, and vectors of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import is_traced, real_array
from sgd_diffusion._pytrees import checked_floating
from sgd_diffusion._types import PyTree
from sgd_diffusion.errors import invalid

__all__ = ["check_loss", "double_point", "function_of_vectors"]


def double_point(name: str, tree: PyTree) -> PyTree:
    """Return a pytree of floating arrays in float64.

    Raises:
        InputError: it has no numbers, other numbers, or numbers that are not finite.
    """
    checked_floating(name, tree)

    def double(path, leaf):
        where = name + jax.tree_util.keystr(path)
        array = jnp.asarray(real_array(where, leaf), jnp.float64)
        if not is_traced(array) and not bool(jnp.isfinite(array).all()):
            raise invalid(where, "is not finite", "finite numbers")
        return array

    point = jax.tree.map_with_path(double, tree)
    if not sum(leaf.size for leaf in jax.tree.leaves(point)):
        raise invalid(name, "has no numbers", "at least one coordinate")
    return point


def check_loss(loss: Callable[[PyTree], Any], point: PyTree) -> None:
    """Refuse a loss that is no function of a point that returns one number.

    Raises:
        InputError: as said.
    """
    if not callable(loss):
        raise invalid("loss", f"is {loss!r}", "a function of a point")
    leaves = jax.tree.leaves(jax.eval_shape(loss, point))
    if [leaf.shape for leaf in leaves] != [()] or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        shown = ", ".join(f"{leaf.dtype}{leaf.shape}" for leaf in leaves)
        raise invalid("loss", f"returns {shown or 'nothing'}", "one floating number")


def function_of_vectors(
    loss: Callable[[PyTree], Any], unravel: Callable[[Array], PyTree]
) -> Callable[[Float[Array, "n"]], Float[Array, ""]]:
    """Return a loss as a function of vectors (n,), with values in float64."""
    return lambda vector: jnp.asarray(loss(unravel(vector)), jnp.float64)
