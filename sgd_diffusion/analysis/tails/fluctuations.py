"""Measure fluctuations of a series, such as the losses of a window: size, shape and memory.

Series have shape (..., T), time along the last axis. The functions are pure JAX in the precision of
the series, as those of `analysis.displacement`, and can be jitted and mapped. Where a series has
NaN (a member that diverged) its numbers are NaN, and the other series are not affected.

Losses of mini-batches contain the noise of the batch on top of the motion of the walker. Losses on
a fixed set do not.
"""

import contextlib
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import integer, own_precision
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.estimates import (
    Estimate,
    Status,
    flagged,
    in_blocks,
    numbered,
    sample_of,
    size_of_blocks,
)
from sgd_diffusion.analysis.gram import non_negative
from sgd_diffusion.errors import invalid

__all__ = [
    "ExcessKurtosis",
    "effective_sample_size",
    "excess_kurtosis",
    "loss_changes",
    "moving_variance",
]


@shown_briefly
class ExcessKurtosis(NamedTuple):
    """Excess kurtosis of each sample; (...) is the shape of the samples without their axis.

    Attributes:
        value: (...) excess kurtosis; NaN unless status is OK.
        error: (...) standard error, by the block jackknife.
        gaussian_error: (...) standard error of independent Gaussian values.
        num_points: (...) integers, number of values.
        status: (...) integers, of `estimates.Status`.
    """

    value: Float[Array, "*samples"]
    error: Float[Array, "*samples"]
    gaussian_error: Float[Array, "*samples"]
    num_points: Int[Array, "*samples"]
    status: Int[Array, "*samples"]


def loss_changes(losses: ArrayLike) -> Float[Array, "*series change"]:
    r"""Return the size of the change of the loss from point to point, |L_{t+1} - L_t|.

    Chen, Qu & Gong (arXiv:2009.10588, Fig. 5e) draw it for single windows.

    Formula:
        Loss changes. $|L_{t+1} - L_t|$ (Chen, Qu & Gong, arXiv:2009.10588, Fig. 5e)

    Args:
        losses: (..., T), T >= 2.

    Returns:
        (..., T-1) in the unit of the loss; NaN beside a NaN.

    Raises:
        InputError: there are fewer than 2 points, or values that are not real numbers.

    >>> loss_changes([3.0, 1.0, 2.0]).tolist()
    [2.0, 1.0]
    """
    with _series("losses", losses) as losses:
        return _changes(losses)


@jax.jit
def _changes(losses):
    return jnp.abs(jnp.diff(losses, axis=-1))


def moving_variance(losses: ArrayLike, window: IntegerLike = 100) -> Float[Array, "*series window"]:
    r"""Return the variance of the loss within a window that moves forward.

    Entry t is the sample variance of the `window` values at t, ..., t + window - 1, with window - 1
    in the denominator. It contains the decrease of the loss over a window. Chen, Qu & Gong
    (arXiv:2009.10588, Fig. 5f) use a window of 100; their code takes 101 values, and fewer at the
    end of the series.

    Every window is the end of one block of `window` values and the beginning of the next. Their
    moments are merged (Chan, Golub & LeVeque, Am. Stat. 37, 242, 1983), so that the work grows as
    T. Sums are of deviations from a value in the window, so that neither an offset nor an outlier
    elsewhere costs digits.

    Formula:
        Moving variance of the loss. $\frac{1}{m-1} \sum_{i=t}^{t+m-1} (L_i - \overline{L})^2$
        (Chen, Qu & Gong, arXiv:2009.10588, Fig. 5f)

    Args:
        losses: (..., T), T >= window.
        window: an integer in 2..T known before tracing.

    Returns:
        (..., T - window + 1) squared unit of the loss, never negative; NaN where the window has a
        NaN or infinity.

    Raises:
        InputError: there are fewer than 2 points, values are not real numbers, or the window is
            outside 2..T.

    >>> moving_variance([1.0, 3.0, 3.0, 9.0], window=2).tolist()
    [2.0, 0.0, 18.0]
    """
    with _series("losses", losses) as losses:
        steps = losses.shape[-1]
        window = integer("window", window, 2, steps, what=f"for a series of {steps} points")
        return _moving_variance(losses, window)


