"""The augmentations against closed forms: where a single bright pixel lands, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.augmentation import (
    compose,
    random_crop,
    random_flip,
    standard_augmentation,
)

KEY = jax.random.key(7)


def random_images(shape=(5, 6, 7, 3), dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(1, 100, shape).astype(dtype)


def shifted(image, down, right):
    """The image (H, W, C) moved with zero fill, by plain indexing."""
    moved = np.zeros_like(image)
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[y, x] = image[y - down, x - right]
    return moved


def shifts_of(key, padding, count):
    """The shift of each of `count` images, (count, 2), read from a bright pixel in the middle of a
    dark image.
    """
    size = 2 * padding + 1
    images = np.zeros((count, size, size, 1), np.float32)
    images[:, padding, padding] = 1
    moved = np.asarray(jax.jit(random_crop(padding))(key, images))
    assert np.all(moved.sum(axis=(1, 2, 3)) == 1)  # no shift pushes it out
    return np.argwhere(np.asarray(moved)[..., 0])[:, 1:] - padding


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_crop_shifts_each_image_and_fills_with_zeros(padding):
    images = random_images((6, 7, 7, 2))
    shifts = shifts_of(
        KEY, padding, len(images)
    )  # the draws depend on the key and the number of images only
    expected = [shifted(image, *shift) for image, shift in zip(images, shifts, strict=True)]
    np.testing.assert_array_equal(random_crop(padding)(KEY, images), expected)


def test_crop_draws_every_shift_equally_often():
    padding, count = 2, 50_000
    shifts, counts = np.unique(shifts_of(KEY, padding, count), axis=0, return_counts=True)
    cells = (2 * padding + 1) ** 2
    assert len(shifts) == cells
    standard_error = np.sqrt(count * (1 / cells) * (1 - 1 / cells))
    assert (
        np.abs(counts - count / cells).max() < 4 * standard_error
    )  # 25 cells: exceeded by chance in 0.2 % of keys


def test_crop_is_the_identity_without_padding():
    images = random_images()
    np.testing.assert_array_equal(random_crop(0)(KEY, images), images)


def test_crop_can_push_an_image_out():
    moved = jax.jit(random_crop(2))(KEY, np.ones((500, 1, 1, 1), np.uint8))
    assert set(np.unique(moved)) == {0, 1}


def test_flip_mirrors_left_and_right_or_nothing():
    images = random_images((200, 3, 4, 2))
    flipped = np.asarray(random_flip(KEY, images))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (flipped == images).all(axis=(1, 2, 3))
    assert np.all(mirrored ^ kept)
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(images))


def test_flip_is_an_involution():
    images = random_images()
    np.testing.assert_array_equal(random_flip(KEY, random_flip(KEY, images)), images)


def test_compose_applies_in_order_with_keys_of_their_own():
    images = random_images()
    first, second = jax.random.split(KEY)
    expected = random_flip(second, random_crop(2)(first, images))
    np.testing.assert_array_equal(compose(random_crop(2), random_flip)(KEY, images), expected)
    np.testing.assert_array_equal(compose()(KEY, images), images)


def test_crop_and_flip_of_one_composition_are_independent():
    count = 20_000
    images = np.zeros((count, 3, 5, 1), np.float32)
    images[:, 1, 1] = 1  # flipped, the pixel is at x = 3
    moved = jax.jit(compose(random_flip, random_crop(1)))(KEY, images)
    x = np.argwhere(np.asarray(moved)[..., 0])[:, 2]
    expected = np.array([1, 1, 2, 1, 1]) / 6  # x = 0, 1, 2 unflipped and 2, 3, 4 flipped
    errors = np.sqrt(expected * (1 - expected) / count)
    assert np.all(np.abs(np.bincount(x, minlength=5) / count - expected) < 4 * errors)


def test_standard_augmentations():
    image = random_images((1, 8, 8, 1))

    def moved(name, count):
        many = np.repeat(image, count, axis=0)
        return {
            each.tobytes() for each in np.asarray(jax.jit(standard_augmentation(name))(KEY, many))
        }

    digits = moved("digits", 400)
    assert digits == {
        shifted(image[0], down, right).tobytes() for down in (-1, 0, 1) for right in (-1, 0, 1)
    }

    cifar10 = moved("cifar10", 4000)
    shifts = [(down, right) for down in range(-4, 5) for right in range(-4, 5)]
    # 162 images, each missed by 4000 draws with probability exp(-25)
    assert cifar10 == {
        shifted(face, *shift)[:, ::way].tobytes()
        for face in image
        for shift in shifts
        for way in (1, -1)
    }
    assert standard_augmentation("mnist") is None
    assert standard_augmentation("cifar10.npz") is None


AUGMENTATIONS = {
    "crop": random_crop(2),
    "flip": random_flip,
    "both": compose(random_crop(1), random_flip),
}


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
class TestEveryAugmentation:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, jnp.bfloat16])
    def test_keeps_shape_and_dtype(self, augment, dtype):
        images = jnp.asarray(random_images(), dtype)
        assert augment(KEY, images).shape == images.shape
        assert augment(KEY, images).dtype == dtype

    def test_invents_no_values(self, augment):
        images = random_images()
        assert set(np.unique(augment(KEY, images))) <= set(np.unique(images)) | {0}

    def test_is_a_function_of_the_key(self, augment):
        images = random_images((40, 6, 7, 1))
        np.testing.assert_array_equal(augment(KEY, images), augment(KEY, images))
        assert np.any(augment(KEY, images) != augment(jax.random.key(8), images))

    def test_is_the_same_under_jit_vmap_and_scan(self, augment):
        keys = jax.random.split(KEY, 3)
        images = jnp.asarray(random_images())
        members = jnp.asarray(random_images((3, 5, 6, 7, 3)))
        np.testing.assert_array_equal(jax.jit(augment)(KEY, images), augment(KEY, images))
        np.testing.assert_array_equal(
            jax.vmap(augment)(keys, members),
            [augment(key, member) for key, member in zip(keys, members, strict=True)],
        )
        expected = [augment(key, images) for key in keys]
        np.testing.assert_array_equal(jax.vmap(augment, in_axes=(0, None))(keys, images), expected)
        np.testing.assert_array_equal(
            jax.lax.scan(lambda carry, key: (carry, augment(key, images)), 0, keys)[1], expected
        )

    def test_asks_for_batches(self, augment):
        with pytest.raises(
            InputError, match=r"images has shape \(6, 7, 3\); expected \(B, H, W, C\)"
        ):
            augment(KEY, random_images()[0])


def test_padding_is_a_number_of_pixels():
    for padding in (-1, 1.5, True, "1", None, 10**9):
        with pytest.raises(InputError, match=r"padding is .*; expected an integer"):
            random_crop(padding)
