"""Arrays in `.npy` and `.npz` files, read in parts where they are not compressed."""

import contextlib
import pathlib
import struct
import zipfile
from collections.abc import Iterator
from typing import Literal

import numpy as np

from sgd_diffusion._memory import check_memory
from sgd_diffusion._npy_headers import Header, npz_headers, read_header
from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths.stored_path import Arrays, reading

__all__ = ["in_parts", "open_npy", "open_npz"]

NPY = "an .npy file as written by numpy.save, of plain numbers"
NPZ = "an .npz file as written by numpy.savez, of plain arrays of numbers"
PLAIN = (
    "nothing is unpickled: save numbers, objects with .astype(float), and bfloat16 as float32 or "
    "in .safetensors"
)
LOCAL_HEADER = 30  # bytes of a member of a zip file before its name


@contextlib.contextmanager
def open_npy(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the array of a `.npy` file as `weights`, mapped into the memory.

    Raises:
        InputError: the file cannot be read, is cut off, or holds objects.
    """
    with reading(path, NPY), open(path, "rb") as file:
        header = read_header(file)
        _check_plain(str(path), header, NPY)
        held = path.stat().st_size - header.length
        if held < header.nbytes:
            raise ValueError(f"its header says {header.nbytes} bytes, and {held} are there")
        array = _mapped(path, header, header.length)
    yield {"weights": array}


@contextlib.contextmanager
def open_npz(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the arrays of a `.npz` file by their names.

    Those that are not compressed are mapped into the memory. Others are read when they are indexed.

    Raises:
        InputError: the file cannot be read, is cut off, or holds objects.
    """
    with reading(path, NPZ), zipfile.ZipFile(path) as archive:
        found: dict[str, np.ndarray | _Compressed] = {}
        for name, header in npz_headers(path, archive).items():
            _check_plain(f"{name} in {path}", header, NPZ)
            info = _member(archive, name)
            found[name] = (
                _mapped(path, header, _data_start(path, info) + header.length)
                if info.compress_type == zipfile.ZIP_STORED
                else _Compressed(path, info.filename, header)
            )
    yield found


def in_parts(path: pathlib.Path) -> bool:
    """Return whether a part of a `.npz` file can be read without the rest.

    Raises:
        InputError: the file cannot be read.
    """
    with reading(path, NPZ), zipfile.ZipFile(path) as archive:
        return all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


class _Compressed:
    """An array of an archive that is unpacked as a whole when a part of it is asked for."""

    def __init__(self, path: pathlib.Path, member: str, header: Header):
        self._path, self._member, self._header = path, member, header
        self._array: np.ndarray | None = None
        self.shape, self.dtype = header.shape, header.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        if self._array is None:
            check_memory(
                self._header.nbytes,
                f"{self._member} in {self._path}, which is compressed,",
                "save it with numpy.savez, which does not compress",
                "host",
            )
            with (
                reading(self._path, NPZ),
                zipfile.ZipFile(self._path) as archive,
                archive.open(self._member) as file,
            ):
                self._array = np.lib.format.read_array(file, allow_pickle=False)
        return self._array[index]


def _check_plain(name: str, header: Header, expected: str) -> None:
    if header.dtype.hasobject or header.dtype.kind == "V":
        raise invalid(name, f"has dtype {header.dtype}", expected, PLAIN)


def _mapped(path: pathlib.Path, header: Header, offset: int) -> np.ndarray:
    if not header.nbytes:
        return np.zeros(header.shape, header.dtype)
    order: Literal["C", "F"] = "F" if header.column_major else "C"
    # A memmap of shape () would have one axis.
    shape = header.shape or (1,)
    mapped: np.memmap = np.memmap(
        path, dtype=header.dtype, mode="r", offset=offset, shape=shape, order=order
    )
    return mapped.reshape(header.shape)


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        return archive.getinfo(name)


def _data_start(path: pathlib.Path, info: zipfile.ZipInfo) -> int:
    """Return where the content of a member begins, which its local header says."""
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        local = file.read(LOCAL_HEADER)
    name, extra = struct.unpack("<HH", local[26:30])
    return info.header_offset + LOCAL_HEADER + name + extra
