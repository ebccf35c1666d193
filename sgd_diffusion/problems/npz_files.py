"""Labeled images from `.npz` files, whose headers are read before memory is asked for."""

import math
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_diffusion._memory import check_memory
from sgd_diffusion._npy_headers import npz_headers
from sgd_diffusion.errors import InputError, invalid
from sgd_diffusion.problems.image_forms import LAYOUT, array_names, read_arrays
from sgd_diffusion.problems.labeled_images import ARRAYS, Dataset

__all__ = ["load_npz"]


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
    headers = npz_headers(path, archive, list(keys)).values()
    # Floating numbers are copied to float32.
    needed = sum(
        header.nbytes + 4 * math.prod(header.shape) * (header.dtype.kind == "f")
        for header in headers
    )
    check_memory(
        needed,
        str(path),
        "keep fewer images in it, or smaller ones, as uint8",
        "host",
    )
