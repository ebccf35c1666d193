"""The noise of per-example gradients: definitions, parts of any size, errors against scatter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.limiting import gradient_noise, noise_trace

X, Y = (np.random.default_rng(i).normal(size=shape) for i, shape in enumerate([(37, 3), (37,)]))
EXAMPLES = {"x": jnp.asarray(X, jnp.float32), "y": jnp.asarray(Y, jnp.float32)}
PARAMS = {"w": jnp.array([0.1, -0.2, 0.3]), "b": jnp.float32(0.5)}


def loss(params, example):
    return (example["x"] @ params["w"] + params["b"] - example["y"]) ** 2 / 2


def gradients(examples):
    return jax.vmap(jax.grad(loss), (None, 0))(PARAMS, examples)


def exact():
    residual = X @ np.array([0.1, -0.2, 0.3]) + 0.5 - Y
    return residual[:, None] * np.column_stack([np.ones(37), X])  # the bias comes first


def test_the_trace_is_that_of_the_covariance():
    expected = np.trace(np.cov(exact().T, ddof=0))
    np.testing.assert_allclose(noise_trace(exact()), expected, rtol=1e-12)
    np.testing.assert_allclose(noise_trace(gradients(EXAMPLES)), expected, rtol=1e-5)
    squares = (exact() ** 2).sum(axis=1).mean() - (exact().mean(axis=0) ** 2).sum()
    np.testing.assert_allclose(noise_trace(exact()), squares, rtol=1e-12)


@pytest.mark.parametrize("part_size", [1, 10, 37, 100])
def test_parts_of_any_size(part_size):
    vectors = {"b": jnp.array([1.0, 0.0]), "w": jnp.array([[0.0, 0.0, 0.0], [0.6, 0.8, 0.0]])}
    options = {"vectors": vectors, "part_size": part_size}
    found = jax.jit(lambda examples: gradient_noise(gradients, examples, **options))(EXAMPLES)
    apart = exact() - exact().mean(axis=0)
    squares = (apart**2).sum(axis=1)
    rows = np.array([[1, 0, 0, 0], [0, 0.6, 0.8, 0]])
    along = (apart @ rows.T) ** 2
    np.testing.assert_allclose(found.trace, squares.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.trace_error, squares.std(ddof=1) / 37**0.5, rtol=1e-4)
    np.testing.assert_allclose(found.along, along.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.along_error, along.std(axis=0, ddof=1) / 37**0.5, rtol=1e-4)
    np.testing.assert_allclose(found.mean, rows @ exact().mean(axis=0), rtol=1e-5)


def test_without_vectors_and_in_one_program():
    eager = gradient_noise(gradients, EXAMPLES)
    jitted = jax.jit(lambda examples: gradient_noise(gradients, examples))(EXAMPLES)
    assert eager.along.shape == (0,)
    np.testing.assert_allclose(jitted.trace, eager.trace, rtol=1e-6)


def test_the_stated_error_is_the_scatter_over_data_sets():
    keys = jax.random.split(jax.random.key(0), 200)

    def trace(key):
        numbers = jax.random.normal(key, (300, 2))
        found = gradient_noise(lambda part: part, numbers, part_size=300)
        return found.trace, found.trace_error

    traces, errors = jax.jit(jax.vmap(trace))(keys)
    ratio = traces.std(ddof=1) / errors.mean()
    assert abs(ratio - 1) < 5 / np.sqrt(2 * len(keys))
    np.testing.assert_allclose(traces.mean(), 2 * (1 - 1 / 300), atol=5 * errors.mean() / 200**0.5)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: noise_trace(np.float64(1.0)), "same n >= 1"),
        (lambda: noise_trace({"a": np.ones((2, 3)), "b": np.ones((3, 3))}), "same n >= 1"),
        (lambda: gradient_noise(gradients, jax.tree.map(lambda x: x[:1], EXAMPLES)), "n >= 2"),
        (lambda: gradient_noise(gradients, {"x": X, "y": Y[:5]}), "n >= 2"),
        (lambda: gradient_noise(lambda x: x["y"].sum(), EXAMPLES), "a gradient for each example"),
        (lambda: gradient_noise(gradients, EXAMPLES, vectors={"w": np.ones((1, 3))}), "vectors"),
        (lambda: gradient_noise(gradients, EXAMPLES, part_size=0), "part_size"),
    ],
)
def test_what_has_no_noise(call, expected):
    with pytest.raises(InputError, match=expected):
        call()
