"""Linear regression by SGD with momentum, the case in which the limiting dynamics are exact.

The loss is half the squared distance of outputs and targets. Its Hessian is the same for every
output, and does not depend on the weights. Everything is in coordinates along its eigenvectors,
from the least-squares solution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import Key
from sgd_diffusion.dynamics.batches import batch_indices
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.datasets import Examples
from sgd_diffusion.theory.limiting import Hyperparameters, stationary_covariance

LEAST = 1e-9  # of the largest eigenvalue; directions below are constant in the data


class Regression(NamedTuple):
    """A regression in its modes.

    Attributes:
        eigenvalues: (mode,) of the Hessian, falling.
        inputs: (example, mode) inputs along the eigenvectors.
        residuals: (example, output) outputs less targets at the least-squares solution.
        noise: (mode, output) variance of per-example gradients there.
    """

    eigenvalues: np.ndarray
    inputs: np.ndarray
    residuals: np.ndarray
    noise: np.ndarray


class Motion(NamedTuple):
    """Motion of an ensemble.

    Attributes:
        position: (seed, point, mode, output) of the modes that are kept.
        velocity: the same, displacements over the learning rate.
        displacement: (seed, point) |w_k - w_0|^2 over all modes and outputs.
    """

    position: jax.Array
    velocity: jax.Array
    displacement: jax.Array


def regression(examples: Examples, num_classes: int) -> Regression:
    """Return the regression of one-hot labels on standardized images and a constant."""
    images = np.asarray(examples.images, np.float64).reshape(len(examples.labels), -1)
    images = (images - images.mean()) / images.std()
    inputs = np.column_stack([images, np.ones(len(images))])
    targets = np.eye(num_classes)[np.asarray(examples.labels)]
    eigenvalues, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
    bent = eigenvalues > LEAST * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[bent][::-1], vectors[:, bent][:, ::-1]
    along = inputs @ vectors
    solution = along.T @ targets / len(inputs) / eigenvalues[:, None]
    residuals = along @ solution - targets
    noise = (along**2).T @ residuals**2 / len(inputs)  # the mean gradient is zero
    return Regression(eigenvalues, along, residuals, noise)


def simulate(
    keys: Key,
    problem: Regression,
    hyper: Hyperparameters,
    start: np.ndarray,
    *,
    steps: int,
    modes: np.ndarray,
    sampling: str,
) -> Motion:
    """Return the motion of members with these keys from a point at rest.

    Args:
        keys: (seed,) of the order of the data.
        problem: what is fitted.
        hyper: `Hyperparameters`.
        start: positions at step 0.
        steps: number of them.
        modes: numbers of the modes that are kept.
        sampling: "replacement" or "epochs" (see `batches.batch_indices`).
    """
    inputs, residuals, begin = (
        jnp.asarray(value, jnp.float32) for value in (problem.inputs, problem.residuals, start)
    )
    eta, beta, decay = (np.float32(value) for value in hyper[:3])

    def member(key):
        rows = batch_indices(
            key,
            0,
            steps,
            num_examples=len(inputs),
            batch_size=int(hyper.batch_size),
            sampling=sampling,
        )

        def step(carry, own):
            position, velocity = carry
            x = inputs[own]
            gradient = x.T @ (x @ position + residuals[own]) / len(own)
            velocity = beta * velocity - gradient - decay * position
            position = position + eta * velocity
            return (position, velocity), (
                position[modes],
                velocity[modes],
                ((position - begin) ** 2).sum(),
            )

        with full_precision():  # the theory beside it is exact
            _, kept = jax.lax.scan(step, (begin, jnp.zeros_like(begin)), rows)
        first = begin[modes], jnp.zeros_like(begin)[modes], jnp.zeros(())
        return Motion(*(jnp.concatenate([a[None], b]) for a, b in zip(first, kept, strict=True)))

    return jax.jit(lambda keys: jax.lax.map(member, keys))(keys)


def noise_of_the_law(problem: Regression, hyper: Hyperparameters) -> np.ndarray:
    """Return the variance (mode, output) of gradients, averaged over the stationary law itself.

    Away from the solution, residuals are larger by the inputs times the displacement. So the noise
    grows with the variance of the positions, which grows with the noise; the balance is one linear
    system. Correlations between positions of different modes are left out of it.

    Raises:
        InputError: the steps are too long: the noise grows faster than it settles.
    """
    squares = problem.inputs**2
    feedback = squares.T @ squares / len(squares) - np.diag(problem.eigenvalues**2)
    unit = np.ones_like(problem.eigenvalues)
    variance = np.asarray(stationary_covariance(problem.eigenvalues, unit, hyper).position)
    # The feedback is symmetric, so its product with the variances is similar to this matrix.
    growth = np.linalg.eigvalsh(np.sqrt(np.outer(variance, variance)) * feedback)[-1]
    if growth >= 1:
        raise invalid(
            "learning_rate (--regression-learning-rate)",
            f"is {hyper.learning_rate:g}, at which the noise of mini-batches of "
            f"{hyper.batch_size:g} grows by {growth:.2g} as it settles",
            "less than 1",
            "take a smaller learning rate or larger batches",
        )
    return np.linalg.solve(np.eye(len(unit)) - feedback * variance, problem.noise)
