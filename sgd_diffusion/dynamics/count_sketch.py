"""A count sketch of points of any size, on the host and without JAX."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sgd_diffusion.analysis.streaming import Leaf

__all__ = ["CountSketch"]

SEED = 0


class CountSketch:
    """A random projection of points to `dim` numbers, the same one in every process.

    It gives every coordinate a random sign and adds it into one of `dim` buckets (Charikar, Chen,
    Farach-Colton 2002). It is linear and costs O(P). It leaves inner products unbiased, with
    variance (|x|^2 |y|^2 + <x, y>^2) / dim at most. For that, two coordinates must not share a
    bucket with a probability above 1 / dim. Here `dim` coordinates in a row have different buckets,
    and each such block has its own random rotation. So all memory is read and written in a row.

    Args:
        leaves: the arrays of a point, with P real numbers together. A complex number is two.
        dim: number of buckets.
    """

    def __init__(self, leaves: Sequence[Leaf], dim: int):
        self.dim = dim
        # The numbers of a bit generator, unlike those of `Generator`, are the same in all versions.
        stream = np.random.PCG64(SEED)
        self._blocks = [_blocks(stream, leaf.size * _parts(leaf.dtype), dim) for leaf in leaves]

    def __call__(self, point: Sequence[np.ndarray]) -> Float[np.ndarray, "bucket"]:
        """Return the sketch of a point in float64.

        Args:
            point: an array for each of the leaves.
        """
        sums = np.zeros(2 * self.dim)
        for array, blocks in zip(point, self._blocks, strict=True):
            numbers = _real_numbers(array)
            for start, shift, signs in blocks:
                stop = start + len(signs)
                sums[shift : shift + len(signs)] += numbers[start:stop] * signs
        return sums[: self.dim] + sums[self.dim :]


def _blocks(stream, size, dim):
    """Return the blocks of an array: first coordinate, rotation, and the signs of all in it."""
    words = stream.random_raw(-(-size // 64)).astype("<u8")
    signs = 1 - 2 * np.unpackbits(words.view(np.uint8))[:size].astype(np.float32)
    starts = range(0, size, dim)
    shifts = (stream.random_raw(len(starts)) % dim).tolist()
    return [
        (start, shift, signs[start : start + dim])
        for start, shift in zip(starts, shifts, strict=True)
    ]


def _parts(dtype):
    return 2 if dtype.kind == "c" else 1


def _real_numbers(array):
    """Return the real numbers of an array as a vector that NumPy computes with."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "c":
        return np.ascontiguousarray(flat).view(flat.real.dtype)
    return flat if flat.dtype.itemsize > 2 else flat.astype(np.float32)
