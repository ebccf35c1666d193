"""Outputs of networks beside PyTorch's functions on the same weights, with both batch norms."""

from functools import partial

import jax
import numpy as np
import pytest

from sgd_diffusion.problems.resnet import ResNet18
from sgd_diffusion.problems.vgg import VGG
from sgd_diffusion.problems.vit import ViT
from sgd_diffusion.problems.wide_resnet import WideResNet

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def tensor(leaf):
    return torch.tensor(np.asarray(leaf), dtype=torch.float64)


class Network:
    """PyTorch's functions with the variables of a flax network."""

    def __init__(self, variables, train):
        self.params = jax.tree.map(tensor, variables["params"])
        self.averages = jax.tree.map(tensor, variables.get("batch_stats", {}))
        self.train = train

    def layer(self, *path):
        tree = self.params
        for name in path:
            tree = tree[name]
        return tree

    def has(self, *path):
        try:
            return bool(self.layer(*path))
        except KeyError:
            return False

    def conv(self, x, *path, stride=1, padding=1):
        weights = self.layer(*path)
        kernel = weights["kernel"].permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, weights.get("bias"), stride, padding)

    def norm(self, x, *path):
        weights, averages = self.layer(*path), self.averages
        for name in path:
            averages = averages[name]
        moments = [averages["mean"].clone(), averages["var"].clone()]
        return functional.batch_norm(x, *moments, weights["scale"], weights["bias"], self.train)

    def layer_norm(self, x, *path):
        weights = self.layer(*path)
        return functional.layer_norm(x, x.shape[-1:], weights["scale"], weights["bias"])

    def linear(self, x, *path):
        weights = self.layer(*path)
        return functional.linear(x, weights["kernel"].T, weights.get("bias"))

    def pooled(self, x):
        return self.linear(x.mean(dim=(2, 3)), "linear")


def vgg(net, x):
    for stage, count in enumerate((1, 1, 2, 2, 2), start=1):
        for number in range(1, count + 1):
            x = net.conv(x, f"stage{stage}_conv{number}")
            x = functional.relu(net.norm(x, f"stage{stage}_norm{number}"))
        x = functional.max_pool2d(x, 2) if x.shape[2] > 1 else x
    return net.pooled(x)


def resnet18(net, x, *, imagenet):
    x = net.conv(x, "stem", stride=2, padding=3) if imagenet else net.conv(x, "stem")
    x = functional.relu(net.norm(x, "stem_norm"))
    x = functional.max_pool2d(x, 3, 2, 1) if imagenet else x
    for stage in range(4):
        for number in range(2):
            block, stride = f"stage{stage + 1}_block{number + 1}", 2 if stage and not number else 1
            y = functional.relu(
                net.norm(net.conv(x, block, "conv1", stride=stride), block, "norm1")
            )
            y = net.norm(net.conv(y, block, "conv2"), block, "norm2")
            if stride == 2:
                x = net.conv(x, block, "shortcut", stride=2, padding=0)
                x = net.norm(x, block, "shortcut_norm")
            x = functional.relu(x + y)
    return net.pooled(x)


def wide_resnet(net, x):
    x = net.conv(x, "stem")
    for stage in range(3):
        block, stride = f"stage{stage + 1}_block1", 2 if stage else 1
        active = functional.relu(net.norm(x, block, "norm1"))
        y = functional.relu(
            net.norm(net.conv(active, block, "conv1", stride=stride), block, "norm2")
        )
        if net.has(block, "shortcut"):
            x = net.conv(active, block, "shortcut", stride=stride, padding=0)
        x = x + net.conv(y, block, "conv2")
    return net.pooled(functional.relu(net.norm(x, "last_norm")))


def vit(net, x):
    """With PyTorch's convolution of stride 4 for the patches, and its attention."""
    kernel = net.layer("patches", "kernel")
    width = kernel.shape[-1]
    kernel = kernel.reshape(4, 4, -1, width).permute(3, 2, 0, 1)
    x = functional.conv2d(x, kernel, net.layer("patches", "bias"), stride=4).flatten(2).mT
    token = net.layer("class_token").expand(len(x), 1, width)
    x = torch.cat([token, x], dim=1) + net.layer("positions")
    for name in ("block1", "block2"):
        y = net.linear(net.layer_norm(x, name, "norm1"), name, "queries_keys_values")
        heads = (part.unflatten(2, (2, width // 2)).transpose(1, 2) for part in y.chunk(3, 2))
        y = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = x + net.linear(y, name, "attention")
        y = functional.gelu(net.linear(net.layer_norm(x, name, "norm2"), name, "hidden"))
        x = x + net.linear(y, name, "output")
    return net.linear(net.layer_norm(x[:, 0], "last_norm"), "linear")


def random_variables(model, images):
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)
    rng = np.random.default_rng(0)
    return jax.tree.map_with_path(
        lambda path, leaf: (
            rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
            if "kernel" in jax.tree_util.keystr(path)
            else rng.uniform(0.5, 1.5, leaf.shape)
        ).astype(np.float32),
        shapes,
    )


@pytest.mark.parametrize(
    ("model", "written", "size", "train"),
    [
        (VGG(11, width=2), vgg, 32, True),
        (VGG(11, width=2), vgg, 9, False),
        (ResNet18(width=2), partial(resnet18, imagenet=False), 8, True),
        (ResNet18("imagenet", width=2), partial(resnet18, imagenet=True), 40, False),
        (WideResNet(10, 3, width=2), wide_resnet, 9, True),
        (ViT(4, depth=2, heads=2, width=8), vit, 12, False),
    ],
    ids=["vgg", "vgg-odd", "resnet18", "resnet18-imagenet", "wrn", "vit"],
)
def test_outputs_are_those_of_pytorch(model, written, size, train):
    images = np.random.default_rng(1).normal(size=(4, size, size, 3)).astype(np.float32)
    variables = random_variables(model, images)
    found, _ = jax.jit(partial(model.apply, train=train, mutable=["batch_stats"]))(
        variables, images
    )
    expected = written(Network(variables, train), tensor(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
