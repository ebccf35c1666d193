"""Eigenvalues and eigenvectors at the ends of the spectrum of a symmetric matrix that is known by its products."""

import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature.krylov import Krylov, direction_outside, dot, extended, outside, ritz, started

__all__ = ["Eigenpairs", "top_eigenpairs"]

ENDS = ("largest", "smallest", "both")
ROUNDING = 32  # residuals below this many units of rounding of the norm of the matrix are rounding
EXTRA = 20  # vectors of the basis beyond twice the number of pairs


class Eigenpairs(NamedTuple):
    """k eigenvalues with their vectors, from the wanted end on."""

    values: jax.Array  # (k,)
    vectors: Any  # pytree like the vectors of the matrix, with a leading axis of k; orthonormal
    residuals: jax.Array  # (k,) |A v - value v| itself, not an estimate; an eigenvalue lies within this distance
    converged: jax.Array  # (k,) bool
    num_products: jax.Array  # () products with the matrix


class _Search(NamedTuple):
    krylov: Krylov  # begins with the best approximations, in the order in which they are wanted
    kept: jax.Array  # how many of them are there
    residuals: jax.Array  # (k,)
    fresh: jax.Array  # whether a random vector follows them
    finished: jax.Array
    sweeps: jax.Array


def top_eigenpairs(product, like, k, *, which="largest", tol=1e-4, max_restarts=100, key=None, start=None):
    """Eigenvalues at the ends of the spectrum, and their vectors.

    Thick-restart Lanczos (Wu & Simon, SIAM J. Matrix Anal. Appl. 22, 602, 2000) with full reorthogonalisation: a basis of
    min(n, 2k + 20) vectors grows by one product each, and is then replaced by its best approximations to the wanted
    eigenvectors and k/2 + 10 more, until their residuals are small. From a single vector, only one vector of a degenerate
    eigenvalue can be reached. So when all have converged the basis goes on once more from a random vector, until that
    changes none of the wanted eigenvalues.

    The basis and its products take 8 (2k + 20) n bytes in single precision. Under :func:`jax.vmap` all members go on until
    the last has finished. Inside ``jax.enable_x64(True)``, with ``like`` and products in float64, eigenvalues are those of a
    dense eigenvalue solver to 1e-10 of the largest. That residuals are small says that there are these eigenvalues, and not
    that there is no other between them: at the edge of a dense bulk one may be missed.

    Args:
        product: ``vector -> A vector``, pytrees like ``like``, with A symmetric; as from
            :func:`~sgd_diffusion.landscape.curvature.products.hessian_vector_product`.
        like: a pytree of floating arrays, of which only the shapes are taken; n numbers in all.
        k: number of pairs, 1..n.
        which: "largest" eigenvalues, in descending order; "smallest" (the most negative), in ascending order; or "both",
            half of them from each end and the odd one among the largest, in descending order.
        tol: residual at which a pair has converged, relative to its eigenvalue. An eigenvalue of one that is far from
            others is right to tol^2 of its distance from these. Residuals that are rounding, below 32 eps times the norm of
            A, have converged whatever the eigenvalue.
        max_restarts: how often the basis is replaced at most.
        key: PRNG key of random vectors; ``jax.random.key(0)`` when None.
        start: eigenvectors found earlier, at near-by parameters, as in :class:`Eigenpairs`. The first vector is then their
            sum.

    Returns:
        :class:`Eigenpairs`. NaN where products are.

    Raises:
        InputError: k not in 1..n, an unknown end, or a pytree of other than floating arrays.

    >>> pairs = top_eigenpairs(lambda v: jnp.array([3.0, 1.0, -4.0]) * v, jnp.zeros(3), 2, which="both")
    >>> jnp.round(pairs.values, 4).tolist()
    [3.0, -4.0]
    """
    leaves = jax.tree.leaves(like)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        raise InputError(f"like has leaves of {[str(jnp.result_type(leaf)) for leaf in leaves]}; expected floating arrays")
    zero, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, like))
    if not isinstance(k, numbers.Integral) or not 1 <= k <= zero.size:
        raise InputError(f"k is {k}; expected an integer in 1..{zero.size}, the size of the matrix")
    if which not in ENDS:
        raise InputError(f"which is {which!r}; expected one of {', '.join(ENDS)}")

    def flat_product(vector):
        return ravel_pytree(product(unravel(vector)))[0]

    first = zero if start is None else jax.vmap(lambda vectors: ravel_pytree(vectors)[0])(start).sum(axis=0)
    krylov = started(jax.random.key(0) if key is None else key, first.astype(zero.dtype), min(zero.size, 2 * k + EXTRA))
    krylov, residuals, num_products = _searched(flat_product, krylov, k, which, tol, max_restarts)
    values = jnp.diagonal(krylov.projected)[:k]
    order = jnp.argsort(-values) if which == "both" else jnp.arange(k)
    values, residuals = values[order], residuals[order]
    return Eigenpairs(values, jax.vmap(unravel)(krylov.basis[:k][order]), residuals,
                      residuals <= _tolerated(values, krylov.norm, tol), num_products)


