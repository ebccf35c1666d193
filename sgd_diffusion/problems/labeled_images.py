"""Labeled images in memory: what they are, and the checks that they pass wherever they are from."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.errors import invalid

__all__ = ["ARRAYS", "MAX_CLASSES", "Dataset", "Examples", "checked"]

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
"""What the four arrays of a data set are called."""

MAX_CLASSES = 100_000
"""More classes than any set of images has. A network gets an output, with weights, for each."""


class Examples(NamedTuple):
    """Images and their classes.

    Attributes:
        images: (N, H, W, C), uint8 or float32, in the source's own pixel units, not normalized.
        labels: (N,) int32, from 0 to the number of classes - 1.
    """

    images: Shaped[Array | np.ndarray, "example height width channel"]
    labels: Int[Array | np.ndarray, "example"]


class Dataset(NamedTuple):
    """A training and a test set of images with the same H, W, C and dtype.

    Attributes:
        train: the training examples.
        test: the test examples.
        num_classes: number of classes.
        name: the name it was loaded by; for an `.npz` file the name of the file, such as
            "mine.npz".
        label_noise: facts about training labels that were drawn at random (see
            `with_label_noise`), or None.
        reading: one line on how the arrays of an `.npz` file or of a function were read, or "".
    """

    train: Examples
    test: Examples
    num_classes: int
    name: str
    label_noise: Mapping[str, Any] | None = None
    reading: str = ""


def checked(
    train: Examples,
    test: Examples,
    name: str,
    *,
    num_classes: IntegerLike | None = None,
    source: str = "",
    names: Sequence[str] = ARRAYS,
) -> Dataset:
    """Return a data set of the given examples, after checks.

    Args:
        train: the training examples: images (N, H, W) or (N, H, W, C) of any real numbers, and
            integer labels (N,) or (N, 1).
        test: the test examples, likewise.
        name: of the data set.
        num_classes: number of classes; the largest training label + 1 if None.
        source: where they come from, for messages, such as " in mine.npz".
        names: what messages call the four arrays.

    Returns:
        The same images, uint8 as they are and all others as float32, and labels as int32.

    Raises:
        InputError: images or labels are something else, or do not fit together.
    """
    train, test = (
        Examples(
            _images(f"{images}{source}", given.images),
            _labels(f"{labels}{source}", given.labels, np.shape(given.images)[:1]),
        )
        for images, labels, given in ((names[0], names[1], train), (names[2], names[3], test))
    )
    kinds = [(str(split.images.dtype), split.images.shape[1:]) for split in (train, test)]
    if kinds[0] != kinds[1]:
        raise invalid(
            f"images{source}",
            f"are {kinds[0]} for training and {kinds[1]} for testing",
            "one dtype and one (H, W, C)",
            "store both in the same units and size",
        )
    largest = int(train.labels.max())
    if num_classes is None and test.labels.max() > largest:
        raise invalid(
            f"{names[3]}{source}",
            f"go up to {test.labels.max()}",
            f"at most {largest}, the largest training label",
            "leave out test examples of classes without training examples",
        )
    largest = max(largest, int(test.labels.max()))
    num_classes = (
        largest + 1
        if num_classes is None
        else integer("num_classes", num_classes, largest + 1, MAX_CLASSES)
    )
    return Dataset(train, test, num_classes, name)


def _images(where: str, images: ArrayLike) -> np.ndarray:
    images = np.asarray(real_array(where, images))
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise invalid(
            where,
            f"has shape {images.shape}",
            "(N, H, W) or (N, H, W, C), none of them 0",
            "reshape it, channels last",
        )
    if images.dtype == np.uint8:
        return images if images.ndim == 4 else images[..., None]
    if not jnp.issubdtype(images.dtype, jnp.floating) and np.any(
        np.abs(images.astype(np.float64)) > 2**24
    ):
        raise invalid(
            where, "has integers that float32 does not hold", "at most 2^24", "scale them down"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported
        images = images.astype(np.float32, copy=False)
    unusable = images.size - np.count_nonzero(np.isfinite(images))
    if unusable:
        raise invalid(
            where,
            f"has {unusable} pixels that are NaN or infinite in float32",
            "finite values",
            "replace them, or leave those images out",
        )
    return images if images.ndim == 4 else images[..., None]


def _labels(where: str, labels: ArrayLike, count: tuple[int, ...]) -> np.ndarray:
    labels = np.asarray(real_array(where, labels))
    if labels.shape == (*count, 1):
        labels = labels[:, 0]
    if labels.shape != count:
        raise invalid(
            where,
            f"has shape {labels.shape}",
            f"{count} or {(*count, 1)}, one label for each image",
            _way_out(labels, count),
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise invalid(
            where, f"is {labels.dtype}", "integers", "convert it with .astype(numpy.int32)"
        )
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise invalid(
            where,
            f"runs from {labels.min()} to {labels.max()}",
            f"classes counted from 0, at most {MAX_CLASSES} of them",
            "numpy.unique(labels, return_inverse=True)[1] counts them so",
        )
    return labels.astype(np.int32)


def _way_out(labels: np.ndarray, count: tuple[int, ...]) -> str:
    """Return what helps with labels of this shape."""
    if labels.ndim != 2 or labels.shape[:1] != count:
        return "images and labels come in the same order and number"
    if ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all():
        return "these are one-hot rows, take .argmax(1)"
    return (
        "several labels for an image are no classification into one class, so take one column as "
        "the label, or make a Problem with a loss of your own"
    )
