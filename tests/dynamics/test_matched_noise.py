"""Normal noise has the mean and the covariance of mini-batches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.dynamics.matched_noise import gradient_with_matched_noise
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.objectives import Problem

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(6, 3)).astype(np.float32), RANDOM.normal(size=6).astype(np.float32)
WEIGHTS = np.array([0.3, -0.2, 0.5], np.float32)
PROBLEM = Problem(
    init=lambda key: (jnp.zeros(3), ()),
    loss=lambda w, state, batch, train: (
        jnp.mean((batch["x"] @ w - batch["y"]) ** 2),
        (state, None),
    ),
    examples={"x": X, "y": Y},
)
GRADIENTS = 2 * (X @ WEIGHTS - Y)[:, None] * X
DRAWS = 20_000


def draws(**options):
    def one(key):
        return gradient_with_matched_noise(key, PROBLEM, jnp.asarray(WEIGHTS), (), **options)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), DRAWS))


@pytest.mark.parametrize("sampling", ["epochs", "replacement"])
def test_mean_and_covariance_are_those_of_all_batches(sampling):
    """Of all 15 or 36 batches of two. Deviations are those of 20,000 normal draws."""
    choose = itertools.combinations if sampling == "epochs" else itertools.product
    rows = choose(range(6), 2) if sampling == "epochs" else choose(range(6), repeat=2)
    batches = np.array([GRADIENTS[list(each)].mean(axis=0) for each in rows])
    expected = 3 * np.cov(batches.T, bias=True)
    losses, found = draws(batch_size=2, sampling=sampling, scale=3.0)
    np.testing.assert_allclose(losses, np.mean((X @ WEIGHTS - Y) ** 2), rtol=1e-5)
    variance = np.diagonal(expected)
    of_mean = np.sqrt(variance / DRAWS)
    assert (abs(np.mean(found, axis=0) - GRADIENTS.mean(axis=0)) < 4 * of_mean).all()
    of_covariance = np.sqrt((np.outer(variance, variance) + expected**2) / DRAWS)
    assert (abs(np.cov(np.asarray(found).T) - expected) < 4 * of_covariance).all()


def test_the_whole_epoch_has_no_noise():
    _, found = draws(batch_size=6)
    np.testing.assert_allclose(found, np.tile(GRADIENTS.mean(axis=0), (DRAWS, 1)), atol=1e-5)


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"scale": -1.0}, {"sampling": "all"}])
def test_impossible_noise(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} is"):
        draws(**{"batch_size": 2} | options)
