"""Arrays in HDF5 and NetCDF-4 files and in Zarr stores, read chunk by chunk."""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import h5py

from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths.missing import required
from sgd_diffusion.storage.paths.stored_path import Arrays, reading

__all__ = ["chunk_grain", "is_zarr", "open_hdf5", "open_zarr"]

HDF5 = "an HDF5 or NetCDF-4 file"
ZARR = "a Zarr store"
MAX_CHUNK = 2**30  # bytes
ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")


@contextlib.contextmanager
def open_hdf5(path: pathlib.Path, inner: str) -> Iterator[Arrays]:
    """Yield the arrays of an HDF5 file by their names.

    Args:
        path: of the file.
        inner: of an array, or of a group whose arrays are wanted; "" for all.

    Raises:
        InputError: the file cannot be read, or has nothing under this name.
    """
    with contextlib.ExitStack() as stack:
        with reading(path, HDF5):
            file = stack.enter_context(h5py.File(path, "r"))
            found: dict[str, Any] = {}

            def note(name, item):
                is_axis = item.attrs.get("CLASS") == b"DIMENSION_SCALE"
                if isinstance(item, h5py.Dataset) and not is_axis:
                    found[name.replace("/", ".")] = item

            chosen = file.get(inner or "/")
            if chosen is None:
                file.visititems(note)
                raise _nothing(path, inner, found)
            if isinstance(chosen, h5py.Dataset):
                found = {inner.strip("/").rpartition("/")[2]: chosen}
            else:
                chosen.visititems(note)
        yield found


@contextlib.contextmanager
def open_zarr(path: pathlib.Path, inner: str) -> Iterator[Arrays]:
    """Yield the arrays of a Zarr store by their names.

    Args:
        path: of the store.
        inner: as for `open_hdf5`.

    Raises:
        InputError: the store cannot be read, has nothing under this name, or the package zarr is
            not installed.
    """
    zarr = required("zarr", f"reading {path}")
    with reading(path, ZARR):
        root = zarr.open(str(path), mode="r")
        inner = inner.strip("/")
        if isinstance(root, zarr.Array):
            found = {"weights": root}
            if inner:
                raise _nothing(path, inner, {})
        else:
            within = {
                name: item
                for name, item in root.members(max_depth=None)
                if isinstance(item, zarr.Array)
            }
            found = {inner.rpartition("/")[2]: within[inner]} if inner in within else {}
            prefix = f"{inner}/" if inner else ""
            found |= {
                name.removeprefix(prefix).replace("/", "."): item
                for name, item in within.items()
                if name.startswith(prefix)
            }
            if not found:
                raise _nothing(path, inner, within)
    yield found


def is_zarr(path: pathlib.Path) -> bool:
    """Return whether a directory is a Zarr store."""
    return any((path / name).is_file() for name in ZARR_FILES)


def chunk_grain(name: str, array: Any) -> int:
    """Return how many coordinates of a point lie between the cuts of the chunks of an array.

    Raises:
        InputError: its chunks are too large to be read as a whole.
    """
    chunks = getattr(array, "chunks", None)
    if not chunks or len(array.shape) < 2:
        return 1
    size = math.prod(chunks) * array.dtype.itemsize
    if size > MAX_CHUNK:
        raise invalid(
            name,
            f"has chunks {chunks} of {size / 2**30:.3g} GiB",
            f"at most {MAX_CHUNK / 2**30:.3g} GiB",
            "write it with smaller chunks, such as those of one point",
        )
    return min(chunks[1], array.shape[1]) * math.prod(array.shape[2:])


def _nothing(path, inner, found):
    return invalid(
        f"{path}::{inner}",
        "is not there",
        f"one of {', '.join(list(found)[:10]) or 'no array at all'}",
    )
