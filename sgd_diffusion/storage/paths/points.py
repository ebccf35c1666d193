"""A point of a path as a training loop has it: arrays of PyTorch, NumPy or JAX, by their names."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from sgd_diffusion._arrays import real_array
from sgd_diffusion._types import PyTree
from sgd_diffusion.analysis.streaming import Leaf
from sgd_diffusion.storage.paths.torch_files import dtype_of_tensor, tensor_as_numpy

__all__ = ["as_numpy", "as_tree", "forms"]


def as_tree(parameters: PyTree) -> PyTree:
    """Return parameters as a pytree; an iterator or a list of pairs with names becomes a dict."""
    if not isinstance(parameters, Iterator | list):
        return parameters
    items = list(parameters)
    pairs = all(
        isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in items
    )
    return dict(items) if pairs else items


def forms(tree: PyTree) -> list[Leaf | None]:
    """Return name, shape and type of each leaf of a pytree; None for what is no array.

    Names of nested containers are joined by dots. An array alone is called "weights".
    """
    return [
        Leaf(
            jax.tree_util.keystr(path, simple=True, separator=".") or "weights",
            tuple(leaf.shape),
            _dtype(leaf),
        )
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        else None
        for path, leaf in jax.tree.leaves_with_path(tree)
    ]


def as_numpy(array: Any) -> np.ndarray:
    """Return an array of any of the libraries as one of NumPy, without a copy of one on the CPU.

    Raises:
        InputError: it is no array of real or complex numbers, or some of its entries are masked.
    """
    if _is_tensor(array):
        return tensor_as_numpy(array)
    if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
        return np.from_dlpack(array)
    return np.asarray(real_array("an array of parameters", array, or_complex=True))


def _dtype(array):
    if _is_tensor(array):
        return dtype_of_tensor(array)
    return array.dtype.newbyteorder("=") if isinstance(array.dtype, np.dtype) else array.dtype


def _is_tensor(array):
    return hasattr(array, "detach")
