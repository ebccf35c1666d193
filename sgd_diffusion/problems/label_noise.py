"""Label noise: training examples whose labels are drawn at random, once and for all."""

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import number
from sgd_diffusion._types import Key, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.labeled_images import Dataset, checked

__all__ = ["with_label_noise"]


def with_label_noise(key: Key, dataset: Dataset, share: NumberLike) -> Dataset:
    """Return a data set in which a share of the training labels is random.

    Every training example gets a new label with probability `share`, independently of the others.
    It is drawn uniformly from all C classes, the old one among them, so that share (1 - 1/C) of the
    labels are wrong on average. These are the partially corrupted labels of Zhang et al.
    (arXiv:1611.03530, section 2.1). Images and test labels stay as they are.

    Args:
        key: PRNG key; the same key gives the same labels.
        dataset: without label noise.
        share: probability of a new label, in [0, 1].

    Returns:
        The data set with labels (N,) int32. `label_noise` says the share and the numbers of the
        key; problems keep it in their descriptions. With a share of 0 it is the data set itself.

    Raises:
        InputError: the share is outside [0, 1], the data set has label noise already, or its images
            and labels do not fit together.

    >>> from sgd_diffusion.problems.datasets import gaussian
    >>> clean = gaussian(train_size=1000, test_size=1, shape=(1, 1, 1))
    >>> noisy = with_label_noise(jax.random.key(0), clean, 0.5)
    >>> noisy.label_noise
    {'share': 0.5, 'key': [0, 0]}
    >>> bool(0.4 < np.mean(noisy.train.labels != clean.train.labels) < 0.5)
    True
    """
    share = number("share", share, at_least=0, at_most=1)
    if dataset.label_noise is not None:
        raise invalid(
            "dataset",
            f"has label noise already, {dict(dataset.label_noise)!r:.200}",
            "a data set without",
            "take the one that the noise was added to",
        )
    if not share:
        return dataset
    reading = dataset.reading
    dataset = checked(dataset.train, dataset.test, dataset.name, num_classes=dataset.num_classes)
    choice, draw = jax.random.split(key)
    shape = dataset.train.labels.shape
    # The probability is float32, so that 64-bit mode draws the same numbers.
    changed = jax.random.bernoulli(choice, np.float32(share), shape)
    drawn = jax.random.randint(draw, shape, 0, dataset.num_classes, dtype=jnp.int32)
    labels = np.where(np.asarray(changed), np.asarray(drawn), dataset.train.labels)
    return dataset._replace(
        reading=reading,
        train=dataset.train._replace(labels=labels),
        label_noise={"share": share, "key": np.asarray(jax.random.key_data(key)).tolist()},
    )
