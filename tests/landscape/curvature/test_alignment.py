"""Alignment of gradients and of their noise with eigenvectors: closed forms, and stated errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature import gradient_alignment, noise_alignment

VECTORS = {"a": np.eye(4, dtype=np.float32)[:2, :3], "b": np.zeros((2, 1, 1), np.float32)}
OF_GRADIENT, OF_NOISE = jax.jit(gradient_alignment), jax.jit(noise_alignment)


def test_shares_are_squared_cosines():
    gradient = {"a": np.float32([3, 0, 0]), "b": np.float32([[4]])}
    np.testing.assert_allclose(OF_GRADIENT(VECTORS, gradient), [9 / 25, 0], rtol=1e-6)
    assert np.isnan(OF_GRADIENT(VECTORS, jax.tree.map(np.zeros_like, gradient))).all()


def test_variance_along_directions():
    random = np.random.default_rng(0)
    deviations = np.array([2.0, 0.5, 1.0, 3.0])
    noise = 5 + deviations * random.normal(size=(400, 4))
    found = OF_NOISE(VECTORS, {"a": np.float32(noise[:, :3]), "b": np.float32(noise[:, 3:, None])})
    np.testing.assert_allclose(found.variance, noise.var(axis=0, ddof=1)[:2], rtol=1e-4)
    np.testing.assert_allclose(
        found.share, (noise.var(axis=0, ddof=1) / noise.var(axis=0, ddof=1).sum())[:2], rtol=1e-4
    )
    # Of normal numbers, the error of a variance is sqrt(2/B) of it, here known to 8 percent.
    np.testing.assert_allclose(found.error, np.sqrt(2 / 400) * deviations[:2] ** 2, rtol=0.3)


def test_two_batches_have_no_error():
    with pytest.raises(InputError, match="gradients has 2 mini-batches; expected at least 3"):
        noise_alignment(VECTORS, {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 1, 1))})


@pytest.mark.parametrize("scale", [1e-30, 1e15])
def test_gradients_of_any_size(scale):
    """Their squares are out of range at 1e-30."""
    gradient = {"a": np.float32([3 * scale, 0, 0]), "b": np.float32([[4 * scale]])}
    np.testing.assert_allclose(OF_GRADIENT(VECTORS, gradient), [9 / 25, 0], rtol=1e-6)
    usual = {
        "a": np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32),
        "b": np.zeros((50, 1, 1), np.float32),
    }
    scaled = jax.tree.map(lambda leaf: np.float32(scale) * leaf, usual)
    shares = [OF_NOISE(VECTORS, noise).share for noise in (scaled, usual)]
    np.testing.assert_allclose(*shares, rtol=1e-4)


def test_pytrees_that_do_not_match():
    for gradients in (
        jnp.ones((4, 4)),
        {"a": jnp.ones((4, 3)), "b": jnp.ones((5, 1, 1))},
        {"a": jnp.ones((4, 2)), "b": jnp.ones((4, 1, 1))},
    ):
        with pytest.raises(InputError, match="gradients does not match vectors"):
            noise_alignment(VECTORS, gradients)
