"""Orthonormal bases of Krylov spaces, and a symmetric matrix seen in them.

The Lanczos process with full reorthogonalisation, for any matrix that is known by its products with vectors (n,). The
projection is made of all inner products, not of the two that exact arithmetic would leave: so a basis can go on from any
orthonormal vectors, and an invariant subspace, in which there is no next vector, is left along a random one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Krylov", "direction_outside", "dot", "extended", "outside", "ritz", "started"]

BREAKDOWN = 64  # next vectors shorter than this many units of rounding of the norm of the matrix are rounding


class Krylov(NamedTuple):
    """An orthonormal basis of m vectors and the next, and a symmetric matrix A in it."""

    basis: jax.Array  # (m + 1, n), rows
    images: jax.Array  # (m, n), A times the first m
    projected: jax.Array  # (m, m), v_i . A v_j in entries with i <= j
    norm: jax.Array  # () largest |A v| of a unit vector that has been met
    key: jax.Array  # of random vectors


def started(key, start, size):
    """A basis of which only the first vector is there, along ``start`` (n,), or a random one if that is zero."""
    key, own = jax.random.split(key)
    length = jnp.linalg.norm(start)
    basis = jnp.zeros((size + 1, start.size), start.dtype)
    first = jnp.where(length > 0, start / jnp.where(length > 0, length, 1), outside(own, basis, 0))
    zeros = jnp.zeros((size, start.size), start.dtype)
    return Krylov(basis.at[0].set(first), zeros, zeros[:, :size], jnp.zeros((), start.dtype), key)


def extended(product, krylov, count):
    """All of the basis from its first ``count`` + 1 vectors, by m - count products; count may be traced."""
    def extend(j, krylov):
        image = product(krylov.basis[j])
        rest, inner = _without(krylov.basis, image, j + 1)
        norm, length = jnp.maximum(krylov.norm, jnp.linalg.norm(image)), jnp.linalg.norm(rest)
        key, own = jax.random.split(krylov.key)
        broken = length <= BREAKDOWN * jnp.finfo(rest.dtype).eps * norm
        following = jax.lax.cond(broken, lambda: outside(own, krylov.basis, j + 1), lambda: rest / length)
        return Krylov(krylov.basis.at[j + 1].set(following), krylov.images.at[j].set(image),
                      krylov.projected.at[:, j].set(inner[:-1]), norm, key)

    return jax.lax.fori_loop(count, len(krylov.projected), extend, krylov)


def outside(key, basis, count):
    """A random unit vector at right angles to the first ``count`` of a basis; zero if they span the space."""
    n = basis.shape[1]
    random = jax.random.normal(key, (n,), jnp.float32).astype(basis.dtype)
    return jnp.where(count < n, direction_outside(basis, random, count), 0)


def direction_outside(basis, vector, count):
    """The unit vector along what the first ``count`` of a basis do not hold of a vector."""
    rest = _without(basis, vector, count)[0]
    return rest / jnp.linalg.norm(rest)


def ritz(krylov):
    """Eigenvalues (m,) of the matrix in its basis, ascending, and their vectors there, columns."""
    upper = jnp.triu(krylov.projected)
    return jnp.linalg.eigh(upper + jnp.triu(upper, 1).T)


def dot(a, b):
    """The product of matrices and vectors in full precision on every device."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _without(basis, vector, count):
    """A vector less its projection on the first ``count`` of a basis, and the inner products, zero beyond them."""
    present = jnp.arange(len(basis)) < count
    inner = jnp.zeros(len(basis), basis.dtype)
    for _ in range(2):  # the second time takes out what rounding has left
        found = jnp.where(present, dot(basis, vector), 0)
        vector, inner = vector - dot(found, basis), inner + found
    return vector, inner
