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

    gradients = np.asarray(jax.jacobian(losses)(flat), float)
    hessian = np.asarray(jax.hessian(lambda flat: losses(flat).mean())(flat), float)
    return gradients, hessian


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


@pytest.mark.parametrize(
    "options", [{"num_probes": 0}, {"num_products": 0}, {"num_products": 10**6}, {"part_size": 0}]
)
def test_out_of_range(make_regression, options):
    with pytest.raises(InputError, match=next(iter(options))):
        noise_spectrum(make_regression(), **options)
