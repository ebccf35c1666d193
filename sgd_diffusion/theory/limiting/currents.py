"""The potential and the currents of a stationary law that is out of equilibrium.

An Ornstein-Uhlenbeck process dz = -A z dt + sqrt(2 / kappa) D^{1/2} dW has a normal stationary law,
whatever its drift A. Where the drift is not the gradient of a potential that the noise is matched
to, probability flows around in it. SGD with momentum is such a process in its positions and
velocities.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from sgd_diffusion._arrays import host_array, in_double, is_traced, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.limiting.hyperparameters import Hyperparameters, checked
from sgd_diffusion.theory.limiting.stationary import stationary_covariance_matrix

__all__ = ["Decomposition", "decompose", "modified_loss", "probability_current"]

SINGULAR = 1e-12  # least eigenvalue of a covariance over the largest


@shown_briefly
class Decomposition(NamedTuple):
    """The drift as the gradient of a potential and a rotation, A = (D + Q) U.

    Attributes:
        rotation: (n, n) Q, antisymmetric; zero in equilibrium.
        potential: (n, n) U, symmetric and positive. The stationary law has the density exp(-kappa
            z . U z / 2) and the covariance U^-1 / kappa.
    """

    rotation: Float[np.ndarray, "n n"]
    potential: Float[np.ndarray, "n n"]


def decompose(drift: ArrayLike, diffusion: ArrayLike) -> Decomposition:
    r"""Return the potential and the rotation of an Ornstein-Uhlenbeck process.

    The process is dz = -A z dt + sqrt(2 / kappa) D^{1/2} dW, for any kappa.

    Formula:
        Drift as potential and rotation. $A = (D + Q) U, \quad Q = -Q^{\top}, \quad A Q + Q
        A^{\top} = A D - D A^{\top}$ (Kunin et al., arXiv:2107.09133; public code)

    Args:
        drift: (n, n) A, whose eigenvalues have positive real parts.
        diffusion: (n, n) D, symmetric and positive semidefinite. It may be singular where the drift
            carries the noise on, as from velocities to positions.

    Returns:
        `Decomposition` of float64 NumPy arrays.

    Raises:
        InputError: a matrix is not as stated; or the noise does not reach all directions, so that
            the law has no density.

    >>> decompose([[2.0, -1.0], [1.0, 2.0]], np.eye(2)).potential.round(12).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    drift, diffusion = host_array("drift", drift), host_array("diffusion", diffusion)
    for name, matrix in (("drift", drift), ("diffusion", diffusion)):
        if matrix.ndim != 2 or matrix.shape != drift.T.shape or not matrix.size:
            raise invalid(name, f"has shape {matrix.shape}", "(n, n), as the other matrix")
        if not np.isfinite(matrix).all():
            raise invalid(name, "is not finite", "finite numbers")
    if abs(diffusion - diffusion.T).max() > 1e-6 * abs(diffusion).max():
        raise invalid("diffusion", "is not symmetric", "a symmetric matrix")
    diffusion = (diffusion + diffusion.T) / 2
    strengths = np.linalg.eigvalsh(diffusion)
    if strengths[0] < -SINGULAR * abs(strengths).max():
        raise invalid("diffusion", f"has the eigenvalue {strengths[0]:g}", "none below zero")
    slowest = np.linalg.eigvals(drift).real.min()
    if slowest <= 0:
        raise invalid(
            "drift",
            f"has an eigenvalue of real part {slowest:g}",
            "positive real parts, as there is no stationary law otherwise",
        )
    covariance = scipy.linalg.solve_continuous_lyapunov(drift, 2 * diffusion)
    covariance = (covariance + covariance.T) / 2
    spread = np.linalg.eigvalsh(covariance)
    if spread[0] <= SINGULAR * spread[-1]:
        raise invalid(
            "diffusion",
            "does not reach all directions",
            "noise that the drift carries into every direction",
            "leave out those that have none",
        )
    rotation = drift @ covariance - diffusion
    potential = np.linalg.inv(covariance)
    return Decomposition((rotation - rotation.T) / 2, (potential + potential.T) / 2)


