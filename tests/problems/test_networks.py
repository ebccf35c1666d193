"""Networks beside `ResNet` and `MLP`: published and closed-form counts, shapes, initialization, and
one training step of each as an ensemble makes it.
"""

import operator
from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.dynamics.sgd import resting_carry, sgd, sgd_step
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape import planes
from sgd_diffusion.problems import classification, gaussian, load, model, vgg
from sgd_diffusion.problems.layers import max_pool
from sgd_diffusion.problems.resnet import ResNet18
from sgd_diffusion.problems.vgg import VGG
from sgd_diffusion.problems.vit import ViT, images_as_patches
from sgd_diffusion.problems.wide_resnet import WideResNet

KEY = jax.random.key(0, impl="rbg")  # its numbers take a tenth of the time to compile
CIFAR = (2, 32, 32, 3)


def shapes(model, images_shape=CIFAR):
    images = jax.ShapeDtypeStruct(images_shape, jnp.float32)
    return jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), images
    )


def count(model, images_shape=CIFAR, without=()):
    params = shapes(model, images_shape)[1]["params"]
    return sum(
        leaf.size
        for name, layer in params.items()
        if name not in without
        for leaf in jax.tree.leaves(layer)
    )


# parameters
# --------------------------------------------------------------------------------------------------


def test_resnet18_has_as_many_parameters_as_in_torchvision():
    assert count(ResNet18("imagenet", num_classes=1000), (2, 224, 224, 3)) == 11_689_512
    # The stem has 3x3 taps instead of 7x7, and the linear layer 10 outputs.
    assert count(ResNet18()) == 11_689_512 - (49 - 9) * 3 * 64 - 990 * 513


@pytest.mark.parametrize(
    ("depth", "plain", "normalized"),  # of the networks for ImageNet in torchvision
    [
        (11, 132_863_336, 132_868_840),
        (13, 133_047_848, 133_053_736),
        (16, 138_357_544, 138_365_992),
        (19, 143_667_240, 143_678_248),
    ],
)
def test_convolutions_of_vgg_have_as_many_parameters_as_in_torchvision(depth, plain, normalized):
    classifier = (49 * 512 + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    assert count(VGG(depth), without=("linear",)) == normalized - classifier
    assert count(VGG(depth, norm=False), without=("linear",)) == plain - classifier
    assert count(VGG(depth)) == normalized - classifier + 513 * 10


def wide_resnet_parameters(blocks, width, classes=10, channels=3):
    """Closed form: convolutions and batch norms of three stages, stem, last norm, linear layer."""
    total, inputs = 9 * channels * 16, 16
    for stage in range(3):
        outputs = width * 2**stage
        for _ in range(blocks):
            total += 2 * inputs + 9 * inputs * outputs + 2 * outputs + 9 * outputs**2
            total += inputs * outputs * (inputs != outputs)
            inputs = outputs
    return total + 2 * inputs + (inputs + 1) * classes


@pytest.mark.parametrize(
    ("depth", "widening", "published"),  # millions, tables 4 and 5 of the paper
    [(16, 8, 11.0), (16, 10, 17.1), (22, 8, 17.2), (28, 10, 36.5), (40, 4, 8.9), (16, 4, None)],
)
def test_wide_resnets_have_as_many_parameters_as_published(depth, widening, published):
    found = count(WideResNet(depth, widening))
    assert found == wide_resnet_parameters((depth - 4) // 6, 16 * widening)
    assert published is None or round(found / 1e6, 1) == published


@pytest.mark.parametrize(("patch", "width", "depth"), [(4, 128, 6), (2, 512, 6), (8, 32, 1)])
def test_parameters_of_vit(patch, width, depth):
    tokens = (32 // patch) ** 2 + 1
    block = 3 * width**2 + 3 * (width + 1) * width + 4 * width
    expected = (3 * patch**2 + 1) * width + width + tokens * width
    expected += depth * block + 2 * width + (width + 1) * 10
    assert count(ViT(patch, depth=depth, width=width)) == expected


# shapes and refusals
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "size"),
    [(VGG(13), 2), (VGG(11), 28), (WideResNet(16), 4), (ResNet18(), 8), (ViT(), 8), (ViT(), 28)],
)
def test_gray_images_of_other_sizes(model, size):
    assert shapes(model, (2, size, size, 1))[0].shape == (2, 10)


def test_without_shortcuts_and_norms():
    """Those of the stem, of the shortcuts and behind the last block stay, as in `ResNet`."""
    params = shapes(WideResNet(10, 2, shortcut=False, norm=False))[1]["params"]
    assert params["stage1_block1"].keys() == {"conv1", "conv2"} and "last_norm" in params
    params = shapes(ResNet18(shortcut=False))[1]["params"]
    assert params["stage2_block1"].keys() == {"conv1", "conv2", "norm1", "norm2"}
    assert "batch_stats" not in shapes(VGG(11, norm=False))[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VGG(12), r"depth is 12; expected one of 11, 13, 16, 19"),
        (lambda: WideResNet(14), r"depth is 14; .* 6n \+ 4 .* nearest are 10 and 16"),
        (lambda: WideResNet(16, 0), "widening is 0"),
        (lambda: ResNet18("mnist"), "stem is 'mnist'; expected 'cifar' or 'imagenet'"),
        (lambda: ViT(width=12), "width is 12; expected a multiple of 8, the heads"),
        (lambda: ViT(dropout=1.0), "dropout is 1.0"),
        (lambda: ViT(patch=0), "patch is 0"),
        (lambda: VGG(11, initialization="xavier"), "initialization is 'xavier'"),
        (lambda: shapes(ResNet18(), (2, 7, 8, 1)), "at least 8, which three strides can halve"),
        (lambda: shapes(ResNet18("imagenet"), (*CIFAR[:2], 31, 3)), "at least 32"),
        (lambda: shapes(VGG(11), (2, 1, 8, 1)), "at least 2"),
        (lambda: shapes(WideResNet(16), (4, 8, 1)), "add the missing axis"),
        (lambda: shapes(ViT(4), (2, 8, 10, 1)), "multiples of 4, the side of a patch"),
    ],
)
def test_what_cannot_be_made_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# layers
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "size", "padding"), [(8, 2, 0), (7, 2, 0), (8, 3, 1), (9, 3, 1), (2, 2, 0)]
)
def test_pooling_is_that_of_flax(side, size, padding):
    x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    expected = nn.max_pool(x, (size, size), (2, 2), [(padding, padding)] * 2)
    found = jax.jit(partial(max_pool, padding=padding), static_argnums=1)(x, size)
    np.testing.assert_array_equal(found, expected)


