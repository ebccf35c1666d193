import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.models import model
from sgd_diffusion.problems.resnet import ResNet


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
        None,
        5,
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"depth|model is"):
        model(name)
