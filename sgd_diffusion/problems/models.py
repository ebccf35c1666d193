"""Networks by name, as command lines and configurations spell them."""

import re

from sgd_diffusion._arrays import integer
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.labelled_images import MAX_CLASSES
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.resnet import ResNet

RESNET = re.compile(
    r"resnet(?P<depth>\d+)(?P<noshort>-noshort)?(?P<nobatchnorm>-nobatchnorm)?(-width(?P<width>\d+))?"
)
FULLY_CONNECTED = re.compile(r"fc(?P<layers>\d+)(-width(?P<width>\d+))?")
MAX_LAYERS = 500  # fully connected: XLA compiles every layer on its own, in a fraction of a second to a second
MAX_DEPTH = 1202  # of a ResNet: the deepest that He et al. (2016) train
MAX_WIDTH = {
    "fc": 2**16,
    "resnet": 2**12,
}  # one layer of twice as many units needs 64 GiB, or 10 GiB
EXPECTED = (
    "resnetD[-noshort][-nobatchnorm][-widthW] with D = 6n + 2, such as resnet14, resnet56-noshort "
    "or resnet14-width32, or fcL[-widthW], such as fc3"
)


def model(name: str, *, num_classes: int = 10, initialization: str = "paper"):
    """The flax.linen module that a name stands for.

    Args:
        name: `resnetD`, then optionally `-noshort` (no shortcuts), `-nobatchnorm` (no batch norm
            inside the blocks) and `-widthW` (channels of the first stage, 16 unless given); or
            `fcL`, fully connected with L layers, the output included, without biases, of `-widthW`
            hidden units (100 unless given).
        num_classes: number of logits.
        initialization: "paper" or "pytorch", see `ResNet` and `MLP`.

    Raises:
        InputError: for a name of another form, a ResNet of impossible depth, more layers than can
            be compiled, or a width that does not fit into memory.

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
    raise InputError(f"model is {name!r}; expected {EXPECTED}")


def _width(name: str, match: re.Match, kind: str, default: int) -> int:
    if match["width"] is None:
        return default
    return _bounded(
        name, "width", match["width"], MAX_WIDTH[kind], "a layer does not fit into memory"
    )


def _bounded(name: str, what: str, digits: str, high: int, reason: str) -> int:
    """A number from a model's name, which may have any number of digits."""
    if len(digits.lstrip("0")) > 9 or not 1 <= int(digits) <= high:
        raise InputError(
            f"model is {name[:100]!r}; expected {what} in 1..{high}: beyond them {reason}"
        )
    return int(digits)
