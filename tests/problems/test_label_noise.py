"""Label noise against the binomial law of what changes, and what must stay as it is."""

import dataclasses

import jax
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import (
    MLP,
    classification,
    gaussian,
    load,
    with_fresh_label_noise,
    with_label_noise,
)

KEY = jax.random.key(3)
COUNT, CLASSES = 40_000, 7


@pytest.fixture(scope="module")
def clean():
    return gaussian(train_size=COUNT, test_size=100, shape=(1, 1, 1), num_classes=CLASSES)


def standard_error(probability, count):
    return np.sqrt(probability * (1 - probability) / count)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_a_share_of_the_labels_is_drawn_from_all_classes(clean, share):
    noisy = with_label_noise(KEY, clean, share)
    wrong = share * (1 - 1 / CLASSES)
    for label in range(CLASSES):  # of every class the same share, and to every other class
        of_class = noisy.train.labels[clean.train.labels == label]
        for other in range(CLASSES):
            expected = 1 - wrong if other == label else share / CLASSES
            found = np.mean(of_class == other)
            # 49 pairs of classes: four standard errors are exceeded by chance in 0.3 % of keys
            assert abs(found - expected) < 4 * standard_error(expected, len(of_class))


def test_all_labels_random_are_uniform_and_independent_of_the_old_ones(clean):
    labels = with_label_noise(KEY, clean, 1).train.labels
    counts = np.bincount(labels, minlength=CLASSES)
    assert np.abs(counts / COUNT - 1 / CLASSES).max() < 4 * standard_error(1 / CLASSES, COUNT)
    agree = np.mean(labels == clean.train.labels)
    assert abs(agree - 1 / CLASSES) < 4 * standard_error(1 / CLASSES, COUNT)


def test_a_share_of_zero_changes_nothing(clean):
    assert with_label_noise(KEY, clean, 0) is clean


def test_all_but_the_training_labels_stays(clean):
    noisy = with_label_noise(KEY, clean, 0.5)
    assert noisy.train.images is clean.train.images
    np.testing.assert_array_equal(noisy.test.labels, clean.test.labels)
    np.testing.assert_array_equal(noisy.test.images, clean.test.images)
    assert (noisy.name, noisy.num_classes) == (clean.name, clean.num_classes)
    assert noisy.train.labels.dtype == clean.train.labels.dtype == np.int32
    assert isinstance(noisy.train.labels, np.ndarray)


def test_the_key_decides(clean):
    first, again, other = (
        with_label_noise(key, clean, 0.5).train.labels for key in (KEY, KEY, jax.random.key(4))
    )
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != other) > 0.3
    # the more noise, the more labels differ, and those that differ stay the same
    more = with_label_noise(KEY, clean, 0.8).train.labels
    np.testing.assert_array_equal(
        more[first != clean.train.labels], first[first != clean.train.labels]
    )


def test_the_description_of_a_problem_says_the_noise():
    digits = load("digits")

    def described(key, share):
        return classification(MLP((10,)), with_label_noise(key, digits, share)).description

    plain = classification(MLP((10,)), digits).description
    assert described(KEY, 0.25) == plain | {"label_noise": {"share": 0.25, "key": [0, 3]}}
    assert described(KEY, 0) == plain
    assert described(jax.random.PRNGKey(3), 0.25) == described(KEY, 0.25)
    assert described(jax.random.key(4), 0.25) != described(KEY, 0.25)


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan, "0.1", None, [0.1], True])
def test_what_is_no_share_is_refused(clean, share):
    with pytest.raises(InputError, match=r"^share is .*; expected a finite number of at least 0"):
        with_label_noise(KEY, clean, share)


def test_noise_on_noise_is_refused(clean):
    with pytest.raises(InputError, match=r"dataset has label noise already, \{'share': 0.5"):
        with_label_noise(KEY, with_label_noise(KEY, clean, 0.5), 0.5)


def test_labels_that_do_not_fit_are_refused(clean):
    short = clean._replace(train=clean.train._replace(labels=clean.train.labels[:9]))
    with pytest.raises(InputError, match="train_labels has shape"):
        with_label_noise(KEY, short, 0.5)


@pytest.fixture(scope="module")
def fresh(clean):
    return with_fresh_label_noise(classification(MLP((CLASSES,)), clean), 0.3)


def test_fresh_labels_are_drawn_from_all_classes_anew_at_every_update(clean, fresh):
    first, second = (fresh.augment(key, fresh.examples) for key in jax.random.split(KEY))
    wrong = 0.3 * (1 - 1 / CLASSES)
    for batch in (first, second):
        found = np.mean(batch.labels != clean.train.labels)
        assert abs(found - wrong) < 4 * standard_error(wrong, COUNT)
        assert batch.labels.dtype == np.int32 and batch.images is fresh.examples.images
    both = np.mean((first.labels != clean.train.labels) & (second.labels != clean.train.labels))
    assert abs(both - wrong**2) < 4 * standard_error(wrong**2, COUNT)  # independent
    again = fresh.augment(jax.random.split(KEY)[0], fresh.examples)
    np.testing.assert_array_equal(again.labels, first.labels)


def test_fresh_labels_go_with_an_augmentation_and_leave_the_rest_alone(clean, fresh):
    assert fresh.description["fresh_label_noise"] == 0.3
    plain = classification(MLP((CLASSES,)), clean, augment=lambda key, images: images + 1)
    both = with_fresh_label_noise(plain, 0.3)
    batch = both.augment(KEY, both.examples)
    np.testing.assert_array_equal(batch.images, plain.examples.images + 1)
    np.testing.assert_array_equal(both.test_examples.labels, clean.test.labels)
    assert with_fresh_label_noise(plain, 0) is plain


def test_fresh_label_noise_that_makes_no_sense_is_refused(fresh):
    with pytest.raises(InputError, match=r"share is 1\.5"):
        with_fresh_label_noise(fresh, 1.5)
    with pytest.raises(InputError, match="problem has label noise already"):
        with_fresh_label_noise(fresh, 0.5)
    other = dataclasses.replace(fresh, description={"examples": "mine"})
    with pytest.raises(InputError, match="problem says no number of classes"):
        with_fresh_label_noise(other, 0.5)
