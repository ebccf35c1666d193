"""Networks under the names that command lines and configurations use."""

import re

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.labeled_images import MAX_CLASSES
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.resnet import ResNet

__all__ = ["model"]

RESNET = re.compile(
    r"resnet(?P<depth>\d+)(?P<noshort>-noshort)?(?P<nobatchnorm>-nobatchnorm)?(-width(?P<width>\d+))?"
)
FULLY_CONNECTED = re.compile(r"fc(?P<layers>\d+)(-width(?P<width>\d+))?")
# XLA compiles every fully connected layer on its own, in a fraction of a second to a second.
MAX_LAYERS = 500
# The deepest ResNet that He et al. (2016) train.
MAX_DEPTH = 1202
# One layer of twice as many units needs 64 GiB ("fc"), or 10 GiB ("resnet").
MAX_WIDTH = {"fc": 2**16, "resnet": 2**12}
EXPECTED = (
    "resnetD[-noshort][-nobatchnorm][-widthW] with D = 6n + 2, such as resnet14, resnet56-noshort "
    "or resnet14-width32, or fcL[-widthW], such as fc3"
)


def model(
    name: str, *, num_classes: IntegerLike = 10, initialization: str = "paper"
) -> MLP | ResNet:
    """Return the flax.linen module that a name stands for.

    Args:
        name: `resnetD` or `fcL`. After `resnetD` may stand `-noshort` (no shortcuts),
            `-nobatchnorm` (no batch norm inside the blocks) and `-widthW` (channels of the first
            stage, 16 unless given). `fcL` is fully connected with L layers, the output included,
            without biases; after it may stand `-widthW` (hidden units, 100 unless given).
        num_classes: number of logits.
        initialization: "paper", "pytorch" or "kaiming", see `ResNet` and `MLP`.

    Raises:
        InputError: the name has another form, no ResNet has this depth, there are more layers than
            can be compiled, or a layer of this width does not fit into memory.

    >>> model("resnet14-noshort").shortcut
    False
    >>> model("fc3").features
    (100, 100, 10)
    """
    num_classes = integer("num_classes", num_classes, 1, MAX_CLASSES)
    if match := RESNET.fullmatch(str(name)):
        depth = _bounded(
            name, "layers", match["depth"], MAX_DEPTH, "compiling takes longer than training"
        )
        return ResNet(
            depth,
            shortcut=match["noshort"] is None,
            norm=match["nobatchnorm"] is None,
            width=_width(name, match, "resnet", 16),
            num_classes=num_classes,
            initialization=initialization,
        )
    if (match := FULLY_CONNECTED.fullmatch(str(name))) and int(match["layers"][:9]) >= 1:
        layers = _bounded(
            name, "layers", match["layers"], MAX_LAYERS, "compiling takes longer than training"
        )
        return MLP(
            (*(_width(name, match, "fc", 100),) * (layers - 1), num_classes),
            bias=False,
            initialization=initialization,
        )
    raise invalid("model", f"is {name!r}", EXPECTED)


def _width(name: str, match: re.Match, kind: str, default: int) -> int:
    if match["width"] is None:
        return default
    return _bounded(
        name, "width", match["width"], MAX_WIDTH[kind], "a layer does not fit into memory"
    )


def _bounded(name: str, what: str, digits: str, high: int, reason: str) -> int:
    """Return a number from the name of a model, which may have any number of digits."""
    if len(digits.lstrip("0")) > 9 or not 1 <= int(digits) <= high:
        raise invalid(
            "model", f"is {name[:100]!r}", f"{what} in 1..{high}", f"beyond them {reason}"
        )
    return int(digits)
