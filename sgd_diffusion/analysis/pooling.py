"""Many series as one sample, and what pooling alone makes of them.

The entries of a gradient are S series of T steps, (T, S), that differ in size from layer to layer
and from coordinate to coordinate. Pooled into one sample (`draw_entries`), they are a mixture
of scales: even of Gaussian series it has heavy flanks, and the index of stability that fits it best
lies well below 2. So an index of the pool says nothing about jumps before it is held against those
of two others: of the same entries in units of the scale of their own coordinate
(`standardised`), which are no such mixture, and of Gaussian numbers with the scales that were
measured (`gaussian_surrogate`), which are nothing else.

The functions are pure JAX in the precision of the samples, as those of
`analysis.displacement`, and can be jitted and mapped. A series with NaN (a
member that diverged) gives NaN for that series.
"""

import contextlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import integer, own_precision
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.errors import InputError

__all__ = ["Entries", "Standardised", "draw_entries", "gaussian_surrogate", "standardised"]

MOST_ENTRIES = 2**31 - 1  # int32 counts them
QUARTILES_OF_NORMAL = (
    1.3489795003921634  # distance of the quartiles of the normal law, in its standard deviations
)


@shown_briefly
class Entries(NamedTuple):
    """Some entries of several series, in random order; each array has shape (count,)."""

    values: jax.Array  # in the unit of the samples
    times: jax.Array  # int32 in 0..T-1, the step of each entry
    series: jax.Array  # int32 in 0..S-1, the series of each entry


@shown_briefly
class Standardised(NamedTuple):
    """Series in units of their own scale."""

    values: jax.Array  # (T, S), dimensionless; NaN for a series that has no scale
    location: jax.Array  # (S,) medians, in the unit of the samples
    scale: jax.Array  # (S,) in the unit of the samples; 0 or NaN where there is none
    usable: (
        jax.Array
    )  # (S,) whether the series is finite and its middle half is more than one value


def draw_entries(key, samples, weights, count):
    """Entries of several series as one sample, every series with probability proportional to its
    weight.

    With the number of parameters that each coordinate stands for as its weight, the sample is
    uniform over all parameters and steps. It is stratified, which makes it closer to the whole than
    independent draws are: series s gives count w_s / sum of w entries, rounded down or up at
    random, and every step gives count / T. Both are without replacement: no entry of a series is
    drawn twice before all T of them are drawn once, as happens where its share is more than T.

    Args:
        key: PRNG key.
        samples: (T, S).
        weights: (S,), not negative, in single precision; series of weight 0 are not looked at.
        count: number of entries, a positive integer known before tracing.

    Returns:
        `Entries`; NaN values where no weight is positive, or one is NaN.

    Raises:
        InputError: samples are not (T, S) real numbers with T >= 1 and S >= 1, weights not (S,), or
            count not a positive integer.

    >>> entries = draw_entries(jax.random.key(0), [[1.0, 5.0], [2.0, 6.0]], [1.0, 0.0], 2)
    >>> sorted(entries.values.tolist())                                # both entries of the first series, once
    [1.0, 2.0]
    """
    with _series_of(samples) as samples:
        steps, num_series = samples.shape
        with own_precision("weights", weights) as weights:
            weights = weights.astype(jnp.float32)
        if weights.shape != (num_series,):
            raise InputError(
                f"weights has shape {weights.shape}; expected ({num_series},), one for each series"
            )
        count = integer("count", count, 1, MOST_ENTRIES)
        place_key, time_key, order_key = jax.random.split(key, 3)
        # Single precision throughout: the same entries in and out of 64-bit mode.
        until = jnp.cumsum(weights)
        places = (
            jnp.arange(count, dtype=jnp.float32) + jax.random.uniform(place_key, (), jnp.float32)
        ) / count
        last = jnp.searchsorted(until, until[-1])  # of those with a weight
        series = jnp.minimum(
            jnp.searchsorted(until, places * until[-1], side="right"), last
        ).astype(jnp.int32)
        # The entries of a series lie next to each other here: dealt out in turn, all times of a
        # round are different.
        times = jax.random.permutation(time_key, jnp.arange(steps, dtype=jnp.int32))[
            np.arange(count) % steps
        ]
        order = jax.random.permutation(order_key, jnp.arange(count, dtype=jnp.int32))
        values = jnp.where(until[-1] > 0, samples[times, series], jnp.nan)
        return Entries(values[order], times[order], series[order])


def standardised(samples):
    """Every series less its median, over the distance of its quartiles in units of the normal
    law's.

    A Gaussian series gets standard deviation 1. The scale is robust on purpose: the standard
    deviation of a heavy-tailed series is that of its few largest values (with alpha < 2 there is
    none in the limit), and dividing by it would cut off the tail that is looked for: n values
    divided by it are at most sqrt(n).

    Args:
        samples: (T, S).

    Returns:
        `Standardised`. A series of which half of the values or more are alike (zeros, say)
        has no scale.

    Raises:
        InputError: samples are not (T, S) real numbers with T >= 1 and S >= 1.

    >>> standardised([[1.0, 3.0], [2.0, 3.0], [3.0, 3.0]]).usable.tolist()
    [True, False]
    """
    with _series_of(samples) as samples:
        low, location, high = jnp.quantile(
            samples, jnp.array([0.25, 0.5, 0.75], samples.dtype), axis=0
        )
        scale = (high - low) / QUARTILES_OF_NORMAL
        usable = jnp.isfinite(samples).all(axis=0) & (scale > 0)
        in_units = (samples - location[None]) / jnp.where(usable, scale, 1)[None]
        values = jnp.where(usable[None], in_units, jnp.nan)
        return Standardised(values, location, scale, usable)


def gaussian_surrogate(key, samples, groups=None):
    """Gaussian numbers in place of the samples, with the measured scale of every group of series.

    The scale is the root mean square about zero, not about the mean: series that are not centred at
    zero widen a pool as others of that size do. What the law of a pool of these numbers has beyond
    a Gaussian is the work of the different scales, and of nothing else.

    Args:
        key: PRNG key.
        samples: (T, S).
        groups: (S,) labels known before tracing, such as the layers; every series is its own group
            when None.

    Returns:
        (T, S) independent Gaussian numbers of mean 0; NaN for a group with NaN.

    Raises:
        InputError: samples are not (T, S) real numbers with T >= 1 and S >= 1, or groups not (S,).
    """
    with _series_of(samples) as samples:
        num_series = samples.shape[1]
        groups = np.arange(num_series) if groups is None else np.asarray(groups)
        if groups.shape != (num_series,):
            raise InputError(
                f"groups has shape {groups.shape}; expected ({num_series},), a label for each "
                "series"
            )
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        mean_squares = jax.ops.segment_sum(
            (samples**2).mean(axis=0), group, len(sizes)
        ) / jnp.asarray(sizes, samples.dtype)
        scale = jnp.sqrt(mean_squares)
        noise = jax.random.normal(
            key, samples.shape, np.float32
        )  # the same in and out of 64-bit mode
        return scale[None, group] * noise.astype(samples.dtype)


@contextlib.contextmanager
def _series_of(samples):
    """Series (T, S) as a JAX array in their own precision; NaN is an answer, and no reason to stop
    where JAX looks for it.
    """
    with own_precision("samples", samples) as samples, jax.debug_nans(False):
        if samples.ndim != 2 or samples.size == 0:
            raise InputError(
                f"samples has shape {samples.shape}; expected (T, S), a series of T >= 1 steps in "
                "each of S >= 1 columns; use jax.vmap for several windows"
            )
        yield samples