def test_an_axis_of_one_pixel_is_not_pooled():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 1, 4, 3)), jnp.float32)
    np.testing.assert_array_equal(max_pool(x, 2), nn.max_pool(x, (1, 2), (1, 2)))
    np.testing.assert_array_equal(max_pool(x[:, :, :1], 2), x[:, :, :1])


def test_patches_are_blocks_of_pixels():
    images = np.arange(2 * 4 * 6 * 3.0, dtype=np.float32).reshape(2, 4, 6, 3)
    patches = np.asarray(images_as_patches(jnp.asarray(images), 2))
    for row in range(2):
        for column in range(3):
            block = images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(patches[:, 3 * row + column], block.reshape(2, -1))


@pytest.mark.parametrize(("side", "patch"), [(32, 4), (28, 4), (16, 4), (12, 2), (8, 2), (9, 1)])
def test_patches_that_are_not_asked_for(side, patch):
    images = jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32)
    patches = jax.eval_shape(lambda images: images_as_patches(images, None), images)
    assert patches.shape == (1, (side // patch) ** 2, patch**2)


# initialization
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "layer", "fan_in"),
    [(partial(VGG, 11, width=4), "stage5_conv2", 9 * 32), (partial(ViT, depth=1), "patches", 3)],
    ids=["vgg11", "vit"],
)
@pytest.mark.parametrize(
    ("initialization", "hidden", "output"),
    [("paper", 2**0.5, 1e-3), ("pytorch", 3**-0.5, 3**-0.5)],
)
def test_initialization(make, layer, fan_in, initialization, hidden, output):
    """Standard deviations of kernels times the root of the fan in; the last is N(0, 1e-3^2).

    A few hundred numbers give them to some percent.
    """
    model = make(initialization=initialization)
    variables = jax.jit(partial(model.init, train=False))(KEY, np.zeros((1, 2, 2, 3), np.float32))
    params = jax.tree.map(np.asarray, variables["params"])
    np.testing.assert_allclose(params[layer]["kernel"].std(), hidden / fan_in**0.5, rtol=0.1)
    kernel = params["linear"]["kernel"]
    scale = 1 if initialization == "paper" else len(kernel) ** 0.5
    np.testing.assert_allclose(kernel.std() * scale, output, rtol=0.15)
    for name, inputs in ((layer, fan_in), ("linear", len(kernel))):
        bias = np.abs(params[name]["bias"]).max()
        assert bias == 0 if initialization == "paper" else 0.5 < bias * inputs**0.5 <= 1


