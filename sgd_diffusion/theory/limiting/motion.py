"""How positions and velocities of modes change with time: means, covariances, autocorrelations.

Everything is exact for steps of SGD with momentum in a quadratic bowl, with noise of constant
covariance that is independent from step to step. `discrete=False` gives the Langevin equation of
the paper in its place, at the times learning_rate * steps.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import in_double, integer_array, is_traced, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.limiting.hyperparameters import Hyperparameters, checked, curvatures
from sgd_diffusion.theory.limiting.modes import rates
from sgd_diffusion.theory.limiting.response import (
    Law,
    Response,
    after_steps,
    of_steps,
    of_time,
)
from sgd_diffusion.theory.limiting.stationary import PhaseCovariance, batch_noise, discreteness

__all__ = [
    "PhaseLaw",
    "PhasePoint",
    "covariance_after",
    "each_step",
    "finite",
    "lag_counts",
    "mean_and_covariance",
    "position_autocorrelation",
    "velocity_autocorrelation",
]

MOST = 2**62  # steps


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
            jnp.broadcast_to(finite(name, value, h.shape), h.shape)
            for name, value in (("position", position), ("velocity", velocity))
        )
        counts, most = _steps(steps)
        law, one = each_step(h, hyper, discrete)
        response = after_steps(law, one, counts.reshape(*counts.shape, *(1,) * h.ndim), most)
        return PhaseLaw(
            _mean(law, response, x, v, h, hyper, discrete),
            covariance_after(law, response, pushed, h, hyper, discrete),
        )


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


def each_step(
    h: Float[Array, "*modes"], hyper: Hyperparameters, discrete: bool
) -> tuple[Law, Response]:
    """Return the law of modes of curvature h, and their response to one step."""
    if discrete:
        return of_steps(hyper.learning_rate * h, hyper.momentum)
    return of_time(*rates(h, hyper), hyper.learning_rate)


@functools.partial(jax.jit, static_argnums=6)
def _mean(law, response, x, v, h, hyper, discrete):
    """The mean after a response; velocities of steps push once more before they are damped."""
    push = hyper.learning_rate * hyper.momentum if discrete else 1.0
    pull = h if discrete else law.curvature
    return PhasePoint(
        response.kept * x + push * response.velocity * v,
        (response.kept - law.friction * response.velocity) * v - pull * response.velocity * x,
    )


@functools.partial(jax.jit, static_argnums=5)
def covariance_after(
    law: Law,
    response: Response,
    pushed: Float[Array, "*modes"],
    h: Float[Array, "*modes"],
    hyper: Hyperparameters,
    discrete: bool,
) -> PhaseCovariance:
    """Return the covariance that noise has made since a point.

    It is P - E P E^T, with 1 - E_vv^2 as a product of numbers that keep their digits. The noise
    `pushed` is that of `batch_noise`.
    """
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


def _stationary_response(lags, eigenvalues, hyper):
    counts = lag_counts(lags, 0)
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper, stationary=True)
        law, one = each_step(h, hyper, True)
        steps = jnp.asarray(counts).reshape(-1, *(1,) * h.ndim)
        return hyper.momentum, law, after_steps(law, one, steps, counts.max())


def lag_counts(lags: ArrayLike, least: int) -> Int[np.ndarray, "lag"]:
    """Return lags as a NumPy array, if they are integers of at least `least`."""
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


def finite(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Float[Array, "*modes"]:
    """Return one number, or one for each mode, as a float64 JAX array.

    Raises:
        InputError: it is not finite, or does not match the modes.
    """
    array = jnp.asarray(real_array(name, value), jnp.float64)
    if array.shape not in ((), shape):
        raise invalid(name, f"has shape {array.shape}", f"{shape}, that of the eigenvalues")
    if not is_traced(array) and not np.isfinite(np.asarray(array)).all():
        raise invalid(name, "has entries that are not finite", "finite numbers")
    return array
