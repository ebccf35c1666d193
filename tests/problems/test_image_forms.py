"""Arrays of images and labels in the forms that people have: all give the same data set, say how
they were read, or are refused.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.datasets import gaussian, load
from sgd_diffusion.problems.image_forms import read_arrays
from sgd_diffusion.problems.labeled_images import ARRAYS, checked
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.objectives import classification

RNG = np.random.default_rng(0)
KERAS = ("x_train", "y_train", "x_test", "y_test")


def arrays(shape=(8, 8, 3), classes=3, sizes=(7, 4)):
    """Images of unsigned bytes with channels last and labels as integers."""
    found = []
    for size in sizes:
        found.append(RNG.integers(0, 256, (size, *shape), dtype=np.uint8))
        found.append(np.concatenate([np.arange(classes), RNG.integers(0, classes, size - classes)]))
    return dict(zip(ARRAYS, found, strict=True))


def changed(contents, images=lambda x: x, labels=lambda y: y, names=ARRAYS):
    functions = itertools.cycle((images, labels))
    return {
        name: function(value)
        for name, function, value in zip(names, functions, contents.values(), strict=False)
    }


def read(contents):
    return read_arrays(contents, "mine", "here", "arrays")


def assert_same(found, expected):
    for a, b in zip((*found.train, *found.test), (*expected.train, *expected.test), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert found.num_classes == expected.num_classes


# the table of forms
# --------------------------------------------------------------------------------------------------

COLORS = arrays()
GRAY = arrays((8, 8))
ANIMALS = np.array(["cat", "dog", "eel"])


@pytest.mark.parametrize(
    ("contents", "like", "reading"),
    [
        (COLORS, COLORS, "8 x 8 x 3 images, channels last, uint8 pixels, 0 to 255; integer labels"),
        (GRAY, GRAY, "8 x 8 x 1 gray images, uint8 pixels, 0 to 255; integer labels, 3 classes"),
        (
            changed(COLORS, images=lambda x: x.transpose(0, 3, 1, 2)),
            COLORS,
            "8 x 8 x 3 images, channels first",
        ),
        (changed(GRAY, images=lambda x: x[:, None]), GRAY, "8 x 8 x 1 images, channels first"),
        (changed(GRAY, images=lambda x: x[..., None]), GRAY, "8 x 8 x 1 images, channels last"),
        (changed(COLORS, labels=lambda y: y[:, None]), COLORS, "integer labels in a column, 3"),
        (changed(COLORS, labels=lambda y: np.eye(3)[y]), COLORS, "one-hot labels, 3 classes"),
        (changed(COLORS, labels=lambda y: np.eye(3, dtype=bool)[y]), COLORS, "one-hot labels"),
        (
            changed(COLORS, labels=lambda y: ANIMALS[y]),
            COLORS,
            "names as labels in this order: cat, dog, eel, 3 classes",
        ),
        (changed(COLORS, labels=lambda y: ANIMALS[y][:, None]), COLORS, "this order: cat, dog"),
        (changed(COLORS, labels=lambda y: ANIMALS.astype("S")[y]), COLORS, "order: cat, dog, eel"),
        (changed(COLORS, labels=lambda y: ANIMALS.astype(object)[y]), COLORS, "order: cat, dog"),
        (changed(COLORS, labels=lambda y: ANIMALS[y].tolist()), COLORS, "order: cat, dog, eel"),
        (
            changed(COLORS, labels=lambda y: np.array(["9", "10", "100"])[y]),
            COLORS,
            "this order: 9, 10, 100",
        ),
        (changed(COLORS, names=KERAS), COLORS, "mine: x_train, y_train, x_test, y_test; 8 x 8 x 3"),
        (
            changed(COLORS, names=("X_train", "y_train", "X_test", "y_test")),
            COLORS,
            "mine: X_train, y_train, X_test, y_test;",
        ),
        (COLORS | {"val_images": None}, COLORS, "3 classes; not read: val_images"),
        (changed(COLORS, images=jnp.asarray, labels=jnp.asarray), COLORS, "channels last"),
    ],
)
def test_forms_and_how_they_are_read(contents, like, reading):
    found = read(contents)
    plain = [like[name] for name in ARRAYS]
    assert_same(found, checked(*(type(found.train)(*plain[i : i + 2]) for i in (0, 2)), "mine"))
    assert reading in found.reading and "\n" not in found.reading


@pytest.mark.parametrize(
    ("pixels", "reading"),
    [
        (lambda x: x / 255, "float64 pixels, 0 to 1;"),
        (lambda x: x.astype(np.float16), "float16 pixels, 0 to 255;"),
        (lambda x: x.astype(np.int64), "int64 pixels, 0 to 255;"),
        (lambda x: ((x - 127.5) / 73.9).astype(np.float32), "float32 pixels, -1.73 to 1.73;"),
        (lambda x: x > 100, "bool pixels, 0 to 1;"),
    ],
)
def test_units_of_pixels(pixels, reading):
    found = read(changed(COLORS, images=pixels))
    assert reading in found.reading and found.train.images.dtype == np.float32
    np.testing.assert_array_equal(
        found.train.images, pixels(COLORS["train_images"]).astype(np.float32)
    )


# refusals
# --------------------------------------------------------------------------------------------------


def split(**changes):
    return COLORS | changes


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (arrays((3, 32, 3)), r"\(7, 3, 32, 3\), whose channels can be .*layout='NHWC' or 'NCHW'"),
        (arrays((32, 48, 13)), r"channels can be first or last; expected 4 channels or fewer at"),
        (arrays((4, 4, 4)), "channels can be first or last"),
        (arrays((1, 5, 1)), "channels can be first or last"),
        (split(layout="HWCN"), "layout is 'HWCN'; expected 'NHWC' or 'NCHW'"),
        (
            changed(COLORS, images=lambda x: np.moveaxis(x, 0, -1)),
            r"\(8, 8, 3, 7\), with the 7 examples last; .*moveaxis\(images, -1, 0\)",
        ),
        (
            changed(GRAY, images=lambda x: np.moveaxis(x, 0, -1)),
            r"\(8, 8, 7\), with the 7 examples last",
        ),
        (
            split(train_images=COLORS["train_images"] / 255, test_images=COLORS["test_images"] / 1),
            "test_images in here has pixels .* to 255, and train_images in here has pixels 0 to 1;",
        ),
        (
            split(
                train_images=COLORS["train_images"] / 60 - 2,
                test_images=COLORS["test_images"] / 255,
            ),
            "expected the same units in both",
        ),
        (
            split(train_images=COLORS["train_images"] / 255),
            "are .'float32', .* for training and .'uint8'",
        ),
        (
            split(train_labels=ANIMALS[COLORS["train_labels"]]),
            "test_labels in here and train_labels in here are text in one and numbers in the other",
        ),
        (
            split(
                train_labels=ANIMALS[COLORS["train_labels"]],
                test_labels=np.array(["cat", "yak", "dog", "ant"]),
            ),
            "test_labels in here has the names 'ant', 'yak'; expected only names of train_labels",
        ),
        (
            split(
                train_labels=np.eye(3)[COLORS["train_labels"]],
                test_labels=np.eye(4)[COLORS["test_labels"]],
            ),
            "test_labels in here has 4 columns, and train_labels in here has 3",
        ),
        (changed(COLORS, labels=lambda y: np.full((len(y), 3), 1 / 3)), "several labels"),
        (changed(COLORS, labels=lambda y: y / 1), "is float64; expected integers"),
        (changed(COLORS, labels=lambda y: np.array([b"\xff"] * len(y))), "no UTF-8"),
        (COLORS | changed(COLORS, names=KERAS), "leave out those of one way to name them"),
        (COLORS | {"Train_Images": 0}, "one spelling of train_images"),
        (
            {
                name: value
                for name, value in changed(COLORS, names=KERAS).items()
                if name != "y_test"
            },
            "here lacks y_test and has x_train, y_train, x_test; expected arrays",
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(contents, words):
    with pytest.raises(InputError, match=words):
        read(contents)


# properties
# --------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.integers(1, 7),
    first=st.booleans(),
)
def test_channels_are_not_guessed(sides, channels, first):
    """A stored layout is obeyed. Without one the images are read right or refused, unless they have
    more than four channels and a side of four pixels or fewer.
    """
    contents = arrays((*sides, channels), classes=2, sizes=(3, 2))
    expected = read(contents | {"layout": "NHWC"})
    np.testing.assert_array_equal(expected.train.images, contents["train_images"])
    stored = changed(contents, images=lambda x: np.moveaxis(x, -1, 1)) if first else contents
    assert_same(read(stored | {"layout": "NCHW" if first else "NHWC"}), expected)
    if channels <= 4 and min(sides) > 4:
        assert_same(read(stored), expected)
    elif channels <= 4 or min(sides) > 4:
        try:
            found = read(stored)
        except InputError as error:
            assert "layout" in str(error)
        else:
            assert_same(found, expected)


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(
        st.text("abcXYZ 019", min_size=1, max_size=5), min_size=2, max_size=12, unique=True
    ),
    seed=st.integers(0, 99),
)
def test_names_keep_the_classes_apart(names, seed):
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(names)), rng.integers(0, len(names), 5)])
    images = np.zeros((len(order), 2, 2), np.uint8)
    text = np.array(names)[order]
    found = read(dict(zip(ARRAYS, (images, text, images, text), strict=True)))
    assert found.num_classes == len(names)
    pairs = set(zip(text.tolist(), found.train.labels.tolist(), strict=True))
    assert len(pairs) == len(names) and {label for _, label in pairs} == set(range(len(names)))


# files and functions
# --------------------------------------------------------------------------------------------------


def test_a_file_is_read_in_these_forms(tmp_path):
    contents = changed(COLORS, lambda x: x.transpose(0, 3, 1, 2), lambda y: ANIMALS[y], names=KERAS)
    np.savez(tmp_path / "mine.npz", **contents, layout="NCHW", notes=np.arange(3))
    found = load(tmp_path / "mine.npz")
    assert_same(found, read(COLORS))
    assert found.reading == (
        "mine.npz: x_train, y_train, x_test, y_test; 8 x 8 x 3 images, channels first, "
        "uint8 pixels, 0 to 255; names as labels in this order: cat, dog, eel, 3 classes; "
        "not read: notes"
    )


MODULE = """
import numpy as np
from sgd_diffusion.problems import gaussian
x, y = np.arange(32, dtype=np.uint8).reshape(2, 4, 4), np.array([1, 0])

