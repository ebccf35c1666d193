"""Vision transformers for small images."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer, number
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.layers import check_images, logits
from sgd_diffusion.problems.mlp import bias_initializer, check_initialization, kernel_initializer

__all__ = ["TransformerBlock", "ViT", "images_as_patches"]

FEWEST_PATCHES = 16
EPSILON = 1e-5  # of layer norm, as in PyTorch


class ViT(nn.Module):
    """Small vision transformer: patches, a class token, learned positions, pre-norm blocks.

    Dosovitskiy et al. 2021, in the form of the code of Chen, Qu & Gong: every patch passes a linear
    layer; a class token comes first; a learned vector is added at every position. Each of `depth`
    blocks adds an attention of `heads` heads (no bias on queries, keys and values), and then a
    network of one hidden layer of `expansion` x `width` units with GELU; layer norm (epsilon 1e-5)
    stands before both. Layer norm and a linear layer read the class token.

    Called on images (batch, height, width, channels) and `train`, it returns logits (batch,
    num_classes). It has no batch norm, so no state.

    Attributes:
        patch: pixels a side of a patch. None takes the largest of 4, 2 and 1 that cuts the images
            into at least 16 patches: 4 for 32 x 32 and 28 x 28 pixels, 2 for 8 x 8.
        depth: number of blocks.
        heads: attention heads of width / heads units.
        width: units of every token.
        expansion: hidden units of the network of a block, in units of `width`.
        dropout: share of units that are dropped in training, after the positions, the attention and
            both layers of every network.
        num_classes: number of logits.
        initialization: "paper": Kaiming normal, last layer N(0, 1e-3^2), biases 0, as in `MLP`.
            "pytorch": the defaults of PyTorch for linear layers. "kaiming": the last layer Kaiming
            normal too. In all of them class token and positions are N(0, 0.02^2), and layer norms
            start at weight 1 and bias 0.

    Raises:
        InputError: a size is no positive integer, the heads do not divide the width, the
            initialization is unknown, or the images are no batch or cannot be cut into patches.

    Notes:
        The published network has patch 2, width 512 and dropout 0.1; its code draws the weights of
        all linear layers from N(0, 1e-3^2). ViT-S/16 (Touvron et al. 2021) has patch 16, depth 12,
        6 heads, width 384 and expansion 4.
    """

    patch: int | None = None
    depth: int = 6
    heads: int = 8
    width: int = 128
    expansion: int = 1
    dropout: float = 0.0
    num_classes: int = 10
    initialization: str = "paper"

    def __post_init__(self):
        """Check the arguments where they are given, not at the first call."""
        for name in ("depth", "heads", "width", "expansion"):
            setattr(self, name, integer(name, getattr(self, name), 1, 2**31 - 1))
        if self.patch is not None:
            self.patch = integer("patch", self.patch, 1, 2**31 - 1)
        self.dropout = number("dropout", self.dropout, at_least=0, below=1)
        if self.width % self.heads:
            raise invalid("width", f"is {self.width}", f"a multiple of {self.heads}, the heads")
        check_initialization(self.initialization)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Float[Array, "example class"]:
        """Return the logits (batch, num_classes) of images (batch, height, width, channels)."""
        x = images_as_patches(images, self.patch)
        x = _dense(self.initialization, self.width, x, name="patches")
        small = nn.initializers.normal(0.02)
        token = self.param("class_token", small, (self.width,))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], axis=1)
        x = x + self.param("positions", small, x.shape[1:])[None]
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        for block in range(self.depth):
            x = TransformerBlock(
                self.heads,
                self.expansion,
                self.dropout,
                self.initialization,
                name=f"block{block + 1}",
            )(x, train)
        x = nn.LayerNorm(EPSILON, name="last_norm")(x[:, 0])
        return logits(x, self.num_classes, self.initialization)


class TransformerBlock(nn.Module):
    """Attention and a network of one hidden layer, each added to its input after a layer norm.

    Attributes:
        heads: attention heads.
        expansion: hidden units over the units of a token.
        dropout: share of units that are dropped in training.
        initialization: as in `ViT`.
    """

    heads: int
    expansion: int
    dropout: float
    initialization: str

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Float[Array, "example token feature"]:
        """Return (batch, tokens, width) for tokens of that shape."""
        drop, width = nn.Dropout(self.dropout, deterministic=not train), x.shape[-1]
        y = nn.LayerNorm(EPSILON, name="norm1")(x)
        y = _dense(self.initialization, 3 * width, y, bias=False, name="queries_keys_values")
        y = self._attention(*jnp.split(y, 3, axis=-1))
        x = x + drop(_dense(self.initialization, width, y, name="attention"))
        y = nn.LayerNorm(EPSILON, name="norm2")(x)
        y = _dense(self.initialization, self.expansion * width, y, name="hidden")
        y = drop(nn.gelu(y, approximate=False))
        return x + drop(_dense(self.initialization, width, y, name="output"))

    def _attention(self, queries, keys, values):
        """Average values (B, N, W) with softmax weights of scaled products, head by head."""

        def by_head(x):
            return x.reshape(*x.shape[:2], self.heads, -1)

        queries, keys, values = map(by_head, (queries, keys, values))
        products = jnp.einsum("bqhd,bkhd->bhqk", queries, keys) / math.sqrt(queries.shape[-1])
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(products), values)
        return mixed.reshape(*mixed.shape[:2], -1)


def images_as_patches(
    images: Float[Array, "example height width channel"], patch: int | None
) -> Float[Array, "example patch pixel"]:
    """Return images (B, H, W, C) as (B, H W / p^2, p^2 C), for patches of p x p pixels.

    Patches come row by row, and so do the pixels of a patch, each with its channels.

    Raises:
        InputError: the images are no batch, or the sides are no multiples of p.
    """
    check_images(images, 1, "a pixel")
    batch, *sides, _ = images.shape
    if patch is None:
        fits = (
            size
            for size in (4, 2)
            if not any(side % size for side in sides)
            and math.prod(sides) >= FEWEST_PATCHES * size**2
        )
        patch = next(fits, 1)
    if any(side % patch for side in sides):
        raise invalid(
            "images",
            f"has shape {images.shape}",
            f"height and width that are multiples of {patch}, the side of a patch",
            "choose another patch, or cut the images",
        )
    rows, columns = (side // patch for side in sides)
    cut = images.reshape(batch, rows, patch, columns, patch, -1)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, -1)


def _dense(
    initialization: str, units: int, x: Array, *, name: str, bias: bool = True
) -> Float[Array, "example token feature"]:
    return nn.Dense(
        units,
        use_bias=bias,
        kernel_init=kernel_initializer(initialization, "hidden"),
        bias_init=bias_initializer(initialization, x.shape[-1]),
        name=name,
    )(x)
