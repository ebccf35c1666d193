import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sgd_diffusion.problems.convolution import FORMULATIONS, convolution

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
CASES = [  # images (batch, height, width, channels), kernel (height, width, features), strides, padding
    pytest.param((3, 8, 8, 2), (3, 3, 4), (1, 1), ((1, 1), (1, 1)), id="3x3"),
    pytest.param((3, 8, 8, 2), (3, 3, 4), (2, 2), ((1, 1), (1, 1)), id="3x3, stride 2, even"),
    pytest.param((2, 7, 5, 2), (3, 3, 4), (2, 2), ((1, 1), (1, 1)), id="3x3, stride 2, odd"),
    pytest.param((2, 4, 4, 3), (3, 3, 2), (1, 1), ((1, 1), (1, 1)), id="3x3 on 4x4"),
    pytest.param((2, 2, 2, 3), (3, 3, 2), (1, 1), ((1, 1), (1, 1)), id="3x3 on 2x2"),
    pytest.param((2, 1, 1, 3), (3, 3, 2), (1, 1), ((1, 1), (1, 1)), id="3x3 on 1x1"),
    pytest.param((2, 2, 2, 3), (3, 3, 2), (2, 2), ((1, 1), (1, 1)), id="3x3 on 2x2, stride 2"),
    pytest.param((2, 8, 8, 3), (1, 1, 4), (1, 1), ((0, 0), (0, 0)), id="1x1"),
    pytest.param((2, 7, 8, 3), (1, 1, 4), (2, 2), ((0, 0), (0, 0)), id="1x1, stride 2"),
    pytest.param((2, 7, 6, 1), (3, 2, 4), (1, 2), ((0, 2), (1, 0)), id="uneven"),
    pytest.param((2, 7, 6, 2), (3, 3, 4), (2, 2), "SAME", id="SAME"),
    pytest.param((2, 7, 6, 2), (3, 3, 4), (1, 1), "VALID", id="VALID"),
]


def draw(images_shape, kernel_shape, dtype):
    generator = np.random.default_rng(0)
    height, width, features = kernel_shape
    return (jnp.asarray(generator.normal(size=images_shape), dtype),
            jnp.asarray(generator.normal(size=(height, width, images_shape[-1], features)), dtype))


def reference(strides, padding):
    return lambda images, kernel: lax.conv_general_dilated(images, kernel, strides, padding,
                                                           dimension_numbers=DIMENSIONS)


def chosen(strides, padding, formulation):
    return lambda images, kernel: convolution(images, kernel, strides, padding, dimension_numbers=DIMENSIONS,
                                              formulation=formulation)


def everything(function):
    """Value, both gradients, and the Hessian-vector product (jvp of grad) of a nonlinear scalar of the output."""
    def evaluate(images, kernel, tangents):
        gradient = jax.grad(lambda *arguments: jnp.sin(function(*arguments)).sum(), argnums=(0, 1))
        return function(images, kernel), *jax.jvp(gradient, (images, kernel), tangents)
    return evaluate


@pytest.mark.parametrize("formulation", [f for f in FORMULATIONS if f != "xla"])
@pytest.mark.parametrize(("images_shape", "kernel_shape", "strides", "padding"), CASES)
def test_equals_lax_in_value_gradients_and_hessian_products(images_shape, kernel_shape, strides, padding, formulation):
    with jax.enable_x64(True):
        arguments = draw(images_shape, kernel_shape, jnp.float64)
        tangents = (jnp.cos(arguments[0]), jnp.cos(arguments[1]))
        expected = jax.jit(everything(reference(strides, padding)))(*arguments, tangents)
        result = jax.jit(everything(chosen(strides, padding, formulation)))(*arguments, tangents)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), result, expected)
