"""The step Gram matrix as the analysis takes it in, and the squared displacements that follow from it.

Shared by the modules that derive something from a path; users find the public functions there.
"""

import contextlib

import jax
import jax.numpy as jnp

from sgd_diffusion.arrays import integer, integer_array, own_precision
from sgd_diffusion.errors import InputError

__all__ = ["by_start_and_lag", "checked_integer", "checked_lags", "diagonal_means", "each_pair_once", "non_negative",
           "one_path", "upper_squared_displacements"]


def each_pair_once(step_gram):
    """The upper triangle with its off-diagonal part doubled: the whole matrix's sum, every pair of steps once."""
    return jnp.triu(step_gram) + jnp.triu(step_gram, 1)


def upper_squared_displacements(step_gram):
    """Squared distances D[i, j] = |w_j - w_i|^2 between the points i < j of a path, (T+1, T+1), zero elsewhere."""
    growth = jax.lax.cumsum(each_pair_once(step_gram), axis=0, reverse=True)  # [i, j]: D[i, j+1] - D[i, j], j >= i
    from_diagonal = jax.lax.cumsum(jnp.triu(growth), axis=1)
    return jnp.triu(jnp.pad(non_negative(from_diagonal), ((0, 1), (1, 0))), 1)


def diagonal_means(upper):
    """Means along the diagonals 0..n-1 of an (n, n) matrix whose lower triangle is zero, (n,)."""
    n = upper.shape[0]
    return by_start_and_lag(upper).sum(axis=0) / (n - jnp.arange(n)).astype(upper.dtype)


def by_start_and_lag(upper):
    """Entries of an (n, n) matrix by row and distance from the diagonal: [i, k] = upper[i, i+k], zero where i+k >= n.

    The lower triangle has to be zero.
    """
    n = upper.shape[0]
    # Read with rows of n+1, entry (i, j) of an n x n matrix lies in column j - i: diagonals become columns.
    return jnp.pad(upper.ravel(), (0, n)).reshape(n, n + 1)[:, :n]


def non_negative(squares):
    """Squares that rounding has pushed below zero, set to zero."""
    return jnp.where(squares < 0, 0, squares)  # keeps NaN, and the gradient where a square is exactly 0


def checked_lags(lags, steps):
    """Lags as a NumPy array, if they are integers in 1..steps."""
    return integer_array("lags", lags, 1, steps)


def checked_integer(name, value, low, high, steps):
    """A time, lag or separation on a path of ``steps`` steps, if it is an integer in low..high."""
    return integer(name, value, low, high, what=f"for a path of {steps} steps")


@contextlib.contextmanager
def one_path(step_gram):
    """The step Gram matrix (T, T) of one path as a JAX array in its own precision."""
    with own_precision("step_gram", step_gram) as gram:
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] == 0:
            raise InputError(
                f"step_gram has shape {gram.shape}; expected (T, T) with T >= 1, the inner products of the T steps "
                "of one path; use jax.vmap for several paths"
            )
        yield gram
