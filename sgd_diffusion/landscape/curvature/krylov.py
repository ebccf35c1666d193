"""Orthonormal bases of Krylov spaces, and a symmetric matrix seen in them.

The Lanczos process with full reorthogonalisation, for any matrix that is known by its products with
vectors (n,). The projection is made of all inner products, not of the two that exact arithmetic
would leave: so a basis can go on from any orthonormal vectors, and an invariant subspace, in which
there is no next vector, is left along a random one.

Matrices of any size: they are divided by a power of two, so that their first product that is not
zero has entries of about 1, and squares neither overflow nor underflow.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgd_diffusion._pytrees import norms

__all__ = [
    "Krylov",
    "direction_outside",
    "dot",
    "extended",
    "length",
    "outside",
    "power_of_two",
    "ritz",
    "started",
]

BREAKDOWN = 64  # next vectors shorter than this many units of rounding of the norm of the matrix are rounding


class Krylov(NamedTuple):
    """An orthonormal basis of m vectors and the next, and a symmetric matrix A, in units of
    `unit`, in it.
    """

    basis: jax.Array  # (m + 1, n), rows
    images: jax.Array  # (m, n), A times the first m
    projected: jax.Array  # (m, m), v_i . A v_j in entries with i <= j
    norm: jax.Array  # () largest |A v| of a unit vector that has been met
    unit: jax.Array  # () a power of two, or zero as long as all products are
    key: jax.Array  # of random vectors


def started(key, start, size):
    """A basis of which only the first vector is there, along `start` (n,), or a random one if
    that is zero.
    """
    key, own = jax.random.split(key)
    basis = jnp.zeros((size + 1, start.size), start.dtype)
    first = jnp.where((start != 0).any(), _unit_vector(start), outside(own, basis, 0))
    zero = jnp.zeros((), start.dtype)
    return Krylov(
        basis.at[0].set(first),
        jnp.zeros((size, start.size), start.dtype),
        jnp.zeros((size, size), start.dtype),
        zero,
        zero,
        key,
    )


def extended(matvec, krylov, count):
    """All of the basis from its first `count` + 1 vectors, by m - count products; count may be
    traced.
    """

    def extend(j, krylov):
        image = matvec(krylov.basis[j])
        unit = jnp.where(krylov.unit == 0, power_of_two(abs(image).max()), krylov.unit)
        image = image / jnp.where(unit == 0, 1, unit)
        rest, inner = _without(krylov.basis, image, j + 1)
        norm = jnp.maximum(krylov.norm, length(image))
        key, own = jax.random.split(krylov.key)
        broken = length(rest) <= BREAKDOWN * jnp.finfo(rest.dtype).eps * norm
        following = jax.lax.cond(
            broken, lambda: outside(own, krylov.basis, j + 1), lambda: _unit_vector(rest)
        )
        return Krylov(
            krylov.basis.at[j + 1].set(following),
            krylov.images.at[j].set(image),
            krylov.projected.at[:, j].set(inner[:-1]),
            norm,
            unit,
            key,
        )

    return jax.lax.fori_loop(count, len(krylov.projected), extend, krylov)


def outside(key, basis, count):
    """A random unit vector at right angles to the first `count` of a basis; zero if they span the
    space.
    """
    n = basis.shape[1]
    random = jax.random.normal(key, (n,), jnp.float32).astype(basis.dtype)
    return jnp.where(count < n, direction_outside(basis, random, count), 0)


def direction_outside(basis, vector, count):
    """The unit vector along what the first `count` of a basis do not hold of a vector."""
    return _unit_vector(_without(basis, vector, count)[0])


def ritz(krylov):
    """Eigenvalues (m,) of the matrix in its basis, ascending, and their vectors there, columns."""
    upper = jnp.triu(krylov.projected)
    return jnp.linalg.eigh(upper + jnp.triu(upper, 1).T)


def dot(a, b):
    """The product of matrices and vectors in full precision on every device."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def length(vectors):
    """Euclidean norms along the last axis."""
    return norms(vectors, -1)[..., 0]


def power_of_two(number):
    """The largest power of two that is no larger than a number > 0; zero for zero, NaN for what is
    not finite.
    """
    mantissa, _ = jnp.frexp(jnp.where(number > 0, number, 1))  # 0.5 <= mantissa < 1
    return jnp.where(number > 0, number / (2 * mantissa), number)


def _unit_vector(vector):
    """Zero for zero."""
    size = length(vector)
    return vector / jnp.where(size == 0, 1, size)


def _without(basis, vector, count):
    """A vector less its projection on the first `count` of a basis, and the inner products, zero
    beyond them.
    """
    present = jnp.arange(len(basis), dtype=jnp.int32) < count
    inner = jnp.zeros(len(basis), basis.dtype)
    for _ in range(2):  # the second time takes out what rounding has left
        found = jnp.where(present, dot(basis, vector), 0)
        vector, inner = vector - dot(found, basis), inner + found
    return vector, inner
