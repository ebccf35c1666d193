"""How far modes move in a number of steps: mean squared displacements and their exponents.

Everything is exact for steps of SGD with momentum in a quadratic bowl, with noise of constant
covariance that is independent from step to step.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double
from sgd_diffusion._pytrees import mean_over_parts
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.limiting.hyperparameters import Hyperparameters, checked, curvatures
from sgd_diffusion.theory.limiting.motion import covariance_after, each_step, finite, lag_counts
from sgd_diffusion.theory.limiting.response import Response, after_steps, later
from sgd_diffusion.theory.limiting.stationary import batch_noise, discreteness

__all__ = ["msd_from_point", "predicted_exponent", "stationary_msd"]

MOST_STRIDES = 8  # whose responses are kept
PART = 2048  # modes that go through all lags while they are in the cache


def stationary_msd(
    lags: ArrayLike,
    eigenvalues: ArrayLike,
    noise: ArrayLike,
    hyper: Hyperparameters,
    *,
    discrete: bool = True,
) -> Float[Array, "lag"]:
    r"""Return the mean squared displacement of the stationary law, summed over modes.

    It grows ballistically to 1 / (1 - beta) steps, then as free diffusion, and ends on a plateau of
    twice the variance of the positions. A mode of zero curvature diffuses forever. The memory does
    not depend on the number of lags.

    Modes that are alike can stand as one with the sum of their noise. So a spectral density of n
    eigenvalues gives `stationary_msd(lags, nodes, n * weights * noise_at_nodes, hyper)`.

    Formula:
        Stationary MSD. $E \lVert w_{t+k} - w_t \rVert^2 = 2 \sum_l \mathrm{Var}\, x_l \, (1 -
        R_l(k))$ (identity; R is `position_autocorrelation`)

    Args:
        lags: (L,) integers of at least 0, steps, known before tracing.
        eigenvalues: (m,) of the Hessian.
        noise: (m,) as for `stationary_covariance`.
        hyper: `Hyperparameters`.
        discrete: the steps, or the Langevin equation.

    Returns:
        (L,) squared units of the weights; NaN for traced arguments out of range.

    Raises:
        InputError: as for `stationary_covariance`; or the lags are not as stated.

    >>> stationary_msd([1, 2], [0.0], [1.0], Hyperparameters(1.0)).tolist()      # a random walk
    [1.0, 2.0]
    """
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper, stationary=True)
        pushed = batch_noise(noise, h, hyper)
        factors = _factors(pushed, h, hyper, discrete)
        return _over_lags(lags, *each_step(h, hyper, discrete), _stationary_msd, factors)


def msd_from_point(
    lags: ArrayLike,
    offset: ArrayLike,
    eigenvalues: ArrayLike,
    noise: ArrayLike,
    hyper: Hyperparameters,
) -> Float[Array, "lag"]:
    r"""Return the mean squared displacement from a point at rest, summed over modes.

    It is the squared drift of the mean towards the minimum, and the variance about the mean. The
    curvature may be zero or negative. The memory does not depend on the number of lags.

    Formula:
        MSD from a point. $E \lVert w_k - w_0 \rVert^2 = \sum_l \left[ (E x_l(k) - x_l(0))^2 +
        \mathrm{Var}\, x_l(k) \right]$ (identity)

    Args:
        lags: (L,) integers of at least 0, steps, known before tracing.
        offset: (m,) or one number: position at step 0, from the minimum. Modes of zero curvature
            have none; a gradient g along them is not in this law.
        eigenvalues: (m,) of the Hessian.
        noise: (m,) as for `stationary_covariance`.
        hyper: `Hyperparameters`.

    Returns:
        (L,) squared units of the weights; NaN for traced arguments out of range.

    Raises:
        InputError: as for `mean_and_covariance`; or the lags are not as stated.

    >>> msd_from_point([1, 2], 0.0, [0.0], [1.0], Hyperparameters(1.0)).tolist()
    [1.0, 2.0]
    """
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper)
        pushed = batch_noise(noise, h, hyper)
        start = finite("offset", offset, h.shape)
        law, one = each_step(h, hyper, True)
        return _over_lags(lags, law, one, _msd_from_point, (start, pushed, h), hyper)


def predicted_exponent(
    lags: ArrayLike,
    eigenvalues: ArrayLike,
    noise: ArrayLike,
    hyper: Hyperparameters,
    *,
    offset: ArrayLike | None = None,
) -> Float[Array, ""]:
    r"""Return the exponent c of the predicted displacement on the lags of a measurement.

    It is the least-squares slope of log MSD against log lag. The curve is no power law, so c
    belongs to its lags: give those that the measured exponent was fitted on.

    Formula:
        Exponent of the predicted MSD. $c = \frac{\mathrm{Cov}(\ln k, \ln E \lVert \Delta_k
        \rVert^2)}{\mathrm{Var}(\ln k)}$ (least squares)

    Args:
        lags: (L,) at least two different integers of at least 1, known before tracing.
        eigenvalues: (m,) of the Hessian.
        noise: (m,) as for `stationary_covariance`.
        hyper: `Hyperparameters`.
        offset: as for `msd_from_point`, for displacements from a start at rest; None for those of
            the stationary law.

    Returns:
        () slope; NaN for traced arguments out of range, or where nothing moves.

    Raises:
        InputError: as for `stationary_msd` or `msd_from_point`; or the lags are not as stated.

    >>> predicted_exponent([10, 20, 40], [0.0], [1.0], Hyperparameters(0.1)).round(6).item()
    1.0
    """
    counts = lag_counts(lags, 1)
    if len(np.unique(counts)) < 2:
        raise invalid("lags", f"are all {counts[0]}", "at least two different lags for a slope")
    if offset is None:
        msd = stationary_msd(counts, eigenvalues, noise, hyper)
    else:
        msd = msd_from_point(counts, offset, eigenvalues, noise, hyper)
    with in_double():
        x = np.log(counts)
        return _slope((x - x.mean()) / ((x - x.mean()) ** 2).sum(), msd)


@jax.jit
def _slope(weights, msd):
    return weights @ where_known(msd > 0, jnp.log(jnp.where(msd > 0, msd, 1)))


@functools.partial(jax.jit, static_argnums=3)
def _factors(pushed, h, hyper, discrete):
    """What the way and the velocity of each mode are multiplied with in the stationary MSD."""
    eta, beta = hyper.learning_rate, hyper.momentum
    velocity = pushed / ((1 - beta) * (1 + beta))
    if not discrete:
        return velocity * 2, velocity * 0
    square = discreteness(h, hyper) * eta**2 * velocity
    return square * (1 + beta), square * beta


def _stationary_msd(law, response, of_way, of_velocity):
    return of_way * response.way - of_velocity * response.velocity


def _msd_from_point(law, response, start, pushed, h, hyper):
    drift = law.curvature * response.way * start
    return drift**2 + covariance_after(law, response, pushed, h, hyper, True).position


def _over_lags(lags, law, one, value, of_modes, *shared):
    """The sum of value(law, response, *of_modes, *shared) over modes at each lag."""
    counts = lag_counts(lags, 0)
    order = np.argsort(counts, kind="stable")
    apart = np.diff(counts[order], prepend=0)
    strides, which = np.unique(apart, return_inverse=True)
    few = len(strides) <= MOST_STRIDES  # as of lags that are evenly spaced
    return _from_lag_to_lag(
        (law, one, of_modes),
        shared,
        which if few else apart,
        strides if few else None,
        np.argsort(order),
        value,
        int(strides[-1]).bit_length(),
    )


# Without jit, its loops would be compiled at every call.
@functools.partial(jax.jit, static_argnums=(5, 6))
def _from_lag_to_lag(modes, shared, numbers, strides, places, value, digits):
    """The sums at each lag, from its place among increasing ones.

    The `numbers` are steps to the next lag, or their places among the strides.
    """
    shape = modes[0].curvature.shape
    modes = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape).ravel(), modes)
    most = 2**digits - 1

    def sums(modes):
        law, one, of_modes = modes
        if strides is None:

            def stride(number):
                return after_steps(law, one, number, most)

        else:
            table = jax.vmap(lambda steps: after_steps(law, one, steps, most))(strides)

            def stride(number):
                return jax.tree.map(lambda leaf: leaf[number], table)

        def at_next(response, number):
            response = later(law, response, stride(number))
            return response, value(law, response, *of_modes, *shared).sum()

        nothing = jnp.zeros_like(one.way)
        start = Response(nothing, nothing, jnp.ones_like(nothing))
        return jax.lax.scan(at_next, start, numbers)[1][places]

    count = modes[0].curvature.size
    if count <= PART:
        return sums(modes)
    mean, _ = mean_over_parts(lambda _, part: sums(part) / part[0].curvature.size, modes, PART)
    return mean * count
