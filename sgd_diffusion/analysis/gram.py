"""Step Gram matrix of a path: how it is made, how it is read, and the squared displacements in it.

Users need `step_gram`. The other functions are shared by the modules that derive something from a
path.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._arrays import integer, integer_array, is_traced, own_precision, real_array
from sgd_diffusion._memory import check_memory
from sgd_diffusion._platforms import platform
from sgd_diffusion._types import ArrayLike, IntegerLike, PyTree
from sgd_diffusion.errors import invalid

__all__ = [
    "by_start_and_lag",
    "checked_integer",
    "checked_lags",
    "diagonal_means",
    "each_pair_once",
    "increment_gram",
    "non_negative",
    "one_path",
    "refuse_gaps",
    "step_gram",
    "upper_squared_displacements",
]

# Columns of the float64 copy for the Gram product. The product runs at full speed with so many, and
# the copy (8 T bytes a column) stays far below the increments themselves (4 T bytes a parameter).
GRAM_BLOCK = 32768
COPIES = 4  # (T, T) matrices that an analysis holds at the same time
THINNER = (
    "take every k-th point, or, for a path of few coordinates, the functions of "
    "sgd_diffusion.analysis.positions, which need no matrix"
)


def step_gram(weights: PyTree) -> Float[Array, "step step"]:
    r"""Return the step Gram matrix of a path.

    G[u, v] = <dw_u, dw_v> with the steps dw_u = w_{u+1} - w_u. The steps are taken first, so that
    nothing is lost to the size of the weights. They are float64 for float64 numbers and integers,
    and float32 for shorter floating numbers. Products and sums are float64 (see `increment_gram`).
    Complex weights count as pairs of real ones, so that G is the real part of the inner product.

    Formula:
        Step Gram matrix. $G_{uv} = \langle \Delta w_u, \Delta w_v \rangle, \quad \Delta w_u =
        w_{u+1} - w_u$ (definition)

    Args:
        weights: the points w_0, ..., w_T of the path, T >= 1. An array (T+1, ...); or a pytree (a
            dict, a named tuple) of such arrays, whose leaves together are a point; or a list or
            tuple of the T+1 points, each an array or a pytree, all with the same shapes.

    Returns:
        (T, T) float64 where the backend has it, squared weight units. In a run that diverged, all
        points from some point on are NaN or infinite; the matrix is NaN from there on.

    Raises:
        InputError: no path of real or complex numbers with at least two points; a list of unequal
            points; points that are NaN or infinite before others that are not; or a matrix that
            does not fit the memory.

    >>> step_gram([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]]).tolist()
    [[9.0, 0.0], [0.0, 16.0]]
    """
    leaves = _points(weights)
    steps = leaves[0][1].shape[0] - 1
    check_memory(
        COPIES * 8 * steps**2, f"The step Gram matrix of {steps} steps with its analysis", THINNER
    )
    gram = increment_gram([_increments(leaf) for _, leaf in leaves])
    if not is_traced(gram):
        refuse_gaps(
            "weights",
            np.isfinite(np.diagonal(gram)),
            lambda: np.all([_finite_points(leaf) for _, leaf in leaves], axis=0),
        )
    return gram


def increment_gram(increments: PyTree) -> Float[Array, "step step"]:
    """Return the Gram matrix G[u, v] = <dw_u, dw_v> of given increments.

    Products and sums are float64 where the platform of the program has it, over blocks of
    parameters. Otherwise (TPU) they are float32 at `Precision.HIGHEST`. Path statistics of confined
    motion then have a relative error of up to 1e-3.

    Args:
        increments: dw, a pytree of (T, ...) arrays of real or complex floating numbers.

    Returns:
        (T, T), summed over all parameters; of complex numbers the real part.
    """
    leaves = jax.tree.leaves(increments)
    where = platform(*leaves)
    wide = jnp.float32 if where == "tpu" else jnp.float64

    def product(columns):
        columns = columns.astype(wide)
        return jax.lax.dot_general(
            columns, columns, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
        )

    def add_blocks(gram, rows):
        """Add the products of all full blocks of columns, one after the other."""
        blocks = rows.shape[1] // GRAM_BLOCK
        # Unrolled, XLA for GPUs makes the float64 copies of all blocks at once, and that for TPUs
        # compiles every block for seconds. In a loop a CPU is slower.
        if where == "cpu":
            for block in range(blocks):
                gram += product(rows[:, block * GRAM_BLOCK : (block + 1) * GRAM_BLOCK])
            return gram

        def add(block, gram):
            start = block * GRAM_BLOCK
            return gram + product(jax.lax.dynamic_slice_in_dim(rows, start, GRAM_BLOCK, axis=1))

        return jax.lax.fori_loop(0, blocks, add, gram) if blocks else gram

    with jax.enable_x64(wide is jnp.float64):
        gram: Any = jnp.zeros((leaves[0].shape[0],) * 2, wide)
        for leaf in leaves:
            rows = leaf.reshape(leaf.shape[0], -1)
            for part in (rows.real, rows.imag) if jnp.iscomplexobj(rows) else (rows,):
                gram = add_blocks(gram, part)
                if rest := part.shape[1] % GRAM_BLOCK:
                    gram += product(part[:, -rest:])
        return gram


def _points(weights):
    """Return the leaves of a path with their names, each (T+1, ...)."""
    if isinstance(weights, list | tuple) and not hasattr(weights, "_fields"):
        weights = _stacked(weights)
    leaves = [
        (f"weights{jax.tree_util.keystr(path)}", leaf)
        for path, leaf in jax.tree.leaves_with_path(weights)
    ]
    leaves = [(name, real_array(name, leaf, or_complex=True)) for name, leaf in leaves]
    points = {leaf.shape[:1] for _, leaf in leaves}
    if len(points) != 1 or min(points) < (2,) or not sum(leaf.size for _, leaf in leaves):
        raise invalid(
            "weights",
            f"has leaves with the leading axes {sorted(points)}",
            "T+1 >= 2 points of a path along the first axis of an array, or of every leaf of a "
            "pytree; or a list of the points",
        )
    return leaves


def _stacked(points):
    """Return the points of a path in a list or tuple as one pytree."""
    if not any(
        isinstance(leaf, jax.Array | np.ndarray) or hasattr(leaf, "__array__")
        for leaf in jax.tree.leaves(points)
    ):
        return real_array("weights", points, or_complex=True)  # nested lists of numbers
    structures = {jax.tree.structure(point) for point in points}
    shapes = {tuple(np.shape(leaf) for leaf in jax.tree.leaves(point)) for point in points}
    if len(structures) != 1 or len(shapes) != 1:
        raise invalid(
            "weights",
            f"is a {type(points).__name__} of {len(points)} elements with different shapes",
            "the points of a path, all with the same shapes",
            "give leaves that hold all points along their first axis as a dict",
        )

    def stack(*leaves):
        leaves = [real_array("weights", leaf, or_complex=True) for leaf in leaves]
        if not is_traced(leaves):
            return np.stack(leaves)
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # points of several types
            return jnp.stack(leaves)

    return jax.tree.map(stack, *points)


def _increments(leaf):
    """Return the differences of points (T+1, ...) in a floating type that holds them."""
    pair = jnp.iscomplexobj(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.dtype.itemsize <= (8 if pair else 4):
        return jnp.diff(jnp.asarray(leaf, jnp.complex64 if pair else jnp.float32), axis=0)
    with jax.enable_x64(platform(leaf) != "tpu"):
        return jnp.diff(jnp.asarray(leaf, jnp.complex128 if pair else jnp.float64), axis=0)


def refuse_gaps(
    name: str,
    steps_known: Bool[np.ndarray, "step"],
    points_known: Callable[[], Bool[np.ndarray, "point"]],
    first: int = 0,
) -> None:
    """Refuse points that are not finite before others that are; a path may end in them.

    Args:
        name: of the path.
        steps_known: (T,) whether the length of a step is finite.
        points_known: returns (T+1,) whether a point is finite; asked if it matters.
        first: number of the first point, for the message.

    Raises:
        InputError: there are such points.
    """
    known = np.flatnonzero(steps_known)
    if len(known) == 0 or steps_known[: known[-1] + 1].all():
        return
    missing = np.flatnonzero(~points_known())
    missing = first + missing[missing < known[-1]]
    if len(missing) == 0:  # steps too long for their type
        return
    named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    raise invalid(
        name,
        f"has {len(missing)} points that are NaN or infinite before others that are not: {named}",
        "every point of the path",
        "sgd_diffusion.analysis.positions.time_averaged_msd leaves out the pairs of missing points",
    )


def _finite_points(leaf):
    """Return whether all numbers of a point (T+1, ...) are finite."""
    return np.isfinite(np.asarray(leaf).reshape(leaf.shape[0], -1)).all(axis=1)


@jax.jit
def each_pair_once(step_gram: Float[Array, "step step"]) -> Float[Array, "step step"]:
    """Return the upper triangle with its off-diagonal part doubled.

    The sum over it is the sum over the whole matrix, with every pair of steps once.
    """
    return jnp.triu(step_gram) + jnp.triu(step_gram, 1)


@jax.jit
def upper_squared_displacements(
    step_gram: Float[Array, "step step"],
) -> Float[Array, "point point"]:
    """Return the squared distances between the points i < j of a path.

    D[i, j] = |w_j - w_i|^2 for i < j in a (T+1, T+1) array that is zero elsewhere.
    """
    # growth[i, j] = D[i, j+1] - D[i, j] for j >= i.
    growth = jax.lax.cumsum(each_pair_once(step_gram), axis=0, reverse=True)
    from_diagonal = jax.lax.cumsum(jnp.triu(growth), axis=1)
    return jnp.triu(jnp.pad(non_negative(from_diagonal), ((0, 1), (1, 0))), 1)


@jax.jit
def diagonal_means(upper: Float[Array, "n n"]) -> Float[Array, "n"]:
    """Return the means (n,) along the diagonals 0..n-1 of an upper triangular (n, n) matrix."""
    n = upper.shape[0]
    return by_start_and_lag(upper).sum(axis=0) / (n - jnp.arange(n)).astype(upper.dtype)


@jax.jit
def by_start_and_lag(upper: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Return the entries of an upper triangular (n, n) matrix by row and diagonal.

    Entry [i, k] of the result is upper[i, i+k], and zero where i+k >= n. The lower triangle has to
    be zero.
    """
    n = upper.shape[0]
    # In rows of n+1 entries, entry (i, j) of an n x n matrix is in column j - i: diagonals become
    # columns.
    return jnp.pad(upper.ravel(), (0, n)).reshape(n, n + 1)[:, :n]


