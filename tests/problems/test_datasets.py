"""Every source of images, against what is known of it; nothing here needs a network or prepared
data.
"""

import importlib.util
import inspect
import io
import json
import logging
import shutil
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
import zipfile

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion import _memory as memory
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import datasets
from sgd_diffusion.problems.datasets import Dataset, Examples, channel_statistics, gaussian, load

SIZES = {"train": 7, "test": 3}


def assert_same_data(one, other):
    for a, b in zip((*one.train, *one.test), (*other.train, *other.test), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert one.num_classes == other.num_classes


# digits, gaussian
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [True, False], ids=["in their file", "by scikit-learn"])
def test_digits_are_the_embedded_ones_in_their_order(found, monkeypatch):
    from sklearn.datasets import load_digits

    if not found:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    dataset, original = load("digits"), load_digits()
    images = np.concatenate([dataset.train.images, dataset.test.images])
    assert images.dtype == np.uint8 and images.shape == (1797, 8, 8, 1) and images.max() == 16
    np.testing.assert_array_equal(images[..., 0], original.images)
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, original.target)
    assert len(dataset.test.labels) == len(dataset.test.images) == 360
    assert (dataset.num_classes, dataset.name) == (10, "digits")


def test_gaussian_is_standard_normal_with_uniform_labels():
    dataset = datasets.gaussian(train_size=4000, test_size=50, shape=(8, 8, 3))
    images, labels = dataset.train
    assert (
        images.shape == (4000, 8, 8, 3) and images.dtype == np.float32 and labels.dtype == np.int32
    )
    pixels = images.astype(np.float64).ravel()
    n = pixels.size
    for power, moment, variance in (
        (1, 0, 1),
        (2, 1, 2),
        (3, 0, 15),
        (4, 3, 96),
    ):  # of x^power, x standard normal
        assert abs(np.mean(pixels**power) - moment) < 4 * np.sqrt(variance / n)
    counts = np.bincount(labels, minlength=10)
    assert len(counts) == 10
    assert np.abs(counts - 400).max() < 4 * np.sqrt(4000 * 0.1 * 0.9)
    assert np.all(np.any(images[:50] != dataset.test.images, axis=(1, 2, 3)))


def test_gaussian_is_reproducible_whatever_the_test_size():
    small = {"train_size": 20, "shape": (4, 4, 1)}
    one, other = datasets.gaussian(**small, test_size=1), datasets.gaussian(**small, test_size=9)
    np.testing.assert_array_equal(one.train.images, other.train.images)
    np.testing.assert_array_equal(one.train.labels, other.train.labels)
    assert np.any(one.train.images != datasets.gaussian(**small, seed=1).train.images)


def test_load_gaussian_takes_the_defaults(monkeypatch):
    monkeypatch.setitem(
        inspect.unwrap(datasets.gaussian).__kwdefaults__, "train_size", 6
    )  # the full size is 614 MB
    dataset = load("gaussian")
    assert dataset.train.images.shape == (6, 32, 32, 3) and dataset.test.images.shape == (
        1000,
        32,
        32,
        3,
    )
    assert (dataset.num_classes, dataset.name) == (10, "gaussian")


# channel statistics
# --------------------------------------------------------------------------------------------------


def dataset_of(images, name="x"):
    examples = Examples(images, np.zeros(len(images), np.int32))
    return Dataset(examples, examples, 1, name)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channel_statistics_are_those_of_numpy(dtype):
    images = (
        np.random.default_rng(0).integers(0, 256, (2500, 4, 5, 3)).astype(dtype)
    )  # more than two blocks
    mean, std = channel_statistics(dataset_of(images))
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2), dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e20])
def test_constant_channel_gets_unit_standard_deviation(value):
    images = np.full((1001, 2, 2, 2), value, np.float32)
    images[::2, ..., 1] = 1.0 if value == 0 else 2 * value
    mean, std = channel_statistics(dataset_of(images))
    assert mean[0] == np.float32(value)
    assert std[0] == 1.0 != std[1]


