"""Labeled images from `.npz` files, whose headers are read before memory is asked for."""

import math
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_diffusion._memory import check_memory
from sgd_diffusion.errors import InputError, invalid
from sgd_diffusion.problems.image_forms import LAYOUT, array_names, read_arrays
from sgd_diffusion.problems.labeled_images import ARRAYS, Dataset

__all__ = ["load_npz"]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_npz(path: pathlib.Path) -> Dataset:
    """Return the data set in a file, see `datasets.load`.

    Raises:
        InputError: the file is missing or ill-formed, or needs more memory than there is.
    """
    arguments = ", ".join(f"{key}=..." for key in ARRAYS)
    expected = f"an .npz file as written by numpy.savez(path, {arguments})"
    return read_arrays(_read(path, expected), path.name, str(path), expected)


def _read(path: pathlib.Path, expected: str) -> dict[str, Any]:
    """Return the arrays that are the data set, and None for all others."""
    if not path.is_file():
        raise invalid(str(path), "does not exist", expected)
    if not zipfile.is_zipfile(path):
        raise invalid(str(path), "is cut off, or is no .npz file at all", expected)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = dict.fromkeys(archive.files)
            wanted = array_names((key for key in arrays if key != LAYOUT), str(path), expected)
            _check_sizes(path, archive.zip, wanted)
            arrays |= {key: np.asarray(archive[key]) for key in (*wanted, LAYOUT) if key in arrays}
    except InputError:
        raise
    except Exception as error:  # NumPy's parser raises nearly anything for a damaged header
        raise invalid(
            str(path),
            f"cannot be read: {error}",
            f"{expected}, all of them plain arrays of numbers",
            "names of classes are an array of text, made with numpy.array(names, dtype=str)",
        ) from error
    return arrays


def _check_sizes(path: pathlib.Path, archive: zipfile.ZipFile, keys: Sequence[str]) -> None:
    """Refuse arrays that are not what their headers say, or do not fit into the memory."""
    needed = 0
    for key in keys:
        name = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
        with archive.open(name) as file:
            shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
            held = archive.getinfo(name).file_size - file.tell()
        declared = math.prod(shape) * dtype.itemsize
        if declared != held and not dtype.hasobject:
            raise invalid(
                f"{key} in {path}",
                f"has a header that says {shape} of {dtype}, {declared} bytes, "
                f"and {held} bytes behind it",
                "as many",
                "the file is damaged, write it anew",
            )
        # Floating numbers are copied to float32.
        needed += declared + 4 * math.prod(shape) * (dtype.kind == "f")
    check_memory(
        needed,
        str(path),
        "keep fewer images in it, or smaller ones, as uint8",
        "host",
    )
