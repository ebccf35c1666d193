"""Types of arguments and results in signatures; shapes are written with jaxtyping."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np

__all__ = ["ArrayLike", "HostArray", "IntegerLike", "Key", "Matvec", "NumberLike", "PyTree"]

# What the readers in `_arrays` take: arrays of NumPy, JAX and PyTorch of any real type, lists of
# numbers, numbers. They convert it or refuse it, which no type can say.
ArrayLike: TypeAlias = Any
if TYPE_CHECKING:
    IntegerLike: TypeAlias = int | np.integer | np.ndarray | jax.Array
    NumberLike: TypeAlias = float | np.generic | np.ndarray | jax.Array
    # What functions that compute on the host return. Without axes it may be a number of NumPy,
    # which has the methods of an array.
    HostArray: TypeAlias = np.ndarray
else:  # what is none of these has an error of the library's own
    IntegerLike = NumberLike = Any
    HostArray = np.ndarray | np.floating | np.integer | np.bool_
Key: TypeAlias = jax.Array  # a PRNG key of jax.random.key
PyTree: TypeAlias = Any
Matvec: TypeAlias = Callable[[PyTree], PyTree]
