"""Labelled images from `.npz` files, of which the headers are read before the memory is asked for."""

import math
import pathlib
import zipfile

import jax
import numpy as np

from sgd_diffusion._memory import check_memory
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.labelled_images import Dataset, Examples, checked

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_npz(path: pathlib.Path) -> Dataset:
    """The data set in a file, see `datasets.load`.

    Raises:
        InputError: for a missing or ill-formed file, or one that needs more memory than there is.
    """
    arrays = _read(path)
    train, test = (
        Examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])
        for split in ("train", "test")
    )
    return checked(train, test, path.name, source=f" in {path}")


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    expected = f"Expected an .npz file as written by numpy.savez(path, {', '.join(f'{key}=...' for key in ARRAYS)})."
    if not path.is_file():
        raise InputError(f"There is no file {path}. {expected}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is cut off, or is no .npz file at all. {expected}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = archive.files
            _check_sizes(path, archive.zip, [key for key in ARRAYS if key in found])
            arrays = {key: np.asarray(archive[key]) for key in ARRAYS if key in found}
    except InputError:
        raise
    except (
        Exception
    ) as error:  # a damaged header surfaces as nearly anything from inside NumPy's parser
        raise InputError(
            f"{path} cannot be read: {error} {expected} All are plain arrays of numbers."
        ) from error
    missing = [key for key in ARRAYS if key not in found]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(found) or 'nothing'}. {expected}"
        )
    return arrays


def _check_sizes(path: pathlib.Path, archive: zipfile.ZipFile, keys: list[str]) -> None:
    """Refuse arrays that are not what their headers say, or do not fit the memory."""
    needed = 0
    for key in keys:
        name = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
        with archive.open(name) as file:
            shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
            held = archive.getinfo(name).file_size - file.tell()
        declared = math.prod(shape) * dtype.itemsize
        if declared != held and not dtype.hasobject:
            raise InputError(
                f"{key} in {path} has a header that says {shape} of {dtype}, {declared} bytes, and "
                f"{held} bytes behind it. Expected as many: the file is damaged, write it anew."
            )
        needed += declared + 4 * math.prod(shape) * (
            dtype.kind == "f"
        )  # floating numbers are copied to float32
    check_memory(
        needed,
        str(path),
        "keep fewer images in it, or smaller ones, as uint8",
        jax.devices("cpu")[0],
    )
