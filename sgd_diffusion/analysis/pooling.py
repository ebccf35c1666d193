"""Many series as one sample, and the effect of pooling alone.

The entries of a gradient are S series of T steps, (T, S), that differ in size from layer to layer
and from coordinate to coordinate. Pooled into one sample (`draw_entries`), they are a mixture of
scales. Even of Gaussian series it has heavy flanks, and the index of stability that fits it best
lies well below 2. So an index of the pool says nothing about jumps by itself. Compare it with two
others. One is of the same entries in units of the scale of their own coordinate (`standardized`),
which are no such mixture. The other is of Gaussian numbers with the measured scales
(`gaussian_surrogate`), which are nothing else.

The functions are pure JAX in the precision of the samples, as those of `analysis.displacement`.
They can be jitted and mapped. A series with NaN (a member that diverged) gives NaN for that series.
"""

import contextlib
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._arrays import integer, own_precision
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike, Key
from sgd_diffusion.errors import invalid

__all__ = ["Entries", "Standardized", "draw_entries", "gaussian_surrogate", "standardized"]

MOST_ENTRIES = 2**31 - 1  # int32 counts them
# Distance of the quartiles of the normal law, in its standard deviations.
QUARTILES_OF_NORMAL = 1.3489795003921634


@shown_briefly
class Entries(NamedTuple):
    """Some entries of several series, in random order; each array has shape (count,).

    Attributes:
        values: in the unit of the samples.
        times: int32 in 0..T-1, the step of each entry.
        series: int32 in 0..S-1, the series of each entry.
    """

    values: Float[Array, "entry"]
    times: Int[Array, "entry"]
    series: Int[Array, "entry"]


@shown_briefly
class Standardized(NamedTuple):
    """Series in units of their own scale.

    Attributes:
        values: (T, S), dimensionless; NaN for a series that has no scale.
        location: (S,) medians, in the unit of the samples.
        scale: (S,) in the unit of the samples; 0 or NaN where there is none.
        usable: (S,) whether the series is finite and its middle half is more than one value.
    """

    values: Float[Array, "time series"]
    location: Float[Array, "series"]
    scale: Float[Array, "series"]
    usable: Bool[Array, "series"]


def draw_entries(key: Key, samples: ArrayLike, weights: ArrayLike, count: IntegerLike) -> Entries:
    """Draw entries of several series as one sample.

    The probability of a series is proportional to its weight. Let the weight of a coordinate be the
    number of parameters that it stands for. Then the sample is uniform over all parameters and
    steps. It is stratified, which makes it closer to the whole than independent draws are. Series s
    gives count w_s / sum of w entries, rounded down or up at random, and every step gives count /
    T. Both are without replacement. Where the share of a series is more than T, no entry is drawn
    twice before all T of them are drawn once.

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

    >>> samples = [[1.0, 5.0], [2.0, 6.0]]
    >>> entries = draw_entries(jax.random.key(0), samples, [1.0, 0.0], 2)
    >>> sorted(entries.values.tolist())                     # both entries of the first series, once
    [1.0, 2.0]
    """
    with _series_of(samples) as samples:
        num_series = samples.shape[1]
        with own_precision("weights", weights) as weights:
            weights = weights.astype(jnp.float32)
        if weights.shape != (num_series,):
            raise invalid(
                "weights", f"has shape {weights.shape}", f"({num_series},), one for each series"
            )
        return _drawn(key, samples, weights, integer("count", count, 1, MOST_ENTRIES))


def standardized(samples: ArrayLike) -> Standardized:
    """Return every series less its median, over its scale.

    The scale is the distance of its quartiles, in units of that of the normal law. A Gaussian
    series gets standard deviation 1. The scale is robust on purpose. The standard deviation of a
    heavy-tailed series is that of its few largest values (with alpha < 2 there is none in the
    limit). Dividing by it would cut off the tail that is looked for: n values divided by it are at
    most sqrt(n).

    Args:
        samples: (T, S).

    Returns:
        `Standardized`. A series of which half of the values or more are alike (zeros, say) has no
        scale.

    Raises:
        InputError: samples are not (T, S) real numbers with T >= 1 and S >= 1.

    >>> standardized([[1.0, 3.0], [2.0, 3.0], [3.0, 3.0]]).usable.tolist()
    [True, False]
    """
    with _series_of(samples) as samples:
        return _in_units(samples)


def gaussian_surrogate(
    key: Key, samples: ArrayLike, groups: ArrayLike | None = None
) -> Float[Array, "time series"]:
    """Return Gaussian numbers with the measured scale of every group of series.

    The scale is the root mean square about zero, not about the mean: series that are not centered
    at zero widen a pool as others of that size do. Where the law of a pool of these numbers differs
    from a Gaussian, only the different scales are the cause.

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
            raise invalid(
                "groups", f"has shape {groups.shape}", f"({num_series},), a label for each series"
            )
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        return _gaussian(key, samples, group, sizes)


@functools.partial(jax.jit, static_argnums=3)
def _drawn(key, samples, weights, count):
    place_key, time_key, order_key = jax.random.split(key, 3)
    # Single precision throughout: the same entries in and out of 64-bit mode.
    until = jnp.cumsum(weights)
    places = (
        jnp.arange(count, dtype=jnp.float32) + jax.random.uniform(place_key, (), jnp.float32)
    ) / count
    last = jnp.searchsorted(until, until[-1])  # of those with a weight
    series = jnp.minimum(jnp.searchsorted(until, places * until[-1], side="right"), last).astype(
        jnp.int32
    )
    # The entries of a series lie next to each other here. Times are dealt out in turn, so that
    # all times of a round are different.
    steps = len(samples)
    times = jax.random.permutation(time_key, jnp.arange(steps, dtype=jnp.int32))[
        np.arange(count) % steps
    ]
    order = jax.random.permutation(order_key, jnp.arange(count, dtype=jnp.int32))
    values = jnp.where(until[-1] > 0, samples[times, series], jnp.nan)
    return Entries(values[order], times[order], series[order])


@jax.jit
def _in_units(samples):
    low, location, high = jnp.quantile(samples, jnp.array([0.25, 0.5, 0.75], samples.dtype), axis=0)
    scale = (high - low) / QUARTILES_OF_NORMAL
    usable = jnp.isfinite(samples).all(axis=0) & (scale > 0)
    in_units = (samples - location[None]) / jnp.where(usable, scale, 1)[None]
    values = jnp.where(usable[None], in_units, jnp.nan)
    return Standardized(values, location, scale, usable)


@jax.jit
def _gaussian(key, samples, group, sizes):
    mean_squares = jax.ops.segment_sum((samples**2).mean(axis=0), group, len(sizes))
    scale = jnp.sqrt(mean_squares / sizes.astype(samples.dtype))
    # The same numbers in and out of 64-bit mode.
    noise = jax.random.normal(key, samples.shape, np.float32)
    return scale[None, group] * noise.astype(samples.dtype)


@contextlib.contextmanager
def _series_of(samples):
    """Yield series (T, S) as a JAX array in their own precision.

    NaN is an answer, and no reason to stop where JAX looks for it.
    """
    with own_precision("samples", samples) as samples, jax.debug_nans(False):
        if samples.ndim != 2 or samples.size == 0:
            raise invalid(
                "samples",
                f"has shape {samples.shape}",
                "(T, S), a series of T >= 1 steps in each of S >= 1 columns",
                "use jax.vmap for several windows",
            )
        yield samples
