"""Noise over the curvature against dense matrices of per-example gradients and of the Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sgd_diffusion.dynamics.measurements import noise_spectrum
from sgd_diffusion.errors import InputError


def dense(problem, params, state):
    """Per-example gradients and the Hessian at a point."""
    flat, unravel = ravel_pytree(params)

    def losses(flat):
        def one(example):
            batch = jax.tree.map(lambda leaf: leaf[None], example)
            return problem.loss(unravel(flat), state, batch, False)[0]

        return jax.vmap(one)(problem.examples)

    @jax.jit
    def of_both(flat):
        return jax.jacobian(losses)(flat), jax.hessian(lambda flat: losses(flat).mean())(flat)

    return jax.tree.map(lambda found: np.asarray(found, float), of_both(flat))


def test_trace_gradient_and_measure(make_regression):
    problem = make_regression()
    params, state = problem.init(jax.random.key(1))
    gradients, hessian = dense(problem, params, state)
    measurement = noise_spectrum(problem, num_probes=64, num_products=20, part_size=25)
    found = jax.jit(lambda key: measurement.function(problem, params, state, key))(
        jax.random.key(0)
    )
    assert {name: jnp.ndim(value) for name, value in found.items()} == {
        name: len(dims) for name, dims in measurement.dims.items()
    }
    mean = gradients.mean(axis=0)
    noise = (gradients - mean).T @ (gradients - mean) / len(gradients)
    np.testing.assert_allclose(found["noise_trace"], np.trace(noise), rtol=1e-5)
    np.testing.assert_allclose(found["gradient_square"], mean @ mean, rtol=1e-5)
    nodes, weights = (np.asarray(found[f"noise_{name}"], float) for name in ("node", "weight"))
    for power, expected in enumerate(
        np.trace(noise @ np.linalg.matrix_power(hessian, power)) for power in range(4)
    ):
        values = (weights * nodes**power).sum(axis=1)
        assert abs(values.mean() - expected) < 4 * values.std(ddof=1) / 8


def test_an_augmentation_adds_its_noise(make_regression):
    """Noise on the targets of linear regression adds its variance times that of the inputs."""

    def jitter(key, batch):
        return batch | {"y": batch["y"] + 5 * jax.random.normal(key, batch["y"].shape)}

    def at_the_start(augment):
        problem = make_regression(augment=augment, num_examples=400)
        params, state = problem.init(jax.random.key(1))
        measure = noise_spectrum(problem, num_probes=1, num_products=2).function
        trace = jax.jit(lambda key: measure(problem, params, state, key)["noise_trace"])
        return np.array([trace(key) for key in jax.random.split(jax.random.key(0), 5)])

    traces = {augment: at_the_start(augment) for augment in (None, jitter)}
    assert np.ptp(traces[None]) < 1e-4 * traces[None][0]
    # d loss / d y is 2 (prediction - y), and that of the prediction is independent of the noise.
    problem = make_regression(num_examples=400)
    params, state = problem.init(jax.random.key(1))

    def prediction(params, x):
        batch = {"x": x[None], "y": jnp.zeros(1)}
        return problem.loss(params, state, batch, False)[1][1][0]

    slopes = jax.jit(jax.vmap(jax.grad(prediction), (None, 0)))(params, problem.examples["x"])
    squares = sum(
        (np.reshape(leaf, (400, -1)) ** 2).sum(axis=1) for leaf in jax.tree.leaves(slopes)
    )
    added = 4 * 25 * float(squares.mean())
    error = traces[jitter].std(ddof=1) / 5**0.5
    assert abs(traces[jitter].mean() - traces[None][0] - added) < 6 * error


@pytest.mark.parametrize(
    "options", [{"num_probes": 0}, {"num_products": 0}, {"num_products": 10**6}, {"part_size": 0}]
)
def test_out_of_range(make_regression, options):
    with pytest.raises(InputError, match=next(iter(options))):
        noise_spectrum(make_regression(), **options)
