"""Build orthonormal bases of Krylov spaces, and project a symmetric matrix on them.

This is the Lanczos process with full reorthogonalization, for any matrix that is known by its
products with vectors (n,). The projection consists of all inner products, not only of the two that
exact arithmetic would leave. So a basis can continue from any orthonormal vectors. In an invariant
subspace there is no next vector; there it continues along a random one.

Matrices may have any size: they are divided by a power of two. Their first product that is not zero
then has entries of about 1, and squares neither overflow nor underflow.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._pytrees import norms
from sgd_diffusion._types import IntegerLike, Key

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

# Next vectors shorter than this many units of rounding of the norm of the matrix are rounding.
BREAKDOWN = 64


class Krylov(NamedTuple):
    """An orthonormal basis of m vectors and the next b, and a symmetric matrix A in that basis.

    A is in units of `unit`. The basis is that of a block of b start vectors and their products; the
    product of vector j gives vector j + b.

    Attributes:
        basis: (m + b, n) vectors, rows.
        images: (m, n) A times the first m vectors.
        projected: (m, m) v_i . A v_j in entries with i <= j.
        norm: () largest |A v| of all unit vectors v so far.
        unit: () a power of two, or zero as long as all products are.
        key: PRNG key of random vectors.
    """

    basis: Float[Array, "vector n"]
    images: Float[Array, "m n"]
    projected: Float[Array, "m m"]
    norm: Float[Array, ""]
    unit: Float[Array, ""]
    key: Key


@functools.partial(jax.jit, static_argnums=(2, 3), inline=True)
def started(key: Key, start: Float[Array, "n"], size: int, block: int = 1) -> Krylov:
    """Return a basis of `size` vectors with only its first `block`.

    The first is along `start` (n,), or random if that is zero; the others are random.
    """
    key, *own = jax.random.split(key, 1 + block)
    basis = jnp.zeros((size + block, start.size), start.dtype)
    first = jnp.where((start != 0).any(), _unit_vector(start), outside(own[0], basis, 0))
    basis = basis.at[0].set(first)
    for place in range(1, block):
        basis = basis.at[place].set(outside(own[place], basis, place))
    zero = jnp.zeros((), start.dtype)
    return Krylov(
        basis,
        jnp.zeros((size, start.size), start.dtype),
        jnp.zeros((size, size), start.dtype),
        zero,
        zero,
        key,
    )


def extended(
    matvec: Callable[[jax.Array], jax.Array],
    krylov: Krylov,
    count: IntegerLike,
    stop: IntegerLike | None = None,
) -> Krylov:
    """Return the first `stop` + b of the basis from its first `count` + b, by as many products.

    Both numbers may be traced. All m + b are returned if `stop` is None.
    """
    size = len(krylov.projected)
    block = len(krylov.basis) - size

    def extend(j, krylov):
        image = matvec(krylov.basis[j])
        unit = jnp.where(krylov.unit == 0, power_of_two(abs(image).max()), krylov.unit)
        image = image / jnp.where(unit == 0, 1, unit)
        rest, inner = _without(krylov.basis, image, j + block)
        norm = jnp.maximum(krylov.norm, length(image))
        key, own = jax.random.split(krylov.key)
        broken = length(rest) <= BREAKDOWN * jnp.finfo(rest.dtype).eps * norm
        following = jax.lax.cond(
            broken, lambda: outside(own, krylov.basis, j + block), lambda: _unit_vector(rest)
        )
        return Krylov(
            krylov.basis.at[j + block].set(following),
            krylov.images.at[j].set(image),
            krylov.projected.at[:, j].set(inner[:size]),
            norm,
            unit,
            key,
        )

    return jax.lax.fori_loop(count, size if stop is None else stop, extend, krylov)


def outside(key: Key, basis: Float[Array, "vector n"], count: IntegerLike) -> Float[Array, "n"]:
    """Return a random unit vector orthogonal to the first `count` vectors of a basis.

    It is zero if they span the space.
    """
    n = basis.shape[1]
    random = jax.random.normal(key, (n,), jnp.float32).astype(basis.dtype)
    return jnp.where(count < n, direction_outside(basis, random, count), 0)


def direction_outside(
    basis: Float[Array, "vector n"], vector: Float[Array, "n"], count: IntegerLike
) -> Float[Array, "n"]:
    """Return the unit vector along the part of a vector outside the first `count` of a basis."""
    return _unit_vector(_without(basis, vector, count)[0])


def ritz(
    krylov: Krylov, count: IntegerLike | None = None
) -> tuple[Float[Array, "m"], Float[Array, "m m"]]:
    """Return the eigenvalues (m,) of the matrix in the first of its basis, and vectors as columns.

    There are `count` of them, ascending; all m if it is None. The others stand behind them, with
    vectors that are zero.
    """
    upper = jnp.triu(krylov.projected)
    matrix = upper + jnp.triu(upper, 1).T
    if count is None:
        return jnp.linalg.eigh(matrix)
    present = jnp.arange(len(matrix), dtype=jnp.int32) < count
    matrix = jnp.where(present[:, None] & present[None], matrix, 0)
    beyond = 2 * length(matrix.ravel())  # all eigenvalues
    values, vectors = jnp.linalg.eigh(matrix + jnp.diag(jnp.where(present, 0, beyond)))
    return values, jnp.where(present[:, None] & present[None], vectors, 0)


def dot(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the product of matrices and vectors in full precision on every device."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def length(vectors: Float[Array, "... n"]) -> Float[Array, "..."]:
    """Return Euclidean norms along the last axis."""
    return norms(vectors, -1)[..., 0]


def power_of_two(number: Float[Array, ""]) -> Float[Array, ""]:
    """Return the largest power of two that is no larger than a number > 0.

    It is zero for zero, and NaN for numbers that are not finite.
    """
    mantissa, _ = jnp.frexp(jnp.where(number > 0, number, 1))  # 0.5 <= mantissa < 1
    return jnp.where(number > 0, number / (2 * mantissa), number)


def _unit_vector(vector):
    """The vector divided by its length; zero for zero."""
    size = length(vector)
    return vector / jnp.where(size == 0, 1, size)


def _without(basis, vector, count):
    """A vector minus its projection on the first `count` of a basis, and the inner products.

    Inner products beyond the first `count` are zero.
    """
    present = jnp.arange(len(basis), dtype=jnp.int32) < count
    inner = jnp.zeros(len(basis), basis.dtype)
    for _ in range(2):  # the second time removes what rounding has left
        along = jnp.where(present, dot(basis, vector), 0)
        vector, inner = vector - dot(along, basis), inner + along
    return vector, inner
