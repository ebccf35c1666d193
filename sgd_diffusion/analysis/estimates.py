"""Estimates of a sample with their standard errors, and reasons where there is no estimate.

The modules that estimate a number or fit a law share this; users meet `Estimate` and `Status`
there.
"""

import contextlib
import enum
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import integer, own_precision, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._least_inputs import MIN_POINTS
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.errors import invalid

__all__ = [
    "MIN_POINTS",
    "Estimate",
    "Status",
    "flagged",
    "in_blocks",
    "numbered",
    "one_sample",
    "sample_of",
    "size_of_blocks",
    "spread_status",
]


class Status(enum.IntEnum):
    """Whether there is an estimate, and if not, why not.

    As an integer it goes through jit and vmap.

    Attributes:
        OK: there is an estimate.
        NOT_FINITE: a value is NaN or infinite, as in a member that diverged.
        CONSTANT: the values that decide are all alike.
        NOT_POSITIVE: there would be a logarithm of a zero: a value is zero, or fewer are positive
            than the estimator takes.
        OUT_OF_RANGE: the equation for the estimate has no solution in its range.
        AT_BOUND: the number lies on the bound of its range; it has no standard error if it was
            searched for.
        NOT_CONVERGED: the numbers are those where a search has ended before its maximum.
    """

    OK = 0
    NOT_FINITE = 1
    CONSTANT = 2
    NOT_POSITIVE = 3
    OUT_OF_RANGE = 4
    AT_BOUND = 5
    NOT_CONVERGED = 6


@shown_briefly
class Estimate(NamedTuple):
    """One number for each sample; every array has the leading shape (...) of the samples.

    Attributes:
        value: NaN unless status is OK or AT_BOUND.
        error: its standard error; NaN where value is.
        num_points: how many values of the sample entered, integers.
        status: of `Status`, integers.
    """

    value: Float[Array, "*samples"]
    error: Float[Array, "*samples"]
    num_points: Int[Array, "*samples"]
    status: Int[Array, "*samples"]


@contextlib.contextmanager
def sample_of(
    name: str, values: ArrayLike, axis: IntegerLike = -1
) -> Iterator[Float[Array, "*samples n"]]:
    """Yield samples (..., n) with n >= 20 as a JAX array, with `axis` moved to the end.

    They keep their own precision. NaN is an answer of estimators, and no reason to stop where JAX
    is told to debug them.
    """
    with own_precision(name, values) as values, jax.debug_nans(False):
        axis = integer("axis", axis)
        if not -values.ndim <= axis < values.ndim or values.shape[axis] < MIN_POINTS:
            raise invalid(
                name,
                f"has shape {values.shape}",
                f"at least {MIN_POINTS} values along axis {axis}",
                "take a longer sample",
            )
        yield values if axis in (-1, values.ndim - 1) else jnp.moveaxis(values, axis, -1)


def one_sample(x: ArrayLike) -> Float[Array, "n"]:
    """Return one sample (n,) with n >= 20 in float64, for laws that are fitted to it.

    Call it with 64-bit mode on.
    """
    x = real_array("x", x)
    if x.ndim != 1 or x.size < MIN_POINTS:
        raise invalid(
            "x",
            f"has shape {x.shape}",
            f"(n,) with n >= {MIN_POINTS} samples",
            "use jax.vmap for several",
        )
    return jnp.asarray(x, jnp.float64)


def spread_status(ordered: Float[Array | np.ndarray, "n"]) -> Int[Array, ""]:
    """Return whether a law of location and scale can be fitted to samples (n,) in ascending order.

    NOT_FINITE where one is not; CONSTANT where more than half of them are one value, since the
    likelihood of a heavy-tailed law then grows without bound; or OK.
    """
    half = ordered.size // 2
    spread = (ordered[half:] > ordered[: ordered.size - half]).all()
    return jnp.where(
        jnp.isfinite(ordered).all(),
        jnp.where(spread, Status.OK, Status.CONSTANT),
        Status.NOT_FINITE,
    )


def size_of_blocks(n: int, block_size: IntegerLike | None) -> int:
    """Return the size of consecutive blocks of n values, the integer part of sqrt(n) when None.

    Raises:
        InputError: it is outside 2..n//2.
    """
    if block_size is None:
        return math.isqrt(n)
    what = f"at least two blocks of the {n} values"
    return integer("block_size", block_size, 2, n // 2, what=what)


def in_blocks(values: Float[Array, "*samples n"], size: int) -> Float[Array, "*samples block m"]:
    """Return consecutive blocks (..., K, m) of m values each; the rest is left out."""
    n = values.shape[-1]
    return values[..., : n // size * size].reshape(*values.shape[:-1], n // size, size)


def numbered(values: Float[Array, "*samples n"]) -> Float[Array, "... n"]:
    """Return 1, 2, ..., n along the last axis of values (..., n), in their type and rank."""
    n = values.shape[-1]
    return jnp.arange(1, n + 1, dtype=values.dtype).reshape((1,) * (values.ndim - 1) + (n,))


def flagged(
    value: Float[Array, "*samples"],
    error: Float[Array, "*samples"],
    num_points: IntegerLike,
    *reasons: tuple[ArrayLike, Status],
) -> Estimate:
    """Return an `Estimate` with the status of the first of the `reasons` that holds.

    Reasons are pairs (where, `Status`).
    """
    status = jnp.full(value.shape, int(Status.OK), jnp.int32)
    for where, reason in reversed(reasons):
        status = jnp.where(where, int(reason), status)
    known = (status == Status.OK) | (status == Status.AT_BOUND)
    num_points = jnp.broadcast_to(jnp.asarray(num_points, jnp.int32), value.shape)
    return Estimate(
        jnp.where(known, value, jnp.nan), jnp.where(known, error, jnp.nan), num_points, status
    )
