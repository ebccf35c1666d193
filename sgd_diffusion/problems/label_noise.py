"""Label noise: labels of training examples drawn at random, once and for all or at every update."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import number
from sgd_diffusion._types import Key, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.labeled_images import Dataset, checked
from sgd_diffusion.problems.objectives import Problem

__all__ = ["FRESH", "with_fresh_label_noise", "with_label_noise"]

FRESH = "fresh_label_noise"
"""What says in the description of a problem that its labels are drawn anew at every update."""


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


def with_fresh_label_noise(problem: Problem, share: NumberLike) -> Problem:
    """Return a classification problem whose labels are drawn anew at every update.

    Every example of every mini-batch gets a new label with probability `share`, drawn uniformly
    from all C classes, the old one among them. It is part of the augmentation. Unlike labels that
    are wrong once and for all (`with_label_noise`), these cannot be learned by heart. They are a
    gradient noise that stays where all examples are fitted, and that drifts towards flat minima
    (Blanc et al., arXiv:1904.09080; Damian et al., arXiv:2106.06530).

    Args:
        problem: as from `classification`.
        share: probability of a new label, in [0, 1].

    Returns:
        The problem with "fresh_label_noise" in its description. Its probe and its test examples
        keep their labels. With a share of 0 it is the problem itself.

    Raises:
        InputError: the share is outside [0, 1], or the problem is no classification, or has fresh
            label noise already.
    """
    share = number("share", share, at_least=0, at_most=1)
    examples = problem.description.get("examples")
    classes = examples.get("classes") if isinstance(examples, Mapping) else None
    if classes is None or FRESH in problem.description:
        raise invalid(
            "problem",
            "has label noise already" if classes else "says no number of classes",
            "a problem from `classification`, without fresh label noise",
        )
    if not share:
        return problem

    def augment(key, batch):
        own, choice, draw = jax.random.split(key, 3)
        batch = batch if problem.augment is None else problem.augment(own, batch)
        shape = batch.labels.shape
        # The probability is float32, so that 64-bit mode draws the same numbers.
        changed = jax.random.bernoulli(choice, np.float32(share), shape)
        drawn = jax.random.randint(draw, shape, 0, classes, dtype=jnp.int32)
        return batch._replace(labels=jnp.where(changed, drawn, batch.labels))

    return dataclasses.replace(
        problem, augment=augment, description={**problem.description, FRESH: share}
    )
