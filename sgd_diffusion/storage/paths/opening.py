"""From what a user calls a path to the stored path: its format, its files in order, its leaves."""

import contextlib
import functools
import glob
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths import chunked_arrays, numpy_files
from sgd_diffusion.storage.paths.jax_checkpoints import (
    UNFINISHED,
    is_orbax,
    open_msgpack,
    open_orbax,
)
from sgd_diffusion.storage.paths.leaves import chosen_leaves
from sgd_diffusion.storage.paths.safetensors_files import open_safetensors
from sgd_diffusion.storage.paths.steps import in_order, listed_files, natural_key, regular_steps
from sgd_diffusion.storage.paths.stored_path import (
    Arrays,
    StoredPath,
    check_same,
    reader_of_arrays,
    reader_of_files,
    reading,
)
from sgd_diffusion.storage.paths.torch_files import open_torch

__all__ = ["open_path", "path_in_memory"]

Opener = Callable[[pathlib.Path], AbstractContextManager[Arrays]]


class Format(NamedTuple):
    """A kind of files that hold a point each.

    Attributes:
        suffixes: of their names.
        opened: opens one.
        in_parts: says whether a part of one can be read without the rest.
    """

    suffixes: tuple[str, ...]
    opened: Opener
    in_parts: Callable[[pathlib.Path], bool]


POINTS = (
    Format((".safetensors",), open_safetensors, lambda file: True),
    Format((".pt", ".pth"), open_torch, lambda file: True),
    Format((".npz",), numpy_files.open_npz, numpy_files.in_parts),
    Format((".npy",), numpy_files.open_npy, lambda file: True),
    Format((".msgpack",), open_msgpack, lambda file: False),
)
ORBAX = Format((), open_orbax, lambda file: False)
HDF5_SUFFIXES = (".h5", ".hdf5", ".nc", ".nc4")
KINDS = (
    "a .npy, .npz, HDF5, NetCDF-4 or Zarr array of (T+1, ...) points (FILE::NAME for one of "
    "several arrays), or a directory, a pattern in quotes or a .txt list of .safetensors, .pt, "
    ".pth, .npz, .npy, .msgpack or Orbax checkpoints"
)


