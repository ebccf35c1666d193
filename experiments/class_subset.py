"""The few images of each class on which networks are followed in full detail."""

import numpy as np

from sgd_diffusion.problems.datasets import Dataset, Examples

FEW = ("digits",)  # data sets that are small: all images that are not trained on are test images


def class_subset(data: Dataset, per_class: int, test_per_class: int) -> Dataset:
    """Return the first images of each class, with pixels from -1 to 1.

    Of the digits the first `per_class` x 10 images are trained on, whatever their class, and all
    others test.

    Args:
        data: images from 0 on.
        per_class: training images of a class; all where there are fewer.
        test_per_class: test images of a class, likewise.
    """
    largest = np.abs(data.train.images).max().astype(np.float32)
    if data.name in FEW:
        both = Examples(*(np.concatenate(pair) for pair in zip(data.train, data.test, strict=True)))
        cut = min(per_class * data.num_classes, len(both.labels) - 1)
        train, test = (
            Examples(both.images[rows], both.labels[rows])
            for rows in (slice(cut), slice(cut, None))
        )
    else:
        train, test = _first(data.train, per_class), _first(data.test, test_per_class)
    return data._replace(
        **{
            name: own._replace(images=2 * own.images.astype(np.float32) / largest - 1)
            for name, own in (("train", train), ("test", test))
        }
    )


def _first(examples: Examples, count: int) -> Examples:
    """The first images of each class, in the order of the data."""
    rows = [
        np.flatnonzero(examples.labels == label)[:count] for label in np.unique(examples.labels)
    ]
    chosen = np.sort(np.concatenate(rows))
    return Examples(examples.images[chosen], examples.labels[chosen])
