"""Compute eigenvalues and eigenvectors at the ends of the spectrum of a symmetric matrix.

Only products of the matrix with vectors are needed.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._arrays import integer, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import IntegerLike, Key, Matvec, NumberLike, PyTree
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.curvature.flat import flat_matrix
from sgd_diffusion.landscape.curvature.krylov import (
    Krylov,
    direction_outside,
    dot,
    extended,
    length,
    outside,
    ritz,
    started,
)

__all__ = ["Eigenpairs", "top_eigenpairs"]

ENDS = ("largest", "smallest", "both")
ROUNDING = 32  # units of rounding of the norm of the matrix below which residuals are rounding
EXTRA = 20  # vectors of the basis beyond twice the number of pairs
BLOCK = 2  # vectors that the basis starts from
LOOKS = 5  # between two restarts, at the residuals
COPIES = 4  # tolerances within which eigenvalues may be copies of one
TOLERANCES = {4: 1e-4, 8: 1e-10}  # by the bytes of a number


@shown_briefly
class Eigenpairs(NamedTuple):
    """k eigenvalues with their eigenvectors, from the wanted end on.

    Attributes:
        values: (k,) eigenvalues.
        vectors: pytree like the vectors of the matrix with a leading axis of k; orthonormal.
        residuals: (k,) |A v - value v| itself, not an estimate. An eigenvalue lies within this
            distance of the value.
        converged: (k,) whether the residual is small enough.
        num_products: () number of products with the matrix.
    """

    values: Float[Array, "*maps k"]
    vectors: PyTree
    residuals: Float[Array, "*maps k"]
    converged: Bool[Array, "*maps k"]
    num_products: Int[Array, "*maps"]


class _Search(NamedTuple):
    krylov: Krylov  # after a restart, begins with the best approximations, in the wanted order
    kept: jax.Array  # vectors of the basis that have been multiplied
    residuals: jax.Array  # (k,)
    fresh: jax.Array  # whether a random vector follows the approximations
    finished: jax.Array
    restarts: jax.Array
    products: jax.Array


def top_eigenpairs(
    matvec: Matvec,
    like: PyTree,
    k: IntegerLike,
    *,
    which: str = "largest",
    tol: NumberLike | None = None,
    max_restarts: IntegerLike = 100,
    key: Key | None = None,
    start: PyTree | None = None,
) -> Eigenpairs:
    r"""Return eigenvalues at the ends of the spectrum, and their eigenvectors.

    This is thick-restart Lanczos (Wu & Simon, SIAM J. Matrix Anal. Appl. 22, 602, 2000) with full
    reorthogonalization, from a block of two random vectors. A basis of min(n, 2k + 20) vectors
    grows by one product each. Then its best approximations to the wanted eigenvectors and k/2 + 10
    more replace it. This goes on until their residuals are small, which are computed several times
    between.

    A block of two reaches two vectors of a degenerate eigenvalue. If no two of the eigenvalues are
    within four tolerances, no copy of any is missing. Otherwise, and after a warm start, the basis
    continues once more from random vectors, until that changes none of the wanted eigenvalues.

    The basis and its products take 8 (2k + 20) n bytes in single precision. Under `jax.vmap` all
    members continue until the last has finished. Products of matrices and convolutions within the
    product have full precision on every device. A matrix may have any size that its type holds: it
    is scaled.

    Formula:
        Eigenvalues by thick-restart Lanczos. $A v_i = \lambda_i v_i$ (Wu & Simon, SIAM J. Matrix
        Anal. Appl. 22, 602, 2000)

    Args:
        matvec: `vector -> A vector`, pytrees like `like`, with A symmetric; for example from
            `products.hessian_vector_product`. For 16-bit weights its vectors are in float32. If it
            does not take these, they have 16 bits, and their rounding, 1/256 of bfloat16, shows in
            the residuals.
        like: pytree of floating arrays, n numbers in all; only shapes and types are used. The
            computation runs in float64 where one of them has 8 bytes and the product returns such
            numbers, and in float32 otherwise.
        k: number of pairs, 1..n.
        which: "largest" eigenvalues, in descending order; "smallest" (the most negative), in
            ascending order; or "both" in descending order, half of them from each end and the odd
            one among the largest.
        tol: residual at which a pair has converged, relative to its eigenvalue. None is 1e-4, and
            1e-10 in float64. An eigenvalue is right to within its residual. One that is far from
            others is right to tol^2 of its distance from them. Residuals below 32 eps times the
            norm of A are rounding and have converged whatever the eigenvalue.
        max_restarts: how often the basis is replaced at most.
        key: PRNG key of random vectors; `jax.random.key(0)` if None.
        start: eigenvectors from earlier, at nearby parameters, as in `Eigenpairs`. The basis then
            starts from their sum alone.

    Returns:
        `Eigenpairs`, vectors in the types of `like`, values and residuals in the precision of the
        computation. NaN where products are not finite.

    Raises:
        InputError: k is not in 1..n, the end is unknown, the tolerance is negative, the pytree has
            other than floating arrays, or the products do not match it.

    >>> diagonal = jnp.array([3.0, 1.0, -4.0])
    >>> pairs = top_eigenpairs(lambda v: diagonal * v, jnp.zeros(3), 2, which="both")
    >>> jnp.round(pairs.values, 4).tolist()
    [3.0, -4.0]

    Notes:
        With `like` and products in float64, eigenvalues are those of a dense eigenvalue solver to
        1e-10 of the largest. Small residuals say that these eigenvalues exist. They do not say that
        there is no other between them: one may be missed at the edge of a dense bulk.

        On spectra like that of ResNet-14, whose 20 largest eigenvalues fall from 81 to 4.1, the 20
        take 52 to 60 products with a tolerance of 1e-3, and the four largest 16. A block of one
        takes about 48 for the 20, and 20 more to exclude missing copies. Blocks of 4 and of 8 take
        60 to 76 and 72 to 96.
    """
    if which not in ENDS:
        raise invalid("which", f"is {which!r}", f"one of {', '.join(ENDS)}")
    max_restarts = integer("max_restarts", max_restarts, 0, 2**31 - 1)
    with flat_matrix(matvec, like) as matrix:
        zero = matrix.zero
        k = integer("k", k, 1, zero.size, what="(the size of the matrix)")
        tol = TOLERANCES[zero.dtype.itemsize] if tol is None else number("tol", tol, at_least=0)
        first = zero if start is None else matrix.flat("start", start).sum(axis=0)
        size, block = min(zero.size, 2 * k + EXTRA), BLOCK if start is None else 1
        krylov = started(jax.random.key(0) if key is None else key, first, size, block)
        krylov, residuals, num_products = _searched(
            matrix.matvec, krylov, k, which, tol, max_restarts
        )
        values, vectors, residuals, converged = _in_order(krylov, residuals, which, tol)
        vectors = jax.vmap(matrix.tree)(vectors)
        return Eigenpairs(values, vectors, residuals, converged, num_products)


@functools.partial(jax.jit, static_argnums=(2, 3), inline=True)
def _in_order(krylov, residuals, which, tol):
    """The first fields of `Eigenpairs`, with vectors (k, n)."""
    k = len(residuals)
    values = jnp.diagonal(krylov.projected)[:k]
    order = jnp.argsort(-values) if which == "both" else jnp.arange(k)
    values, residuals = values[order], residuals[order]
    unit = jnp.where(krylov.unit == 0, 1, krylov.unit)
    converged = residuals <= _tolerated(values, krylov.norm, tol)
    return values * unit, krylov.basis[:k][order], residuals * unit, converged


def _searched(matvec, krylov, k, which, tol, max_restarts):
    """A basis that begins with the wanted vectors, their residuals, and the number of products."""
    size, n = len(krylov.projected), krylov.basis.shape[1]
    block = len(krylov.basis) - size
    whole = size == n  # the basis will span the space
    keep = size if whole else k + (size - k) // 2
    step = max(1, (size - keep) // LOOKS)

    def sweep(search):
        # A search for missing vectors goes through to the end of the basis.
        until = jnp.minimum(jnp.maximum(search.kept + step, keep), size)
        stop = jnp.where(search.fresh | whole, jnp.int32(size), until)
        krylov = extended(matvec, search.krylov, search.kept, stop)
        values, vectors = _wanted_first(*ritz(krylov, stop), which, stop)
        missing = _missing(krylov, values[:k], vectors[:, :k])
        residuals, tolerated = length(missing), _tolerated(values[:k], krylov.norm, tol)
        converged = (residuals <= tolerated).all()
        same = (abs(values[:k] - jnp.diagonal(search.krylov.projected)[:k]) <= tolerated).all()
        lost = ~jnp.isfinite(krylov.norm)
        certain = (search.fresh & same) | (_apart(values[:k], tolerated) & (block == BLOCK))
        full = converged | (stop == size)
        return _Search(
            jax.lax.cond(
                full,
                lambda: _restarted(krylov, values, vectors, keep, missing, converged),
                lambda: krylov,
            ),
            jnp.where(full, jnp.int32(keep), stop),
            residuals,
            converged,
            whole | lost | (converged & certain),
            search.restarts + full.astype(jnp.int32),
            search.products + stop - search.kept,
        )

    def unfinished(search):
        return ~search.finished & (search.restarts <= max_restarts)

    no, zero = jnp.asarray(False), jnp.int32(0)
    begin = _Search(krylov, zero, jnp.zeros(k, krylov.basis.dtype), no, no, zero, zero)
    search = jax.lax.while_loop(unfinished, sweep, begin)
    return search.krylov, search.residuals, search.products


def _missing(krylov, values, vectors):
    """A v - value v (k, n) of approximations with coefficients (m, k) in the basis."""
    kept, images = (dot(vectors.T, rows[: len(vectors)]) for rows in (krylov.basis, krylov.images))
    return images - values[:, None] * kept


def _restarted(krylov, values, vectors, keep, missing, converged):
    """A basis of the `keep` best approximations, and of directions in which it continues.

    All residuals are in the span of the next vectors of the Krylov space, except those that a
    random vector left behind. So the basis continues along the worst residual, and along the worst
    of what is then left of them. Where all have converged, it continues at random.
    """
    size = len(krylov.projected)
    kept, images = (dot(vectors[:, :keep].T, rows[:size]) for rows in (krylov.basis, krylov.images))
    basis = krylov.basis.at[:keep].set(kept)
    key, *own = jax.random.split(krylov.key, 1 + len(basis) - size)
    rounding = ROUNDING * jnp.finfo(basis.dtype).eps * krylov.norm
    for place, random in enumerate(own, keep):
        lengths = length(missing)
        worst = lengths.argmax()
        following = jax.lax.cond(
            converged | (lengths[worst] <= rounding),
            functools.partial(outside, random, basis, place),
            functools.partial(direction_outside, basis, missing[worst], place),
        )
        basis = basis.at[place].set(following)
        missing = missing - dot(missing, following)[:, None] * following[None]
    return krylov._replace(
        basis=basis,
        images=krylov.images.at[:keep].set(images),
        projected=jnp.diag(jnp.where(jnp.arange(size) < keep, values, 0)),
        key=key,
    )


def _apart(values, tolerated):
    """Whether all eigenvalues are further from each other than copies of one can be.

    A block of two start vectors reaches two copies of an eigenvalue. Where it finds no two, there
    are none. Eigenvalues within a few residuals count as copies, which cannot be told from them.
    """
    distance = abs(values[:, None] - values[None])
    close = distance <= COPIES * jnp.maximum(tolerated[:, None], tolerated[None])
    return close.sum() == len(values)


def _wanted_first(values, vectors, which, count):
    """The first `count` eigenvalues, ascending, and vectors as columns, put in the wanted order."""
    place = jnp.arange(len(values), dtype=jnp.int32)
    order = {
        "largest": count - 1 - place,
        "smallest": place,
        "both": jnp.where(place % 2, place // 2, count - 1 - place // 2),
    }[which]
    order = jnp.where(place < count, order, place)
    return values[order], vectors[:, order]


def _tolerated(values, norm, tol):
    return jnp.maximum(tol * abs(values), ROUNDING * jnp.finfo(values.dtype).eps * norm)