def test_published_channel_statistics():
    mean, std = channel_statistics(dataset_of(np.zeros((2, 32, 32, 3), np.uint8), "cifar10"))
    np.testing.assert_allclose(mean, [125.3, 123.0, 113.9])
    np.testing.assert_allclose(std, [63.0, 62.1, 66.7])
    mean, std = channel_statistics(dataset_of(np.zeros((2, 28, 28, 1), np.uint8), "mnist"))
    np.testing.assert_allclose([mean, std], [[33.3285], [78.5655]], rtol=1e-6)
    # other units, or other channels, are other data of the same name
    assert channel_statistics(dataset_of(np.zeros((2, 28, 28, 1), np.float32), "mnist")) == (
        0.0,
        1.0,
    )
    assert channel_statistics(dataset_of(np.zeros((2, 32, 32, 1), np.uint8), "cifar10")) == (
        0.0,
        1.0,
    )


# names
# --------------------------------------------------------------------------------------------------


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError,
        match=r"name_or_npz is 'CIFAR-10'; .*digits, mnist, cifar10, gaussian.*mean 'cifar10'\?",
    ):
        load("CIFAR-10")
    with pytest.raises(InputError, match=r"name_or_npz is 'weather'; .*ends in .npz$"):
        load("weather")


def test_heavy_packages_are_imported_only_where_they_are_used():
    code = (
        "import sys, sgd_diffusion.problems.datasets; print([name for name in ('sklearn', "
        "'tensorflow_datasets', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# tensorflow-datasets
# --------------------------------------------------------------------------------------------------


def write_tfds(data_dir, seed=0):
    """Write a tiny prepared `mnist` as tensorflow-datasets would; returns the images and labels it
    holds.
    """
    import tensorflow_datasets as tfds
    from PIL import Image

    rng = np.random.default_rng(seed)
    data = {
        split: (rng.integers(0, 256, (size, 28, 28, 1), dtype=np.uint8), rng.permutation(10)[:size])
        for split, size in SIZES.items()
    }

    def png(image):
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0]).save(buffer, "PNG")
        return io.BytesIO(buffer.getvalue())

    class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("3.0.1")
        pkg_dir_path = data_dir

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(28, 28, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in data}

        def _generate_examples(self, split):
            for key, (image, label) in enumerate(zip(*data[split], strict=True)):
                yield key, {"image": png(image), "label": label}

    Mnist(data_dir=data_dir, file_format="array_record").download_and_prepare()
    return data


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("tfds")
    return data_dir, write_tfds(data_dir)


@pytest.fixture
def copy(prepared, tmp_path):
    """The folder of the prepared version in a copy that a test may damage."""
    shutil.copytree(prepared[0], tmp_path, dirs_exist_ok=True)
    return tmp_path / "mnist" / "3.0.1"


def by_pixels(images, labels):
    return sorted(zip([image.tobytes() for image in images], labels.tolist(), strict=True))


def test_prepared_tfds_is_read_as_it_was_written(prepared):
    data_dir, data = prepared
    dataset = load("mnist", data_dir=data_dir)
    assert (dataset.num_classes, dataset.name) == (10, "mnist")
    for split, examples in (("train", dataset.train), ("test", dataset.test)):
        assert examples.images.shape == (SIZES[split], 28, 28, 1)
        assert examples.images.dtype == np.uint8 and examples.labels.dtype == np.int32
        assert by_pixels(*examples) == by_pixels(
            *data[split]
        )  # tensorflow-datasets shuffles as it writes
    assert_same_data(dataset, load("mnist", data_dir=data_dir))


def test_data_dir_comes_from_the_environment(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared[0]))
    assert_same_data(load("mnist"), load("mnist", data_dir=str(prepared[0])))


def test_newest_complete_version_is_read(copy, monkeypatch):
    shutil.copytree(copy, copy.parent / "incomplete.ABCDEF_9.0.0")
    (copy.parent / "10.0.0").mkdir()
    newer = copy.parent / "3.0.10"
    write_tfds(copy.parents[2] / "other", seed=1)
    shutil.copytree(copy.parents[2] / "other" / "mnist" / "3.0.1", newer)
    info = json.loads((newer / "dataset_info.json").read_text())
    (newer / "dataset_info.json").write_text(json.dumps(info | {"version": "3.0.10"}))
    expected = load("mnist", data_dir=copy.parents[2] / "other")
    assert_same_data(load("mnist", data_dir=copy.parents[1]), expected)


