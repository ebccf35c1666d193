"""A path that is stored somewhere: what its points are, and how parts of them are read."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from sgd_diffusion.analysis.streaming import Leaf, Part, Read
from sgd_diffusion.errors import InputError, invalid

__all__ = [
    "Arrays",
    "StoredArray",
    "StoredPath",
    "check_same",
    "cut",
    "reader_of_arrays",
    "reader_of_files",
    "reading",
]


class StoredArray(Protocol):
    """An array that may be on a disk. Indexing with a tuple of slices reads that part."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> Any:
        """Return a part as an array."""


READABLE = "numbers that can be read wherever its header has some"
Arrays = Mapping[str, StoredArray]


class StoredPath(NamedTuple):
    """A path on a disk or in memory.

    Attributes:
        source: what the user calls it.
        num_points: T+1.
        leaves: the arrays of a point that are its coordinates.
        left_out: {name of an array: why it is no coordinate}.
        read: `read(first, stop, parts)` returns parts of some points (see `streamed_gram`).
        grain: how many coordinates in a row cannot be read apart.
        first_step: the step of training at which the first point was.
        spacing: steps of training from one point to the next.
    """

    source: str
    num_points: int
    leaves: tuple[Leaf, ...]
    left_out: dict[str, str]
    read: Read
    grain: int = 1
    first_step: int = 0
    spacing: int = 1

    @property
    def size(self) -> int:
        """Return P, the number of coordinates of a point."""
        return sum(leaf.size for leaf in self.leaves)

    @property
    def nbytes(self) -> int:
        """Return how many bytes the points take, as they are stored."""
        return self.num_points * sum(leaf.size * leaf.dtype.itemsize for leaf in self.leaves)


def reader_of_arrays(
    source: str, opened: Callable[[], AbstractContextManager[Arrays]], leaves: Sequence[Leaf]
) -> Read:
    """Return `read` of arrays that have all points along their first axis.

    Args:
        source: what the user calls the path, for messages.
        opened: opens the arrays for one call of `read`, so that no file stays open.
        leaves: by the names of their arrays.
    """

    def read(first: int, stop: int, parts: Sequence[Part]) -> list[np.ndarray]:
        with opened() as arrays, reading(source, READABLE):
            return [
                cut(
                    arrays[leaves[part.leaf].name],
                    leaves[part.leaf].shape,
                    part.start,
                    part.stop,
                    (slice(first, stop),),
                ).reshape(stop - first, -1)
                for part in parts
            ]

    return read


def reader_of_files(
    files: Sequence[pathlib.Path],
    opened: Callable[[pathlib.Path], AbstractContextManager[Arrays]],
    leaves: Sequence[Leaf],
) -> Read:
    """Return `read` of files that hold a point each.

    Args:
        files: in the order of the path.
        opened: opens a file.
        leaves: by the names of their arrays. A file that has others is refused.
    """

    def read(first: int, stop: int, parts: Sequence[Part]) -> list[np.ndarray]:
        blocks = [
            np.empty((stop - first, part.stop - part.start), leaves[part.leaf].dtype)
            for part in parts
        ]
        for row, file in enumerate(files[first:stop]):
            with opened(file) as arrays, reading(file, READABLE):
                check_same(file, files[0], arrays, leaves)
                for block, part in zip(blocks, parts, strict=True):
                    leaf = leaves[part.leaf]
                    block[row] = cut(arrays[leaf.name], leaf.shape, part.start, part.stop)
        return blocks

    return read


def check_same(
    file: object, like: object, arrays: Mapping[str, Any], leaves: Sequence[Leaf]
) -> None:
    """Refuse a point whose arrays are not those of the first one.

    Args:
        file: that it is in, or what else it is called.
        like: that the first one is in.
        arrays: with shapes and types, by their names.
        leaves: of the first one.

    Raises:
        InputError: an array is missing, or has another shape or type.
    """
    for leaf in leaves:
        if leaf.name not in arrays:
            raise invalid(str(file), f"has no array {leaf.name!r}", f"all arrays of {like}")
        array = arrays[leaf.name]
        if (tuple(array.shape), array.dtype) != (leaf.shape, leaf.dtype):
            raise invalid(
                f"{leaf.name} in {file}",
                f"has shape {tuple(array.shape)} and type {array.dtype}",
                f"{leaf.shape} and {leaf.dtype}, as in {like}",
            )


def cut(
    array: StoredArray,
    shape: tuple[int, ...],
    start: int,
    stop: int,
    before: tuple[slice, ...] = (),
) -> np.ndarray:
    """Return the entries start, ..., stop - 1 of a flattened array, reading no others.

    Args:
        array: on a disk or in memory.
        shape: of its axes that are flattened, the last ones.
        start: first entry, counted along these axes.
        stop: one behind the last entry.
        before: index of the axes before these.

    Returns:
        (..., stop - start), with the axes before these.
    """
    if not shape:
        whole = np.asarray(array[before] if before else array[()])
        return whole.reshape(*whole.shape, 1)
    if len(shape) == 1:
        return np.asarray(array[(*before, slice(start, stop))])
    inner = int(np.prod(shape[1:]))

    def rows(low, high):
        found = np.asarray(array[(*before, slice(low, high))])
        return found.reshape(*found.shape[: len(before)], -1)

    def within(row, low, high):
        found = cut(array, shape[1:], low, high, (*before, slice(row, row + 1)))
        return found.reshape(*found.shape[: len(before)], -1)

    first, last = -(-start // inner), stop // inner  # whole rows
    if first > last:
        return within(last, start - last * inner, stop - last * inner)
    pieces = []
    if start < first * inner:
        pieces.append(within(first - 1, start - (first - 1) * inner, inner))
    if first < last:
        pieces.append(rows(first, last))
    if last * inner < stop:
        pieces.append(within(last, 0, stop - last * inner))
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)


@contextlib.contextmanager
def reading(path: object, expected: str, way_out: str = "") -> Iterator[None]:
    """Turn whatever a library raises for a damaged file into one clear message.

    Args:
        path: of the file.
        expected: what it should be.
        way_out: what the user can do.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # parsers raise nearly anything for a damaged file
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise invalid(
            str(path), f"cannot be read ({reason[0][:150]})", expected, way_out
        ) from error
