"""Checkpoints of PyTorch, `.pt` and `.pth`, read with `weights_only=True` and never otherwise."""

import contextlib
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths.leaves import named_arrays
from sgd_diffusion.storage.paths.missing import required
from sgd_diffusion.storage.paths.stored_path import Arrays, reading

__all__ = ["dtype_of_tensor", "open_torch", "tensor_as_numpy"]

EXPECTED = "tensors in dicts and lists, as torch.save(model.state_dict(), path) writes them"
WAY_OUT = "save model.state_dict() alone; other pickled objects are never loaded"


class _Tensor:
    """A tensor of PyTorch, of which parts become NumPy arrays."""

    def __init__(self, tensor: Any):
        self._tensor = tensor
        self.shape = tuple(tensor.shape)
        self.dtype = dtype_of_tensor(tensor)

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        return tensor_as_numpy(self._tensor[index])


@contextlib.contextmanager
def open_torch(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the tensors of a file by their names, mapped into the memory.

    Raises:
        InputError: the file is no archive of `torch.save`, is compressed, or holds other objects
            than tensors and plain values; or torch is not installed.
    """
    torch = required("torch", f"reading {path}")
    with reading(path, EXPECTED, WAY_OUT):
        with open(path, "rb"):  # its own message for a file that is missing or not to be read
            pass
        if not zipfile.is_zipfile(path):
            raise ValueError("it is cut off, or not in the format of PyTorch 1.6 and later")
        with zipfile.ZipFile(path) as archive:
            compressed = [info for info in archive.infolist() if info.compress_type]
        if compressed:
            raise ValueError(f"{compressed[0].filename} in it is compressed; torch.save never does")
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        tensors = {
            name: tensor
            for name, tensor in named_arrays(loaded).items()
            if isinstance(tensor, torch.Tensor)
        }
        for name, tensor in tensors.items():
            if tensor.layout != torch.strided or tensor.is_quantized:
                raise ValueError(f"{name} is a sparse or quantized tensor")
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise invalid(
                    f"{name} in {path}",
                    f"has shape {tuple(tensor.shape)} and fewer numbers behind it",
                    "a tensor with a number for each of its entries",
                    "save it after .contiguous()",
                )
        found = {name: _Tensor(tensor) for name, tensor in tensors.items()}
    yield found


def dtype_of_tensor(tensor: Any) -> np.dtype:
    """Return the type of NumPy or ml_dtypes with the numbers of a tensor of PyTorch.

    Raises:
        TypeError: there is none.
    """
    return jnp.dtype(str(tensor.dtype).removeprefix("torch."))


def tensor_as_numpy(tensor: Any) -> np.ndarray:
    """Return a tensor of PyTorch as a NumPy array, without a copy of one on the CPU."""
    dtype = dtype_of_tensor(tensor)
    if dtype.kind != "V":
        return tensor.numpy(force=True)
    # NumPy has no such type; ml_dtypes has, for the same bytes.
    flat = tensor.detach().contiguous().reshape(-1)
    bytes_ = flat.view(_integers(dtype.itemsize)).numpy(force=True)
    return bytes_.view(dtype).reshape(tuple(tensor.shape))


def _integers(itemsize: int) -> Any:
    torch = required("torch", "a tensor")
    return {1: torch.uint8, 2: torch.int16}[itemsize]
