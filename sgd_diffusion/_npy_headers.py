"""What `.npy` files and the members of `.npz` archives say of their arrays, before these are read.

A header is a promise. A small archive can claim terabytes, and a damaged one anything. So sizes are
compared with what is there before memory is asked for. Nothing here ever unpickles.
"""

import math
import pathlib
import zipfile
from typing import IO, NamedTuple

import numpy as np

from sgd_diffusion.errors import invalid

__all__ = ["Header", "npz_headers", "read_header"]

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Header(NamedTuple):
    """An array in a file.

    Attributes:
        shape: of the array.
        dtype: of its numbers.
        column_major: whether the first axis varies fastest.
        length: of the header in bytes; the numbers follow it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    column_major: bool
    length: int

    @property
    def nbytes(self) -> int:
        """Return how many bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """Return the header of the `.npy` content of a file that is at its start.

    Raises:
        ValueError: it is none, or of a version that is not known.
    """
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"it has the version {version} of the format, which is not known")
    shape, column_major, dtype = _READERS[version](file)
    return Header(shape, dtype, column_major, file.tell())


def npz_headers(
    path: pathlib.Path, archive: zipfile.ZipFile, names: list[str] | None = None
) -> dict[str, Header]:
    """Return the headers of the arrays of an `.npz` archive.

    Args:
        path: of the archive, for messages.
        archive: that file.
        names: of the arrays; all of them when None.

    Raises:
        InputError: an array is not as long as its header says.
        ValueError: a header is damaged; zipfile raises errors of its own.
    """
    members = set(archive.namelist())
    if names is None:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    found = {}
    for name in names:
        member = f"{name}.npy" if f"{name}.npy" in members else name
        with archive.open(member) as file:
            header = read_header(file)
        held = archive.getinfo(member).file_size - header.length
        if header.nbytes != held and not header.dtype.hasobject:
            raise invalid(
                f"{name} in {path}",
                f"has a header that says {header.shape} of {header.dtype}, {header.nbytes} bytes, "
                f"and {held} bytes behind it",
                "as many",
                "the file is damaged, write it anew",
            )
        found[name] = header
    return found