def excess_kurtosis(
    samples: ArrayLike, *, axis: IntegerLike = -1, num_blocks: IntegerLike = 20
) -> ExcessKurtosis:
    r"""Return the excess kurtosis, how much heavier than Gaussian the tails are, with its error.

    It is <d^4> / <d^2>^2 - 3 for the deviations d from the mean, averages over the n values. It is
    0 for Gaussian samples in the limit (-6 / (n+1) on average), and between -2 and n - 5 + 1/(n-1).
    Stable laws have no fourth moment. For such laws it grows with n and says little more than the
    size of the largest value.

    `gaussian_error` is sqrt(24 / n), the scatter about 0 of independent Gaussian values. It tests
    for them and nothing else. `error` is that of the jackknife over consecutive blocks (Kunsch,
    Ann. Stat. 17, 1217, 1989, without overlap). It holds for any law with eight moments and for
    memory shorter than a block. It is the square root of (B-1)/B times the sum of the squared
    deviations of the B estimates that leave out a block.

    Formula:
        Excess kurtosis. $\kappa = \frac{\langle d^4 \rangle}{\langle d^2 \rangle^2} - 3$
        (definition; error by Kunsch, Ann. Stat. 17, 1217, 1989)

    Args:
        samples: (..., n, ...), n >= 20.
        axis: the axis of the values.
        num_blocks: B, an integer in 2..n known before tracing.

    Returns:
        `ExcessKurtosis`; `error` is NaN where the sample is constant except for one block.

    Raises:
        InputError: there are fewer than 20 values, values are not real numbers, or the number of
            blocks is outside 2..n.
    """
    with sample_of("samples", samples, axis) as samples:
        n = samples.shape[-1]
        num_blocks = integer("num_blocks", num_blocks, 2, n, what=f"for {n} values")
        return _excess_kurtosis(samples, num_blocks)


def effective_sample_size(series: ArrayLike, *, block_size: IntegerLike | None = None) -> Estimate:
    r"""Return how many independent values the values of a series are worth for its mean.

    It is T times the variance of the mean of T independent values, over the variance from the means
    of consecutive blocks of m values: T Var(x) / (m Var(block means)). Both variances have the
    number minus 1 in the denominator (batch means; Flegal & Jones, Ann. Stat. 38, 1034, 2010).

    For x_{t+1} = r x_t + noise it tends to T (1-r) / (1+r). While m is not much longer than the
    memory, it is too large, by a share of 2 r / ((1 - r^2) m) of itself. With negative correlations
    a mean is known better than from T independent values: the result is at most T, with status
    AT_BOUND then. It is never below 1.

    Its relative standard error is sqrt(2 / (K-1)) for K blocks, if their means are Gaussian and
    independent.

    Formula:
        Effective sample size by block errors. $n_{\mathrm{eff}} = \frac{T \, \mathrm{Var}(x)}{m \,
        \mathrm{Var}(\overline{x}_{\mathrm{block}})}$ (batch means; Flegal & Jones, Ann. Stat. 38,
        1034, 2010)

    Args:
        series: (..., T), T >= 20.
        block_size: m, an integer in 2..T//2 known before tracing; the integer part of sqrt(T) if
            None. The last T mod m values are left out of the variances.

    Returns:
        `estimates.Estimate`, dimensionless.

    Raises:
        InputError: there are fewer than 20 points, values are not real numbers, or the block size
            is outside 2..T//2.
    """
    with sample_of("series", series) as series:
        return _effective_sample_size(series, size_of_blocks(series.shape[-1], block_size))


@contextlib.contextmanager
def _series(name, series):
    """Yield series (..., T) with T >= 2 as a JAX array in their own precision."""
    with own_precision(name, series) as series, jax.debug_nans(False):
        if series.ndim == 0 or series.shape[-1] < 2:
            raise invalid(name, f"has shape {series.shape}", "(..., T) with T >= 2")
        yield series