def by_name():
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}

def in_order():
    return x, y, x, y

def in_pairs():
    return (x, y), (x, y)

def whole():
    return gaussian(train_size=3, test_size=2, shape=(2, 2, 1), num_classes=5)

def pair():
    return x, y, x

def nothing():
    return None

def fails():
    open("/no/such/file")
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("own")
        (folder / "own_images.py").write_text(MODULE)
        patch.syspath_prepend(folder)
        yield "own_images"


@pytest.mark.parametrize("name", ["by_name", "in_order", "in_pairs"])
def test_functions_of_ones_own(own, name):
    found = load(f"{own}:{name}")
    np.testing.assert_array_equal(
        found.train.images[..., 0], np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    )
    assert found.name == f"{own}:{name}" and found.num_classes == 2
    assert "4 x 4 x 1 gray images" in found.reading


def test_a_function_may_return_a_data_set(own):
    found = load(f"{own}:whole")
    assert_same(found, gaussian(train_size=3, test_size=2, shape=(2, 2, 1), num_classes=5))
    assert found.name == f"{own}:whole"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pair", "own_images:pair returns a tuple of 3; expected a function that returns train_im"),
        ("nothing", "own_images:nothing returns a NoneType"),
        ("fails", "raises FileNotFoundError in own_images.py:25"),
        ("x", "a ndarray, which cannot be called"),
        ("by_nam", "did you mean by_name"),
    ],
)
def test_functions_that_return_no_images_are_refused(own, name, words):
    with pytest.raises(InputError, match=words):
        load(f"{own}:{name}")


def test_the_unit_of_the_pixels_does_not_matter():
    """The loss normalizes every channel, so all units give the same network the same inputs."""
    units = (lambda x: x, lambda x: x / 255, lambda x: (x - 127.5) / 73.9)
    logits = []
    for unit in units:
        problem = classification(MLP((3,)), read(changed(COLORS, images=unit)), augment=None)
        params, state = problem.init(jax.random.key(0))
        params = jax.tree.map(lambda leaf: leaf + 0.1, params)
        logits.append(problem.loss(params, state, problem.examples, True)[1][1])
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], rtol=1e-3, atol=1e-4)
