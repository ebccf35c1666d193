"""Random changes of images, as pure functions of a PRNG key and a batch.

An augmentation maps `(key, images)` to images of the same shape (B, H, W, C) and dtype. It acts on
the pixels before they are normalized, so the zeros that fill the border are black pixels, as in the
field's usual pipeline. Every augmentation can be jitted, vmapped over ensemble members and scanned
over steps on the device.
"""

import functools
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Shaped

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion._types import ArrayLike, IntegerLike, Key
from sgd_diffusion.errors import invalid

__all__ = ["Augmentation", "compose", "random_crop", "random_flip", "standard_augmentation"]

Images: TypeAlias = Shaped[Array, "example height width channel"]
Augmentation: TypeAlias = Callable[[Key, ArrayLike], Images]
"""A function `(key, images) -> images` that keeps the shape (B, H, W, C) and the dtype."""


def random_crop(padding: IntegerLike) -> Augmentation:
    """Return an augmentation that shifts an image by up to `padding` pixels and fills with zeros.

    This is the same as padding with zeros and cropping at a random place. The vertical and the
    horizontal shift are independent and uniform on {-padding, ..., padding}. Every image has its
    own shifts.

    Args:
        padding: number of zero pixels added on each of the four sides, at least 0.

    Returns:
        The augmentation, `(key, images (B, H, W, C)) -> (B, H, W, C)`.

    Raises:
        InputError: `padding` is no integer of at least 0; or, when the augmentation is called, the
            images are not four-dimensional.

    >>> image = jnp.zeros((1, 3, 3, 1), jnp.uint8).at[0, 1, 1, 0].set(7)
    >>> moved = random_crop(1)(jax.random.key(0), image)
    >>> moved.shape, moved.dtype, int(moved.sum())
    ((1, 3, 3, 1), dtype('uint8'), 7)
    """
    padding = integer("padding", padding, 0, 2**16, what="(pixels)")

    def crop(key: Key, images: ArrayLike) -> Images:
        return _cropped(key, _batch(images), padding)

    return crop


# One program where it is called alone. Inlined, so that programs that train stay as they are.
@functools.partial(jax.jit, static_argnums=2, inline=True)
def _cropped(key, images, padding):
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * padding + 1, dtype=jnp.int32)
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))

    # One gather with whole images as its slices is fastest. Inside a lax.scan on two CPU cores, a
    # batch of 128 x 32 x 32 x 3 bytes takes 0.1 ms this way, 0.2 ms with take_along_axis on each
    # axis, 0.6 ms with one-hot products.
    def cut(image, corner):
        return lax.dynamic_slice(image, (corner[0], corner[1], np.int32(0)), images.shape[1:])

    return jax.vmap(cut)(padded, corners)


def random_flip(key: Key, images: ArrayLike) -> Images:
    """Mirror every image left to right with probability 1/2.

    Args:
        key: PRNG key.
        images: (B, H, W, C), any dtype.

    Returns:
        (B, H, W, C), the same dtype.

    Raises:
        InputError: the images are not four-dimensional.
    """
    return _flipped(key, _batch(images))


@functools.partial(jax.jit, inline=True)
def _flipped(key, images):
    # The probability is float32, so that 64-bit mode draws the same numbers.
    mirrored = jax.random.bernoulli(key, np.float32(0.5), (len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def compose(*augmentations: Augmentation) -> Augmentation:
    """Return an augmentation that applies the given ones in order, each with its own key.

    Without arguments it is the identity.

    Args:
        augmentations: functions `(key, images) -> images`.

    Returns:
        The augmentation, `(key, images (B, H, W, C)) -> (B, H, W, C)`.

    Notes:
        The order of `random_flip` and `random_crop` changes the time, not the distribution. A batch
        of 128 x 32 x 32 x 3 bytes takes 0.2 ms on two CPU cores with the flip first. It takes 4 ms
        with the crop first, because XLA computes the crop inside the flip, pixel by pixel.
    """

    def composed(key: Key, images: ArrayLike) -> ArrayLike:
        for augmentation, own_key in zip(
            augmentations, jax.random.split(key, len(augmentations)), strict=True
        ):
            images = augmentation(own_key, images)
        return images

    return composed


def standard_augmentation(dataset_name: str) -> Augmentation | None:
    """Return the field's usual augmentation of a data set.

    Args:
        dataset_name: the name that `datasets.load` gave the data set.

    Returns:
        For "cifar10" a flip, and a crop with 4 pixels of padding (He et al. 2016, section 4.2). For
        "digits" a crop with 1 pixel of padding; no flip, because a mirrored digit has another
        shape. None for every other name.
    """
    if dataset_name == "cifar10":
        return compose(random_flip, random_crop(4))
    if dataset_name == "digits":
        return random_crop(1)
    return None


def _batch(images: ArrayLike) -> Array:
    images = real_array("images", images)
    images = jnp.asarray(np.float64(images) if images.dtype == np.longdouble else images)
    if images.ndim != 4:
        raise invalid(
            "images",
            f"has shape {images.shape}",
            "(B, H, W, C)",
            "images[None] for one image, images[..., None] for one channel, jax.vmap for more axes",
        )
    return images
