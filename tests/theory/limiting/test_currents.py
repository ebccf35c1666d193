"""Potentials and currents: known values, the equations that define them, simulated circulation."""

import jax
import numpy as np
import pytest
import scipy.linalg

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    decompose,
    modified_loss,
    probability_current,
    stationary_covariance_matrix,
)

DRIFT, DIFFUSION = np.array([[2.5, -1.5], [-1.5, 2.5]]), np.diag([4.0, 1.0])
HYPER = Hyperparameters(0.1, momentum=0.8, weight_decay=0.05, batch_size=4)
BOWL = np.array([[1, 0.3], [0.3, 0.5]])


def phase_space(hyper, bowl, noise):
    """Drift and diffusion of SGD in positions and velocities, with kappa = S (1 - beta^2)."""
    mass, size = hyper.learning_rate * (1 + hyper.momentum), len(bowl)
    zero, identity = np.zeros((size, size)), np.eye(size)
    friction = 2 * (1 - hyper.momentum) / mass
    pull = 2 / mass * (bowl + hyper.weight_decay * identity)
    drift = np.block([[zero, -identity], [pull, friction * identity]])
    return drift, np.block([[zero, zero], [zero, friction * noise]])


def test_known_potential_and_current():
    found = decompose(DRIFT, DIFFUSION)
    np.testing.assert_allclose(found.rotation, [[0, 0.9], [-0.9, 0]], atol=1e-12)
    np.testing.assert_allclose(
        found.potential, [[0.8004158, -0.7796258], [-0.7796258, 1.7983368]], atol=5e-8
    )
    np.testing.assert_allclose(
        np.linalg.inv(found.potential), [[2.1625, 0.9375], [0.9375, 0.9625]], rtol=1e-12
    )
    minimum = np.array([-0.04375, -0.00625])
    current = probability_current(np.array([0.09, 0]) - minimum, found)
    np.testing.assert_allclose(current, [0.08373181, 0.09196466], atol=5e-9)


def test_the_equations_of_the_decomposition():
    random = np.random.default_rng(0)
    for size in (1, 2, 5):
        drift = random.normal(size=(size, size)) + 3 * np.eye(size)
        root = random.normal(size=(size, size))
        diffusion = root @ root.T
        rotation, potential = decompose(drift, diffusion)
        np.testing.assert_allclose((diffusion + rotation) @ potential, drift, rtol=1e-9, atol=1e-10)
        np.testing.assert_array_equal(rotation, -rotation.T)
        np.testing.assert_array_equal(potential, potential.T)
        right = drift @ diffusion - diffusion @ drift.T
        np.testing.assert_allclose(
            drift @ rotation + rotation @ drift.T, right, rtol=1e-9, atol=1e-10
        )


def test_in_equilibrium_nothing_flows_and_the_potential_is_the_loss():
    found = decompose(DRIFT, 2 * np.eye(2))
    np.testing.assert_allclose(found.rotation, np.zeros((2, 2)), atol=1e-12)
    np.testing.assert_allclose(found.potential, DRIFT / 2, rtol=1e-12)
    np.testing.assert_allclose(probability_current([1.0, 2.0], found), [0, 0], atol=1e-12)


def test_the_current_has_no_divergence():
    """J = u p with the flow u = -Q U z: div J = p (div u - kappa u . U z) = 0 everywhere."""
    rotation, potential = decompose(DRIFT, DIFFUSION)
    np.testing.assert_allclose(np.trace(rotation @ potential), 0, atol=1e-12)
    points = np.random.default_rng(0).normal(size=(3, 7, 2))
    flow = probability_current(points, decompose(DRIFT, DIFFUSION))
    assert flow.shape == points.shape
    np.testing.assert_allclose((flow * (points @ potential)).sum(axis=-1), 0, atol=1e-12)


def test_known_modified_loss():
    found = modified_loss([0.2, -0.1], [0.3, 0.1], BOWL, 0.5 * BOWL, HYPER)
    np.testing.assert_allclose(found, 0.702710027100271, rtol=1e-9)


