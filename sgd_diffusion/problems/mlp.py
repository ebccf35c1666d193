"""Fully connected networks, and the two ways to initialize the weights of a network."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import Key
from sgd_diffusion.errors import invalid

__all__ = [
    "INITIALIZATIONS",
    "MLP",
    "bias_initializer",
    "check_initialization",
    "kernel_initializer",
]

INITIALIZATIONS = ("paper", "pytorch", "kaiming")


class MLP(nn.Module):
    """Linear layers on the flattened input, with ReLU between them and none after the last.

    Called on images (batch, ...) and `train`, which changes nothing, it returns (batch,
    features[-1]).

    Attributes:
        features: units of every layer, the output included: (100, 100, 10) has two hidden layers
            and ten logits; (10,) is a linear classifier.
        bias: whether the layers have biases.
        initialization: "paper": hidden layers Kaiming normal, std sqrt(2 / fan_in), last layer N(0,
            1e-3^2), biases 0, as in `ResNet`. "pytorch": weights and biases uniform within +-1 /
            sqrt(fan_in), the defaults of PyTorch. "kaiming": as "paper", and the last layer is
            Kaiming normal too.

    Raises:
        InputError: `features` is empty or not positive, or `initialization` is unknown.

    Notes:
        The code of Chen, Qu & Gong (2021) draws the hidden linear layers from N(0, 1e-3^2) too. The
        signal is lost there.
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
            raise invalid(
                "features",
                f"is {self.features!r}",
                "one positive size a layer, the output included, such as (100, 10)",
            )
        self.features = tuple(integer("features", units, 1, 2**31 - 1) for units in self.features)
        check_initialization(self.initialization)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Float[Array, "example feature"]:
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


def check_initialization(initialization: str) -> None:
    """Raise InputError unless it is one of `INITIALIZATIONS`."""
    if not isinstance(initialization, str) or initialization not in INITIALIZATIONS:
        raise invalid(
            "initialization", f"is {initialization!r}", f"one of {', '.join(INITIALIZATIONS)}"
        )


def kernel_initializer(initialization: str, role: str) -> Callable[..., Array]:
    """Return the initializer of a weight.

    Args:
        initialization: one of `INITIALIZATIONS`.
        role: "hidden" (convolutions too) or "output".
    """
    if initialization == "pytorch":
        # PyTorch's kaiming_uniform_(a=sqrt(5)), which is uniform within +-1/sqrt(fan_in).
        return partial(_drawn_flat, initializers.variance_scaling(1 / 3, "fan_in", "uniform"))
    # he_normal() would truncate at two standard deviations; PyTorch's kaiming_normal_ does not.
    return partial(
        _drawn_flat,
        initializers.variance_scaling(2.0, "fan_in", "normal")
        if role == "hidden" or initialization == "kaiming"
        else initializers.normal(1e-3),
    )


def _drawn_flat(initializer: Callable[..., Array], key: Key, shape, dtype=jnp.float32) -> Array:
    """Return a weight (..., output) that is drawn as the matrix (inputs, outputs) of a layer.

    The numbers are those of a weight that is drawn in its shape. But random bits in the shape of a
    convolution take ten times as long to compile on CPU, where LLVM unrolls the loops over its
    small axes.
    """
    return initializer(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)


def bias_initializer(initialization: str, fan_in: int) -> Callable[..., Array]:
    """Return the initializer of a bias in a layer with `fan_in` inputs."""
    if initialization == "pytorch":
        return partial(_uniform, bound=1 / math.sqrt(fan_in))
    return initializers.zeros


def _uniform(key: Key, shape, dtype, bound: float) -> Array:
    return jax.random.uniform(key, shape, dtype, -bound, bound)