@jax.jit
def non_negative(squares: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return squares with those that rounding has pushed below zero set to zero."""
    # NaN stays, and so does the gradient where a square is exactly 0.
    return jnp.where(squares < 0, 0, squares)


def checked_lags(lags: ArrayLike, steps: int) -> Int[np.ndarray, "lag"]:
    """Return lags as a NumPy array, if they are integers in 1..steps."""
    return integer_array("lags", lags, 1, steps)


def checked_integer(name: str, value: IntegerLike, low: int, high: int, steps: int) -> int:
    """Return an option for a path of `steps` steps as an int, if it is an integer in low..high."""
    return integer(name, value, low, high, what=f"for a path of {steps} steps")


@contextlib.contextmanager
def one_path(step_gram: ArrayLike) -> Iterator[Float[Array, "step step"]]:
    """Yield the step Gram matrix (T, T) of one path as a JAX array in its own precision."""
    with own_precision("step_gram", step_gram) as gram:
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] == 0:
            raise invalid(
                "step_gram",
                f"has shape {gram.shape}",
                "(T, T) with T >= 1, the inner products of the T steps of one path",
                "use jax.vmap for several paths",
            )
        check_memory(
            (COPIES - 1) * gram.size * gram.dtype.itemsize,
            f"The analysis of {len(gram)} steps",
            THINNER,
        )
        yield gram
