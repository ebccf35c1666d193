"""Labeled images in the forms in which people have them, and one line on how they were read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sgd_diffusion._arrays import real_array
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.labeled_images import ARRAYS, Dataset, Examples, checked

__all__ = ["LAYOUT", "array_names", "read_arrays"]

LAYOUT = "layout"
KERAS = ("x_train", "y_train", "x_test", "y_test")
MOST_CHANNELS = 4
# Training and test images whose largest pixels differ by this factor have other units, as those in
# 0..1 and in 0..255 have.
OTHER_UNITS = 100
SHOWN = 10  # names of classes in a line


def array_names(found: Iterable[str], where: str, expected: str) -> Sequence[str]:
    """Return which names stand for the four arrays, in the order of `ARRAYS`.

    They are `ARRAYS`, or x_train, y_train, x_test and y_test, in small or capital letters.

    Args:
        found: the names that there are.
        where: where they are, for messages.
        expected: what was expected there, for messages.

    Raises:
        InputError: a name is missing, or there are two arrays for the same.
    """
    found = list(found)
    lower = {name.lower(): name for name in found}
    complete = [names for names in (ARRAYS, KERAS) if lower.keys() >= set(names)]
    count = Counter(name.lower() for name in found)
    twice = [name for names in complete for name in names if count[name] > 1]
    if twice or len(complete) > 1:
        raise invalid(
            where,
            f"has {', '.join(found)}",
            "one array of each kind",
            f"leave out those of one spelling of {twice[0]}"
            if twice
            else "leave out those of one way to name them",
        )
    if not complete:
        best = max((ARRAYS, KERAS), key=lambda names: len(lower.keys() & set(names)))
        missing = ", ".join(name for name in best if name not in lower)
        raise invalid(where, f"lacks {missing} and has {', '.join(found) or 'nothing'}", expected)
    return [lower[name] for name in complete[0]]


def read_arrays(arrays: Mapping[str, Any], name: str, where: str, expected: str) -> Dataset:
    """Return the data set that some arrays are, with `Dataset.reading`.

    Args:
        arrays: four of them by the names of `array_names`, and maybe "layout", see
            `datasets.load`.
        name: of the data set.
        where: where they are, for messages, such as a path.
        expected: what was expected there, for messages.

    Raises:
        InputError: an array is missing or of no form that is known, or could be read in two ways.
    """
    names = array_names((key for key in arrays if key != LAYOUT), where, expected)
    places = [f"{key} in {where}" for key in names]
    train, train_labels, test, test_labels = (arrays[key] for key in names)
    images = [
        np.asarray(real_array(*pair)) for pair in zip(places[::2], (train, test), strict=True)
    ]
    labels, num_classes, classes = _integers((train_labels, test_labels), places[1::2])
    for place, split, own in zip(places[::2], images, labels, strict=True):
        _check_examples_first(place, split.shape, own.shape[:1])
    images, form = _channels_last(images, places[0], arrays.get(LAYOUT))
    dataset = checked(
        Examples(images[0], labels[0]),
        Examples(images[1], labels[1]),
        name,
        num_classes=num_classes,
        source=f" in {where}",
        names=names,
    )
    _check_units(dataset, places[::2])
    shape = " x ".join(map(str, dataset.train.images.shape[1:]))
    pixels = f"{np.asarray(images[0]).dtype} pixels, {_span(dataset.train.images)}"
    rest = [key for key in arrays if key not in (*names, LAYOUT)]
    line = f"{name}: {', '.join(names)}; {shape} {form}, {pixels}; {classes or 'integer labels'}"
    line += f", {dataset.num_classes} classes"
    return dataset._replace(reading=line + (f"; not read: {', '.join(rest)}" if rest else ""))


# Images
# --------------------------------------------------------------------------------------------------


def _channels_last(images: Sequence[np.ndarray], place: str, layout: Any):
    """Return images with channels last, and in words where the channels were."""
    if images[0].ndim != 4:
        return images, "gray images"
    if layout is None:
        layout = _layout(images[0].shape, place)
    elif str(layout) not in ("NHWC", "NCHW"):
        raise invalid(LAYOUT, f"is {str(layout)!r:.100}", "'NHWC' or 'NCHW'")
    if str(layout) == "NHWC":
        return images, "images, channels last"
    return [np.moveaxis(each, 1, -1) if each.ndim == 4 else each for each in images], (
        "images, channels first"
    )


def _layout(shape: tuple[int, ...], place: str) -> str:
    """Return "NHWC" or "NCHW", for channels at the only end that has few entries."""
    _, first, _, last = shape
    if (first <= MOST_CHANNELS) == (last <= MOST_CHANNELS):
        raise invalid(
            place,
            f"has shape {shape}, whose channels can be first or last",
            f"{MOST_CHANNELS} channels or fewer at one end, and more pixels at the other",
            f"store a text {LAYOUT}='NHWC' or 'NCHW' beside the arrays",
        )
    return "NHWC" if last <= MOST_CHANNELS else "NCHW"


def _check_examples_first(place: str, shape: tuple[int, ...], count: tuple[int, ...]) -> None:
    """Refuse images (H, W, N) or (H, W, C, N), as MATLAB has them."""
    if len(shape) > 2 and shape[-1:] == count != shape[:1]:
        raise invalid(
            place,
            f"has shape {shape}, with the {count[0]} examples last",
            "examples first",
            "move them there with numpy.moveaxis(images, -1, 0)",
        )


def _check_units(dataset: Dataset, places: Sequence[str]) -> None:
    """Refuse test images in other units than the training images."""
    train, test = (split.images for split in (dataset.train, dataset.test))
    largest, other = (float(np.abs([x.min(), x.max()]).max()) for x in (train, test))
    negative, other_negative = (bool(x.min() < 0) for x in (train, test))
    factor = max(largest, other) / max(min(largest, other), 1e-30)
    if largest and other and (factor > OTHER_UNITS or negative != other_negative):
        raise invalid(
            places[1],
            f"has pixels {_span(test)}, and {places[0]} has pixels {_span(train)}",
            "the same units in both",
            "scale both alike before they are stored",
        )


def _span(images: Any) -> str:
    return f"{images.min():.3g} to {images.max():.3g}"


# Labels
# --------------------------------------------------------------------------------------------------


def _integers(labels: Sequence[Any], places: Sequence[str]):
    """Return labels as integers, the number of classes if it is known, and words on what they were.

    Whatever is neither one-hot nor text stays as it is.
    """
    read = [_as_text(*pair) for pair in zip(places, labels, strict=True)]
    texts = [text for text in read if text is not None]
    if len(texts) == 2:
        return _numbered(texts, places)
    if texts:
        raise invalid(
            places[1],
            f"and {places[0]} are text in one and numbers in the other",
            "the same in both",
            "store both as numbers, or both as names",
        )
    rows = [np.asarray(real_array(*pair)) for pair in zip(places, labels, strict=True)]
    one_hot = [_is_one_hot(each) for each in rows]
    sizes = {each.shape[1] for each, hot in zip(rows, one_hot, strict=True) if hot}
    if len(sizes) > 1:
        raise invalid(
            places[1],
            f"has {rows[1].shape[1]} columns, and {places[0]} has {rows[0].shape[1]}",
            "as many, one for each class",
        )
    if not sizes:
        column = "integer labels in a column" if rows[0].ndim == 2 else ""
        return rows, None, column
    rows = [each.argmax(axis=1) if hot else each for each, hot in zip(rows, one_hot, strict=True)]
    return rows, sizes.pop(), "one-hot labels"


def _is_one_hot(labels: np.ndarray) -> bool:
    """Return whether labels are rows (N, C) with a single 1 and C - 1 >= 1 zeros."""
    if labels.ndim != 2 or labels.shape[1] < 2 or not labels.size:
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _as_text(place: str, labels: Any) -> np.ndarray | None:
    """Return labels (N,) or (N, 1) of text as (N,), and None if they are no text."""
    array = labels if isinstance(labels, np.ndarray) else None
    if isinstance(labels, list | tuple) and labels and isinstance(labels[0], str | bytes):
        array = np.asarray(labels)
    if array is not None and array.dtype == object and all(isinstance(x, str) for x in array.flat):
        array = array.astype(str)
    if array is None or array.dtype.kind not in "US" or not array.size:
        return None
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise invalid(place, f"has names that are no UTF-8 ({error})", "text") from error
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _numbered(texts: Sequence[np.ndarray], places: Sequence[str]):
    """Return the places of names among all names of training examples.

    They are sorted by the alphabet, or by size where all are whole numbers.
    """
    names = np.unique(texts[0])
    if all(name.isdecimal() for name in names):
        names = np.array(sorted(names, key=lambda name: (int(name), name)))
    strange = np.setdiff1d(texts[1], names)
    if len(strange):
        raise invalid(
            places[1],
            f"has the names {', '.join(map(repr, strange[:SHOWN].tolist()))}",
            f"only names of {places[0]}",
            "leave out test examples of classes without training examples",
        )
    number = {name: index for index, name in enumerate(names.tolist())}
    labels = [np.vectorize(number.__getitem__, otypes=[np.int32])(text) for text in texts]
    shown = ", ".join(names[:SHOWN].tolist()) + ", ..." * (len(names) > SHOWN)
    return labels, len(names), f"names as labels in this order: {shown}"