def probability_current(
    point: ArrayLike, decomposition: Decomposition
) -> Float[np.ndarray, "*points n"]:
    r"""Return the mean velocity at which stationary probability flows through points, J / p.

    Formula:
        Stationary current. $\frac{J(z)}{p(z)} = -Q U z$ (Kunin et al., arXiv:2107.09133; the public
        code draws it with the opposite sign)

    Args:
        point: (..., n) from the mean.
        decomposition: as `decompose` returns it.

    Returns:
        (..., n) units of the points per unit of time. J is this times the density at the points.

    Raises:
        InputError: the points do not match the matrices.
    """
    array = host_array("point", point)
    rotation, potential = decomposition
    if array.ndim == 0 or array.shape[-1] != len(potential):
        raise invalid("point", f"has shape {array.shape}", f"(..., {len(potential)})")
    with np.errstate(invalid="ignore"):  # infinite points have NaN
        return -array @ potential @ rotation.T


def modified_loss(
    offset: ArrayLike,
    velocity: ArrayLike,
    hessian: ArrayLike,
    noise_covariance: ArrayLike,
    hyper: Hyperparameters,
) -> Float[Array, "*points"]:
    r"""Return the potential of positions and velocities that SGD descends in place of the loss.

    The stationary density is exp(-kappa Psi), with the inverse temperature kappa = S (1 - beta^2).
    For noise that is proportional to the Hessian, Sigma = sigma^2 H, positions have the same spread
    in sharp and in flat directions, and velocities are large along sharp ones.

    Formula:
        Modified loss. $\Psi = \frac{1}{2 \kappa} z^{\top} P^{-1} z, \quad \kappa = S (1 -
        \beta^2)$, for $\Sigma = \sigma^2 H$: $\frac{1}{\eta (1 + \beta) \sigma^2} x^{\top} (I +
        \lambda H^{-1}) x + \frac{1}{2 \sigma^2} v^{\top} H^{-1} v$ (Kunin et al., arXiv:2107.09133;
        P is `stationary_covariance_matrix`)

    Args:
        offset: (..., d) positions from the minimum.
        velocity: (..., d) displacements over the learning rate.
        hessian: (d, d) symmetric.
        noise_covariance: (d, d) symmetric, Sigma, of per-example gradients.
        hyper: `Hyperparameters`.

    Returns:
        (...) without unit; NaN for traced arguments out of range.

    Raises:
        InputError: as for `stationary_covariance_matrix`; the points do not match; or the noise
            leaves out a direction.
    """
    law = stationary_covariance_matrix(hessian, noise_covariance, hyper)
    with in_double():
        covariance = _as_one_matrix(law)
        size = len(covariance) // 2
        x, v = (
            jnp.asarray(real_array(name, value), jnp.float64)
            for name, value in (("offset", offset), ("velocity", velocity))
        )
        for name, value in (("offset", x), ("velocity", v)):
            if value.ndim == 0 or value.shape[-1] != size or value.shape != x.shape:
                raise invalid(name, f"has shape {value.shape}", f"(..., {size}), both the same")
        if not is_traced(covariance):
            # Positions and velocities have different units; each is judged by itself.
            matrix = np.asarray(covariance)
            variances = np.diagonal(matrix)
            scale = np.sqrt(np.where(variances > 0, variances, 1))
            if not np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0] > SINGULAR:
                raise invalid(
                    "noise_covariance",
                    "leaves out a direction",
                    "noise in every direction",
                    "project the Hessian, the noise and the points on the directions that have it",
                )
        return _modified_loss(x, v, covariance, checked(hyper).inverse_temperature)


@jax.jit
def _as_one_matrix(law):
    return jnp.block([[law.position, law.cross], [law.cross.T, law.velocity]])


@jax.jit
def _modified_loss(x, v, covariance, inverse_temperature):
    points = jnp.concatenate([x, v], axis=-1)
    pulled = jnp.linalg.solve(covariance, points[..., None])[..., 0]
    return (points * pulled).sum(axis=-1) / (2 * inverse_temperature)
