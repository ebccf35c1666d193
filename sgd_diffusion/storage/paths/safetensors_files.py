"""Checkpoints in `.safetensors` files."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgd_diffusion.storage.paths.missing import required
from sgd_diffusion.storage.paths.stored_path import Arrays, reading

__all__ = ["open_safetensors"]

EXPECTED = "a .safetensors file"
NUMPY_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


class _Tensor:
    """A tensor of an open file, of which parts are read."""

    def __init__(self, file: Any, name: str):
        self._file, self._name = file, name
        self._slices = file.get_slice(name)
        self.shape = tuple(self._slices.get_shape())
        kind = self._slices.get_dtype()
        if kind not in NUMPY_NAMES:
            raise ValueError(f"{name} has the type {kind}, which NumPy does not know")
        self.dtype = jnp.dtype(NUMPY_NAMES[kind])

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        # The library knows no empty index.
        return self._slices[index] if index else self._file.get_tensor(self._name)


@contextlib.contextmanager
def open_safetensors(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the tensors of a file by their names.

    Raises:
        InputError: the file cannot be read, or the package safetensors is not installed.
    """
    library = required("safetensors", f"reading {path}")
    with contextlib.ExitStack() as stack:
        with reading(path, EXPECTED):
            file = stack.enter_context(library.safe_open(path, framework="numpy"))
            tensors = {name: _Tensor(file, name) for name in file.keys()}
        yield tensors
