"""The stationary law: known values, Lyapunov equations solved by SciPy, simulated steps."""

import jax
import numpy as np
import pytest
import scipy.linalg

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    local_displacement,
    stationary_covariance,
    stationary_covariance_matrix,
)

HYPER = Hyperparameters(0.05, momentum=0.9, weight_decay=0.01, batch_size=8)
EIGENVALUES = np.array([2.0, 0.5, 0.1])
NOISE = 1.5 * EIGENVALUES


def test_known_values():
    steps = stationary_covariance(EIGENVALUES, NOISE, HYPER)
    expected = [
        (0.04790885416141352, 0.046266353938581674, 0.042675403394865793),
        (0.050682524665495346, 0.012418863425619292, 0.0024706812491764405),
        (2.0273009866198137, 0.4967545370247716, 0.09882724996705762),
    ]
    np.testing.assert_allclose(steps, expected, rtol=1e-9)
    langevin = stationary_covariance(EIGENVALUES, NOISE, HYPER, discrete=False)
    expected = [
        (0.04664179104477614, 0.045955882352941194, 0.04261363636363639),
        (0, 0, 0),
        (1.9736842105263164, 0.4934210526315791, 0.09868421052631583),
    ]
    np.testing.assert_allclose(langevin, expected, rtol=1e-9)


def test_a_stiff_mode():
    hyper = Hyperparameters(1.0, momentum=0.5)
    np.testing.assert_allclose(stationary_covariance(1.0, 1.0, hyper), (1.5, 1, 2), rtol=1e-12)
    np.testing.assert_allclose(
        stationary_covariance(1.0, 1.0, hyper, discrete=False), (1, 0, 4 / 3), rtol=1e-12
    )


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_steps_solve_their_lyapunov_equation(momentum):
    hyper = HYPER._replace(momentum=momentum)
    for eigenvalue in (0.001, 0.5, 30.0):
        h = eigenvalue + hyper.weight_decay
        step = np.array(
            [
                [1 - hyper.learning_rate * h, hyper.learning_rate * momentum],
                [-h, momentum],
            ]
        )
        push = np.array([hyper.learning_rate, 1.0])
        expected = scipy.linalg.solve_discrete_lyapunov(
            step, 1.7 / hyper.batch_size * np.outer(push, push)
        )
        law = stationary_covariance(eigenvalue, 1.7, hyper)
        np.testing.assert_allclose(law, (expected[0, 0], expected[0, 1], expected[1, 1]), rtol=1e-9)


def test_without_curvature_positions_have_no_law_and_velocities_have():
    hyper = HYPER._replace(weight_decay=0.0)
    law = stationary_covariance([0.0, 0.0], [1.0, 0.0], hyper)
    assert law.position.tolist() == [np.inf, 0]
    np.testing.assert_allclose(law.velocity, [1 / 8 / (1 - 0.81), 0], rtol=1e-12)


def test_local_displacement():
    hyper = HYPER._replace(weight_decay=0.0)
    found = local_displacement(EIGENVALUES, NOISE, hyper)
    np.testing.assert_allclose(found, 0.006556324994994736, rtol=1e-9)
    found = local_displacement(EIGENVALUES, NOISE, hyper, discrete=False)
    np.testing.assert_allclose(found, 0.00641447368421053, rtol=1e-9)


def test_fluctuation_and_dissipation():
    """Half of Tr(H Cov) is (1 + beta) / (4 eta) of the local displacement, exactly."""
    hyper = HYPER._replace(weight_decay=0.0)
    law = stationary_covariance(EIGENVALUES, NOISE, hyper)
    excess = (EIGENVALUES * np.asarray(law.position)).sum() / 2
    np.testing.assert_allclose(excess, 0.06228508745245, rtol=1e-9)
    step = float(local_displacement(EIGENVALUES, NOISE, hyper))
    np.testing.assert_allclose(excess, 1.9 / (4 * 0.05) * step, rtol=1e-12)


def test_a_known_bowl():
    hyper = Hyperparameters(0.1, momentum=0.8, weight_decay=0.05, batch_size=4)
    bowl = np.array([[1, 0.3], [0.3, 0.5]])
    law = stationary_covariance_matrix(bowl, 0.5 * bowl, hyper)
    np.testing.assert_allclose(
        law.position, [[0.02948717949, 0.00096153846], [0.00096153846, 0.02788461538]], rtol=1e-8
    )
    np.testing.assert_allclose(
        law.velocity, [[0.34722222, 0.10416667], [0.10416667, 0.17361111]], rtol=1e-7
    )
    np.testing.assert_allclose(law.cross, np.zeros((2, 2)), atol=1e-15)