@functools.partial(jax.jit, static_argnames="window")
def _moving_variance(losses, window):
    steps = losses.shape[-1]
    blocks = -(-steps // window) + 1
    padding = [(0, 0)] * (losses.ndim - 1) + [(0, blocks * window - steps)]
    values = jnp.pad(losses, padding).reshape(*losses.shape[:-1], blocks, window)
    end, beginning = values[..., :-1, :], values[..., 1:, :-1]
    end_mean, end_squares = (
        jnp.flip(moment, axis=-1) for moment in _running_moments(jnp.flip(end, axis=-1))
    )
    mean, squares = _running_moments(beginning)
    shift = beginning[..., :1] - end[..., -1:] + mean - end_mean[..., 1:]
    # The next block gives 1, ..., window - 1 values, the end of this block the others.
    count = numbered(mean)
    merged = end_squares[..., 1:] + squares + shift**2 * (count * (window - count) / window)
    variance = jnp.concatenate([end_squares[..., :1], merged], axis=-1) / (window - 1)
    return variance.reshape(*losses.shape[:-1], (blocks - 1) * window)[..., : steps - window + 1]


@functools.partial(jax.jit, static_argnames="num_blocks")
def _excess_kurtosis(samples, num_blocks):
    n = samples.shape[-1]
    without_block = np.arange(n) * num_blocks // n != np.arange(num_blocks)[:, None]
    kept = jnp.asarray(without_block, samples.dtype)
    without = jax.vmap(kurtosis_of, (None, 0))(samples, kept)
    error = without.std(axis=0) * math.sqrt(num_blocks - 1)
    estimate = flagged(
        kurtosis_of(samples, jnp.ones(n, samples.dtype)),
        error,
        n,
        (~jnp.isfinite(samples).all(axis=-1), Status.NOT_FINITE),
        (samples.max(axis=-1) == samples.min(axis=-1), Status.CONSTANT),
    )
    gaussian_error = jnp.full_like(estimate.value, math.sqrt(24 / n))
    return ExcessKurtosis(
        estimate.value, estimate.error, gaussian_error, estimate.num_points, estimate.status
    )


@functools.partial(jax.jit, static_argnames="size")
def _effective_sample_size(series, size):
    n = series.shape[-1]
    blocks = in_blocks(series - series.mean(axis=-1, keepdims=True), size)
    count = blocks.shape[-2]
    ratio = blocks.var(axis=(-2, -1), ddof=1) / (size * blocks.mean(axis=-1).var(axis=-1, ddof=1))
    effective = jnp.minimum(n * ratio, n)
    return flagged(
        effective,
        effective * math.sqrt(2 / (count - 1)),
        count * size,
        (~jnp.isfinite(series).all(axis=-1), Status.NOT_FINITE),
        (series.max(axis=-1) == series.min(axis=-1), Status.CONSTANT),
        (ratio > 1, Status.AT_BOUND),
    )


def _running_moments(values):
    """Means and sums of squared deviations of the first 1, ..., n of the values (..., n).

    The first value is subtracted from the means.
    """
    count = numbered(values)
    deviation = values - values[..., :1]
    mean = jnp.cumsum(deviation, axis=-1) / count
    # At most n (n+1) roundings of the result are lost, as the first value is within its root of the
    # mean.
    return mean, non_negative(jnp.cumsum(deviation**2, axis=-1) - count * mean**2)


def kurtosis_of(samples: ArrayLike, kept: ArrayLike) -> ArrayLike:
    """Return the excess kurtosis (...) of the samples (..., n) where `kept` (n,) is 1.

    Of NumPy arrays it is computed by NumPy.
    """
    n, kept = kept.sum(), kept.reshape((1,) * (samples.ndim - 1) + kept.shape)
    deviation = kept * (samples - (kept * samples).sum(axis=-1, keepdims=True) / n)
    # Without this scale float32 may lose the powers.
    scaled = deviation / abs(deviation).max(axis=-1, keepdims=True)
    return n * (scaled**4).sum(axis=-1) / (scaled**2).sum(axis=-1) ** 2 - 3
