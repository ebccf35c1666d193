"""Networks by name, as command lines and configurations spell them."""

import re

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.resnet import ResNet

RESNET = re.compile(r"resnet(?P<depth>\d+)(?P<noshort>-noshort)?(?P<nobatchnorm>-nobatchnorm)?(-width(?P<width>\d+))?")
FULLY_CONNECTED = re.compile(r"fc(?P<layers>\d+)(-width(?P<width>\d+))?")
EXPECTED = ("resnetD[-noshort][-nobatchnorm][-widthW] with D = 6n + 2, such as resnet14, resnet56-noshort or "
            "resnet14-width32, or fcL[-widthW], such as fc3")


def model(name: str, *, num_classes: int = 10, initialization: str = "paper"):
    """The flax.linen module that a name stands for.

    Args:
      name: `resnetD`, then optionally `-noshort` (no shortcuts), `-nobatchnorm` (no batch norm inside the blocks) and
        `-widthW` (channels of the first stage, 16 unless given); or `fcL`, fully connected with L layers, the output
        included, without biases, of `-widthW` hidden units (100 unless given).
      num_classes: number of logits.
      initialization: "paper" or "pytorch", see `ResNet` and `MLP`.

    Raises:
      InputError: for a name of another form, or a ResNet of impossible depth.

    >>> model("resnet14-noshort").shortcut
    False
    >>> model("fc3").features
    (100, 100, 10)
    """
    if match := RESNET.fullmatch(name):
        return ResNet(int(match["depth"]), shortcut=match["noshort"] is None, norm=match["nobatchnorm"] is None,
                      width=int(match["width"] or 16), num_classes=num_classes, initialization=initialization)
    if (match := FULLY_CONNECTED.fullmatch(name)) and int(match["layers"]) >= 1:
        hidden = (int(match["width"] or 100),) * (int(match["layers"]) - 1)
        return MLP((*hidden, num_classes), bias=False, initialization=initialization)
    raise InputError(f"Parameter 'model'={name!r} is unknown. Expected {EXPECTED}.")
