"""Labeled images as NumPy arrays, from a package, a file, a function or a generator."""

import contextlib
import difflib
import importlib.util
import json
import logging
import math
import os
import pathlib
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from sgd_diffusion._arrays import integer
from sgd_diffusion._memory import check_memory
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.labeled_images import ARRAYS, MAX_CLASSES, Dataset, Examples
from sgd_diffusion.problems.npz_files import load_npz
from sgd_diffusion.problems.user_code import REFERENCE, is_reference, users_dataset

__all__ = ["NAMES", "Dataset", "Examples", "channel_statistics", "gaussian", "load"]

NAMES = ("digits", "mnist", "cifar10", "gaussian")
"""The data sets that `load` knows by name."""

# One file of each download, which shows quickly whether its host can be reached.
_DOWNLOADS = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
}
_REACH_TIMEOUT = 3.0  # seconds

# Mean and standard deviation of each channel, in pixel units of 0..255, as most of the literature
# uses them.
_PUBLISHED_STATISTICS = {
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "mnist": ((0.1307 * 255,), (0.3081 * 255,)),
}


def load(name_or_npz: str | os.PathLike, *, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Load a data set by its name, from an `.npz` file or from a function of one's own.

    The examples always have the same order.

    - "digits": 8 x 8 x 1 uint8, 0..16, from the files inside scikit-learn; 1437 training images and
      the last 360 as test images.
    - "mnist": 28 x 28 x 1 uint8, 60,000 and 10,000 images, through tensorflow-datasets.
    - "cifar10": 32 x 32 x 3 uint8, 50,000 and 10,000 images, through tensorflow-datasets.
    - "gaussian": noise without structure, `gaussian()`.
    - a path that ends in `.npz`, with the arrays train_images, train_labels, test_images and
      test_labels, or x_train, y_train, x_test and y_test, in small or capital letters.
    - `package.module:function`, a function without arguments that returns such arrays by their
      names, in this order, or as ((images, labels), (images, labels)), training first; or a
      `Dataset`.

    Arrays from files and functions are taken in these forms. `Dataset.reading` says in one line how
    they were read:

    - Images are (N, H, W), (N, H, W, C) or (N, C, H, W). The channels are the end that has 4
      entries or fewer.
    - Pixels are uint8, which stay so, or other real numbers in any unit, read as float32.
    - Labels are integers from 0, (N,) or (N, 1); rows (N, C) with a single 1; or text, (N,) or
      (N, 1).

    Where both ends or neither of them has so few, an array "layout" with the text "NHWC" or "NCHW"
    has to say which it is. Images of more than 4 channels with a side of 4 pixels or fewer need it
    too. The unit does not matter to `classification`, which normalizes every channel, but it
    has to be the same for training and testing. Names of classes are sorted, and a label is the
    place of its name. The number of classes is that of names or of columns, otherwise the largest
    training label + 1.

    Reading what tensorflow-datasets has prepared needs neither TensorFlow nor a network. What is
    not prepared is downloaded and prepared first, if TensorFlow is installed and the host of the
    download answers within seconds. That happens once, in a process of its own, and takes minutes.

    Args:
        name_or_npz: one of `NAMES`, the path of an `.npz` file, or `package.module:function`.
        data_dir: where tensorflow-datasets keeps its data; by default $TFDS_DATA_DIR, else
            ~/tensorflow_datasets. The other sources do not use it.

    Raises:
        InputError: the name is unknown, the file is missing or ill-formed, an array has no form
            that is known or could be read in two ways, there is no such function or it fails, or
            the data set is not prepared and cannot be prepared now.

    >>> digits = load("digits")
    >>> digits.train.images.shape, digits.test.labels.shape, digits.num_classes
    ((1437, 8, 8, 1), (360,), 10)

    Notes:
        The digits have the order of the UCI repository, where the digits of a writer follow one
        another. So the training set has not seen the writers of most test images. A nearest
        neighbor errs on 4.4 % of them, but on 1.2 % after a random split.
    """
    if not isinstance(name_or_npz, str | os.PathLike):
        raise invalid("name_or_npz", f"is {name_or_npz!r:.100}", "a name or a path")
    source = os.fspath(name_or_npz)
    if source.lower().endswith(".npz"):
        return load_npz(_home(source))
    if is_reference(source):
        return users_dataset(source)
    if source == "digits":
        return _load_digits()
    if source == "gaussian":
        return gaussian()
    if source in _DOWNLOADS:
        return _load_tfds(source, data_dir)
    close = difflib.get_close_matches(source.lower(), NAMES, n=1)
    raise invalid(
        "name_or_npz",
        f"is {source!r}",
        f"one of {', '.join(NAMES)}, {REFERENCE}, or the path of a file that ends in .npz",
        f"did you mean {close[0]!r}?" if close else "",
    )


def gaussian(
    *,
    train_size: IntegerLike = 50_000,
    test_size: IntegerLike = 1_000,
    shape: Sequence[int] | np.ndarray = (32, 32, 3),
    num_classes: IntegerLike = 10,
    seed: IntegerLike = 0,
) -> Dataset:
    """Return images of independent standard normal pixels with independent, uniform labels.

    This is the control without any structure to learn. By default it has the size of the published
    one (614 MB).

    Args:
        train_size: number of training images.
        test_size: number of test images; the training set does not depend on it.
        shape: (height, width, channels) of an image.
        num_classes: number of classes.
        seed: the same seed gives the same data.

    Returns:
        The data set, with images (N, *shape) float32.

    Raises:
        InputError: sizes, classes or the seed are no integers in their range.

    Notes:
        The data that Chen, Qu and Gong (2022) published under this name are uniform instead of
        normal, and no image has the label 9.
    """
    train_size, test_size = integer("train_size", train_size, 1), integer("test_size", test_size, 1)
    num_classes, seed = (
        integer("num_classes", num_classes, 1, MAX_CLASSES),
        integer("seed", seed, 0, 2**64 - 1),
    )
    if not isinstance(shape, Sequence | np.ndarray) or len(shape) != 3:
        raise invalid("shape", f"is {shape!r:.100}", "(height, width, channels)")
    shape = tuple(integer("shape", size, 1, 2**16) for size in shape)
    check_memory(
        4 * (train_size + test_size) * math.prod(shape),
        f"{train_size} training images of shape {shape}",
        "make fewer or smaller ones",
        "host",
    )

    def examples(stream: int, size: int) -> Examples:
        rng = np.random.default_rng((seed, stream))
        images = rng.standard_normal((size, *shape), dtype=np.float32)
        return Examples(images, rng.integers(num_classes, size=size, dtype=np.int32))

    return Dataset(examples(0, train_size), examples(1, test_size), num_classes, "gaussian")


def channel_statistics(
    dataset: Dataset,
) -> tuple[Float[np.ndarray, "channel"], Float[np.ndarray, "channel"]]:
    """Return mean and standard deviation of each channel, in the units of the images.

    For "cifar10" and "mnist" they are the published constants, in units of 255. CIFAR-10: mean
    125.3, 123.0, 113.9 and std 63.0, 62.1, 66.7. MNIST: 0.1307 x 255 and 0.3081 x 255. For
    everything else they are computed from the training images, in float64. A channel that is
    constant up to float32 rounding gets the standard deviation 1, so that one can divide.

    Returns:
        The mean (C,) and the standard deviation (C,), float32.
    """
    images = np.asarray(dataset.train.images)
    if dataset.name in _PUBLISHED_STATISTICS and images.dtype == np.uint8:
        mean, std = np.array(_PUBLISHED_STATISTICS[dataset.name], np.float32)
        if len(mean) == images.shape[-1]:
            return mean, std

    def average(function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        # In blocks, because a float64 copy of all images can take gigabytes.
        blocks = (
            images[start : start + 1000].astype(np.float64) for start in range(0, len(images), 1000)
        )
        total = sum(function(block).sum(axis=(0, 1, 2)) for block in blocks)
        return np.asarray(total / images[..., 0].size)

    mean = average(lambda block: block)
    std = np.sqrt(average(lambda block: (block - mean) ** 2))
    std = np.where(std > np.finfo(np.float32).eps * np.abs(mean), std, 1.0)
    return mean.astype(np.float32), std.astype(np.float32)


def _home(path: str) -> pathlib.Path:
    """Return a path in which ~ stands for a home directory."""
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        raise invalid(
            "name_or_npz",
            f"is {path!r}, which cannot be found ({error})",
            "a path that exists",
            "write it in full",
        ) from error


def _load_digits() -> Dataset:
    table = _table_of_digits()
    examples = Examples(
        table[:, :-1].reshape(-1, 8, 8, 1).astype(np.uint8), table[:, -1].astype(np.int32)
    )
    return Dataset(
        Examples(*(a[:-360] for a in examples)),
        Examples(*(a[-360:] for a in examples)),
        10,
        "digits",
    )


def _table_of_digits() -> Float[np.ndarray, "example column"]:
    """Return the 64 pixels and the label of every digit.

    They are read from the file inside scikit-learn, whose import takes most of a second.
    """
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = pathlib.Path(folder, "datasets", "data", "digits.csv.gz")
        if file.exists():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.column_stack([data.data, data.target])


def _load_tfds(name: str, data_dir: str | os.PathLike | None) -> Dataset:
    import tensorflow_datasets as tfds
    from etils import epath  # tensorflow-datasets brings it: paths that may also lie in a bucket
    from google.protobuf.json_format import ParseError

    root = epath.Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    try:
        root = root.expanduser()
    except RuntimeError as error:
        raise invalid(
            "data_dir",
            f"is {str(root)!r}, which cannot be found ({error})",
            "a path that exists",
            "write it in full",
        ) from error
    directory = _prepared(root / name) or _prepare(name, root)
    try:
        builder = tfds.builder_from_directory(directory)
        with _quiet_absl():
            train, test = (_read_split(builder, split) for split in ("train", "test"))
    except (RuntimeError, ValueError, OSError, ParseError) as error:
        raise invalid(
            f"data set {name!r} in {directory}",
            f"cannot be read ({error})",
            "array_record files for the splits train and test",
            "if it has another format, convert it with tfds convert_format "
            f"--dataset_version_dir={directory} --out_file_format=array_record; "
            "if it is damaged, remove that folder and prepare it anew",
        ) from error
    return Dataset(train, test, builder.info.features["label"].num_classes, name)


def _prepared(directory):
    """Return the folder of the newest fully prepared version, or None. It needs no network."""
    versions = [info.parent for info in directory.glob("*/dataset_info.json")]
    # A preparation that was interrupted leaves a folder incomplete.X_3.0.1.
    versions = [path for path in versions if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    return max(versions, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


def _read_split(builder, split: str) -> Examples:
    source = builder.as_data_source(split)
    images = np.empty((len(source), *builder.info.features["image"].shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), 1000):  # three times as fast as single records
        rows = source.__getitems__(range(start, min(start + 1000, len(source))))
        images[start : start + len(rows)] = [row["image"] for row in rows]
        labels[start : start + len(rows)] = [row["label"] for row in rows]
    return Examples(images, labels)


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Hide what absl logs below errors: tensorflow-datasets recommends OpenCV there."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _prepare(name: str, data_dir):
    """Download and prepare a data set, and return its folder.

    Raises:
        InputError: that cannot work here; this takes seconds.
    """
    code = (
        f'import tensorflow_datasets as tfds; tfds.builder("{name}", '
        f'data_dir={json.dumps(os.fspath(data_dir))}, file_format="array_record")'
        ".download_and_prepare()"
    )
    obstacle = _obstacle(name)
    if obstacle is None:
        logging.getLogger(__name__).warning(
            "Downloading and preparing %s in %s: once, minutes.", name, data_dir
        )
        # TensorFlow gets a process of its own, without GPUs: it would take their memory away from
        # JAX, and leave its settings, warnings and progress bars in this process.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        directory = _prepared(data_dir / name)
        if done.returncode == 0 and directory is not None:
            return directory
        obstacle = "the preparation failed: " + "\n".join(done.stderr.strip().splitlines()[-5:])
    raise invalid(
        f"data set {name!r}",
        f"is not prepared in {data_dir}, and that cannot be done now: {obstacle}\n",
        "a data set that is prepared, or can be",
        "if it is elsewhere, pass data_dir= or set TFDS_DATA_DIR (without both it is "
        "~/tensorflow_datasets). To prepare it once, with internet access and TensorFlow "
        f"installed (reading it later needs neither), run\n    python -c {shlex.quote(code)}\nOr "
        f"load an .npz file with the arrays {', '.join(ARRAYS)}.",
    )


def _obstacle(name: str) -> str | None:
    """Return why a data set cannot be downloaded and prepared here, or None.

    tensorflow-datasets itself would try for minutes.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return "the first preparation needs TensorFlow, which is not installed"
    try:  # with urllib, because a bare socket would not heed the proxy settings
        request = urllib.request.Request(_DOWNLOADS[name], method="HEAD")
        urllib.request.urlopen(request, timeout=_REACH_TIMEOUT).close()
    except OSError as error:
        return f"{_DOWNLOADS[name]} cannot be reached ({error})"
    return None
