"""Arrays in `.npy` and `.npz` files, read in parts where they are not compressed."""

import contextlib
import math
import operator
import pathlib
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO

import numpy as np

from sgd_diffusion._npy_headers import Header, npz_headers, read_header
from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths.stored_path import Arrays, StoredArray, reading

__all__ = ["in_parts", "npz_once", "open_npy", "open_npz"]

NPY = "an .npy file as written by numpy.save, of plain numbers"
NPZ = "an .npz file as written by numpy.savez, of plain arrays of numbers"
PLAIN = (
    "nothing is unpickled: save numbers, objects with .astype(float), and bfloat16 as float32 or "
    "in .safetensors"
)
MAX_UNPACKED = 2**30  # bytes of a compressed array, which is unpacked as a whole
LOCAL_HEADER = 30  # bytes of a member of a zip file before its name


@contextlib.contextmanager
def open_npy(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the array of a `.npy` file as `weights`.

    Raises:
        InputError: the file cannot be read, is cut off, or holds objects.
    """
    with contextlib.ExitStack() as stack:
        with reading(path, NPY):
            file = stack.enter_context(open(path, "rb", buffering=0))
            header = read_header(file)
            if header.dtype.hasobject or header.dtype.kind == "V":
                raise invalid(str(path), f"has dtype {header.dtype}", NPY, PLAIN)
            held = path.stat().st_size - header.length
            if held < header.nbytes:
                raise ValueError(f"its header says {header.nbytes} bytes, and {held} are there")
        yield {"weights": _OnDisk(file, header, header.length)}


@contextlib.contextmanager
def open_npz(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the arrays of a `.npz` file by their names.

    Those that are not compressed are read in parts. Others are unpacked when they are indexed.
    Objects are there by their names and types alone; no index reads them.

    Raises:
        InputError: the file cannot be read, or is cut off.
    """
    with contextlib.ExitStack() as stack:
        with reading(path, NPZ):
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = stack.enter_context(open(path, "rb", buffering=0))
            found: dict[str, StoredArray] = {}
            for name, header in npz_headers(path, archive).items():
                info = _member(archive, name)
                if info.compress_type == zipfile.ZIP_STORED and not header.dtype.hasobject:
                    found[name] = _OnDisk(file, header, _data_start(file, info) + header.length)
                else:
                    found[name] = _Unpacked(path, info.filename, header)
        yield found


def npz_once(path: pathlib.Path) -> Callable[[], AbstractContextManager[Arrays]]:
    """Return what opens a `.npz` file again and again and unpacks what is compressed once."""
    unpacked: dict[str, StoredArray] = {}

    @contextlib.contextmanager
    def opened():
        with open_npz(path) as arrays:
            for name, array in arrays.items():
                if isinstance(array, _Unpacked):
                    unpacked.setdefault(name, array)
            yield {**arrays, **unpacked}

    return opened


def in_parts(path: pathlib.Path) -> bool:
    """Return whether a part of a `.npz` file can be read without the rest.

    Raises:
        InputError: the file cannot be read.
    """
    with reading(path, NPZ), zipfile.ZipFile(path) as archive:
        return all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


class _OnDisk:
    """An array in an open file, of which parts are read.

    A part is read run by run. Mapping the file into the memory took ten times as long where it is
    larger than the memory, and its pages would count as memory of this process.
    """

    def __init__(self, file: IO[bytes], header: Header, start: int):
        self._file, self._header, self._start = file, header, start
        self.shape, self.dtype = header.shape, header.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        index = (*index, *[slice(None)] * (len(self.shape) - len(index)))
        if self._header.column_major:  # the transposed array is row-major
            return self._part(self.shape[::-1], index[::-1]).T
        return self._part(self.shape, index)

    def _part(self, shape, index):
        spans = [each.indices(size)[:2] for each, size in zip(index, shape, strict=True)]
        counts = [stop - start for start, stop in spans]
        part: np.ndarray = np.empty(counts, self.dtype)
        if not part.size:
            return part
        cut = [axis for axis, count in enumerate(counts) if count < shape[axis]]
        last = cut[-1] if cut else 0  # behind this axis all is wanted, so that runs are as long
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        first = sum(start * stride for (start, _), stride in zip(spans, strides, strict=True))
        runs = part.reshape(math.prod(counts[:last]), -1)
        for run, place in zip(runs, np.ndindex(*counts[:last]), strict=True):
            entry = first + sum(map(operator.mul, place, strides))
            self._file.seek(self._start + entry * self.dtype.itemsize)
            if self._file.readinto(run) < run.nbytes:
                raise invalid(self._file.name, "is cut off", "as many bytes as its header says")
        return part


class _Unpacked:
    """An array of an archive that is unpacked as a whole when a part of it is asked for."""

    def __init__(self, path: pathlib.Path, member: str, header: Header):
        self._path, self._member, self._header = path, member, header
        self._array: np.ndarray | None = None
        self.shape, self.dtype = header.shape, header.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        if self._array is None:
            if self._header.nbytes > MAX_UNPACKED:
                raise invalid(
                    f"{self._member} in {self._path}",
                    f"is compressed and has {self._header.nbytes / 2**30:.3g} GiB when unpacked",
                    f"at most {MAX_UNPACKED / 2**30:.3g} GiB",
                    "save it with numpy.savez, which does not compress",
                )
            with (
                reading(self._path, NPZ),
                zipfile.ZipFile(self._path) as archive,
                archive.open(self._member) as file,
            ):
                self._array = np.lib.format.read_array(file, allow_pickle=False)
        return self._array[index]


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        return archive.getinfo(name)


def _data_start(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Return where the content of a member begins, which its local header says."""
    file.seek(info.header_offset)
    name, extra = struct.unpack("<HH", file.read(LOCAL_HEADER)[26:])
    return info.header_offset + LOCAL_HEADER + name + extra
