from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.mlp import MLP


def initialize(model, shape=(5, 4, 4, 3)):
    images = jax.random.normal(jax.random.key(1), shape)
    key = jax.random.key(0, impl="rbg")  # its numbers take a tenth of the time to compile
    return jax.jit(partial(model.init, train=True))(key, images)["params"], images


def test_is_linear_relu_linear():
    model = MLP((7, 3), initialization="pytorch")
    params, images = initialize(model)
    hidden = np.maximum(
        images.reshape(5, 48) @ params["linear1"]["kernel"] + params["linear1"]["bias"], 0
    )
    expected = hidden @ params["linear2"]["kernel"] + params["linear2"]["bias"]
    np.testing.assert_allclose(
        model.apply({"params": params}, images, train=False), expected, rtol=1e-4, atol=1e-6
    )


def test_one_layer_is_linear():
    model = MLP((3,), bias=False, initialization="pytorch")
    params, images = initialize(model, (4, 6))
    np.testing.assert_allclose(
        model.apply({"params": params}, -images, train=True),
        -(images @ params["linear1"]["kernel"]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_without_bias_there_are_only_kernels():
    params, _ = initialize(MLP([7, 3], bias=False))
    assert {name: tuple(layer) for name, layer in params.items()} == {
        "linear1": ("kernel",),
        "linear2": ("kernel",),
    }


def test_init_paper():
    params, _ = initialize(MLP((400, 100)))
    np.testing.assert_allclose(params["linear1"]["kernel"].std(), np.sqrt(2 / 48), rtol=0.02)
    np.testing.assert_allclose(params["linear2"]["kernel"].std(), 1e-3, rtol=0.02)
    np.testing.assert_array_equal(params["linear1"]["bias"], 0)


def test_init_pytorch():
    params, _ = initialize(MLP((400, 100), initialization="pytorch"))
    for layer, fan_in in [("linear1", 48), ("linear2", 400)]:
        for weight in params[layer].values():
            assert 0.9 / np.sqrt(fan_in) < jnp.abs(weight).max() <= 1 / np.sqrt(fan_in)


def test_init_kaiming():
    params, _ = initialize(MLP((400, 100), initialization="kaiming"))
    for layer, fan_in in [("linear1", 48), ("linear2", 400)]:
        np.testing.assert_allclose(params[layer]["kernel"].std(), np.sqrt(2 / fan_in), rtol=0.02)
        np.testing.assert_array_equal(params[layer]["bias"], 0)


@pytest.mark.parametrize("features", [(), (5, 0)])
def test_impossible_features(features):
    with pytest.raises(InputError, match="features is "):
        MLP(features)


def test_unknown_initialization():
    with pytest.raises(InputError, match=r"initialization is 'zeros'; .*paper"):
        MLP((3,), initialization="zeros")
