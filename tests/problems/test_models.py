import jax
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.models import model
from sgd_diffusion.problems.resnet import ResNet, ResNet18
from sgd_diffusion.problems.vgg import VGG
from sgd_diffusion.problems.vit import ViT
from sgd_diffusion.problems.wide_resnet import WideResNet


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet14", ResNet(14)),
        ("resnet56-noshort", ResNet(56, shortcut=False)),
        ("resnet20-nobatchnorm", ResNet(20, norm=False)),
        ("resnet14-noshort-nobatchnorm-width32", ResNet(14, shortcut=False, norm=False, width=32)),
        ("fc3", MLP((100, 100, 10), bias=False)),
        ("fc2-width5", MLP((5, 10), bias=False)),
        ("fc1", MLP((10,), bias=False)),
        ("resnet18", ResNet18()),
        ("resnet18-imagenet-noshort-width8", ResNet18("imagenet", shortcut=False, width=8)),
        ("wrn16-4", WideResNet(16, 4)),
        ("wrn10-2-nobatchnorm-width8", WideResNet(10, 2, norm=False, width=8)),
        ("vgg11", VGG(11)),
        ("vgg13-nobatchnorm-width8", VGG(13, norm=False, width=8)),
        ("vit", ViT()),
        ("vit-patch2-width512", ViT(2, width=512)),
    ],
)
def test_names_stand_for_networks(name, expected):
    assert model(name) == expected


def test_bounds_say_why():
    with pytest.raises(
        InputError,
        match=r"'fc99999'; expected layers in 1\.\.500: beyond them compiling takes longer",
    ):
        model("fc99999")
    with pytest.raises(
        InputError,
        match=r"expected width in 1\.\.65536: beyond them a layer does not fit into memory",
    ):
        model("fc2-width99999999")
    with pytest.raises(InputError, match=r"num_classes is 1\.5"):
        model("fc2", num_classes=1.5)


def test_options_reach_the_network():
    assert model("resnet14", num_classes=7, initialization="pytorch") == ResNet(
        14, num_classes=7, initialization="pytorch"
    )
    assert model("fc2", num_classes=3).features == (100, 3)


@pytest.mark.parametrize(
    "name",
    [
        "resnet",
        "resnet14-",
        "resnet14-wide",
        "ResNet14",
        "fc0",
        "vgg",
        "",
        "resnet15",
        "resnet2",
        "fc99999",
        "fc501",
        "resnet9998",
        "fc2-width99999999",
        "fc3-width0",
        "resnet14-width4097",
        "fc" + 9000 * "9",
        "resnet14-width" + 9000 * "9",
        "wrn16",
        "wrn15-2",
        "wrn16-0",
        "wrn16-4-width2048",
        "vgg12",
        "vgg11-noshort",
        "vgg11-width4096",
        "vit-nobatchnorm",
        "vit-patch0",
        "resnet18-cifar",
        None,
        5,
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"depth|model is"):
        model(name)


def test_the_small_vision_transformer_has_the_parameters_of_vit_s():
    """By hand: 12 blocks of 4 + 8 matrices of the width, for 1000 classes and 14 x 14 patches."""
    width, tokens = 384, 197
    block = 12 * width**2 + (1 + 4 + 1) * width + 4 * width  # biases, and two norms
    ends = (768 + 1) * width + (tokens + 1) * width + 2 * width + (width + 1) * 1000
    network = model("vit-small-patch16", num_classes=1000)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), "float32")
    params = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), images)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 12 * block + ends == 22_036_840