# training
# --------------------------------------------------------------------------------------------------

TINY = {
    "vgg11": (VGG(11, width=1, num_classes=3), (8, 8, 1)),
    "two stages of vgg": (VGG(11, width=2, num_classes=3), (4, 4, 1)),
    "wrn10-2": (WideResNet(10, 2, width=1, num_classes=3), (4, 4, 3)),
    "vit": (ViT(depth=1, heads=2, width=4, num_classes=3, dropout=0.1), (4, 4, 1)),
}


def filled(tree, seed=0):
    """Random numbers in the shapes of a pytree, all positive as variances have to be, and 0.2 lower
    for kernels.
    """
    rng = np.random.default_rng(seed)
    return jax.tree.map_with_path(
        lambda path, leaf: (
            rng.uniform(0.1, 0.9, leaf.shape) - 0.5 * ("kernel" in jax.tree_util.keystr(path))
        ).astype(np.float32),
        tree,
    )


@cache
def measured(name, map_over):
    """A first step of two members, and products with the Hessian along normalized directions."""
    with pytest.MonkeyPatch.context() as patch:
        if name == "two stages of vgg":
            patch.setitem(vgg.STAGES, 11, (1, 2))
        return step_and_products(*TINY[name], map_over)


def step_and_products(model, shape, map_over):
    data = gaussian(train_size=12, test_size=2, shape=shape, num_classes=3)
    problem = classification(model, data, augment=None)
    shapes = jax.eval_shape(problem.init, jax.random.key(0))
    members = jax.tree.map(lambda *leaves: np.stack(leaves), *(filled(shapes, k) for k in (0, 1)))
    # Of length 1 along every filter.
    noise = [filled(members[0], seed) for seed in (2, 3)]

    def member(params, state, *noise):
        first, second = (planes.filter_normalize(each, params) for each in noise)
        carry = resting_carry(sgd(), params, state)
        after, info = sgd_step(problem, sgd(), carry, problem.examples, 0.1, 0)
        slope = jax.grad(lambda params: problem.loss(params, state, problem.examples, True)[0])

        def product(direction):
            return jax.jvp(slope, (params,), (direction,))[1]

        def inner(a, b):
            return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, a, b)))

        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second)
        both = jax.vmap(product)(both)
        one, other = (jax.tree.map(operator.itemgetter(k), both) for k in (0, 1))
        products = inner(second, one), inner(first, other), jnp.sqrt(inner(one, one))
        return info.loss, info.increment, after.state, products

    mapped = (
        jax.vmap(member) if map_over == "vmap" else lambda *x: jax.lax.map(lambda y: member(*y), x)
    )
    return jax.tree.map(np.asarray, jax.jit(mapped)(*members, *noise))


QUICK = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("vgg11", "wrn10-2") else [])
    for name in TINY
]  # the blocks of wide ResNets are much like those of ResNets, the stages of VGG like each other


@pytest.mark.parametrize("name", QUICK)
def test_members_take_a_step(name):
    loss, increment, _, _ = measured(name, "vmap")
    assert np.isfinite(loss).all() and loss[0] != loss[1]
    still = {
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree.leaves_with_path(increment)
        if not np.abs(leaf).max() > 1e-6
    }
    # Batch norm takes away what biases before it do.
    assert all("bias" in name for name in still)


@pytest.mark.parametrize("name", QUICK)
def test_hessian_products_are_symmetric(name):
    """Along directions with the norms of filters, as planes have them."""
    one, other, norm = measured(name, "vmap")[3]
    assert (norm > 0).all()
    np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3 * norm.max())


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_members_one_after_the_other_do_the_same(name):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        measured(name, "vmap"),
        measured(name, "map"),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18-width2", "wrn10-2-width2", "vgg11-width2", "vgg11-nobatchnorm-width4", "vit-width8"],
)
def test_runs_of_digits(name):
    """Members one after the other and side by side, with the path of every layer."""
    problem = classification(model(name), load("digits"))
    plan = Plan(
        seeds=(0, 1), learning_rates=(0.01,), num_windows=1, window=8, batch_size=16, by_layer=True
    )
    one, two = (run_ensemble(problem, plan, members_at_once=count) for count in (1, 2))
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-2)
    np.testing.assert_allclose(one.layer_msd.sum("layer"), one.msd, rtol=1e-6)
    layers = jax.eval_shape(problem.init, jax.random.key(0))[0]
    assert set(one.layer.values.tolist()) == set(layers) and (one.layer_msd >= 0).all()