def drift_and_noise(bowl, noise, hyper):
    """The matrices of the Langevin equation dz = -A z dt + B dW, A and B B^T."""
    size, mass = len(bowl), hyper.learning_rate * (1 + hyper.momentum) / 2
    identity, zero = np.eye(size), np.zeros((size, size))
    pull = (bowl + hyper.weight_decay * identity) / mass
    drift = np.block([[zero, -identity], [pull, (1 - hyper.momentum) / mass * identity]])
    strength = hyper.learning_rate / hyper.batch_size / mass**2 * noise
    return drift, np.block([[zero, zero], [zero, strength]])


def test_noise_in_other_directions_than_the_curvature():
    random = np.random.default_rng(0)
    bowl, noise = (each @ each.T for each in random.normal(size=(2, 5, 5)))
    drift, strength = drift_and_noise(bowl, noise, HYPER)
    expected = scipy.linalg.solve_continuous_lyapunov(drift, strength)
    law = jax.tree.map(np.asarray, stationary_covariance_matrix(bowl, noise, HYPER))
    found = np.block([[law.position, law.cross], [law.cross.T, law.velocity]])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())
    kappa = HYPER.batch_size * (1 - HYPER.momentum**2)
    np.testing.assert_allclose(np.trace(law.velocity), np.trace(noise) / kappa, rtol=1e-9)
    eigenvalues, vectors = np.linalg.eigh(bowl)
    along = ((vectors.T @ noise) * vectors.T).sum(axis=1)
    modes = stationary_covariance(eigenvalues, along, HYPER, discrete=False)
    np.testing.assert_allclose(np.diagonal(vectors.T @ law.velocity @ vectors), modes.velocity)
    np.testing.assert_allclose(np.diagonal(vectors.T @ law.position @ vectors), modes.position)


def test_simulated_steps_have_the_law():
    """20,000 walkers after 400 steps, with a decay of 1e-9; five standard errors."""
    random, count = np.random.default_rng(0), 20_000
    hyper = HYPER._replace(weight_decay=0.0)
    x, v = np.zeros((2, 3, count))
    for _ in range(400):
        gradient = EIGENVALUES[:, None] * x + np.sqrt(NOISE / 8)[:, None] * random.normal(
            size=x.shape
        )
        v = 0.9 * v - gradient
        x = x + 0.05 * v
    law = jax.tree.map(np.asarray, stationary_covariance(EIGENVALUES, NOISE, hyper))
    error = 5 * np.sqrt(2 / count)
    np.testing.assert_allclose((x**2).mean(axis=1)[:2], law.position[:2], rtol=error)
    np.testing.assert_allclose((v**2).mean(axis=1), law.velocity, rtol=error)
    scatter = np.sqrt((law.position * law.velocity + law.cross**2) / count)
    assert (abs((x * v).mean(axis=1) - law.cross)[:2] < 5 * scatter[:2]).all()


def test_transformations():
    eager = stationary_covariance(EIGENVALUES, NOISE, HYPER)
    with jax.enable_x64(True):
        jitted = jax.jit(stationary_covariance)(EIGENVALUES, NOISE, HYPER)
        mapped = jax.jit(
            jax.vmap(
                lambda eta: local_displacement(
                    EIGENVALUES, NOISE, HYPER._replace(learning_rate=eta)
                )
            )
        )(np.array([0.01, 0.05]))
        slopes = jax.jit(
            jax.grad(
                lambda h, hyper: sum(part.sum() for part in stationary_covariance(h, NOISE, hyper)),
                argnums=(0, 1),
            )
        )(np.array([2.0, 0.5, 0.1]), Hyperparameters(*map(float, HYPER)))
    np.testing.assert_allclose(jitted, eager, rtol=1e-12)
    np.testing.assert_allclose(mapped[1], local_displacement(EIGENVALUES, NOISE, HYPER), rtol=1e-12)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: stationary_covariance(-0.02, 1.0, HYPER), "no stationary law"),
        (lambda: stationary_covariance(80.0, 1.0, HYPER), "do not settle"),
        (lambda: stationary_covariance([1.0, 2.0], [1.0], HYPER), r"noise has shape \(1,\)"),
        (lambda: stationary_covariance(1.0, -1.0, HYPER), "negative"),
        (lambda: stationary_covariance_matrix(-np.eye(2), np.eye(2), HYPER), "no stationary law"),
        (
            lambda: stationary_covariance_matrix([[1, 2], [0, 1]], np.eye(2), HYPER),
            "hessian is not symmetric",
        ),
        (lambda: stationary_covariance_matrix(np.eye(2), np.eye(3), HYPER), "noise_covariance has"),
        (lambda: stationary_covariance_matrix(np.ones(2), np.eye(2), HYPER), "square"),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()


def test_traced_arguments_out_of_range_give_nan():
    with jax.enable_x64(True):
        law = jax.jit(lambda h: stationary_covariance(h, 1.0, HYPER))(np.array([1.0, -1.0, 100.0]))
        bowl = jax.jit(lambda m: stationary_covariance_matrix(m, np.eye(2), HYPER))(-np.eye(2))
    for part in law:
        assert np.isfinite(part).tolist() == [True, False, False]
    assert np.isnan(bowl.position).all()
