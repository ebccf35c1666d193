"""Noise of all kinds has the mean and the covariance that it says, at a point that stays."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.matched_noise import gradient_with_matched_noise
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.sgd import resting_carry, sgd
from sgd_diffusion.dynamics.step_gradients import StepGradient, step_gradient, step_loss
from sgd_diffusion.dynamics.white_noise import gradient_with_white_noise
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import MLP, classification, gaussian, with_fresh_label_noise
from sgd_diffusion.problems.objectives import Problem

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(6, 3)).astype(np.float32), RANDOM.normal(size=6).astype(np.float32)
WEIGHTS = np.array([0.3, -0.2, 0.5], np.float32)
GRADIENTS = 2 * (X @ WEIGHTS - Y)[:, None] * X
DRAWS = 20_000
KEYS = jax.random.split(jax.random.key(1), DRAWS)


def line(**changes):
    def loss(w, state, batch, train):
        return jnp.mean((batch["x"] @ w - batch["y"]) ** 2), (state, None)

    problem = Problem(init=lambda key: (jnp.zeros(3), ()), loss=loss, examples={"x": X, "y": Y})
    return dataclasses.replace(problem, **changes)


def draws(noise, problem=None, **options):
    """Loss, gradients (draw, coordinate) of updates of members that differ in their keys."""
    problem = line() if problem is None else problem
    carry = resting_carry(sgd(), jnp.asarray(WEIGHTS), ())
    kind, rows = StepGradient(noise, **options), jnp.array([3, 1])

    def one(key):
        loss, gradient, _ = step_gradient(kind, problem, carry, rows, key, 7)
        return loss, gradient

    losses, gradients = jax.jit(jax.vmap(one))(KEYS)
    wanted = step_loss(kind, problem, carry, rows, KEYS[0], 7)
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    return np.asarray(gradients)


def trace_of_batches(sampling, batch_size=2):
    """Of the covariance of mini-batches, in closed form."""
    trace = np.trace(np.cov(GRADIENTS.T, bias=True)) / batch_size
    return trace * ((6 - batch_size) / 5 if sampling == "epochs" else 1)


def excess_kurtosis(samples):
    centered = samples - samples.mean(axis=0)
    return (centered**4).mean(axis=0) / (centered**2).mean(axis=0) ** 2 - 3


@pytest.mark.parametrize("sampling", ["epochs", "replacement"])
def test_gaussian_noise_has_the_covariance_of_batches_and_no_fourth_cumulant(sampling):
    """Covariances of normal draws have a known error; the kurtosis of n of them one of
    sqrt(24 / n).
    """
    found = draws("gaussian", sampling=sampling)
    expected = np.cov(GRADIENTS.T, bias=True) / 2 * (0.8 if sampling == "epochs" else 1)
    assert np.trace(expected) == pytest.approx(trace_of_batches(sampling))
    variance = np.diagonal(expected)
    error = np.sqrt((np.outer(variance, variance) + expected**2) / DRAWS)
    assert (abs(np.cov(found.T) - expected) < 4 * error).all()
    of_mean = np.sqrt(variance / DRAWS)
    assert (abs(found.mean(axis=0) - GRADIENTS.mean(axis=0)) < 4 * of_mean).all()
    assert (abs(excess_kurtosis(found)) < 4 * np.sqrt(24 / DRAWS)).all()
    # that of mini-batches is not normal, and that can be seen
    pairs = GRADIENTS[RANDOM.integers(0, 6, (DRAWS, 2))].mean(axis=1)
    assert (abs(excess_kurtosis(pairs)) > 4 * np.sqrt(24 / DRAWS)).any()


def test_white_noise_has_the_variance_that_is_asked_for_in_all_directions():
    found = draws("white", variance=0.25)
    error = 0.25 * np.sqrt((1 + np.eye(3)) / DRAWS)
    assert (abs(np.cov(found.T) - 0.25 * np.eye(3)) < 4 * error).all()
    assert (abs(excess_kurtosis(found)) < 4 * np.sqrt(24 / DRAWS)).all()
    assert (abs(found.mean(axis=0) - GRADIENTS.mean(axis=0)) < 4 * 0.5 / np.sqrt(DRAWS)).all()


@pytest.mark.parametrize(
    ("sampling", "batch_size"), [("epochs", 2), ("replacement", 2), ("epochs", 4)]
)
def test_white_noise_is_as_strong_as_mini_batches(sampling, batch_size):
    """On average over the order of the examples, also where batches do not divide them."""

    def one(key):
        order, noise = jax.random.split(key)
        problem = line(
            examples=jax.tree.map(
                lambda leaf: leaf[jax.random.permutation(order, 6)], line().examples
            )
        )
        return gradient_with_white_noise(
            noise,
            problem,
            jnp.asarray(WEIGHTS),
            (),
            batch_size=batch_size,
            augmentation_key=key,
            sampling=sampling,
        )[1]

    found = np.asarray(jax.jit(jax.vmap(one))(KEYS)) - GRADIENTS.mean(axis=0)
    squares = np.sum(found**2, axis=1)
    error = squares.std() / np.sqrt(DRAWS)
    assert abs(squares.mean() - trace_of_batches(sampling, batch_size)) < 4 * error
    assert (abs(np.mean(found**2, axis=0) - squares.mean() / 3) < 8 * error / 3).all()


def test_without_noise_all_members_have_the_full_gradient():
    found = draws("none")
    np.testing.assert_allclose(found, np.tile(GRADIENTS.mean(axis=0), (DRAWS, 1)), rtol=1e-4)


def test_matched_noise_in_batches_is_that_of_one_pass():
    """Ragged ones too, and with an augmentation that is drawn once."""

    def noisy(problem, **options):
        return gradient_with_matched_noise(
            KEYS[0], problem, jnp.asarray(WEIGHTS), (), batch_size=4, **options
        )

    whole, parts = noisy(line()), noisy(line(), augmentation_key=KEYS[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, parts)
    halved = line(augment=lambda key, batch: batch | {"y": batch["y"] / 2})
    found = noisy(halved, augmentation_key=KEYS[1])
    wanted = noisy(line(examples={"x": X, "y": Y / 2}))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), wanted, found)


def test_sam_takes_the_same_noise_at_both_points():
    """Its noise at the second point is that of the loss there; without noise it is one gradient."""
    (first, *others) = draws("none", radius=0.1)
    slope = GRADIENTS.mean(axis=0)
    uphill = WEIGHTS + 0.1 * slope / np.linalg.norm(slope)
    wanted = (2 * (X @ uphill - Y)[:, None] * X).mean(axis=0)
    np.testing.assert_allclose(first, wanted, rtol=1e-4)
    np.testing.assert_array_equal(first, others[0])


@pytest.mark.parametrize("noise", ["white", "gaussian"])
def test_noise_of_complex_weights_has_both_parts(noise):
    """Without any implicit promotion; white noise of a given variance, normal noise of that of the
    gradients, whose imaginary parts are -2 for every example here and so have none.
    """

    def loss(w, state, batch, train):
        error = batch["x"] @ w.real - batch["y"]
        return jnp.mean(error**2) + jnp.sum((w.imag - 1) ** 2), (state, None)

    kind = StepGradient(noise, variance=0.25 if noise == "white" else None)
    carry = resting_carry(sgd(), jax.lax.complex(jnp.asarray(WEIGHTS), jnp.zeros(3)), ())

    @jax.jit
    @jax.vmap
    def draw(key):
        return step_gradient(kind, line(loss=loss), carry, jnp.array([3, 1]), key, 0)[1]

    with jax.numpy_dtype_promotion("strict"):
        found = np.asarray(draw(KEYS))
    real, imaginary = found.real - GRADIENTS.mean(axis=0), found.imag + 2
    wanted = np.full(3, 0.25) if noise == "white" else GRADIENTS.var(axis=0) * (6 - 2) / (2 * 5)
    error = 5 * np.sqrt(2 / DRAWS)  # of a variance of normal numbers, five times
    np.testing.assert_allclose(real.var(axis=0), wanted, rtol=error)
    if noise == "white":
        np.testing.assert_allclose(imaginary.var(axis=0), wanted, rtol=error)
    else:
        np.testing.assert_allclose(imaginary, 0, atol=1e-5)


def refusal(problem, **options):
    with pytest.raises(InputError) as error:
        Ensemble(problem, Plan(window=9, **{"batch_size": 2} | options), measure_path=dict)
    return str(error.value)


def centered_loss(w, state, batch, train):
    x = batch["x"] - batch["x"].mean(axis=0, keepdims=True)
    return jnp.mean((x @ w - batch["y"]) ** 2), (state, None)


def test_noise_that_a_problem_cannot_have_is_refused():
    start = {"init": lambda key: (jnp.asarray(WEIGHTS), ())}
    words = refusal(line(loss=centered_loss, **start), noise="gaussian")
    assert words.startswith("noise (--noise) is 'gaussian', and") and "fc3" in words
    keyed = line(augment=lambda key, batch: batch | {"key": key})
    assert "gaussian" in refusal(keyed, noise="gaussian")
    Ensemble(line(**start), Plan(window=9, batch_size=2, noise="gaussian"), measure_path=dict)
    whole = {"batch_size": 6, "noise": "white", "sampling": "replacement"}
    assert refusal(line(), **whole).startswith("batch_size is 6")
    digits = gaussian(train_size=20, test_size=2, shape=(2, 2, 1), num_classes=3)
    fresh = with_fresh_label_noise(classification(MLP((3,)), digits), 0.5)
    assert refusal(fresh, noise="none").startswith("noise (--noise) is 'none' while labels")
    assert refusal(fresh, full_batch_twin=True).startswith("full_batch_twin (--full-batch-twin) is")
