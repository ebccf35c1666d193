"""Networks under the names that command lines and configurations use."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from flax import linen

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.labeled_images import MAX_CLASSES
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.nnx_modules import NnxNetwork
from sgd_diffusion.problems.resnet import ResNet, ResNet18
from sgd_diffusion.problems.user_code import REFERENCE, is_reference, users_network
from sgd_diffusion.problems.vgg import VGG
from sgd_diffusion.problems.vit import ViT
from sgd_diffusion.problems.wide_resnet import WideResNet

__all__ = ["model"]

# XLA compiles every fully connected layer on its own, in a fraction of a second to a second.
MAX_LAYERS = 500
# The deepest ResNet that He et al. (2016) train.
MAX_DEPTH = 1202
COMPILING = "compiling takes longer than training"
MEMORY = "a layer does not fit into memory"


class Form(NamedTuple):
    """A form that names have, and the network that it stands for.

    Attributes:
        pattern: regular expression of a name, before `-widthW`.
        shown: the form in words.
        max_width: one layer of a greater width needs more than 2.5 GiB to 16 GiB.
        make: `make(match, num_classes=..., initialization=..., **width) -> network`.
    """

    pattern: str
    shown: str
    max_width: int
    make: Callable[..., linen.Module]


def model(
    name: str, *, num_classes: IntegerLike = 10, initialization: str = "paper"
) -> linen.Module | NnxNetwork:
    """Return the network that a name stands for.

    | name | network |
    | --- | --- |
    | `resnetD` | `ResNet` of depth D = 6n + 2 |
    | `resnet18`, `resnet18-imagenet` | `ResNet18` with the stem for CIFAR or for ImageNet |
    | `wrnD-K` | `WideResNet` of depth D = 6n + 4, K times as wide |
    | `vgg11`, `vgg13`, `vgg16`, `vgg19` | `VGG` |
    | `vit`, `vit-patchP` | `ViT` |
    | `vit-small`, `vit-small-patchP` | `ViT` of 12 blocks, 6 heads, width 384, expansion 4 |
    | `fcL` | `MLP` with L layers, the output included, without biases |
    | `package.module:factory` | a network of one's own |

    After the residual networks may stand `-noshort` (no shortcuts), after these and `vggD`
    `-nobatchnorm` (no batch norm inside the blocks; none at all in `VGG`), and after all
    `-widthW`: channels of the first stage (16 in `resnetD` and, times K, `wrnD-K`; 64 in
    `resnet18` and `vggD`), units of a token (128; 384) or hidden units (100).

    A network of one's own is a flax.linen module, or what makes it: a class or a function, called
    with `num_classes` and `initialization` if it takes arguments of these names. A function or
    class that takes `rngs` makes a flax.nnx module, see `classification`.

    Args:
        name: as above.
        num_classes: number of logits.
        initialization: "paper", "pytorch" or "kaiming", see `ResNet`, `MLP` and `ViT`. A network of
            one's own that does not take it has "paper", which changes nothing there.

    Returns:
        A flax.linen module, or a network of flax.nnx in the same form; both are for
        `classification`.

    Raises:
        InputError: the name has another form, no network has this depth, there are more layers than
            can be compiled, or a layer of this width does not fit into memory. For a network of
            one's own: there is no such module or name, it is no network and makes none, or it does
            not know the initialization.

    >>> model("resnet14-noshort").shortcut
    False
    >>> model("wrn16-4-width8").widening
    4
    >>> model("fc3").features
    (100, 100, 10)
    """
    num_classes = integer("num_classes", num_classes, 1, MAX_CLASSES)
    options: dict[str, Any] = {"num_classes": num_classes, "initialization": initialization}
    if is_reference(name):
        return users_network(name, **options)
    for form in FORMS:
        if match := re.fullmatch(rf"(?:{form.pattern})(?:-width(?P<width>\d+))?", str(name)):
            width = match["width"]
            if width is not None:
                options["width"] = _bounded(name, "width", width, form.max_width, MEMORY)
            return form.make(match, **options)
    shown = ", ".join(form.shown for form in FORMS)
    raise invalid("model", f"is {name!r:.100}", f"{shown}, each also -widthW; or {REFERENCE}")


def _residual(match: re.Match) -> dict[str, Any]:
    return {"shortcut": match["noshort"] is None, "norm": match["nobatchnorm"] is None}


def _resnet(match: re.Match, **options: Any) -> ResNet:
    depth = _bounded(match.string, "layers", match["depth"], MAX_DEPTH, COMPILING)
    return ResNet(depth, **_residual(match), **options)


def _resnet18(match: re.Match, **options: Any) -> ResNet18:
    return ResNet18("imagenet" if match["imagenet"] else "cifar", **_residual(match), **options)


def _wide_resnet(match: re.Match, **options: Any) -> WideResNet:
    depth = _bounded(match.string, "layers", match["depth"], MAX_DEPTH, COMPILING)
    # Both together are the width of the first stage.
    most = MAX_CHANNELS // options.get("width", 16)
    widening = _bounded(match.string, "widening", match["widening"], most, MEMORY)
    return WideResNet(depth, widening, **_residual(match), **options)


def _vgg(match: re.Match, **options: Any) -> VGG:
    depth = _bounded(match.string, "layers", match["depth"], MAX_LAYERS, COMPILING)
    return VGG(depth, norm=match["nobatchnorm"] is None, **options)


def _vit(match: re.Match, **options: Any) -> ViT:
    patch = match["patch"]
    form = {"depth": 12, "heads": 6, "width": 384, "expansion": 4} if match["small"] else {}
    return ViT(
        patch and _bounded(match.string, "patch", patch, 2**12, "there are no such images"),
        **form | options,
    )


def _fully_connected(match: re.Match, *, num_classes: int, initialization: str, width: int = 100):
    layers = _bounded(match.string, "layers", match["layers"], MAX_LAYERS, COMPILING)
    features = (*(width,) * (layers - 1), num_classes)
    return MLP(features, bias=False, initialization=initialization)


RESIDUAL = r"(?P<noshort>-noshort)?(?P<nobatchnorm>-nobatchnorm)?"
MAX_CHANNELS = 2**12  # of a first stage
FORMS = (
    Form(
        rf"resnet18(?P<imagenet>-imagenet)?{RESIDUAL}",
        "resnet18[-imagenet][-noshort][-nobatchnorm]",
        2**11,
        _resnet18,
    ),
    Form(
        rf"resnet(?P<depth>\d+){RESIDUAL}",
        "resnetD[-noshort][-nobatchnorm] with D = 6n + 2, such as resnet14",
        MAX_CHANNELS,
        _resnet,
    ),
    Form(
        rf"wrn(?P<depth>\d+)-(?P<widening>\d+){RESIDUAL}",
        "wrnD-K[-noshort][-nobatchnorm] with D = 6n + 4, such as wrn16-4",
        MAX_CHANNELS,
        _wide_resnet,
    ),
    Form(
        r"vgg(?P<depth>\d+)(?P<nobatchnorm>-nobatchnorm)?",
        "vggD[-nobatchnorm] with D = 11, 13, 16 or 19",
        2**11,
        _vgg,
    ),
    Form(r"vit(?P<small>-small)?(-patch(?P<patch>\d+))?", "vit[-small][-patchP]", 2**14, _vit),
    Form(r"fc(?P<layers>\d+)", "fcL, such as fc3", 2**16, _fully_connected),
)


def _bounded(name: str, what: str, digits: str, high: int, reason: str) -> int:
    """Return a number from the name of a model, which may have any number of digits."""
    if len(digits.lstrip("0")) > 9 or not 1 <= int(digits) <= high:
        raise invalid(
            "model", f"is {name[:100]!r}", f"{what} in 1..{high}", f"beyond them {reason}"
        )
    return int(digits)
