"""Estimate the index of stability alpha of a sample without the whole law.

For independent, strictly stable X_1, ..., X_m the sum has the law of m^(1/alpha) X. So its
logarithm is higher by ln(m) / alpha. Nothing else about the law is needed. All symmetric stable
laws about 0 are strictly stable. So are skewed ones of alpha other than 1 about their location (0
in the S1 parameterization). Where location or skewness are not known, take `paired_differences`
first. alpha = 2 is the Gaussian law. Samples that are not stable but belong to the domain of
attraction of a stable law have its alpha only for large blocks.

Samples have shape (..., n), a sample along the last axis, and every estimate has shape (...). The
functions are pure JAX in the precision of the samples, as those of `analysis.displacement`, and can
be jitted and mapped.

Errors are those of independent values. For values that share steps or layers, such as gradient
entries, they are too small. A sample has no estimate if it has NaN or infinity, one value
throughout, or a zero where a logarithm is taken. Then its numbers are NaN, and its status says why;
the other samples are not affected.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import number, own_precision
from sgd_diffusion._types import ArrayLike, IntegerLike, NumberLike
from sgd_diffusion.analysis.estimates import (
    Estimate,
    Status,
    flagged,
    in_blocks,
    sample_of,
    size_of_blocks,
)
from sgd_diffusion.errors import invalid

__all__ = ["log_variance", "mohammadi", "mohammadi_quantile", "paired_differences"]


def mohammadi(samples: ArrayLike, *, block_size: IntegerLike | None = None) -> Estimate:
    r"""Return Mohammadi's estimate of the index of stability, from logarithms of sums over blocks.

    1/alpha = (mean of ln|Y_j| - mean of ln|X_i|) / ln m, with Y_j the sum of the m values of block
    j (Mohammadi, Mohammadpour & Ogata, Metrika 78, 549, 2015, Corollary 2.4, as used by Simsekli,
    Sagun & Gurbuzbalaban, arXiv:1901.06053, Sec. 3). The blocks are m consecutive values each; the
    last n mod m values are left out.

    The standard error is alpha^2 sd(d_j) / sqrt(K) over the K blocks, with d_j = (ln|Y_j| - mean of
    ln|X_i| in block j)/ln m. 1/alpha is the mean of the independent d_j, and the delta method gives
    alpha. For stable samples the error is smallest at m = 7 (e^2) and grows slowly with m, as
    sqrt(m) / ln m. Large blocks are for samples that are not stable themselves. The estimate is not
    limited to 2, so that it scatters about 2 for Gaussian samples.

    Formula:
        Mohammadi's estimator of alpha. $\frac{1}{\alpha} = \frac{\overline{\ln |Y_j|} -
        \overline{\ln |X_i|}}{\ln m}$ (Mohammadi, Mohammadpour & Ogata, Metrika 78, 549, 2015,
        Corollary 2.4)

    Args:
        samples: (..., n), n >= 20, strictly stable, for example symmetric about 0.
        block_size: m, an integer in 2..n//2 known before tracing; the integer part of sqrt(n) if
            None.

    Returns:
        `estimates.Estimate` of alpha. Its status is OUT_OF_RANGE where the sums are not larger than
        the values, as in an alternating sample.

    Raises:
        InputError: there are fewer than 20 values, values are not real numbers, or the block size
            is outside 2..n//2.
    """
    with sample_of("samples", samples) as samples:
        return _by_means(samples, size_of_blocks(samples.shape[-1], block_size))


def mohammadi_quantile(
    samples: ArrayLike, *, block_size: IntegerLike | None = None, quantile: NumberLike = 0.5
) -> Estimate:
    r"""Return an estimate of the index of stability from a quantile of sums over blocks.

    1/alpha = ln(Q_p|Y| / Q_p|X|) / ln m. Here Q_p|Y| is the p-quantile of the |Y_j| of `mohammadi`
    and Q_p|X| that of all |X_i|. It follows Mohammadi, Mohammadpour & Ogata, Metrika 78, 549, 2015,
    Corollary 2.2. They take the k-th smallest of K sums and the (m k)-th of the values. A few wrong
    values change the estimate by a bounded amount, and it tolerates zeros below the quantile.

    The standard error is that of the mean of the influence of the blocks,

        (share of the block below Q_p|X| - [|Y_j| below Q_p|Y|]) / (f ln m),

    with f the density of ln|X| at its quantile, which ln|Y| has too. The quantiles
    p -+ 2 p (1-p) n^(-1/3) estimate f.

    Formula:
        Mohammadi's estimator of alpha, by quantiles. $\frac{1}{\alpha} = \frac{\ln (Q_p |Y| / Q_p
        |X|)}{\ln m}$ (Mohammadi, Mohammadpour & Ogata, Metrika 78, 549, 2015, Corollary 2.2)

    Args:
        samples: (..., n), n >= 20, strictly stable, for example symmetric about 0.
        block_size: m, an integer in 2..n//2 known before tracing; the integer part of sqrt(n) if
            None.
        quantile: p, between 0 and 1, known before tracing.

    Returns:
        `estimates.Estimate` of alpha. Its status is CONSTANT also where all values near the
        quantile are alike.

    Raises:
        InputError: there are fewer than 20 values, values are not real numbers, the block size is
            outside 2..n//2, or the quantile is outside (0, 1).
    """
    share = number("quantile", quantile, above=0, below=1, what="such as 0.5 for the median")
    with sample_of("samples", samples) as samples:
        return _by_quantiles(samples, size_of_blocks(samples.shape[-1], block_size), share)


def log_variance(samples: ArrayLike) -> Estimate:
    r"""Return an estimate of the index of stability from the variance of the logarithms.

    Var ln|X| = pi^2/6 (1/alpha^2 + 1/2) for symmetric stable laws about 0 of any scale (Zolotarev;
    see Nikias & Shao, Signal Processing with Alpha-Stable Distributions, 1995). Unlike the
    estimators by blocks it assumes the whole law. A scale mixture, such as entries of layers of
    different size, looks like a smaller alpha.

    The standard error is 3 alpha^3 / pi^2 times that of the variance, sqrt((m_4 - Var^2) / n) with
    the fourth central moment m_4. A variance below pi^2/8, that of the Gaussian law, has no alpha
    of at most 2. Then the estimate is 2 with status AT_BOUND, which happens to every other Gaussian
    sample.

    Formula:
        Log-moment estimator of alpha. $\mathrm{Var} \ln |X| = \frac{\pi^2}{6} \left(
        \frac{1}{\alpha^2} + \frac{1}{2} \right)$ (Zolotarev; Nikias & Shao, Signal Processing with
        Alpha-Stable Distributions, 1995)

    Args:
        samples: (..., n), n >= 20, symmetric about 0.

    Returns:
        `estimates.Estimate` of alpha, at most 2.

    Raises:
        InputError: there are fewer than 20 values, or values that are not real numbers.
    """
    with sample_of("samples", samples) as samples:
        return _by_logarithms(samples)


def paired_differences(samples: ArrayLike) -> Float[Array, "*samples pair"]:
    """Return the differences of disjoint pairs of neighboring values, X_1 - X_2, X_3 - X_4, ...

    For independent values of any stable law they are symmetric about 0, with the same alpha and
    2^(1/alpha) times the scale. Location and skewness are gone, at the price of half the values. A
    trend over the sample is gone as well.

    Args:
        samples: (..., n), n >= 2; the last value of an odd number is left out.

    Returns:
        (..., n//2) in the unit of the samples.

    Raises:
        InputError: there are fewer than 2 values, or values that are not real numbers.

    >>> paired_differences([5.0, 3.0, 4.0, 4.5]).tolist()
    [2.0, -0.5]
    """
    with own_precision("samples", samples) as samples:
        if samples.ndim == 0 or samples.shape[-1] < 2:
            raise invalid("samples", f"has shape {samples.shape}", "(..., n) with n >= 2")
        return _paired_differences(samples)


@jax.jit
def _paired_differences(samples):
    even = samples.shape[-1] // 2 * 2
    return samples[..., 0:even:2] - samples[..., 1:even:2]


@functools.partial(jax.jit, static_argnames="size")
def _by_means(samples, size):
    blocks = in_blocks(samples, size)
    rises = jnp.log(jnp.abs(blocks.sum(axis=-1))) - jnp.log(jnp.abs(blocks)).mean(axis=-1)
    return _index_from_rises(samples, blocks, rises.mean(axis=-1), rises)


@functools.partial(jax.jit, static_argnames=("size", "share"))
def _by_quantiles(samples, size, share):
    blocks = in_blocks(samples, size)
    sums, values = jnp.abs(blocks.sum(axis=-1)), jnp.abs(blocks)
    ascending = jax.lax.sort(
        values.reshape(*samples.shape[:-1], values.shape[-2] * values.shape[-1])
    )
    nearby = 2 * share * (1 - share) * ascending.shape[-1] ** (-1 / 3)
    of_sums = _quantile(jax.lax.sort(sums), share)
    low, of_values, high = (_quantile(ascending, share + shift) for shift in (-nearby, 0, nearby))
    density = 2 * nearby / jnp.log(high / low)
    shares = jnp.mean(values < of_values[..., None, None], axis=-1, dtype=values.dtype)
    influence = (shares - (sums < of_sums[..., None]).astype(shares.dtype)) / density[..., None]
    alike = (Status.CONSTANT, low == high)
    return _index_from_rises(samples, blocks, jnp.log(of_sums / of_values), influence, alike)


@jax.jit
def _by_logarithms(samples):
    sizes, n = jnp.abs(samples), samples.shape[-1]
    logs = jnp.log(sizes)
    squares = (logs - logs.mean(axis=-1, keepdims=True)) ** 2
    variance = squares.sum(axis=-1) / (n - 1)
    variance_error = squares.std(axis=-1) / math.sqrt(n)
    inverse_square = 6 / math.pi**2 * variance - 1 / 2
    alpha = 1 / jnp.sqrt(jnp.maximum(inverse_square, 1 / 4))
    return flagged(
        alpha,
        3 * alpha**3 / math.pi**2 * variance_error,
        n,
        (~jnp.isfinite(samples).all(axis=-1), Status.NOT_FINITE),
        (sizes.max(axis=-1) == sizes.min(axis=-1), Status.CONSTANT),
        (sizes.min(axis=-1) == 0, Status.NOT_POSITIVE),
        (inverse_square < 1 / 4, Status.AT_BOUND),
    )


def _index_from_rises(samples, blocks, rise, contributions, *reasons):
    """The index ln m / rise of blocks of m.

    Its error comes from the contribution of each block to the rise, (..., K).
    """
    count, size = blocks.shape[-2:]
    alpha = math.log(size) / rise
    error = alpha**2 / math.log(size) * contributions.std(axis=-1, ddof=1) / math.sqrt(count)
    return flagged(
        alpha,
        error,
        count * size,
        (~jnp.isfinite(samples).all(axis=-1), Status.NOT_FINITE),
        (samples.max(axis=-1) == samples.min(axis=-1), Status.CONSTANT),
        (~jnp.isfinite(rise), Status.NOT_POSITIVE),
        *((where, reason) for reason, where in reasons),
        (rise <= 0, Status.OUT_OF_RANGE),
    )


def _quantile(ascending, share):
    """Quantile of sorted values, linear between the two nearest; the place is known in advance."""
    place = share * (ascending.shape[-1] - 1)
    below = int(place)
    above = min(below + 1, ascending.shape[-1] - 1)
    return ascending[..., below] + (place - below) * (ascending[..., above] - ascending[..., below])
