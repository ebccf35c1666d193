"""The stationary law of positions and velocities about a minimum."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.limiting.hyperparameters import Hyperparameters, checked, curvatures
from sgd_diffusion.theory.limiting.modes import rates

__all__ = [
    "PhaseCovariance",
    "batch_noise",
    "discreteness",
    "local_displacement",
    "stationary_covariance",
    "stationary_covariance_matrix",
]


@shown_briefly
class PhaseCovariance(NamedTuple):
    """The covariance of positions and velocities.

    Attributes:
        position: the covariance of positions, in squared units of the weights.
        cross: that of positions with velocities. Of a matrix, rows are positions.
        velocity: that of velocities; a velocity is a displacement over the learning rate.
    """

    position: Float[Array, "..."]
    cross: Float[Array, "..."]
    velocity: Float[Array, "..."]


def stationary_covariance(
    eigenvalues: ArrayLike, noise: ArrayLike, hyper: Hyperparameters, *, discrete: bool = True
) -> PhaseCovariance:
    r"""Return the stationary covariance of position and velocity of each mode.

    The discrete law is that of the steps themselves. The continuous one is that of the Langevin
    equation of the paper. Both hold for noise of constant covariance that is independent from step
    to step. Mini-batches drawn with replacement have it, near a minimum.

    Formula:
        Stationary law of a mode. $\mathrm{Var}\, v = \frac{f \Sigma}{S (1 - \beta^2)}, \;
        \mathrm{Var}\, x = \frac{f \eta \Sigma}{2 S h (1 - \beta)}, \; \mathrm{Cov}(x, v) =
        \frac{\eta}{2} \mathrm{Var}\, v, \; f = \left(1 - \frac{\eta h}{2 (1 + \beta)} \right)^{-1}$
        (discrete Lyapunov equation; in continuous time f = 1 and Cov = 0, Kunin et al.,
        arXiv:2107.09133; public code)

    Args:
        eigenvalues: (...) of the Hessian.
        noise: (...) variance of per-example gradients along each eigenvector, q . Sigma q.
        hyper: `Hyperparameters`.
        discrete: the law of the steps, or that of the Langevin equation.

    Returns:
        `PhaseCovariance` of the shape of the eigenvalues. Positions are infinite where the
        curvature is zero and the noise is not. NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated; eigenvalue + weight_decay is negative; or the
            steps are too long, learning_rate * (eigenvalue + weight_decay) >= 2 * (1 + momentum).

    >>> law = stationary_covariance([1.0], [1.0], Hyperparameters(1.0, momentum=0.5))
    >>> [part.round(6).tolist() for part in law]
    [[1.5], [1.0], [2.0]]
    """
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper, stationary=True)
        return _stationary_law(h, batch_noise(noise, h, hyper), hyper, bool(discrete))


@functools.partial(jax.jit, static_argnums=3)
def _stationary_law(h, pushed, hyper, discrete):
    eta, beta = hyper.learning_rate, hyper.momentum
    factor = discreteness(h, hyper) if discrete else jnp.ones_like(h)
    velocity = factor * pushed / ((1 - beta) * (1 + beta))
    bent = h != 0
    position = factor * eta * pushed / (2 * (1 - beta) * jnp.where(bent, h, 1))
    position = jnp.where(bent, position, jnp.where(pushed == 0, 0.0, jnp.inf))
    cross = eta / 2 * velocity if discrete else jnp.zeros_like(velocity)
    return PhaseCovariance(position, cross, velocity)


def local_displacement(
    eigenvalues: ArrayLike, noise: ArrayLike, hyper: Hyperparameters, *, discrete: bool = True
) -> Float[Array, ""]:
    r"""Return the stationary mean squared displacement in one step, summed over modes.

    In continuous time it needs no eigenvalue: it is eta^2 Tr(Sigma) / (S (1 - beta^2)). In discrete
    time the factor of each mode is 1 / (1 - eta h / (2 (1 + beta))), which is close to 1 for all
    but the sharpest.

    Formula:
        Local displacement. $E \lVert \Delta w \rVert^2 = \frac{\eta^2}{S (1 - \beta^2)} \sum_l f_l
        \Sigma_{ll}$ (Kunin et al., arXiv:2107.09133, with all f = 1; public code)

    Args:
        eigenvalues: (...) of the Hessian; zeros for a sum of modes that are all flat.
        noise: (...) as for `stationary_covariance`, of the shape of the eigenvalues.
        hyper: `Hyperparameters`.
        discrete: as for `stationary_covariance`.

    Returns:
        () squared units of the weights; NaN for traced arguments out of range.

    Raises:
        InputError: as for `stationary_covariance`.

    >>> local_displacement(0.0, 30.0, Hyperparameters(0.5, momentum=0.5, batch_size=4)).item()
    2.5
    """
    velocity = stationary_covariance(eigenvalues, noise, hyper, discrete=discrete).velocity
    with in_double():
        return jnp.asarray(hyper.learning_rate, jnp.float64) ** 2 * velocity.sum()


def stationary_covariance_matrix(
    hessian: ArrayLike, noise_covariance: ArrayLike, hyper: Hyperparameters
) -> PhaseCovariance:
    r"""Return the stationary covariance for noise whose directions are not those of the Hessian.

    It is that of the Langevin equation, for any constant covariance of the noise. The trace of the
    velocities is Tr(Sigma) / (S (1 - beta^2)), whatever the Hessian.

    Formula:
        Stationary law of a bowl. $X_{ij} = \frac{W_{ij}}{2 \gamma (o_i + o_j) + (o_i - o_j)^2 / (4
        \gamma)}, \; C_{ij} = \frac{o_i - o_j}{4 \gamma} X_{ij}, \; V_{ij} = \frac{o_i + o_j}{2}
        X_{ij}$ in the eigenbasis of the Hessian, with $o = \omega^2, \; W = \frac{4 \Sigma}{\eta S
        (1 + \beta)^2}$ (Lyapunov equation)

    Args:
        hessian: (d, d) symmetric.
        noise_covariance: (d, d) symmetric, Sigma, of per-example gradients.
        hyper: `Hyperparameters`.

    Returns:
        `PhaseCovariance` of (d, d) matrices in the coordinates of the arguments. NaN for traced
        arguments out of range. Derivatives by the Hessian need eigenvalues that differ.

    Raises:
        InputError: a matrix is not square, not symmetric, or does not match the other; the
            curvature is not positive; or the steps are too long.
    """
    with in_double():
        hyper = checked(hyper)
        bowl = _symmetric("hessian", hessian)
        noise = _symmetric("noise_covariance", noise_covariance, like=bowl)
        eigenvalues, vectors = jnp.linalg.eigh(bowl)
        h = curvatures(eigenvalues, hyper, stationary=True)
        if not is_traced(h) and not bool((h > 0).all()):
            raise invalid(
                "hessian",
                f"has the eigenvalue {float(eigenvalues.min()):g}",
                "eigenvalue + weight_decay > 0, as positions have no stationary law otherwise",
            )
        return _law_of_bowl(h, vectors, noise, hyper)


@jax.jit
def _law_of_bowl(h, vectors, noise, hyper):
    eta, beta, _, size = hyper
    squared, friction = rates(where_known(h > 0, h), hyper)
    force = 4 * (vectors.T @ noise @ vectors) / (eta * size * (1 + beta) ** 2)
    total = squared[:, None] + squared
    apart = squared[:, None] - squared
    position = force / (friction * total + apart**2 / (2 * friction))
    of_modes = position, apart / (2 * friction) * position, total / 2 * position
    return PhaseCovariance(*(vectors @ matrix @ vectors.T for matrix in of_modes))


@jax.jit
def discreteness(h: Float[Array, "*modes"], hyper: Hyperparameters) -> Float[Array, "*modes"]:
    """Return f, by which steps make the variances of a mode larger than a Langevin equation."""
    return 1 / (1 - hyper.learning_rate * h / (2 * (1 + hyper.momentum)))


def batch_noise(
    noise: ArrayLike, h: Float[Array, "*modes"], hyper: Hyperparameters
) -> Float[Array, "*modes"]:
    """Return the variance of the gradient of a mini-batch along each mode, noise / S.

    Raises:
        InputError: the noise does not match the eigenvalues, or is negative or not finite.
    """
    array = jnp.asarray(real_array("noise", noise), jnp.float64)
    if array.shape not in ((), h.shape):
        raise invalid("noise", f"has shape {array.shape}", f"{h.shape}, that of the eigenvalues")
    in_range, of_batches = _of_batches(array, h, hyper)
    if not is_traced(array) and not bool(in_range):
        raise invalid("noise", "has entries that are negative or not finite", "variances")
    return of_batches


@jax.jit
def _of_batches(noise, h, hyper):
    bound = (noise >= 0) & (noise < jnp.inf)
    return bound.all(), where_known(bound, noise) / hyper.batch_size + jnp.zeros_like(h)


def _symmetric(
    name: str, matrix: ArrayLike, like: Float[Array, "d d"] | None = None
) -> Float[Array, "d d"]:
    """Return a symmetric float64 matrix; NaN where a traced one is not.

    Raises:
        InputError: it is not square, finite and symmetric, or not of the shape of another.
    """
    array = jnp.asarray(real_array(name, matrix), jnp.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise invalid(name, f"has shape {array.shape}", "(d, d), a square matrix")
    if like is not None and like.shape != array.shape:
        raise invalid(name, f"has shape {array.shape}", f"{like.shape}, as the other matrix")
    same, mean = _with_transpose(array)
    if not is_traced(array) and not bool(same):
        raise invalid(name, "is not symmetric or not finite", "a symmetric matrix")
    return mean


@jax.jit
def _with_transpose(array):
    """Whether a matrix is symmetric, and the mean with its transpose; NaN where it is not."""
    same = abs(array - array.T).max() <= 1e-6 * abs(array).max()  # rounding of float32
    return same, where_known(same, (array + array.T) / 2)
