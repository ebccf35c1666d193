"""A network with one of each kind of layer, which compiles in a blink."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array

from sgd_diffusion.problems.convolution import convolution


class Small(nn.Module):
    """One 3x3 convolution of four channels, the mean over the map, and a linear layer.

    Attributes:
        num_classes: number of logits.
        convolution: as in `ResNet`.
    """

    num_classes: int = 10
    convolution: Callable[..., Array] = convolution

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Array:
        """Return the logits (batch, num_classes) of images (batch, height, width, channels)."""
        x = nn.Conv(4, (3, 3), padding=1, conv_general_dilated=self.convolution)(images)
        return nn.Dense(self.num_classes)(nn.relu(x).mean(axis=(1, 2)))
