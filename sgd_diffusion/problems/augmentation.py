"""Random image augmentations as pure functions of a PRNG key and a batch.

An augmentation maps `(key, images)` to images of the same shape and dtype, `images` being (B, H, W,
C). It acts on the pixels before any normalisation, so that the zero fill is a black pixel, as in
the field's usual pipeline. All of them can be jitted, vmapped over ensemble members and scanned
over steps on the device.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion.errors import InputError

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]
"""A function `(key, images) -> images` that keeps the shape (B, H, W, C) and the dtype."""


def random_crop(padding: int) -> Augmentation:
    """Augmentation that pads every image with zeros and crops it back to its size at a random
    place.

    It is the same as a shift by up to `padding` pixels with zero fill: vertical and horizontal
    shifts are independent, and each is uniform on {-padding, ..., padding}; every image has its
    own.

    Args:
        padding: number of zero pixels added on each of the four sides, at least 0.

    Returns:
        The augmentation, `(key, images (B, H, W, C)) -> (B, H, W, C)`.

    Raises:
        InputError: `padding` is no integer of at least 0, or later the images are not
              four-dimensional.

    >>> image = jnp.zeros((1, 3, 3, 1), jnp.uint8).at[0, 1, 1, 0].set(7)
    >>> moved = random_crop(1)(jax.random.key(0), image)
    >>> moved.shape, moved.dtype, int(moved.sum())
    ((1, 3, 3, 1), dtype('uint8'), 7)
    """
    padding = integer("padding", padding, 0, 2**16, what="(pixels)")

    def crop(key: jax.Array, images: jax.Array) -> jax.Array:
        images = _batch(images)
        corners = jax.random.randint(key, (len(images), 2), 0, 2 * padding + 1, dtype=jnp.int32)
        padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))

        # Whole images as the slices of one gather. Inside a lax.scan on two CPU cores, a batch of
        # 128 x 32 x 32 x 3 bytes takes 0.1 ms this way, 0.2 ms with take_along_axis on each axis,
        # 0.6 ms with one-hot products.
        def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
            return lax.dynamic_slice(image, (corner[0], corner[1], np.int32(0)), images.shape[1:])

        return jax.vmap(cut)(padded, corners)

    return crop


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirror every image left to right with probability 1/2.

    Args:
        key: PRNG key.
        images: (B, H, W, C), any dtype.

    Returns:
        (B, H, W, C), the same dtype.

    Raises:
        InputError: the images are not four-dimensional.
    """
    images = _batch(images)
    mirrored = jax.random.bernoulli(
        key, np.float32(0.5), (len(images), 1, 1, 1)
    )  # alike in 64-bit mode
    return jnp.where(mirrored, images[:, :, ::-1], images)


def compose(*augmentations: Augmentation) -> Augmentation:
    """Augmentation that applies the given ones in order, each with a key of its own; none at all is
    the identity.

    The order of `random_flip` and `random_crop` does not change the distribution, but the time:
    with the flip first, a batch of 128 x 32 x 32 x 3 bytes takes 0.2 ms on two CPU cores, with the
    crop first 4 ms (XLA computes the crop inside the flip, pixel by pixel).
    """

    def composed(key: jax.Array, images: jax.Array) -> jax.Array:
        for augmentation, own_key in zip(
            augmentations, jax.random.split(key, len(augmentations)), strict=True
        ):
            images = augmentation(own_key, images)
        return images

    return composed


def standard_augmentation(dataset_name: str) -> Augmentation | None:
    """The field's usual augmentation of a data set, by the name that `datasets.load` gave it.

    "cifar10": flip, and crop with 4 pixels of padding (He et al. 2016, section 4.2). "digits": crop
    with 1 pixel of padding; a mirrored digit is another shape, so no flip. Every other name: None.
    """
    if dataset_name == "cifar10":
        return compose(random_flip, random_crop(4))
    if dataset_name == "digits":
        return random_crop(1)
    return None


def _batch(images: jax.Array) -> jax.Array:
    images = real_array("images", images)
    images = jnp.asarray(np.float64(images) if images.dtype == np.longdouble else images)
    if images.ndim != 4:
        raise InputError(
            f"images has shape {images.shape}; expected (B, H, W, C): images[None] for one image, "
            "images[..., None] for one channel, jax.vmap for more axes"
        )
    return images