def test_reading_leaves_the_log_as_it_was(prepared, caplog):
    logger = logging.getLogger("absl")
    level = logger.level
    load("mnist", data_dir=prepared[0])
    assert logger.level == level
    assert not caplog.records


@pytest.mark.parametrize(
    "damage", ["missing shard", "cut shard", "no split", "no json", "tfrecord"]
)
def test_unreadable_tfds_names_the_folder_and_the_way_out(copy, damage):
    shard, info = copy / "mnist-test.array_record-00000-of-00001", copy / "dataset_info.json"
    contents = json.loads(info.read_text())
    if damage == "missing shard":
        shard.unlink()
    elif damage == "cut shard":
        shard.write_bytes(shard.read_bytes()[:1000])
    elif damage == "no split":
        info.write_text(json.dumps(contents | {"splits": contents["splits"][:1]}))
    elif damage == "no json":
        info.write_text("{")
    else:
        info.write_text(json.dumps(contents | {"fileFormat": "tfrecord"}))
    with pytest.raises(
        InputError,
        match=r"(?s)'mnist' in .*3\.0\.1 cannot be read.*convert_format.*prepare it anew",
    ):
        load("mnist", data_dir=copy.parents[1])


def without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)


def with_tensorflow(monkeypatch, reachable=True):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: True if name == "tensorflow" else found(name)
    )

    def urlopen(request, timeout):
        assert timeout <= 5
        if not reachable:
            raise urllib.error.URLError("no route to host")
        return io.BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


@pytest.mark.parametrize("tensorflow", [False, True])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_unprepared_tfds_fails_in_seconds_and_says_what_to_do(
    tmp_path, monkeypatch, tensorflow, name
):
    if tensorflow:
        with_tensorflow(monkeypatch, reachable=False)
    else:
        without_tensorflow(monkeypatch)
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        load(name, data_dir=tmp_path)
    assert time.monotonic() - started < 5
    message = str(caught.value)
    assert ("no route to host" if tensorflow else "TensorFlow, which is not installed") in message
    for part in (
        f"{name!r} is not prepared in {tmp_path}",
        "TFDS_DATA_DIR",
        "~/tensorflow_datasets",
        "python -c",
        'file_format="array_record").download_and_prepare()',
        "internet",
        "train_images",
    ):
        assert part in message
    assert not list(tmp_path.iterdir())


def test_unprepared_tfds_is_prepared_where_that_is_possible(tmp_path, monkeypatch, caplog):
    with_tensorflow(monkeypatch)

    def run(command, **options):
        assert (
            command[:2] == [sys.executable, "-c"] and options["env"]["CUDA_VISIBLE_DEVICES"] == "-1"
        )
        compile(command[2], "the printed command", "exec")
        write_tfds(tmp_path)
        return types.SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    assert len(load("mnist", data_dir=tmp_path).train.labels) == SIZES["train"]
    assert any("preparing mnist" in record.getMessage() for record in caplog.records)


def test_failed_preparation_shows_the_end_of_its_log(tmp_path, monkeypatch):
    with_tensorflow(monkeypatch)
    log = "\n".join(["much"] * 50 + ["DownloadError: checksum"])
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: types.SimpleNamespace(returncode=1, stderr=log)
    )
    with pytest.raises(
        InputError, match=r"the preparation failed: (much\n){4}DownloadError: checksum"
    ):
        load("mnist", data_dir=tmp_path)


# .npz
# --------------------------------------------------------------------------------------------------


def arrays(**changes):
    """Valid contents of an .npz file, but for the changes. A change to None drops the array."""
    valid = {
        "train_images": np.arange(48, dtype=np.uint8).reshape(3, 4, 4),
        "train_labels": np.array([0, 2, 1]),
        "test_images": np.zeros((2, 4, 4), np.uint8),
        "test_labels": np.array([1, 0]),
    }
    return {key: value for key, value in (valid | changes).items() if value is not None}


def save(path, contents):
    np.savez(path, **contents)
    return path


