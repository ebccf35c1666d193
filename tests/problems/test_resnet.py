from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.convolution import convolution
from sgd_diffusion.problems.layers import BatchNorm
from sgd_diffusion.problems.resnet import BasicBlock, ResNet

KEY = jax.random.key(0, impl="rbg")  # its numbers take a tenth of the time to compile


def initialize(model, images=None):
    images = np.zeros((1, 4, 4, 3), np.float32) if images is None else images
    return jax.tree.map(np.asarray, jax.jit(partial(model.init, train=False))(KEY, images))


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def shapes(model, images_shape=(2, 32, 32, 3)):
    images = jax.ShapeDtypeStruct(images_shape, jnp.float32)
    return jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=True), images
    )


@pytest.mark.parametrize(
    ("depth", "options", "count"),
    [
        (14, {}, 175_258),
        (14, {"shortcut": False}, 172_506),
        (14, {"norm": False}, 174_362),
        (14, {"shortcut": False, "norm": False}, 171_610),
        (20, {}, 272_474),
        pytest.param(20, {"shortcut": False}, 269_722, marks=pytest.mark.slow),
        pytest.param(56, {}, 855_770, marks=pytest.mark.slow),
        pytest.param(56, {"shortcut": False}, 853_018, marks=pytest.mark.slow),
        pytest.param(110, {}, 1_730_714, marks=pytest.mark.slow),
        pytest.param(110, {"shortcut": False}, 1_727_962, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts_are_the_papers(depth, options, count):
    _, variables = shapes(ResNet(depth, **options))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


def test_option_b_shortcuts_stand_only_where_the_shape_changes():
    _, variables = shapes(ResNet(14))
    with_shortcut = [name for name, block in variables["params"].items() if "shortcut" in block]
    assert sorted(with_shortcut) == ["stage2_block1", "stage3_block1"]


@pytest.mark.parametrize("size", [4, 7, 8, 28])
def test_any_image_size_and_channel_count(size):
    logits, _ = shapes(ResNet(8, num_classes=7), (2, size, size, 1))
    assert logits.shape == (2, 7)


def test_width_scales_the_channels():
    _, variables = shapes(ResNet(8, width=4))
    assert variables["params"]["stage3_block1"]["conv2"]["kernel"].shape == (3, 3, 16, 16)


def test_init_paper():
    params = initialize(ResNet(8, width=32))["params"]
    kernel = params["stage3_block1"]["conv2"]["kernel"]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 128)), rtol=0.02)
    assert (
        np.abs(kernel).max() > 3.5 * kernel.std()
    )  # normal, not truncated at two standard deviations
    np.testing.assert_allclose(params["linear"]["kernel"].std(), 1e-3, rtol=0.1)
    np.testing.assert_array_equal(params["linear"]["bias"], 0)
    np.testing.assert_array_equal(params["stem_norm"]["scale"], 1)
    np.testing.assert_array_equal(params["stem_norm"]["bias"], 0)


def test_init_pytorch():
    params = initialize(ResNet(8, width=32, initialization="pytorch"))["params"]
    for weight, fan_in in [
        (params["stage3_block1"]["conv2"]["kernel"], 9 * 128),
        (params["stem"]["kernel"], 27),
        (params["linear"]["kernel"], 128),
        (params["linear"]["bias"], 128),
    ]:
        bound = 1 / np.sqrt(fan_in)
        assert 0.7 * bound < np.abs(weight).max() <= bound
    np.testing.assert_allclose(
        params["stage3_block1"]["conv2"]["kernel"].std(), 1 / np.sqrt(3 * 9 * 128), rtol=0.02
    )


def block(**options):
    conv = partial(nn.Conv, use_bias=False, conv_general_dilated=convolution)
    return BasicBlock(
        **{
            "features": 3,
            "stride": 1,
            "conv": conv,
            "norm": partial(BatchNorm, train=False),
            "shortcut": True,
            "normalized": True,
        }
        | options
    )


def test_identity_shortcut_adds_the_input():
    model, x = block(), normal(2, 4, 4, 3)
    variables = jax.jit(model.init)(KEY, x)
    # So that the block contributes nothing of its own.
    variables["params"]["norm2"]["scale"] = np.zeros(3, np.float32)
    np.testing.assert_allclose(jax.jit(model.apply)(variables, x), np.maximum(x, 0))
    np.testing.assert_array_equal(jax.jit(block(shortcut=False).apply)(variables, x), 0)


def test_strided_shortcut_is_a_normalized_1x1_of_every_second_pixel():
    model, x = block(features=2, stride=2), normal(2, 4, 4, 3)
    variables = jax.jit(model.init)(KEY, x)
    variables["params"]["norm2"]["scale"] = np.zeros(2, np.float32)
    variables["batch_stats"]["shortcut_norm"]["mean"] = np.ones(2, np.float32)
    kernel = np.asarray(variables["params"]["shortcut"]["kernel"])[0, 0]
    expected = np.maximum(x[:, ::2, ::2] @ kernel - 1, 0)
    np.testing.assert_allclose(jax.jit(model.apply)(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_stride_two_pads_symmetrically_as_pytorch_does():
    model = block(features=2, stride=2, normalized=False, shortcut=False)
    x = abs(normal(1, 4, 4, 2))
    # With one pixel of padding its tap meets pixels 0 and 2.
    middle = np.zeros((3, 3, 2, 2), np.float32)
    middle[1, 1] = np.eye(2)
    output = jax.jit(model.apply)(
        {"params": {"conv1": {"kernel": middle}, "conv2": {"kernel": middle}}}, x
    )
    np.testing.assert_allclose(output, x[:, ::2, ::2], rtol=1e-6)


def test_evaluation_leaves_the_running_statistics_alone():
    model, images = ResNet(8, width=1), np.ones((2, 4, 4, 1), np.float32)
    variables = initialize(model, images)
    _, evaluated = jax.jit(partial(model.apply, train=False, mutable=["batch_stats"]))(
        variables, images
    )
    jax.tree.map(np.testing.assert_array_equal, evaluated["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_is_flaxs_in_value_gradients_and_running_statistics(train):
    x = 3 * normal(8, 5, 5, 4) + 2
    flax_norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)
    variables = jax.tree.map(
        lambda leaf: np.asarray(leaf) + np.float32(0.1) * np.arange(4, dtype=np.float32),
        jax.jit(flax_norm.init)(KEY, x),
    )

    def evaluate(model, x, params):
        y, new = model.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return jnp.sin(y).sum(), (y, new)

    gradients = partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    results = [
        jax.jit(gradients(partial(evaluate, model)))(x, variables["params"])
        for model in (BatchNorm(train), flax_norm)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), *results)
    own = jax.eval_shape(BatchNorm(train).init, KEY, x)
    assert jax.tree.map(np.shape, own) == jax.tree.map(np.shape, variables)


@pytest.mark.parametrize("depth", [2, 13, 15, 18])
def test_impossible_depth(depth):
    with pytest.raises(InputError, match=rf"depth is {depth}; .* 6n \+ 2 .* nearest"):
        ResNet(depth)


def test_unknown_initialization():
    with pytest.raises(InputError, match=r"initialization is 'xavier'.*paper"):
        ResNet(14, initialization="xavier")


@pytest.mark.parametrize(
    ("shape", "message"), [((2, 3, 8, 1), "at least 4"), ((8, 8, 1), "add the missing axis")]
)
def test_impossible_images(shape, message):
    with pytest.raises(InputError, match=message):
        shapes(ResNet(8), shape)
