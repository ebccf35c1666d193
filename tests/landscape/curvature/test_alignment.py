"""Alignment of gradients and of their noise with eigenvectors: closed forms, and stated errors."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature import gradient_alignment, noise_alignment

VECTORS = {"a": jnp.eye(4)[:2, :3], "b": jnp.zeros((2, 1, 1))}


def test_shares_are_squared_cosines():
    gradient = {"a": jnp.array([3.0, 0.0, 0.0]), "b": jnp.array([[4.0]])}
    np.testing.assert_allclose(gradient_alignment(VECTORS, gradient), [9 / 25, 0], rtol=1e-6)
    assert np.isnan(gradient_alignment(VECTORS, {"a": jnp.zeros(3), "b": jnp.zeros((1, 1))})).all()


def test_variance_along_directions():
    random = np.random.default_rng(0)
    deviations = np.array([2.0, 0.5, 1.0, 3.0])
    noise = 5 + deviations * random.normal(size=(400, 4))
    found = noise_alignment(VECTORS, {"a": jnp.asarray(noise[:, :3]), "b": jnp.asarray(noise[:, 3:, None])})
    np.testing.assert_allclose(found.variance, noise.var(axis=0, ddof=1)[:2], rtol=1e-4)
    np.testing.assert_allclose(found.share, (noise.var(axis=0, ddof=1) / noise.var(axis=0, ddof=1).sum())[:2], rtol=1e-4)
    # Of normal numbers, the error of a variance is sqrt(2/B) of it, here known to 8 percent.
    np.testing.assert_allclose(found.error, np.sqrt(2 / 400) * deviations[:2] ** 2, rtol=0.3)


def test_two_batches_have_no_error():
    with pytest.raises(InputError, match="gradients has 2 mini-batches; expected at least 3"):
        noise_alignment(VECTORS, {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 1, 1))})