def test_the_modified_loss_is_the_potential_of_phase_space():
    random = np.random.default_rng(0)
    root = random.normal(size=(2, 2))
    for noise in (0.5 * BOWL, root @ root.T):
        _, potential = decompose(*phase_space(HYPER, BOWL, noise))
        points = random.normal(size=(6, 4))
        expected = ((points @ potential) * points).sum(axis=1) / 2
        found = modified_loss(points[:, :2], points[:, 2:], BOWL, noise, HYPER)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_in_sgd_the_current_turns_with_the_frequency_omega():
    """For noise proportional to the Hessian J / p is (v, -omega^2 x), in each plane (x, v)."""
    found = decompose(*phase_space(HYPER, BOWL, 0.5 * BOWL))
    omega = 2 / (0.1 * 1.8) * (BOWL + 0.05 * np.eye(2))
    frequencies = np.sqrt(np.linalg.eigvalsh(omega))
    np.testing.assert_allclose(frequencies, [2.1330403867, 3.6370202758], rtol=1e-9)
    point = np.array([0.2, -0.1, 0.3, 0.1])
    current = probability_current(point, found)
    np.testing.assert_allclose(current[:2], point[2:], rtol=1e-9)
    np.testing.assert_allclose(current[2:], -omega @ point[:2], rtol=1e-9)


def test_the_potential_is_the_inverse_of_the_covariance():
    _, potential = decompose(*phase_space(HYPER, BOWL, 0.5 * BOWL))
    law = stationary_covariance_matrix(BOWL, 0.5 * BOWL, HYPER)
    covariance = np.linalg.inv(potential) / 1.44
    np.testing.assert_allclose(covariance[:2, :2], law.position, rtol=1e-9)
    np.testing.assert_allclose(covariance[2:, 2:], law.velocity, rtol=1e-9)


def test_a_simulated_process_circulates_as_the_current_says():
    """The mean area swept per unit of time, E (x dy - y dx) / dt, by exact steps; five errors."""
    drift, diffusion = DRIFT, DIFFUSION
    rotation, potential = decompose(drift, diffusion)
    covariance = np.linalg.inv(potential)  # kappa = 1
    random, time, count = np.random.default_rng(0), 0.01, 40_000
    step = scipy.linalg.expm(-time * drift)
    start = random.multivariate_normal(np.zeros(2), covariance, size=count)
    added = random.multivariate_normal(
        np.zeros(2), covariance - step @ covariance @ step.T, size=count
    )
    end = start @ step.T + added
    swept = (start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]) / time
    # E x (J/p)_y - y (J/p)_x over the law, to first order in time
    flow = -rotation @ potential
    expected = (flow @ covariance)[1, 0] - (flow @ covariance)[0, 1]
    exact = ((step @ covariance)[1, 0] - (step @ covariance)[0, 1]) / time
    assert abs(swept.mean() - exact) < 5 * swept.std() / count**0.5
    np.testing.assert_allclose(exact, expected, rtol=0.05)


def test_transformations_of_the_modified_loss():
    eager = modified_loss([0.2, -0.1], [0.3, 0.1], BOWL, 0.5 * BOWL, HYPER)
    with jax.enable_x64(True):
        jitted = jax.jit(modified_loss)(
            np.array([0.2, -0.1]), np.array([0.3, 0.1]), BOWL, 0.5 * BOWL, HYPER
        )
        force = jax.grad(modified_loss)(
            np.array([0.2, -0.1]), np.array([0.3, 0.1]), BOWL, 0.5 * BOWL, HYPER
        )
    np.testing.assert_allclose(jitted, eager, rtol=1e-12)
    upper = [[23.57723577, -0.81300813], [-0.81300813, 24.93224932]]
    np.testing.assert_allclose(force, upper @ np.array([0.2, -0.1]), rtol=1e-8)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: decompose(-np.eye(2), np.eye(2)), "drift has an eigenvalue"),
        (lambda: decompose(np.eye(2), -np.eye(2)), "none below zero"),
        (lambda: decompose(np.eye(2), [[1, 1], [0, 1]]), "not symmetric"),
        (lambda: decompose(np.eye(2), np.diag([1.0, 0.0])), "does not reach all directions"),
        (lambda: decompose(np.eye(2), np.eye(3)), "diffusion has shape"),
        (lambda: decompose(np.ones((2, 3)), np.eye(2)), "drift has shape"),
        (lambda: decompose(np.nan * np.eye(2), np.eye(2)), "not finite"),
        (lambda: probability_current([1.0], decompose(np.eye(2), np.eye(2))), r"\(\.\.\., 2\)"),
        (lambda: modified_loss([0.1], [0.1, 0.2], BOWL, BOWL, HYPER), "offset has shape"),
        (
            lambda: modified_loss(
                [0.1, 0.2], [0.1, 0.2], np.diag([1.0, 2.0]), np.diag([1.0, 0.0]), HYPER
            ),
            "leaves out a direction",
        ),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()
