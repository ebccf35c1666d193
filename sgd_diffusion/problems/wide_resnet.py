"""Wide residual networks, whose blocks normalize and activate before they convolve."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer
from sgd_diffusion.problems.convolution import convolution
from sgd_diffusion.problems.layers import check_images, logits
from sgd_diffusion.problems.mlp import check_initialization
from sgd_diffusion.problems.resnet import BasicBlock, check_depth, conv_and_norm, stages

__all__ = ["PreActivationBlock", "WideResNet"]


class WideResNet(nn.Module):
    """Wide residual network WRN-depth-widening of depth 6n + 4, pre-activation, without dropout.

    Zagoruyko & Komodakis 2016, table 1. The network is a 3x3 stem of `width` channels (no bias);
    three stages of n pre-activation blocks at k, 2k and 4k `width` channels with k = `widening`,
    and strides 1, 2, 2; batch norm and ReLU; a global average pool; a linear layer with bias. It
    pads as `ResNet` does, and is called in the same way.

    Attributes:
        depth: 6n + 4 with n >= 1: 10, 16, 22, 28, 40.
        widening: the factor k.
        shortcut: False removes the additions and the 1x1 convolutions.
        norm: False removes the batch norms of the blocks; that after the last block stays.
        width: channels of the stem.
        num_classes: number of logits.
        initialization: as in `ResNet`.
        convolution: as in `ResNet`.

    Raises:
        InputError: the depth is not 6n + 4, the initialization is unknown, or the images are no
            batch or smaller than 4 x 4.
    """

    depth: int
    widening: int = 1
    shortcut: bool = True
    norm: bool = True
    width: int = 16
    num_classes: int = 10
    initialization: str = "paper"
    convolution: Callable[..., Array] = convolution

    def __post_init__(self):
        """Check the arguments where they are given, not at the first call."""
        self.depth = integer("depth", self.depth, 1, 2**31 - 1)
        check_depth(self.depth, 4, "a wide ResNet")
        self.widening = integer("widening", self.widening, 1, 2**31 - 1)
        self.width = integer("width", self.width, 1, 2**31 - 1)
        check_initialization(self.initialization)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Float[Array, "example class"]:
        """Return the logits (batch, num_classes) of images (batch, height, width, channels)."""
        check_images(images, 4, "which both strides can halve")
        conv, norm = conv_and_norm(self, train)
        x = conv(self.width, (3, 3), padding=1, name="stem")(images)
        block = partial(PreActivationBlock, conv, norm, self.shortcut, self.norm)
        x = stages(x, ((self.depth - 4) // 6,) * 3, self.width * self.widening, block)
        x = nn.relu(norm(name="last_norm")(x))
        return logits(x.mean(axis=(1, 2)), self.num_classes, self.initialization)


class PreActivationBlock(BasicBlock):
    """Residual block x + conv(ReLU(N(conv(a)))) with a = ReLU(N(x)) and N batch norm or nothing.

    Where the shape changes, a strided 1x1 convolution of a takes the place of x. It has the
    attributes of a `BasicBlock`.
    """

    @nn.compact
    def __call__(self, x: Array) -> Float[Array, "example height width feature"]:
        """Return (batch, height / stride, width / stride, features)."""
        strides = (self.stride, self.stride)
        active = nn.relu(self.norm(name="norm1")(x) if self.normalized else x)
        y = self.conv(self.features, (3, 3), strides=strides, padding=1, name="conv1")(active)
        y = nn.relu(self.norm(name="norm2")(y) if self.normalized else y)
        y = self.conv(self.features, (3, 3), padding=1, name="conv2")(y)
        if not self.shortcut:
            return y
        if x.shape != y.shape:
            x = self.conv(self.features, (1, 1), strides=strides, padding=0, name="shortcut")(
                active
            )
        return x + y
