"""Noise and motion along components: temperatures, correlation times and the random walk."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, integer, is_traced, real_array
from sgd_diffusion._types import ArrayLike, IntegerLike, NumberLike
from sgd_diffusion.analysis.guarded import ratio, where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.parameters import real

__all__ = [
    "correlation_times",
    "effective_temperature",
    "random_walk_variance",
    "temperature_at_base",
]

MOST = 2**40  # steps


def correlation_times(series: ArrayLike) -> Float[Array, "component"]:
    r"""Return the lag at which the autocorrelation of each series has fallen to 1/e.

    The autocorrelation is that about the mean of the window, sum_t x_t x_{t+k} over sum_t x_t^2.
    Between two lags it is interpolated linearly, so that white noise has the time 1 - 1/e. For the
    velocity give the differences of the positions. It is one number of one window: a time that is
    not short against the window is a property of the window. Components of a random walk are
    cosines, whose times are fractions of the window (`analysis.principal_components`).

    Formula:
        Correlation time. $R(\tau) = 1 / e, \quad R(k) = \sum_t x_t x_{t+k} / \sum_t x_t^2$
        (definition)

    Args:
        series: (T, k) with T >= 2 points of each of k series, such as the scores of components.

    Returns:
        (k,) steps; NaN for a series that is constant or has points that are not finite.

    Raises:
        InputError: not at least two points of real numbers.

    >>> correlation_times([[1.0], [-1.0], [1.0], [-1.0]]).round(4).tolist()
    [0.3612]
    """
    with in_double():
        points = jnp.asarray(real_array("series", series), jnp.float64)
        if points.ndim != 2 or len(points) < 2 or not points.size:
            raise invalid(
                "series", f"has shape {points.shape}", "(T, k), at least two points of k series"
            )
        return _times(points)


def effective_temperature(
    slopes: ArrayLike, learning_rate: NumberLike | Array
) -> Float[Array, "..."]:
    r"""Return the effective temperature of mini-batches from their slopes at some displacement.

    Formula:
        Effective temperature. $T_i(\theta) = \frac{\alpha}{2} \left\langle \left( \frac{d}{d
        \theta} \delta L^{\mu}(w_0 + \theta p_i) \right)^2 \right\rangle_{\mu}, \quad \delta
        L^{\mu} = L^{\mu} - L$ (Feng & Tu, arXiv:2001.01678)

    Args:
        slopes: (..., n) derivatives along a direction of the losses of n >= 2 mini-batches. Their
            mean is taken for that of L.
        learning_rate: alpha, above 0.

    Returns:
        (...) temperature; NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> effective_temperature([1.0, 3.0], learning_rate=0.5).item()
    0.25
    """
    with in_double():
        rate = real("learning_rate", learning_rate, above=0)
        values = jnp.asarray(real_array("slopes", slopes), jnp.float64)
        if values.ndim == 0 or values.shape[-1] < 2:
            raise invalid("slopes", f"has shape {values.shape}", "(..., n), n >= 2 mini-batches")
        return rate / 2 * values.var(axis=-1)


def temperature_at_base(
    noise: ArrayLike, learning_rate: NumberLike | Array, batch_size: NumberLike | Array
) -> Float[Array, "..."]:
    r"""Return the effective temperature at the base point, from per-example gradients.

    Formula:
        Effective temperature at the base point. $T_i(0) = \frac{\alpha C_{ii}}{2 B}$ (derived, for
        batches drawn with replacement; $(N - B) / (N - 1)$ of it for those of an epoch)

    Args:
        noise: (...) C, variance of per-example gradients along each direction.
        learning_rate: alpha, above 0.
        batch_size: B, at least 1.

    Returns:
        (...) temperature. A stationary quadratic valley has the variance T / h. NaN for traced
        arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> temperature_at_base([4.0], learning_rate=0.5, batch_size=2).tolist()
    [0.5]
    """
    with in_double():
        rate = real("learning_rate", learning_rate, above=0)
        return rate / 2 * _noise(noise) / real("batch_size", batch_size, at_least=1)


def random_walk_variance(
    noise: ArrayLike,
    learning_rate: NumberLike | Array,
    batch_size: NumberLike | Array,
    num_steps: IntegerLike,
) -> Float[Array, "..."]:
    r"""Return the expected variance of a random walk of mini-batch gradients, about its mean.

    It is that along a fixed direction, for batches drawn with replacement. With T in the
    denominator for the T+1 points, as in `analysis.principal_components`, it is exact. The walk is
    that of SGD as long as the window is short against the relaxation time 1 / (alpha h). Principal
    components are no fixed directions: theirs are 6 / (pi k)^2 of the total for k = 1, 2, ...
    in many dimensions.

    Formula:
        Variance of a random walk. $\sigma^2 = \frac{\alpha^2 C}{B} \frac{T + 2}{6}$ (derived)

    Args:
        noise: (...) C, variance of per-example gradients along each direction.
        learning_rate: alpha, above 0.
        batch_size: B, at least 1.
        num_steps: T, at least 1, known before tracing.

    Returns:
        (...) squared units of the weights; NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> random_walk_variance([3.0], learning_rate=1.0, batch_size=1, num_steps=100).tolist()
    [51.0]
    """
    with in_double():
        rate = real("learning_rate", learning_rate, above=0)
        size = real("batch_size", batch_size, at_least=1)
        steps = integer("num_steps", num_steps, 1, MOST)
        return rate**2 * _noise(noise) / size * ((steps + 2) / 6)


def _noise(noise: ArrayLike) -> Float[Array, "..."]:
    """Return variances in float64; NaN where a traced one is none.

    Raises:
        InputError: some are negative or not finite.
    """
    values = jnp.asarray(real_array("noise", noise), jnp.float64)
    if is_traced(values):
        return where_known((values >= 0) & (values < jnp.inf), values)
    known = np.asarray(values)
    if not np.all((known >= 0) & (known < np.inf)):
        raise invalid("noise", "has entries that are negative or not finite", "variances")
    return values


@jax.jit
def _times(points: Float[Array, "point component"]) -> Float[Array, "component"]:
    """Return the lags at which the autocorrelations of series have fallen to 1/e."""
    apart = points - points.mean(axis=0, keepdims=True)
    size = abs(apart).max(axis=0, keepdims=True)
    # The mean of a constant series has an error of rounding.
    moves = size > 1e-14 * abs(points).max(axis=0, keepdims=True)
    apart = where_known(moves, apart / jnp.where(moves, size, 1))
    length = scipy.fft.next_fast_len(2 * len(points), real=True)
    spectrum = jnp.fft.rfft(apart, length, axis=0)
    sums = jnp.fft.irfft(jnp.abs(spectrum) ** 2, length, axis=0)[: len(points)]
    correlation = ratio(sums, sums[:1])
    # Beyond the last lag it is 0: so there always is a first lag below.
    correlation = jnp.pad(correlation, ((0, 1), (0, 0)))
    target = 1 / jnp.e
    lag = jax.lax.argmax(correlation < target, 0, jnp.int32)
    after, before = (
        jnp.take_along_axis(correlation, place[None], axis=0)[0]
        for place in (lag, jnp.maximum(lag - 1, 0))
    )
    return jnp.where(lag > 0, lag - 1 + ratio(before - target, before - after), jnp.nan)
