"""Plain stacks of convolutions, in the form that is common for small images."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.convolution import convolution
from sgd_diffusion.problems.layers import BatchNorm, check_images, logits, max_pool
from sgd_diffusion.problems.mlp import bias_initializer, check_initialization, kernel_initializer

__all__ = ["VGG"]

# Convolutions of each stage by depth: configurations A, B, D and E of the paper, which count the
# three linear layers that ImageNet has.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """VGG with batch norm and a single linear layer, the form that is common for CIFAR.

    Simonyan & Zisserman 2015, table 1, without the two hidden linear layers. Five stages of 3x3
    convolutions with bias, batch norm and ReLU, at `width`, 2, 4, 8 and 8 `width` channels; a 2x2
    maximum pool of stride 2 after each; a global average pool over whatever map is left; a linear
    layer with bias. With 32 x 32 pixels one pixel is left, and the average changes nothing. A side
    of one pixel is not pooled any more: 8 x 8 pixels become 4, 2, 1, 1 and 1.

    Called on images (batch, height, width, channels) of at least 2 x 2 pixels and `train`, it
    returns logits (batch, num_classes). Batch norm works as in `ResNet`.

    Attributes:
        depth: 11, 13, 16 or 19, the name of the network. It counts three linear layers.
        norm: False removes the batch norms.
        width: channels of the first stage.
        num_classes: number of logits.
        initialization: as in `ResNet`. Biases of convolutions are those of linear layers there.
        convolution: as in `ResNet`.

    Raises:
        InputError: the depth or the initialization is unknown, or the images are no batch or too
            small.

    Notes:
        Batch norm takes the mean away, so the bias of a convolution before it changes nothing and
        has no gradient but rounding. It is there as in PyTorch's networks.
    """

    depth: int
    norm: bool = True
    width: int = 64
    num_classes: int = 10
    initialization: str = "paper"
    convolution: Callable[..., Array] = convolution

    def __post_init__(self):
        """Check the arguments where they are given, not at the first call."""
        self.depth = integer("depth", self.depth, 1, 2**31 - 1)
        if self.depth not in STAGES:
            raise invalid("depth", f"is {self.depth}", f"one of {', '.join(map(str, STAGES))}")
        self.width = integer("width", self.width, 1, 2**31 - 1)
        check_initialization(self.initialization)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Float[Array, "example class"]:
        """Return the logits (batch, num_classes) of images (batch, height, width, channels)."""
        check_images(images, 2, "which the first pool can halve")
        x = images
        for stage, count in enumerate(STAGES[self.depth]):
            for number in range(count):
                layer = f"stage{stage + 1}_{{}}{number + 1}".format
                x = nn.Conv(
                    self.width * 2 ** min(stage, 3),
                    (3, 3),
                    padding=1,
                    kernel_init=kernel_initializer(self.initialization, "hidden"),
                    bias_init=bias_initializer(self.initialization, 9 * x.shape[-1]),
                    conv_general_dilated=self.convolution,
                    name=layer("conv"),
                )(x)
                x = nn.relu(BatchNorm(train, name=layer("norm"))(x) if self.norm else x)
            x = max_pool(x, 2)
        return logits(x.mean(axis=(1, 2)), self.num_classes, self.initialization)