@st.composite
def npz_contents(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=4))
    dtype = draw(st.sampled_from([np.uint8, np.float16, np.float32, ">f4", np.float64]))
    # In units that training and testing can share.
    low, high = draw(st.sampled_from([(0.5, 48), (-48, -0.5)]))
    values = st.integers(3, 255) if dtype == np.uint8 else st.floats(low, high, width=16)
    contents, top = {"layout": np.array("NHWC")}, draw(st.integers(0, 5))
    for split in ("train", "test"):
        size = draw(st.integers(1, 4))
        contents[f"{split}_images"] = draw(hnp.arrays(dtype, (size, *shape), elements=values))
        labels = draw(st.sampled_from([np.uint8, np.int16, np.int32, np.int64]))
        contents[f"{split}_labels"] = draw(hnp.arrays(labels, size, elements=st.integers(0, top)))
    contents["train_labels"][0] = top
    return contents


@settings(max_examples=60, deadline=None)
@given(contents=npz_contents(), compressed=st.booleans())
def test_npz_round_trip(tmp_path_factory, contents, compressed):
    path = tmp_path_factory.mktemp("npz") / "mine.npz"
    (np.savez_compressed if compressed else np.savez)(path, **contents)
    dataset = load(path)
    for split, examples in (("train", dataset.train), ("test", dataset.test)):
        images = contents[f"{split}_images"]
        np.testing.assert_array_equal(
            examples.images, images if images.ndim == 4 else images[..., None]
        )
        assert examples.images.dtype == (np.uint8 if images.dtype == np.uint8 else np.float32)
        np.testing.assert_array_equal(examples.labels, contents[f"{split}_labels"])
        assert examples.labels.dtype == np.int32
    assert dataset.num_classes == contents["train_labels"].max() + 1
    assert dataset.name == "mine.npz"


def test_npz_path_may_be_a_string_with_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "mine.npz", arrays())
    assert load("~/mine.npz").train.images.shape == (3, 4, 4, 1)


CUBE = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"test_labels": None, "train_images": None, "extra": CUBE},
            r"lacks train_images, test_labels and has .*extra.*numpy\.savez",
        ),
        (
            {"train_images": CUBE[0]},
            r"train_images in .* has shape \(4, 4\); expected \(N, H, W\) or",
        ),
        ({"train_images": np.uint8(1)}, r"train_images in .* has shape \(\)"),
        (
            {"test_images": CUBE[:0], "test_labels": np.zeros(0, int)},
            r"test_images in .* has shape \(0, 4, 4\).*none",
        ),
        (
            {"train_images": CUBE.astype(int) + 2**25},
            r"train_images in .* has integers that float32 does not hold",
        ),
        (
            {"train_images": CUBE.astype(complex)},
            r"train_images in .* has dtype complex128; expected real numbers",
        ),
        (
            {"train_images": np.where(np.arange(48) < 2, np.nan, 1.0).reshape(3, 4, 4)},
            r"train_images in .* has 2 pixels",
        ),
        (
            {"test_images": np.full((2, 4, 4), 1e300)},
            r"test_images in .* has 32 pixels that are NaN or infinite",
        ),
        (
            {"train_labels": np.array([0, 2])},
            r"train_labels in .* has shape \(2,\); expected \(3,\)",
        ),
        (
            {"train_labels": np.array([[0, 1], [1, 1], [0, 0]])},
            r"train_labels in .*\(3, 2\).*several labels.*loss of your own",
        ),
        (
            {"train_labels": np.array([0, 2, 10**9])},
            r"train_labels in .* runs from 0 to 1000000000.*numpy\.unique",
        ),
        (
            {"train_labels": np.array([0.0, 2.0, 1.0])},
            r"train_labels in .* is float64; expected integers",
        ),
        (
            {"train_labels": np.array([True, False, True])},
            r"train_labels in .* is bool; expected integers",
        ),
        (
            {"test_labels": np.array([0, -1])},
            r"test_labels in .* runs from -1 to 0; expected classes counted from 0",
        ),
        (
            {"train_labels": np.array([0, 1, 2**40])},
            r"train_labels in .* runs from 0 to 1099511627776",
        ),
        ({"test_labels": np.array([0, 3])}, r"test_labels in .* go up to 3; expected at most 2"),
        (
            {"test_images": CUBE[:2, 1:]},
            r"are \('uint8', \(4, 4, 1\)\) for training and \('uint8', \(3, 4, 1\)\)",
        ),
        (
            {"test_images": np.zeros((2, 4, 4))},
            r"and \('float32', \(4, 4, 1\)\) for testing; expected one dtype",
        ),
        (
            {"train_labels": np.array([0, 1, None])},
            r"cannot be read.*pickle.*plain arrays of numbers",
        ),
    ],
    ids=str,
)
def test_ill_formed_npz_says_what_is_wrong(tmp_path, changes, message):
    path = save(tmp_path / "mine.npz", arrays(**changes))
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_npz_that_is_no_archive(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(InputError, match=r"mine\.npz does not exist; expected an \.npz file"):
        load(path)
    path.write_bytes(b"not a zip file")
    with pytest.raises(
        InputError, match=r"mine\.npz is cut off, or is no \.npz file.*; expected an \.npz file"
    ):
        load(path)
    save(path, arrays())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"mine\.npz is cut off"):
        load(path)


