"""The points of a window while it is recorded: as they are, or as sketches."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_diffusion._memory import check_memory
from sgd_diffusion.analysis.streaming import Leaf, StreamedGram, stream_plan, streamed_gram
from sgd_diffusion.dynamics.count_sketch import CountSketch
from sgd_diffusion.dynamics.window_measures import layers_of
from sgd_diffusion.storage.paths import StoredPath
from sgd_diffusion.storage.paths.stored_path import reader_of_arrays

__all__ = ["RecordedPoints"]


class RecordedPoints:
    """T+1 points that are put in one after the other, and their losses.

    Args:
        name: of the path, for messages.
        leaves: the arrays of a point.
        num_points: T+1.
        sketch_dim: dimension of a `CountSketch` that is kept of a point, or None for all of it.
        memory: bytes for blocks and matrices while the steps are multiplied.

    Raises:
        InputError: there is too little memory.
    """

    def __init__(
        self,
        name: str,
        leaves: tuple[Leaf, ...],
        num_points: int,
        *,
        sketch_dim: int | None,
        memory: int,
    ):
        self.leaves = leaves
        kept = leaves if sketch_dim is None else (Leaf("sketch", (sketch_dim,), np.dtype(float)),)
        self._arrays: dict[str, Any] = {}
        self.path = StoredPath(
            name,
            num_points,
            kept,
            {},
            reader_of_arrays(name, lambda: contextlib.nullcontext(self._arrays), kept),
        )
        self._how: dict[str, Any] = {"memory": memory, "by_layer": len(layers_of(self.path)) > 1}
        stream_plan(num_points, kept, **self._how)  # refuses a memory that is too small
        size = sum(leaf.size for leaf in leaves)
        check_memory(
            self.path.nbytes,
            f"A window of {num_points} points of {size} parameters",
            "take a shorter window, or a projection with sketch_dim",
            "host",
        )
        self._sketch = None if sketch_dim is None else CountSketch(leaves, sketch_dim)
        self._arrays |= {
            leaf.name: np.empty((num_points, *leaf.shape), leaf.dtype) for leaf in kept
        }
        self.losses = np.full(num_points, np.nan)

    def put(self, row: int, point: Sequence[np.ndarray], loss: float) -> None:
        """Copy a point, an array for each leaf."""
        if self._sketch is not None:
            with np.errstate(all="ignore"):  # a path that diverged
                point = [self._sketch(point)]
        for array, values in zip(self._arrays.values(), point, strict=True):
            array[row] = values
        self.losses[row] = loss

    def begin_again(self) -> None:
        """Make the last point the first one of the next window."""
        for array in (*self._arrays.values(), self.losses):
            array[0] = array[-1]

    def gram(self, first: int) -> StreamedGram:
        """Return the step Gram matrix, and its parts by layer where there are several.

        Args:
            first: number of the first point in the whole path, for messages.

        Raises:
            InputError: there are points that are NaN or infinite before others that are not.
        """
        path = self.path

        def read(start, stop, parts):
            return path.read(start - first, stop - first, parts)

        return streamed_gram(
            read, path.num_points, path.leaves, first=first, name=path.source, **self._how
        )
