import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.problems.resnet import ResNet


def shapes(model, images_shape=(2, 32, 32, 3)):
    images = jax.ShapeDtypeStruct(images_shape, jnp.float32)
    return jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x, train=True), images)


@pytest.mark.parametrize(("depth", "options", "count"), [
    (14, {}, 175_258), (14, {"shortcut": False}, 172_506),
    (14, {"norm": False}, 174_362), (14, {"shortcut": False, "norm": False}, 171_610),
    (20, {}, 272_474), (20, {"shortcut": False}, 269_722),
    (56, {}, 855_770), (56, {"shortcut": False}, 853_018),
    (110, {}, 1_730_714), (110, {"shortcut": False}, 1_727_962),
])
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
    params = ResNet(8, width=32).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)["params"]
    kernel = params["stage3_block1"]["conv2"]["kernel"]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 128)), rtol=0.02)
    assert jnp.abs(kernel).max() > 3.5 * kernel.std()  # normal, not truncated at two standard deviations
    np.testing.assert_allclose(params["linear"]["kernel"].std(), 1e-3, rtol=0.1)
    np.testing.assert_array_equal(params["linear"]["bias"], 0)
    np.testing.assert_array_equal(params["stem_norm"]["scale"], 1)
    np.testing.assert_array_equal(params["stem_norm"]["bias"], 0)


def test_init_pytorch():
    params = ResNet(8, width=32, initialization="pytorch").init(
        jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)["params"]
    for weight, fan_in in [(params["stage3_block1"]["conv2"]["kernel"], 9 * 128), (params["stem"]["kernel"], 27),
                           (params["linear"]["kernel"], 128), (params["linear"]["bias"], 128)]:
        bound = 1 / np.sqrt(fan_in)
        assert 0.7 * bound < jnp.abs(weight).max() <= bound
    np.testing.assert_allclose(params["stage3_block1"]["conv2"]["kernel"].std(), 1 / np.sqrt(3 * 9 * 128), rtol=0.02)


def residual_block_input(shortcut):
    """Output of a network whose blocks contribute nothing (their last norm scale is 0), and the stem's output."""
    model = ResNet(8, shortcut=shortcut, width=4)
    images = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    variables = model.init(jax.random.key(0), images, train=False)
    params = variables["params"]
    params["stage1_block1"]["norm2"]["scale"] = jnp.zeros(4)
    _, record = model.apply({**variables, "params": params}, images, train=False,
                            capture_intermediates=True, mutable=["intermediates"])
    outputs = record["intermediates"]
    return outputs["stage1_block1"]["__call__"][0], jax.nn.relu(outputs["stem_norm"]["__call__"][0])


def test_identity_shortcut_adds_the_input():
    output, stem = residual_block_input(shortcut=True)
    np.testing.assert_allclose(output, stem)


def test_without_shortcut_nothing_is_added():
    output, _ = residual_block_input(shortcut=False)
    np.testing.assert_array_equal(output, 0)


def test_stride_two_pads_symmetrically_as_pytorch_does():
    model = ResNet(8, width=1, norm=False, shortcut=False)
    images = jax.random.normal(jax.random.key(1), (1, 4, 4, 1))
    variables = model.init(jax.random.key(0), images, train=False)
    kernel = jnp.zeros((3, 3, 1, 2)).at[1, 1].set(1.0)  # the middle tap reads pixels 0 and 2 when one pixel is padded
    variables["params"]["stage2_block1"]["conv1"]["kernel"] = kernel
    _, record = model.apply(variables, images, train=False, capture_intermediates=True, mutable=["intermediates"])
    outputs = record["intermediates"]
    np.testing.assert_allclose(outputs["stage2_block1"]["conv1"]["__call__"][0][..., 0],
                               outputs["stage1_block1"]["__call__"][0][:, ::2, ::2, 0], rtol=1e-6)


def test_batch_statistics_move_by_a_tenth_in_training_only():
    model = ResNet(8, width=2)
    images = jax.random.normal(jax.random.key(1), (16, 4, 4, 1))
    variables = model.init(jax.random.key(0), images, train=False)
    _, trained = model.apply(variables, images, train=True, mutable=["batch_stats", "intermediates"],
                             capture_intermediates=lambda module, _: module.name == "stem")
    stem = trained["intermediates"]["stem"]["__call__"][0]
    new = trained["batch_stats"]["stem_norm"]
    np.testing.assert_allclose(new["mean"], 0.1 * stem.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(new["var"], 0.9 + 0.1 * stem.var((0, 1, 2)), rtol=1e-4)
    _, evaluated = model.apply(variables, images, train=False, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, evaluated["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize("depth", [2, 13, 15, 18])
def test_impossible_depth(depth):
    with pytest.raises(ValueError, match=rf"depth={depth}: .* 6n \+ 2 .* nearest"):
        ResNet(depth)


def test_unknown_initialization():
    with pytest.raises(ValueError, match="initialization='xavier'.*paper"):
        ResNet(14, initialization="xavier")


@pytest.mark.parametrize(("shape", "message"), [((2, 3, 8, 1), "at least 4"), ((8, 8, 1), "add the missing axis")])
def test_impossible_images(shape, message):
    with pytest.raises(ValueError, match=message):
        shapes(ResNet(8), shape)