def open_path(
    source: str | os.PathLike,
    *,
    steps_per_checkpoint: IntegerLike | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> StoredPath:
    """Return a path that is stored on a disk, after a look at the headers of its files.

    These are paths:

    - a file of arrays that have all points along their first axis: `.npy`, `.npz`, HDF5 and
      NetCDF-4, and a Zarr store. `FILE::NAME` is one of several arrays, or a group of them;
    - checkpoints with a point each: `.safetensors`, `.pt` and `.pth` of PyTorch, `.npz`, `.npy`,
      `.msgpack` of flax, and directories of Orbax. They are given as the directory that they are
      in, as a pattern, or as a `.txt` file with one on a line.

    The names of checkpoints in a directory or of a pattern differ in numbers only. The last number
    that differs is the step of training, and steps have to be at equal distances. A list says the
    order itself.

    Args:
        source: what the user calls it.
        steps_per_checkpoint: steps of training from one point to the next. By default that of the
            names of the files, otherwise 1.
        include: patterns of names of arrays (see `chosen_leaves`).
        exclude: patterns of names of arrays that are left out besides.

    Raises:
        InputError: there is no path, a file cannot be read or differs from the first one, a format
            needs a package that is not installed, checkpoints are missing, or there are fewer than
            two points.
    """
    if not isinstance(source, str | os.PathLike):
        raise invalid("PATH", f"is {source!r:.100}", "a path")
    if steps_per_checkpoint is not None:
        steps_per_checkpoint = integer("steps_per_checkpoint", steps_per_checkpoint, 1, 2**31)
    name = os.fspath(source)
    outer, _, inner = name.partition("::")
    path = pathlib.Path(outer).expanduser()
    choose = functools.partial(chosen_leaves, name, include=include, exclude=exclude)
    with reading(name, KINDS):
        opened = _array_opener(path, inner)
        files, steps = ([], []) if opened or inner else _files(name, path)
    if opened is not None:
        found = _of_arrays(name, opened, choose)
        return found._replace(spacing=steps_per_checkpoint or 1)
    if inner:
        raise invalid(name, "has a name behind ::", "it for HDF5, NetCDF-4 and Zarr alone")
    first, spacing = regular_steps(name, steps)
    if steps_per_checkpoint is not None:
        first, spacing = first // spacing * steps_per_checkpoint, steps_per_checkpoint
    found = _of_files(name, files, _format(name, files), choose)
    return found._replace(first_step=first, spacing=spacing)


def path_in_memory(
    arrays: Mapping[str, ArrayLike], *, source: str = "the path", spacing: IntegerLike = 1
) -> StoredPath:
    """Return a path whose points are in memory.

    Args:
        arrays: {name: (T+1, ...)}; which of them are coordinates says `chosen_leaves`.
        source: what it is called in messages and summaries.
        spacing: steps of training from one point to the next.

    Raises:
        InputError: there are fewer than two points, or arrays with different numbers of them.
    """
    held = {
        name: np.asarray(real_array(name, array, or_complex=True)) for name, array in arrays.items()
    }
    found = _of_arrays(
        source, lambda: contextlib.nullcontext(held), functools.partial(chosen_leaves, source)
    )
    return found._replace(spacing=integer("spacing", spacing, 1, 2**31))


def _array_opener(path: pathlib.Path, inner: str) -> Callable | None:
    """Return what opens the arrays of all points, or None where files have a point each."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return (
            functools.partial(chunked_arrays.open_zarr, path, inner)
            if chunked_arrays.is_zarr(path)
            else None
        )
    if not path.exists():
        return None
    if suffix in HDF5_SUFFIXES:
        return functools.partial(chunked_arrays.open_hdf5, path, inner)
    if inner:
        return None
    if suffix == ".npy":
        return functools.partial(numpy_files.open_npy, path)
    return numpy_files.npz_once(path) if suffix == ".npz" else None


def _of_arrays(name, opened, choose):
    with opened() as arrays:
        leaves, left_out = choose(
            {
                key: (tuple(array.shape[1:]), array.dtype)
                for key, array in arrays.items()
                if len(array.shape)
            }
        )
        counts = {leaf.name: arrays[leaf.name].shape[0] for leaf in leaves}
        grain = max(
            chunked_arrays.chunk_grain(f"{leaf.name} in {name}", arrays[leaf.name])
            for leaf in leaves
        )
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{key} {count}" for key, count in list(counts.items())[:5])
        raise invalid(
            name,
            f"has arrays with different first axes, {shown}",
            "the T+1 points along the first axis of every array",
            "choose arrays with --include, or with FILE::NAME",
        )
    num_points = _enough(name, next(iter(counts.values())))
    return StoredPath(
        name, num_points, leaves, left_out, reader_of_arrays(name, opened, leaves), grain
    )


def _of_files(name, files, kind, choose):
    _enough(name, len(files))
    with kind.opened(files[0]) as arrays:
        leaves, left_out = choose(
            {key: (tuple(array.shape), array.dtype) for key, array in arrays.items()}
        )
    parts = kind.in_parts(files[0])
    if parts:  # a look at a header costs little
        for file in files[1:]:
            with kind.opened(file) as arrays:
                check_same(file, files[0], arrays, leaves)
    grain = 1 if parts else sum(leaf.size for leaf in leaves)
    read = reader_of_files(files, kind.opened, leaves)
    return StoredPath(name, len(files), leaves, left_out, read, grain)


def _enough(name, num_points):
    if num_points < 2:
        raise invalid(
            name,
            f"has {num_points} point{'s' * (num_points != 1)}",
            "two or more",
            "give a directory, or a pattern in quotes, which the shell leaves alone",
        )
    return num_points


def _files(name: str, path: pathlib.Path) -> tuple[list[pathlib.Path], list[int]]:
    """Return checkpoints in order, and the steps at which they were written."""
    if path.suffix == ".txt" and path.is_file():
        files = listed_files(path)
        return files, list(range(len(files)))
    if path.is_dir() and not is_orbax(path):
        found = [file for file in path.iterdir() if _is_checkpoint(file)]
    elif path.exists():
        found = [path] if _is_checkpoint(path) else []
    else:
        found = [file for file in map(pathlib.Path, glob.glob(str(path))) if _is_checkpoint(file)]
        if not found and not glob.has_magic(str(path)):
            raise invalid(name, "does not exist", KINDS)
    if not found:
        raise invalid(name, "has no checkpoints", KINDS)
    kinds = sorted({file.suffix.lower() for file in found if file.is_file()})
    if len(kinds) > 1:
        raise invalid(
            name,
            f"has checkpoints of several kinds, {', '.join(kinds)}",
            "one kind",
            f"give a pattern in quotes, such as 'DIR/*{kinds[0]}'",
        )
    by_name = {str(file): file for file in found}
    ordered, steps = in_order(name, sorted(by_name, key=natural_key))
    return [by_name[each] for each in ordered], steps


def _is_checkpoint(file: pathlib.Path) -> bool:
    if file.is_dir():
        return UNFINISHED not in file.name and is_orbax(file)
    return any(file.suffix.lower() in kind.suffixes for kind in POINTS)


def _format(name: str, files: Sequence[pathlib.Path]) -> Format:
    if not files:
        return ORBAX  # a list without a line, which is refused for that
    if files[0].is_dir():
        return ORBAX
    for kind in POINTS:
        if files[0].suffix.lower() in kind.suffixes:
            return kind
    raise invalid(name, f"has {files[0]}, whose format is not known", KINDS)
