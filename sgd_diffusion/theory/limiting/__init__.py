"""Limiting dynamics: how a converged network keeps moving (Kunin et al., arXiv:2107.09133).

Near a minimum, SGD with momentum is a linear process in positions and velocities. Its modes are the
eigenvectors of the Hessian. From the eigenvalues, the variance of per-example gradients along the
eigenvectors and the `Hyperparameters` follow the stationary law, the displacement after any number
of steps and its exponent, without a constant that is fitted.

The laws of the steps (`discrete=True`) are exact for noise of constant covariance. Those of the
Langevin equation (`discrete=False`), in the time t = learning_rate * steps, are the paper's.
Eigenvalues are (m,), and `noise` is (m,): q . Sigma q of per-example gradients, which is sigma^2
times the eigenvalue where Sigma = sigma^2 H.

Everything is computed in float64, in and out of 64-bit mode, and can be jitted, mapped and
differentiated, at critical damping and at zero curvature too. Two functions compute on the host
instead, `decompose` and `probability_current`. Traced arguments that are out of range give NaN.
"""

from sgd_diffusion.theory.limiting.currents import (
    Decomposition,
    decompose,
    modified_loss,
    probability_current,
)
from sgd_diffusion.theory.limiting.displacements import (
    msd_from_point,
    predicted_exponent,
    stationary_msd,
)
from sgd_diffusion.theory.limiting.gradient_noise import GradientNoise, gradient_noise, noise_trace
from sgd_diffusion.theory.limiting.hyperparameters import Hyperparameters, annealed
from sgd_diffusion.theory.limiting.modes import Modes, modes, propagator
from sgd_diffusion.theory.limiting.motion import (
    PhaseLaw,
    PhasePoint,
    mean_and_covariance,
    position_autocorrelation,
    velocity_autocorrelation,
)
from sgd_diffusion.theory.limiting.stationary import (
    PhaseCovariance,
    local_displacement,
    stationary_covariance,
    stationary_covariance_matrix,
)

__all__ = [
    # what the theory is told
    "Hyperparameters",
    "GradientNoise",
    "annealed",
    "gradient_noise",
    "noise_trace",
    # modes as oscillators
    "Modes",
    "modes",
    "propagator",
    # the stationary law
    "PhaseCovariance",
    "local_displacement",
    "stationary_covariance",
    "stationary_covariance_matrix",
    # motion
    "PhaseLaw",
    "PhasePoint",
    "mean_and_covariance",
    "msd_from_point",
    "position_autocorrelation",
    "predicted_exponent",
    "stationary_msd",
    "velocity_autocorrelation",
    # currents
    "Decomposition",
    "decompose",
    "modified_loss",
    "probability_current",
]
