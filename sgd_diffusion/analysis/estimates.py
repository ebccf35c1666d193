"""What an estimator says of a sample: the estimate, its standard error, and why there is none where
there is none.

Shared by the modules that estimate a number or fit a law; users meet `Estimate` and
`Status` there.
"""

import contextlib
import enum
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import integer, own_precision, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.errors import InputError

__all__ = [
    "MIN_POINTS",
    "Estimate",
    "Status",
    "flagged",
    "in_blocks",
    "numbered",
    "one_sample",
    "sample_of",
    "spread_status",
]

MIN_POINTS = (
    20  # the standard deviation of 20 is itself known to 16 percent; no tail is seen in fewer
)


class Status(enum.IntEnum):
    """Whether there is an estimate, and if not, why not; as an integer it goes through jit and
    vmap.
    """

    OK = 0
    NOT_FINITE = 1  # a value is NaN or infinite, as in a member that diverged
    CONSTANT = 2  # the values that decide are all alike
    NOT_POSITIVE = (
        3  # logarithm of a zero: a value is zero, or fewer are positive than the estimator takes
    )
    OUT_OF_RANGE = 4  # the equation for the estimate has no solution in its range
    AT_BOUND = 5  # a number on the bound of its range, of which there is no standard error if it was searched for
    NOT_CONVERGED = 6  # numbers where a search has ended before its maximum


@shown_briefly
class Estimate(NamedTuple):
    """One number for each sample; every array has the leading shape (...) of the samples."""

    value: jax.Array  # NaN unless status is OK or AT_BOUND
    error: jax.Array  # its standard error; NaN where value is
    num_points: jax.Array  # how many values of the sample entered, integers
    status: jax.Array  # of Status, integers


@contextlib.contextmanager
def sample_of(name, values, axis=-1):
    """Samples (..., n) with n >= 20 as a JAX array in their own precision, with `axis` moved to
    the end.

    NaN is an answer of estimators, and no reason to stop where JAX is told to debug them.
    """
    with own_precision(name, values) as values, jax.debug_nans(False):
        axis = integer("axis", axis)
        if not -values.ndim <= axis < values.ndim or values.shape[axis] < MIN_POINTS:
            raise InputError(
                f"{name} has shape {values.shape}; expected at least {MIN_POINTS} values along "
                f"axis {axis}: take a longer sample"
            )
        yield jnp.moveaxis(values, axis, -1)


def one_sample(x):
    """One sample (n,) with n >= 20 in float64, for laws that are fitted to it; to be called with
    64-bit mode on.
    """
    x = real_array("x", x)
    if x.ndim != 1 or x.size < MIN_POINTS:
        raise InputError(
            f"x has shape {x.shape}; expected (n,) with n >= {MIN_POINTS} samples; use jax.vmap "
            "for several"
        )
    return jnp.asarray(x, jnp.float64)


def spread_status(ordered):
    """Whether a law of location and scale can be fitted to samples (n,) in ascending order.

    NOT_FINITE where one is not; CONSTANT where more than half of them are one value, on which the
    likelihood of a heavy-tailed law grows without bound; or OK.
    """
    half = ordered.size // 2
    spread = (ordered[half:] > ordered[: ordered.size - half]).all()
    return jnp.where(
        jnp.isfinite(ordered).all(),
        jnp.where(spread, Status.OK, Status.CONSTANT),
        Status.NOT_FINITE,
    )


def in_blocks(values, block_size):
    """Consecutive blocks (..., K, m) of (..., n), of the integer part of sqrt(n) when None; the
    rest is left out.
    """
    n = values.shape[-1]
    size = (
        math.isqrt(n)
        if block_size is None
        else integer(
            "block_size", block_size, 2, n // 2, what=f"at least two blocks of the {n} values"
        )
    )
    return values[..., : n // size * size].reshape(*values.shape[:-1], n // size, size)


def numbered(values):
    """1, 2, ..., n along the last axis of values (..., n), in their type and with as many axes."""
    n = values.shape[-1]
    return jnp.arange(1, n + 1, dtype=values.dtype).reshape((1,) * (values.ndim - 1) + (n,))


def flagged(value, error, num_points, *reasons):
    """An `Estimate` whose status is that of the first of the `reasons`, pairs (where,
    Status), that holds.
    """
    status = jnp.full(value.shape, int(Status.OK), jnp.int32)
    for where, reason in reversed(reasons):
        status = jnp.where(where, int(reason), status)
    known = (status == Status.OK) | (status == Status.AT_BOUND)
    num_points = jnp.broadcast_to(jnp.asarray(num_points, jnp.int32), value.shape)
    return Estimate(
        jnp.where(known, value, jnp.nan), jnp.where(known, error, jnp.nan), num_points, status
    )
