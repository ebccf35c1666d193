"""The step Gram matrix of a path, as it is made, as the analysis takes it in, and the squared
displacements from it.

Users need `step_gram`; the modules that derive something from a path share the rest.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import integer, integer_array, is_traced, own_precision, real_array
from sgd_diffusion._memory import check_memory
from sgd_diffusion.errors import InputError

__all__ = [
    "by_start_and_lag",
    "checked_integer",
    "checked_lags",
    "diagonal_means",
    "each_pair_once",
    "increment_gram",
    "non_negative",
    "one_path",
    "step_gram",
    "upper_squared_displacements",
]

# Columns of the float64 copy that the Gram product is made from: large enough for the product to
# run at full speed, small enough that the copy (8 T bytes a column) stays far below the increments
# themselves (4 T bytes a parameter).
GRAM_BLOCK = 32768
COPIES = 4  # matrices of (T, T) that the analysis of one holds at the same time
THINNER = (
    "take every k-th point, or, for a path of few coordinates, the functions of "
    "sgd_diffusion.analysis.positions, which need no matrix"
)


def step_gram(weights):
    """Step Gram matrix G[u, v] = <dw_u, dw_v> of a path, with dw_u = w_{u+1} - w_u.

    The steps are taken first, so that nothing is lost to the size of the weights: in float64 for
    float64 numbers and integers, in float32 for shorter floating numbers. Products and sums are
    float64 (see `increment_gram`). Complex weights count as pairs of real ones, so that G is
    the real part of the inner product.

    Args:
        weights: the points w_0, ..., w_T of the path, T >= 1. An array (T+1, ...); or a pytree (a
            dict, a named tuple) of such arrays, whose leaves together are a point; or a list or
            tuple of the T+1 points, each an array or a pytree, all with the same shapes.

    Returns:
        (T, T) float64 where the backend has it, squared weight units. NaN from the point on from
        which all points are NaN or infinite, as in a run that diverged.

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
        _refuse_gaps(np.isfinite(np.diagonal(gram)), [leaf for _, leaf in leaves])
    return gram


def increment_gram(increments):
    """Gram matrix G[u, v] = <dw_u, dw_v> of increments that are there already.

    Products and sums are float64 where the backend has it, over blocks of parameters unrolled in
    Python. Otherwise (TPU) they are float32 at `Precision.HIGHEST`, and path statistics of
    confined motion carry a relative error of up to 1e-3.

    Args:
        increments: dw, a pytree of (T, ...) arrays of real or complex floating numbers.

    Returns:
        (T, T), summed over all parameters; of complex numbers the real part.
    """
    wide = jnp.float32 if jax.default_backend() == "tpu" else jnp.float64
    with jax.enable_x64(wide is jnp.float64):
        gram = 0.0
        for leaf in jax.tree.leaves(increments):
            rows = leaf.reshape(leaf.shape[0], -1)
            parts = (rows.real, rows.imag) if jnp.iscomplexobj(rows) else (rows,)
            for part in parts:
                for block in range(0, part.shape[1], GRAM_BLOCK):
                    columns = part[:, block : block + GRAM_BLOCK].astype(wide)
                    gram += jax.lax.dot_general(
                        columns,
                        columns,
                        (((1,), (1,)), ((), ())),
                        precision=jax.lax.Precision.HIGHEST,
                    )
        return gram


def _points(weights):
    """The leaves of a path with their names, each (T+1, ...)."""
    if isinstance(weights, list | tuple) and not hasattr(weights, "_fields"):
        weights = _stacked(weights)
    leaves = [
        (f"weights{jax.tree_util.keystr(path)}", leaf)
        for path, leaf in jax.tree.leaves_with_path(weights)
    ]
    leaves = [(name, real_array(name, leaf, or_complex=True)) for name, leaf in leaves]
    points = {leaf.shape[:1] for _, leaf in leaves}
    if len(points) != 1 or min(points) < (2,) or not sum(leaf.size for _, leaf in leaves):
        raise InputError(
            f"weights has leaves with the leading axes {sorted(points)}; expected T+1 >= 2 points "
            "of a path along the first axis of an array, or of every leaf of a pytree; or a list "
            "of the points"
        )
    return leaves


