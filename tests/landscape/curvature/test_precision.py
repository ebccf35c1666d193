"""Products of the Hessian and losses on planes have full precision on every device; training keeps
its own.
"""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion._platforms import traced_on
from sgd_diffusion.dynamics.measurements import hessian_density, hessian_eigenvalues
from sgd_diffusion.landscape import planes
from sgd_diffusion.landscape.curvature import (
    gauss_newton_product,
    hessian_vector_product,
    hutchpp_trace,
    spectral_density,
    top_eigenpairs,
)
from sgd_diffusion.problems.convolution import convolution
from sgd_diffusion.problems.datasets import Dataset, Examples
from sgd_diffusion.problems.layers import BatchNorm
from sgd_diffusion.problems.objectives import classification

KEY = jax.random.key(0)


class Net(nn.Module):
    """Three convolutions, which take the forms canonical, patches and dense on CPU."""

    @nn.compact
    def __call__(self, images, train):
        x = images
        for stride in (1, 4, 1):
            x = nn.Conv(2, (3, 3), stride, conv_general_dilated=convolution)(x)
            x = nn.relu(BatchNorm(train)(x))
        return nn.Dense(3)(x.mean(axis=(1, 2)))


@functools.cache
def problem():
    images = np.random.default_rng(0).normal(size=(12, 8, 8, 1)).astype(np.float32)
    examples = Examples(images, np.arange(12) % 3)
    return classification(Net(), Dataset(examples, examples, 3, "noise"), augment=None)


@functools.cache
def start():
    return problem().init(KEY)


def loss(params, batch):
    return problem().loss(params, start()[1], batch, True)[0]


def hessian(params):
    return hessian_vector_product(loss, params, problem().examples, chunk_size=4)


def gauss_newton(params):
    def predict(params, batch):
        return problem().loss(params, start()[1], batch, True)[1][1]

    def cross_entropy(logits, batch):
        return -jnp.take_along_axis(
            jax.nn.log_softmax(logits), batch.labels[:, None], axis=1
        ).mean()

    return gauss_newton_product(predict, cross_entropy, params, problem().examples, chunk_size=4)


def measured(measurement):
    return lambda params: measurement.function(problem(), params, start()[1], KEY)


PROMISED = {
    "hessian_vector_product": lambda params: hessian(params)(params),
    "jitted": lambda params: jax.jit(hessian(params))(params),
    "gauss_newton_product": lambda params: gauss_newton(params)(params),
    "top_eigenpairs": lambda params: top_eigenpairs(hessian(params), params, 2),
    "spectral_density": lambda params: spectral_density(
        KEY, hessian(params), params, num_products=5, num_probes=2
    ),
    "hutchpp_trace": lambda params: hutchpp_trace(KEY, hessian(params), params),
    "top_eigenpairs of a product of one's own": lambda params: top_eigenpairs(
        lambda v: jax.jvp(jax.grad(lambda w: loss(w, problem().examples)), (params,), (v,))[1],
        params,
        2,
    ),
    "evaluate_plane": lambda params: planes.evaluate_plane(
        lambda point: loss(point, problem().examples),
        planes.random_plane(KEY, params),
        [0.0, 1.0],
        [0.0, 0.5],
        at_once=2,
    ),
    "evaluate_line": lambda params: planes.evaluate_line(
        jax.jit(lambda point: loss(point, problem().examples)), params, params, [0.0, 1.0]
    ),
    "hessian_eigenvalues": lambda params: measured(
        hessian_eigenvalues(problem(), num_eigenvalues=2, num_examples=12, batch_size=4)
    )(params),
    "hessian_density": lambda params: measured(
        hessian_density(problem(), num_examples=12, batch_size=4, num_probes=2, num_products=5)
    )(params),
}


def products(function):
    """All products of matrices and convolutions in programs for two devices that are not there."""
    text = jax.jit(function).trace(start()[0]).lower(lowering_platforms=("cuda", "tpu")).as_text()
    return [
        line
        for line in text.splitlines()
        if re.search(r"stablehlo\.(dot_general|convolution)\b", line)
    ]


def highest(line):
    """How many of the two operands of a product have full precision."""
    return len(re.findall("HIGHEST", line))


@pytest.mark.parametrize(
    ("name", "platform"), [(name, "cpu") for name in PROMISED] + [("hessian_vector_product", "tpu")]
)
def test_all_products_have_full_precision(name, platform):
    with traced_on(platform):  # decides about the form of convolutions
        lines = products(PROMISED[name])
    assert len(lines) >= 2 * 4 and all(highest(line) == 2 for line in lines)


def test_training_keeps_the_default():
    lines = products(lambda params: jax.grad(loss)(params, problem().examples))
    assert len(lines) > 2 * 4 and not any(highest(line) for line in lines)


def test_a_precision_that_a_model_names_is_its_own():
    """The convolution follows the context where it is called, and a named precision before that, as
    lax does.
    """
    images, kernel = jnp.ones((1, 8, 8, 1)), jnp.ones((3, 3, 1, 2))

    def bound(**options):
        def convolved(images, kernel):
            return convolution(
                images,
                kernel,
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                formulation="canonical",
                **options,
            )

        return jax.jit(convolved).trace(images, kernel).lower(lowering_platforms=("tpu",)).as_text()

    assert "HIGHEST" not in bound()
    with jax.default_matmul_precision("highest"):
        assert "HIGHEST" in bound() and "HIGHEST" not in bound(precision="default")
