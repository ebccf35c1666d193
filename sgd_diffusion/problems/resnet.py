"""Residual networks, with and without their shortcuts and block normalizations."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.convolution import convolution
from sgd_diffusion.problems.layers import BatchNorm, check_images, logits, max_pool
from sgd_diffusion.problems.mlp import check_initialization, kernel_initializer

__all__ = ["BasicBlock", "ResNet", "ResNet18", "conv_and_norm", "stages"]


class ResNet(nn.Module):
    """CIFAR ResNet of depth 6n + 2, post-activation, with option-B shortcuts.

    He et al. 2016, section 4.2. The network is a 3x3 stem (no bias), batch norm and ReLU; three
    stages of n basic blocks at `width`, 2 `width` and 4 `width` channels and strides 1, 2, 2; a
    global average pool over whatever map is left; a linear layer with bias. All 3x3 convolutions
    pad one pixel on each side, as in PyTorch. Those of stride 2 do so too; "SAME" would pad right
    and bottom.

    Called on images (batch, height, width, channels) of at least 4 x 4 pixels and `train`, it
    returns logits (batch, num_classes). With `train=True` batch norm uses the statistics of the
    batch. It then updates the running statistics in the collection "batch_stats", which must be
    mutable.

    Attributes:
        depth: 6n + 2 with n >= 1: 8, 14, 20, ..., 56, 110.
        shortcut: False removes the additions and the 1x1 convolutions; the ReLU after the addition
            stays.
        norm: False removes the batch norms of the blocks; those of the stem and of the 1x1
            shortcuts stay.
        width: channels of the first stage.
        num_classes: number of logits.
        initialization: "paper": convolutions Kaiming normal, std sqrt(2 / fan_in); linear layer
            N(0, 1e-3^2), bias 0, as in the code of Chen, Qu & Gong (2021). "pytorch": the defaults
            of PyTorch, which their text names: weights and linear bias uniform within +-1 /
            sqrt(fan_in). "kaiming": the linear layer Kaiming normal too. Batch norms start at
            weight 1 and bias 0 in all.
        convolution: called by every convolution in place of `lax.conv_general_dilated`, see
            `problems.convolution`.

    Raises:
        InputError: the depth is not 6n + 2, the initialization is unknown, or the images are no
            batch or too small. 4 x 4 is the smallest map that both strides halve (4, 2, 1); below
            it a stage would stride over nothing but padding.
    """

    depth: int
    shortcut: bool = True
    norm: bool = True
    width: int = 16
    num_classes: int = 10
    initialization: str = "paper"
    convolution: Callable[..., Array] = convolution

    def __post_init__(self):
        """Check the arguments where they are given, not at the first call."""
        check_depth(self.depth, 2, "a CIFAR ResNet")
        check_initialization(self.initialization)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Float[Array, "example class"]:
        """Return the logits (batch, num_classes) of images (batch, height, width, channels)."""
        check_images(images, 4, "which both strides can halve")
        conv, norm = conv_and_norm(self, train)
        x = conv(self.width, (3, 3), padding=1, name="stem")(images)
        x = nn.relu(norm(name="stem_norm")(x))
        block = partial(BasicBlock, conv, norm, self.shortcut, self.norm)
        x = stages(x, ((self.depth - 2) // 6,) * 3, self.width, block)
        return logits(x.mean(axis=(1, 2)), self.num_classes, self.initialization)


class ResNet18(nn.Module):
    """ResNet of 18 layers, post-activation, with option-B shortcuts.

    He et al. 2016, table 1. The network is a stem (no bias), batch norm and ReLU; four stages of
    two basic blocks at `width`, 2, 4 and 8 `width` channels and strides 1, 2, 2, 2; a global
    average pool; a linear layer with bias. It pads as `ResNet` does, and is called in the same way,
    on images of at least 8 x 8 pixels, or 32 x 32 with the stem for ImageNet.

    Attributes:
        stem: "cifar": a 3x3 convolution of stride 1 and no pool, as is common for images of 32 x 32
            pixels. "imagenet": a 7x7 convolution of stride 2 and a 3x3 maximum pool of stride 2, as
            published.
        shortcut: as in `ResNet`.
        norm: as in `ResNet`.
        width: channels of the first stage.
        num_classes: number of logits.
        initialization: as in `ResNet`.
        convolution: as in `ResNet`.

    Raises:
        InputError: the stem or the initialization is unknown, or the images are no batch or too
            small for the strides.
    """

    stem: str = "cifar"
    shortcut: bool = True
    norm: bool = True
    width: int = 64
    num_classes: int = 10
    initialization: str = "paper"
    convolution: Callable[..., Array] = convolution

    def __post_init__(self):
        """Check the arguments where they are given, not at the first call."""
        if self.stem not in ("cifar", "imagenet"):
            raise invalid("stem", f"is {self.stem!r}", "'cifar' or 'imagenet'")
        self.width = integer("width", self.width, 1, 2**31 - 1)
        check_initialization(self.initialization)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Float[Array, "example class"]:
        """Return the logits (batch, num_classes) of images (batch, height, width, channels)."""
        conv, norm = conv_and_norm(self, train)
        if self.stem == "cifar":
            check_images(images, 8, "which three strides can halve")
            x = conv(self.width, (3, 3), padding=1, name="stem")(images)
            x = nn.relu(norm(name="stem_norm")(x))
        else:
            check_images(images, 32, "which five strides can halve (three with the cifar stem)")
            x = conv(self.width, (7, 7), strides=(2, 2), padding=3, name="stem")(images)
            x = max_pool(nn.relu(norm(name="stem_norm")(x)), 3, padding=1)
        block = partial(BasicBlock, conv, norm, self.shortcut, self.norm)
        x = stages(x, (2, 2, 2, 2), self.width, block)
        return logits(x.mean(axis=(1, 2)), self.num_classes, self.initialization)


def check_depth(depth: int, rest: int, network: str) -> None:
    """Raise InputError unless a depth is 6n + `rest` with n >= 1, as that of `network` is."""
    below = max(6, (depth - rest) // 6 * 6) + rest
    if depth != below:
        raise invalid(
            "depth",
            f"is {depth}",
            f"6n + {rest} with n >= 1, for {network}",
            f"the nearest are {below} and {below + 6}",
        )


def conv_and_norm(
    network: nn.Module, train: bool
) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module]]:
    """Return what makes the convolutions, without bias, and the batch norms of a residual network.

    Args:
        network: with the attributes `initialization` and `convolution`.
        train: as for `BatchNorm`.
    """
    conv = partial(
        nn.Conv,
        use_bias=False,
        kernel_init=kernel_initializer(network.initialization, "hidden"),
        conv_general_dilated=network.convolution,
    )
    return conv, partial(BatchNorm, train=train)


def stages(
    x: Array, blocks: Sequence[int], width: int, block: Callable[..., nn.Module]
) -> Float[Array, "example height width feature"]:
    """Return what stages of residual blocks make of a map, in the module that calls it.

    The channels double from stage to stage, and the first block of all but the first stage has
    stride 2. The blocks are called "stage1_block1" and so on.

    Args:
        x: maps (B, H, W, C).
        blocks: number of blocks of each stage.
        width: channels of the first stage.
        block: `block(features=..., stride=..., name=...)` makes a block.
    """
    for stage, count in enumerate(blocks):
        for number in range(count):
            x = block(
                features=width * 2**stage,
                stride=2 if stage > 0 and number == 0 else 1,
                name=f"stage{stage + 1}_block{number + 1}",
            )(x)
    return x


class BasicBlock(nn.Module):
    """Residual block ReLU(x + N(conv(ReLU(N(conv(x)))))), with N batch norm or nothing.

    Where the shape changes, x passes a strided 1x1 convolution.

    Attributes:
        conv: makes a convolution.
        norm: makes a batch norm.
        shortcut: whether x is added.
        normalized: whether N is batch norm.
        features: channels of the result.
        stride: of the first convolution.
    """

    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    shortcut: bool
    normalized: bool
    features: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Float[Array, "example height width feature"]:
        """Return (batch, height / stride, width / stride, features)."""
        strides = (self.stride, self.stride)
        y = self.conv(self.features, (3, 3), strides=strides, padding=1, name="conv1")(x)
        y = self.norm(name="norm1")(y) if self.normalized else y
        y = self.conv(self.features, (3, 3), padding=1, name="conv2")(nn.relu(y))
        y = self.norm(name="norm2")(y) if self.normalized else y
        if self.shortcut:
            if x.shape != y.shape:
                x = self.conv(self.features, (1, 1), strides=strides, padding=0, name="shortcut")(x)
                x = self.norm(name="shortcut_norm")(x)
            y = x + y
        return nn.relu(y)
