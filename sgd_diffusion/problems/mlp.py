"""Fully connected networks, and the two ways to initialise a network's weights."""

import math
from collections.abc import Iterable, Sequence
from functools import partial

import flax.linen as nn
import jax
from jax.nn import initializers

from sgd_diffusion._arrays import integer
from sgd_diffusion.errors import InputError

INITIALIZATIONS = ("paper", "pytorch")


class MLP(nn.Module):
    """Flatten, then linear layers with ReLU between them: no ReLU after the last.

    Called on images (batch, ...) and `train`, which changes nothing, it returns (batch,
    features[-1]).

    Attributes:
        features: units of every layer, the output included: (100, 100, 10) has two hidden layers
            and ten logits; (10,) is a linear classifier.
        bias: whether the layers have biases.
        initialization: "paper": hidden layers Kaiming normal, std sqrt(2 / fan_in), last layer N(0,
            1e-3^2), biases 0, as in `ResNet`. (The code of Chen, Qu & Gong (2021) draws the hidden
            linear layers too from N(0, 1e-3^2), and the signal is lost.) "pytorch": weights and
            biases uniform within +-1 / sqrt(fan_in), the defaults of PyTorch.

    Raises:
        InputError: for empty or non-positive features, or an unknown initialization.
    """

    features: Sequence[int]
    bias: bool = True
    initialization: str = "paper"

    def __post_init__(self):
        """Check the arguments where they are given, not at the first call."""
        if (
            isinstance(self.features, str)
            or not isinstance(self.features, Iterable)
            or len(self.features) == 0
        ):
            raise InputError(
                f"features is {self.features!r}; expected one positive size a layer, the output "
                "included, such as (100, 10)"
            )
        self.features = tuple(integer("features", units, 1, 2**31 - 1) for units in self.features)
        check_initialization(self.initialization)
        super().__post_init__()

    @nn.compact
    def __call__(self, images, train):
        """Return the outputs (batch, features[-1]) of inputs (batch, ...)."""
        x = images.reshape(images.shape[0], -1)
        for layer, units in enumerate(self.features):
            last = layer == len(self.features) - 1
            x = nn.Dense(
                units,
                use_bias=self.bias,
                name=f"linear{layer + 1}",
                kernel_init=kernel_initializer(self.initialization, "output" if last else "hidden"),
                bias_init=bias_initializer(self.initialization, x.shape[-1]),
            )(x)
            x = x if last else nn.relu(x)
        return x


def check_initialization(initialization):
    """Raise InputError unless it is one of `INITIALIZATIONS`."""
    if not isinstance(initialization, str) or initialization not in INITIALIZATIONS:
        raise InputError(
            f"initialization is {initialization!r}; expected one of {', '.join(INITIALIZATIONS)}"
        )


def kernel_initializer(initialization, role):
    """Return the initializer of a weight; `role` is "hidden" (convolutions too) or "output"."""
    if initialization == "pytorch":
        return initializers.variance_scaling(
            1 / 3, "fan_in", "uniform"
        )  # kaiming_uniform(a=sqrt(5)): +-1/sqrt(fan_in)
    # Not he_normal(), which truncates at two standard deviations; PyTorch's kaiming_normal_ does
    # not.
    return (
        initializers.variance_scaling(2.0, "fan_in", "normal")
        if role == "hidden"
        else initializers.normal(1e-3)
    )


def bias_initializer(initialization, fan_in):
    """Return the initializer of a bias whose layer has `fan_in` inputs."""
    if initialization == "pytorch":
        return partial(_uniform, bound=1 / math.sqrt(fan_in))
    return initializers.zeros


def _uniform(key, shape, dtype, bound):
    return jax.random.uniform(key, shape, dtype, -bound, bound)
