"""How positions and velocities of modes change with time: means, covariances, displacements.

Everything is exact for steps of SGD with momentum in a quadratic bowl, with noise of constant
covariance that is independent from step to step. `discrete=False` gives the Langevin equation of
the paper in its place, at the times learning_rate * steps.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, integer_array, is_traced, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.limiting.hyperparameters import Hyperparameters, checked, curvatures
from sgd_diffusion.theory.limiting.modes import rates
from sgd_diffusion.theory.limiting.response import (
    Law,
    Response,
    after_steps,
    later,
    of_steps,
    of_time,
)
from sgd_diffusion.theory.limiting.stationary import PhaseCovariance, batch_noise, discreteness

__all__ = [
    "PhaseLaw",
    "PhasePoint",
    "mean_and_covariance",
    "msd_from_point",
    "position_autocorrelation",
    "predicted_exponent",
    "stationary_msd",
    "velocity_autocorrelation",
]

MOST = 2**62  # steps
MOST_STRIDES = 8  # whose responses are kept


class PhasePoint(NamedTuple):
    """Positions and velocities of modes.

    Attributes:
        position: (...) from the minimum.
        velocity: (...) displacement over the learning rate.
    """

    position: Float[Array, "..."]
    velocity: Float[Array, "..."]


class PhaseLaw(NamedTuple):
    """The normal law of positions and velocities of modes.

    Attributes:
        mean: `PhasePoint`.
        covariance: `PhaseCovariance`.
    """

    mean: PhasePoint
    covariance: PhaseCovariance


def mean_and_covariance(
    steps: ArrayLike,
    position: ArrayLike,
    velocity: ArrayLike,
    eigenvalues: ArrayLike,
    noise: ArrayLike,
    hyper: Hyperparameters,
    *,
    discrete: bool = True,
) -> PhaseLaw:
    r"""Return the law of position and velocity of modes, some steps after a point.

    The curvature may be zero or negative. The covariance is that of the stationary law less what is
    left of it, P - E P E^T, and is computed without that difference.

    Formula:
        Law from a point. $E z_k = M^k z_0, \quad \mathrm{Cov}\, z_k = \sum_{j=0}^{k-1} M^j N
        M^{j\top}, \; M = \begin{pmatrix} 1 - \eta h & \eta \beta \\ -h & \beta \end{pmatrix}, \; N
        = \frac{\Sigma}{S} \begin{pmatrix} \eta^2 & \eta \\ \eta & 1 \end{pmatrix}$ (linear
        recursion; in continuous time Kunin et al., arXiv:2107.09133)

    Args:
        steps: (...) integers of at least 0; they may be traced.
        position: (m,) or one number, at step 0, from the minimum.
        velocity: (m,) or one number, at step 0.
        eigenvalues: (m,) of the Hessian.
        noise: (m,) as for `stationary_covariance`.
        hyper: `Hyperparameters`.
        discrete: the steps, or the Langevin equation.

    Returns:
        `PhaseLaw` of arrays of the shape of `steps` and that of the eigenvalues. NaN for traced
        arguments out of range; infinite or NaN where a mode of negative curvature overflows.

    Raises:
        InputError: an argument is not as stated; or the steps are too long, learning_rate *
            (eigenvalue + weight_decay) >= 2 * (1 + momentum).

    >>> law = mean_and_covariance(1, 1.0, 0.0, [2.0], [12.0], Hyperparameters(0.05, 0.9, 0.01, 8))
    >>> law.mean.position.round(6).tolist(), law.covariance.velocity.round(6).tolist()
    ([0.8995], [1.5])
    """
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper)
        pushed = batch_noise(noise, h, hyper)
        x, v = (
            jnp.broadcast_to(_finite(name, value, h.shape), h.shape)
            for name, value in (("position", position), ("velocity", velocity))
        )
        counts, most = _steps(steps)
        law, one = _each_step(h, hyper, discrete)
        response = after_steps(law, one, counts.reshape(*counts.shape, *(1,) * h.ndim), most)
        return PhaseLaw(
            _mean(law, response, x, v, h, hyper, discrete),
            _covariance(law, response, pushed, h, hyper, discrete),
        )


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
        eta, beta = hyper.learning_rate, hyper.momentum
        velocity = pushed / ((1 - beta) * (1 + beta))
        factors = velocity * 2, velocity * 0
        if discrete:
            square = discreteness(h, hyper) * eta**2 * velocity
            factors = square * (1 + beta), square * beta
        return _over_lags(lags, *_each_step(h, hyper, discrete), _stationary_msd, factors)


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
        start = _finite("offset", offset, h.shape)
        law, one = _each_step(h, hyper, True)
        return _over_lags(lags, law, one, _msd_from_point, (law, start, pushed, h, hyper))


def position_autocorrelation(
    lags: ArrayLike, eigenvalues: ArrayLike, hyper: Hyperparameters
) -> Float[Array, "lag *modes"]:
    r"""Return the autocorrelation of the stationary positions of each mode, in steps.

    Formula:
        Autocorrelation of positions. $R(k) = \frac{(1 - z_2^2) z_1^{k+1} - (1 - z_1^2)
        z_2^{k+1}}{(z_1 - z_2)(1 + z_1 z_2)}$ with the roots of $z^2 - (1 + \beta - \eta h) z +
        \beta$ (AR(2) process)

    Args:
        lags: (L,) integers of at least 0, known before tracing.
        eigenvalues: (m,) of the Hessian.
        hyper: `Hyperparameters`.

    Returns:
        (L, m), 1 at lag 0; NaN for traced arguments out of range.

    Raises:
        InputError: as for `stationary_covariance`; or the lags are not as stated.
    """
    beta, law, response = _stationary_response(lags, eigenvalues, hyper)
    with in_double():
        return response.kept + law.curvature * beta / (1 + beta) * response.velocity


def velocity_autocorrelation(
    lags: ArrayLike, eigenvalues: ArrayLike, hyper: Hyperparameters
) -> Float[Array, "lag *modes"]:
    r"""Return the autocorrelation of the stationary velocities of each mode, in steps.

    Formula:
        Autocorrelation of velocities. $C_v(k) = \frac{2 R(k) - R(k-1) - R(k+1)}{2 (1 - R(1))}$
        (identity, for velocities that are backward differences)

    Args:
        lags: (L,) integers of at least 0, known before tracing.
        eigenvalues: (m,) of the Hessian.
        hyper: `Hyperparameters`.

    Returns:
        (L, m), 1 at lag 0; NaN for traced arguments out of range.

    Raises:
        InputError: as for `stationary_covariance`; or the lags are not as stated.
    """
    _, law, response = _stationary_response(lags, eigenvalues, hyper)
    with in_double():
        return response.kept - (law.friction + law.curvature / 2) * response.velocity


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
    counts = _counts(lags, 1)
    if len(np.unique(counts)) < 2:
        raise invalid("lags", f"are all {counts[0]}", "at least two different lags for a slope")
    if offset is None:
        msd = stationary_msd(counts, eigenvalues, noise, hyper)
    else:
        msd = msd_from_point(counts, offset, eigenvalues, noise, hyper)
    with in_double():
        x = np.log(counts)
        x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        return x @ where_known(msd > 0, jnp.log(jnp.where(msd > 0, msd, 1)))


def _each_step(h, hyper, discrete) -> tuple[Law, Response]:
    if discrete:
        return of_steps(hyper.learning_rate * h, hyper.momentum)
    return of_time(*rates(h, hyper), hyper.learning_rate)


def _mean(law, response, x, v, h, hyper, discrete):
    """The mean after a response; velocities of steps push once more before they are damped."""
    push = hyper.learning_rate * hyper.momentum if discrete else 1.0
    pull = h if discrete else law.curvature
    return PhasePoint(
        response.kept * x + push * response.velocity * v,
        (response.kept - law.friction * response.velocity) * v - pull * response.velocity * x,
    )


def _covariance(law, response, pushed, h, hyper, discrete):
    """P - E P E^T, with 1 - E_vv^2 as a product of numbers that keep their digits."""
    eta, beta = hyper.learning_rate, hyper.momentum
    s, way, kept = response
    stationary = pushed / ((1 - beta) * (1 + beta))
    lost = law.curvature * way + law.friction * s
    change = lost * (2 - lost)
    if not discrete:
        return PhaseCovariance(
            stationary * (way * (1 + kept) - s**2),
            stationary * law.friction * s**2,
            stationary * (change - law.curvature * s**2),
        )
    stationary = discreteness(h, hyper) * stationary
    velocity = stationary * (change + law.curvature * s * (1 - lost - (1 + beta) / 2 * s))
    return PhaseCovariance(
        eta**2 * stationary * ((1 + beta) / 2 * way * (1 + kept) - beta * s * (kept + beta * s)),
        eta / 2 * (pushed * s**2 + velocity),
        velocity,
    )


def _stationary_msd(response, of_way, of_velocity):
    return of_way * response.way - of_velocity * response.velocity


def _msd_from_point(response, law, start, pushed, h, hyper):
    drift = law.curvature * response.way * start
    return drift**2 + _covariance(law, response, pushed, h, hyper, True).position


def _over_lags(lags, law, one, value, arguments):
    """The sum of value(response, *arguments) over modes at each lag, from lag to lag."""
    counts = _counts(lags, 0)
    order = np.argsort(counts, kind="stable")
    apart = np.diff(counts[order], prepend=0)
    strides, which = np.unique(apart, return_inverse=True)
    few = len(strides) <= MOST_STRIDES  # as of lags that are evenly spaced
    values = _from_stride_to_stride(
        law,
        one,
        jnp.asarray(which if few else apart),
        jnp.asarray(strides) if few else None,
        arguments,
        value,
        int(strides[-1]).bit_length(),
    )
    return values[np.argsort(order)]


# Without jit, its loop would be compiled at every call.
@functools.partial(jax.jit, static_argnums=(5, 6))
def _from_stride_to_stride(law, one, numbers, strides, arguments, value, digits):
    """The sums after each of the numbers of steps, which are places among the strides if any."""
    most = 2**digits - 1

    if strides is None:

        def stride(number):
            return after_steps(law, one, number, most)

    else:
        table = jax.vmap(lambda steps: after_steps(law, one, steps, most))(strides)

        def stride(number):
            return jax.tree.map(lambda leaf: leaf[number], table)

    def at_next(response, number):
        response = later(law, response, stride(number))
        return response, value(response, *arguments).sum()

    nothing = jnp.zeros_like(one.way)
    start = Response(nothing, nothing, jnp.ones_like(nothing))
    return jax.lax.scan(at_next, start, numbers)[1]


def _stationary_response(lags, eigenvalues, hyper):
    counts = _counts(lags, 0)
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper, stationary=True)
        law, one = _each_step(h, hyper, True)
        steps = jnp.asarray(counts).reshape(-1, *(1,) * h.ndim)
        return hyper.momentum, law, after_steps(law, one, steps, counts.max())


def _counts(lags, least):
    return integer_array("lags", lags, least, MOST)


def _steps(steps):
    """Numbers of steps as a JAX array, and the largest where it is known."""
    array = real_array("steps", steps)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise invalid("steps", f"has dtype {array.dtype}", "integers of at least 0")
    if is_traced(array):
        return array, None
    array = np.asarray(array)
    if array.size == 0 or array.min() < 0 or array.max() > MOST:
        raise invalid("steps", "is empty or has entries out of range", "integers of at least 0")
    return jnp.asarray(array, jnp.int64), int(array.max())


def _finite(name, value, shape):
    array = jnp.asarray(real_array(name, value), jnp.float64)
    if array.shape not in ((), shape):
        raise invalid(name, f"has shape {array.shape}", f"{shape}, that of the eigenvalues")
    if not is_traced(array) and not bool(jnp.isfinite(array).all()):
        raise invalid(name, "has entries that are not finite", "finite numbers")
    return array