def test_npz_with_a_damaged_array(tmp_path):
    path = save(tmp_path / "mine.npz", arrays())
    contents = bytearray(path.read_bytes())
    start = contents.index(bytes(range(48)))
    contents[start] ^= 255
    path.write_bytes(contents)
    with pytest.raises(InputError, match=r"mine\.npz cannot be read: Bad CRC-32"):
        load(path)


def test_labels_may_be_a_column(tmp_path):
    column = {
        "train_labels": np.array([[0], [2], [1]], np.uint8),
        "test_labels": np.array([[1], [0]]),
    }
    np.testing.assert_array_equal(
        load(save(tmp_path / "mine.npz", arrays(**column))).train.labels, [0, 2, 1]
    )


def with_header(path, header, content=b"", size=None):
    """A file of which train_images has this header, and perhaps a size that the archive only
    claims.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays(train_images=None).items():
            with archive.open(f"{key}.npy", "w") as file:
                np.save(file, array)
        head = header.encode().ljust(117) + b"\n"
        archive.writestr(
            "train_images.npy",
            b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content,
        )
    return path


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("(10000000, 10000, 10000)", "1000000000000000 bytes, and 48 bytes"),
        ("(3, 4, 5)", "60 bytes, and 48 bytes"),
        ("(3, 4, 3)", "36 bytes, and 48 bytes"),
        ("(-3, 4, 4)", "-48 bytes, and 48"),
    ],
)
def test_an_array_of_another_size_than_it_says_is_refused_before_it_is_read(tmp_path, shape, words):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    with pytest.raises(InputError, match=f"train_images in .*{words}.*damaged"):
        load(with_header(tmp_path / "mine.npz", header, bytes(48)))


def test_an_array_larger_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = save(tmp_path / "mine.npz", arrays())
    assert load(path).num_classes == 3
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 100)
    with pytest.raises(InputError, match=r"mine\.npz needs .* GiB of memory.* are free"):
        load(path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4, 4",
        "(((((",
        "",
        "\x00\xff",
        "{'descr': 'O:', 'fortran_order': 1}",
        "[" * 100,
    ],
)
def test_garbage_in_a_header_is_refused(tmp_path, header):
    with pytest.raises(InputError, match=r"mine\.npz cannot be read"):
        load(with_header(tmp_path / "mine.npz", header))


@pytest.mark.parametrize(
    "options",
    [
        {"train_size": 0},
        {"train_size": 10.0},
        {"test_size": -1},
        {"num_classes": 0},
        {"num_classes": 10**12},
        {"seed": -1},
        {"shape": (4, 4)},
        {"shape": (0, 4, 4)},
        {"shape": "444"},
    ],
)
def test_impossible_noise_is_refused(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} (is|has) .*expected"):
        gaussian(**options)


def test_noise_beyond_the_memory_is_refused():
    with pytest.raises(InputError, match=r"1000000000000 training images .* GiB of memory"):
        gaussian(train_size=10**12)


def test_names_that_are_none_and_homes_that_are_nowhere_are_refused():
    for name in (None, 5, "~nobody-of-this-name/mine.npz"):
        with pytest.raises(InputError, match="name_or_npz"):
            load(name)