def _stacked(points):
    """The points of a path in a list or tuple, as one pytree."""
    if not any(
        isinstance(leaf, jax.Array | np.ndarray) or hasattr(leaf, "__array__")
        for leaf in jax.tree.leaves(points)
    ):
        return real_array("weights", points, or_complex=True)  # nested lists of numbers
    structures = {jax.tree.structure(point) for point in points}
    shapes = {tuple(np.shape(leaf) for leaf in jax.tree.leaves(point)) for point in points}
    if len(structures) != 1 or len(shapes) != 1:
        raise InputError(
            f"weights is a {type(points).__name__} of {len(points)} elements with different "
            "shapes; expected the points of a path, all with the same shapes. Give leaves that "
            "hold all points along their first axis as a dict"
        )

    def stack(*leaves):
        leaves = [real_array("weights", leaf, or_complex=True) for leaf in leaves]
        if not is_traced(leaves):
            return np.stack(leaves)
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # points of several types
            return jnp.stack(leaves)

    return jax.tree.map(stack, *points)


def _increments(leaf):
    """Differences of points (T+1, ...) in a floating type that holds them."""
    pair = jnp.iscomplexobj(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.dtype.itemsize <= (8 if pair else 4):
        return jnp.diff(jnp.asarray(leaf, jnp.complex64 if pair else jnp.float32), axis=0)
    with jax.enable_x64(jax.default_backend() != "tpu"):
        return jnp.diff(jnp.asarray(leaf, jnp.complex128 if pair else jnp.float64), axis=0)


def _refuse_gaps(steps_known, leaves):
    """Refuse points that are not finite before others that are; a path may end in them."""
    known = np.flatnonzero(steps_known)
    if len(known) == 0 or steps_known[: known[-1] + 1].all():
        return
    finite = [
        np.isfinite(np.asarray(leaf).reshape(leaf.shape[0], -1)).all(axis=1) for leaf in leaves
    ]
    missing = np.flatnonzero(~np.all(finite, axis=0))
    missing = missing[missing < known[-1]]
    if len(missing) == 0:  # steps too long for their type
        return
    named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    raise InputError(
        f"weights has {len(missing)} points that are NaN or infinite before others that are not: "
        f"{named}; expected every point of the path. Let "
        "sgd_diffusion.analysis.positions.time_averaged_msd leave out their pairs"
    )


def each_pair_once(step_gram):
    """The upper triangle with its off-diagonal part doubled: the whole matrix's sum, every pair of
    steps once.
    """
    return jnp.triu(step_gram) + jnp.triu(step_gram, 1)


def upper_squared_displacements(step_gram):
    """Squared distances D[i, j] = |w_j - w_i|^2 between the points i < j of a path, (T+1, T+1),
    zero elsewhere.
    """
    growth = jax.lax.cumsum(
        each_pair_once(step_gram), axis=0, reverse=True
    )  # [i, j]: D[i, j+1] - D[i, j], j >= i
    from_diagonal = jax.lax.cumsum(jnp.triu(growth), axis=1)
    return jnp.triu(jnp.pad(non_negative(from_diagonal), ((0, 1), (1, 0))), 1)


def diagonal_means(upper):
    """Means along the diagonals 0..n-1 of an (n, n) matrix whose lower triangle is zero, (n,)."""
    n = upper.shape[0]
    return by_start_and_lag(upper).sum(axis=0) / (n - jnp.arange(n)).astype(upper.dtype)


def by_start_and_lag(upper):
    """Entries of an (n, n) matrix by row and distance from the diagonal: [i, k] = upper[i, i+k],
    zero where i+k >= n.

    The lower triangle has to be zero.
    """
    n = upper.shape[0]
    # Read with rows of n+1, entry (i, j) of an n x n matrix lies in column j - i: diagonals become
    # columns.
    return jnp.pad(upper.ravel(), (0, n)).reshape(n, n + 1)[:, :n]


def non_negative(squares):
    """Squares that rounding has pushed below zero, set to zero."""
    return jnp.where(
        squares < 0, 0, squares
    )  # keeps NaN, and the gradient where a square is exactly 0


def checked_lags(lags, steps):
    """Lags as a NumPy array, if they are integers in 1..steps."""
    return integer_array("lags", lags, 1, steps)


def checked_integer(name, value, low, high, steps):
    """A time, lag or separation on a path of `steps` steps, if it is an integer in low..high."""
    return integer(name, value, low, high, what=f"for a path of {steps} steps")


@contextlib.contextmanager
def one_path(step_gram):
    """The step Gram matrix (T, T) of one path as a JAX array in its own precision."""
    with own_precision("step_gram", step_gram) as gram:
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] == 0:
            raise InputError(
                f"step_gram has shape {gram.shape}; expected (T, T) with T >= 1, the inner "
                "products of the T steps of one path; use jax.vmap for several paths"
            )
        check_memory(
            (COPIES - 1) * gram.size * gram.dtype.itemsize,
            f"The analysis of {len(gram)} steps",
            THINNER,
        )
        yield gram
