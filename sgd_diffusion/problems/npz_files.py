"""Labeled images from `.npz` files, whose headers are read before memory is asked for."""

import math
import pathlib
import zipfile

import jax
import numpy as np

from sgd_diffusion._memory import check_memory
from sgd_diffusion.errors import InputError, invalid
from sgd_diffusion.problems.labeled_images import Dataset, Examples, checked

__all__ = ["ARRAYS", "load_npz"]

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_npz(path: pathlib.Path) -> Dataset:
    """Return the data set in a file, see `datasets.load`.

    Raises:
        InputError: the file is missing or ill-formed, or needs more memory than there is.
    """
    arrays = _read(path)
    train, test = (
        Examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])
        for split in ("train", "test")
    )
    return checked(train, test, path.name, source=f" in {path}")


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    arguments = ", ".join(f"{key}=..." for key in ARRAYS)
    expected = f"an .npz file as written by numpy.savez(path, {arguments})"
    if not path.is_file():
        raise invalid(str(path), "does not exist", expected)
    if not zipfile.is_zipfile(path):
        raise invalid(str(path), "is cut off, or is no .npz file at all", expected)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = archive.files
            _check_sizes(path, archive.zip, [key for key in ARRAYS if key in found])
            arrays = {key: np.asarray(archive[key]) for key in ARRAYS if key in found}
    except InputError:
        raise
    except Exception as error:  # NumPy's parser raises nearly anything for a damaged header
        raise invalid(
            str(path),
            f"cannot be read: {error}",
            f"{expected}, all of them plain arrays of numbers",
        ) from error
    missing = [key for key in ARRAYS if key not in found]
    if missing:
        raise invalid(
            str(path),
            f"lacks {', '.join(missing)} and has {', '.join(found) or 'nothing'}",
            expected,
        )
    return arrays


def _check_sizes(path: pathlib.Path, archive: zipfile.ZipFile, keys: list[str]) -> None:
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
        jax.devices("cpu")[0],
    )