def _searched(product, krylov, k, which, tol, max_restarts):
    """A basis that begins with the wanted vectors, their residuals, and the number of products."""
    size, n = len(krylov.projected), krylov.basis.shape[1]
    whole = size == n  # the basis will span the space
    keep = size if whole else k + (size - k) // 2

    def sweep(search):
        krylov = extended(product, search.krylov, search.kept)
        values, vectors = _wanted_first(*ritz(krylov), which)
        kept, images = (dot(vectors[:, :keep].T, rows) for rows in (krylov.basis[:-1], krylov.images))
        missing = images[:k] - values[:k, None] * kept[:k]
        residuals, tolerated = jnp.linalg.norm(missing, axis=1), _tolerated(values[:k], krylov.norm, tol)
        converged = (residuals <= tolerated).all()
        same = (abs(values[:k] - jnp.diagonal(search.krylov.projected)[:k]) <= tolerated).all()
        lost = ~jnp.isfinite(krylov.norm)
        key, own = jax.random.split(krylov.key)
        basis = krylov.basis.at[:keep].set(kept)
        # All residuals are along the next vector of the Krylov space, but for those that a random vector left behind: hence
        # along the worst of them.
        following = jax.lax.cond(converged, lambda: outside(own, basis, keep),
                                 lambda: direction_outside(basis, missing[(residuals / tolerated).argmax()], keep))
        return _Search(
            Krylov(basis.at[keep].set(following), krylov.images.at[:keep].set(images),
                   jnp.diag(jnp.where(jnp.arange(size) < keep, values, 0)), krylov.norm, key),
            jnp.int32(keep), residuals, converged, whole | lost | (converged & search.fresh & same), search.sweeps + 1)

    def unfinished(search):
        return ~search.finished & (search.sweeps <= max_restarts)

    no = jnp.asarray(False)
    begin = _Search(krylov, jnp.int32(0), jnp.zeros(k, krylov.basis.dtype), no, no, jnp.int32(0))
    search = jax.lax.while_loop(unfinished, sweep, begin)
    return search.krylov, search.residuals, size + (search.sweeps - 1) * (size - keep)


def _wanted_first(values, vectors, which):
    """Ascending eigenvalues, and their vectors as columns, in the order in which they are wanted."""
    size = len(values)
    from_top = np.arange(size)[::-1]
    alternating = np.stack([from_top, from_top[::-1]], axis=1).ravel()[:size]
    order = {"largest": from_top, "smallest": from_top[::-1], "both": alternating}[which]
    return values[order], vectors[:, order]


def _tolerated(values, norm, tol):
    return jnp.maximum(tol * abs(values), ROUNDING * jnp.finfo(values.dtype).eps * norm)
