"""Step Gram matrix of a path that fits on a disk but not into the memory.

The points are read block by block, and each product is added to the matrix in float64. A store
whose files can be read in parts is read by blocks of coordinates, every number once. A store that
gives whole points only (compressed files, for example) is read by blocks of steps. A block of steps
stays in memory while all later points pass by. So every point is read at most once for each block.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.analysis.gram import refuse_gaps
from sgd_diffusion.errors import invalid

__all__ = ["streamed_gram", "StreamedGram", "stream_plan", "StreamPlan", "Leaf", "Part"]

WIDE = 8  # bytes of float64
PASSING = 8  # a block of steps that stays is so many times as long as one that passes by
PRODUCT_WIDTH = 8192  # coordinates of a product, which runs at full speed with so many


class Leaf(NamedTuple):
    """An array that every point of a path has.

    Attributes:
        name: of the array.
        shape: at one point.
        dtype: of its numbers.
        layer: the part of a model that it belongs to.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    layer: str = ""

    @property
    def size(self) -> int:
        """Return how many numbers it has at one point."""
        return math.prod(self.shape)


class Part(NamedTuple):
    """Coordinates start, ..., stop - 1 of a flattened leaf, which is known by its number."""

    leaf: int
    start: int
    stop: int


Read = Callable[[int, int, Sequence[Part]], Sequence[np.ndarray]]
"""`read(first, stop, parts)` returns each part at the points first, ..., stop - 1."""


class StreamPlan(NamedTuple):
    """How a path is read.

    Attributes:
        by: "coordinates" or "steps", of which a block is read.
        width: how many of them a block has at most.
        passes: how often a point is read at most: in parts, every one once, or as a whole.
        bytes_read: of all points together.
    """

    by: str
    width: int
    passes: int
    bytes_read: int


class StreamedGram(NamedTuple):
    """What is left of a path that was read in blocks.

    Attributes:
        step_gram: (T, T) float64, as from `step_gram`.
        layer_grams: {layer: (T, T)} its parts, which add up to it; empty unless asked for.
        known: (T+1,) whether all numbers of a point are finite.
    """

    step_gram: Float[np.ndarray, "step step"]
    layer_grams: dict[str, Float[np.ndarray, "step step"]]
    known: Bool[np.ndarray, "point"]


def streamed_gram(
    read: Read,
    num_points: IntegerLike,
    leaves: Sequence[Leaf],
    *,
    memory: IntegerLike,
    grain: IntegerLike = 1,
    by_layer: bool = False,
    first: IntegerLike = 0,
    name: str = "the path",
    allow_gaps: bool = False,
    report: Callable[[int], None] | None = None,
) -> StreamedGram:
    """Return the step Gram matrix of a path that is read in blocks.

    It is that of `step_gram` of the same leaves in memory: steps are float32 for floating numbers
    of 4 bytes and fewer and float64 for others, and products and sums are float64. The two differ
    in the order of sums alone.

    Args:
        read: returns parts of some points, each (points, coordinates), as they are stored.
        num_points: T+1 >= 2.
        leaves: the arrays of a point.
        memory: bytes for blocks and matrices together. What `read` needs besides counts as well.
        grain: how many coordinates in a row cannot be read apart; their number at all where a point
            can only be read as a whole.
        by_layer: also return the matrices of the layers of the leaves.
        first: number of the first point, as `read` and messages count them.
        name: of the path, for messages.
        allow_gaps: leave it to the caller to look for points that are NaN or infinite before others
            that are not; `known` says where they are.
        report: called with the number of bytes of every block that was read.

    Returns:
        `StreamedGram`. In a run that diverged, all points from some point on are NaN or infinite;
        the matrix is NaN from there on.

    Raises:
        InputError: fewer than two points, no coordinates, points that are NaN or infinite before
            others that are not, or a memory too small for this path.

    >>> path = np.arange(12.0).reshape(4, 3) ** 2
    >>> found = streamed_gram(
    ...     lambda first, stop, parts: [path[first:stop, part.start : part.stop] for part in parts],
    ...     4, [Leaf("weights", (3,), path.dtype)], memory=10**6)
    >>> np.allclose(found.step_gram, np.diff(path, axis=0) @ np.diff(path, axis=0).T)
    True
    """
    num_points, first = integer("num_points", num_points, 0), integer("first", first, 0)
    grain = integer("grain", grain, 1)
    plan = stream_plan(num_points, leaves, memory=memory, grain=grain, by_layer=by_layer)
    sums = _Sums(read, num_points, leaves, first, by_layer, report or (lambda size: None))
    # Overflow and NaN are what a path that diverged consists of.
    with np.errstate(all="ignore"):
        if plan.by == "coordinates":
            for parts in blocks_of_coordinates(leaves, plan.width, grain):
                sums.add_coordinates(parts)
        else:
            for start in range(0, num_points - 1, plan.width):
                sums.add_steps(start, plan.width, max(1, plan.width // PASSING))
    grams = list(sums.grams.values())
    total = sum(grams) if len(grams) > 1 else grams[0]
    if not allow_gaps:
        refuse_gaps(name, np.isfinite(np.diagonal(total)), lambda: sums.known, first)
    return StreamedGram(total, sums.grams if by_layer else {}, sums.known)


def stream_plan(
    num_points: IntegerLike,
    leaves: Sequence[Leaf],
    *,
    memory: IntegerLike,
    grain: IntegerLike = 1,
    by_layer: bool = False,
) -> StreamPlan:
    """Return how `streamed_gram` reads a path.

    Args:
        num_points: as for `streamed_gram`.
        leaves: as for `streamed_gram`.
        memory: as for `streamed_gram`.
        grain: as for `streamed_gram`.
        by_layer: as for `streamed_gram`.

    Raises:
        InputError: as for `streamed_gram`.
    """
    num_points = integer("num_points", num_points, 0)
    memory, grain = integer("memory", memory, 1), integer("grain", grain, 1)
    size = sum(leaf.size for leaf in leaves)
    if num_points < 2 or not size:
        raise invalid(
            "the path",
            f"has {num_points} points of {size} coordinates",
            "two points or more, of one coordinate or more",
        )
    steps = num_points - 1
    layers = len({_key(leaf, by_layer) for leaf in leaves})
    matrices = WIDE * steps**2 * (layers + 2)  # the sum of the layers, and the product of a block
    free = memory - matrices
    whole = sum(leaf.dtype.itemsize * leaf.size for leaf in leaves)
    of_steps = max(_bytes_of_steps(leaf.dtype) for leaf in leaves)
    of_products = WIDE * max(_numbers(leaf.dtype) for leaf in leaves)
    stored = max(leaf.dtype.itemsize for leaf in leaves)
    # Numbers as they are stored and their differences; and these in float64, of a product.
    of_coordinate = num_points * (stored + of_steps + of_products)
    width = free // of_coordinate
    if width > PRODUCT_WIDTH:
        width = (free - num_points * of_products * PRODUCT_WIDTH) // (
            num_points * (stored + of_steps)
        )
    width = int(min(width, size))
    if width >= min(grain, size):
        blocks = sum(1 for _ in blocks_of_coordinates(leaves, width, grain))
        return StreamPlan("coordinates", width, blocks, num_points * whole)
    # Copies of whole points while a file is read, and coordinates in float64 for a product.
    fixed = 2 * whole
    of_step = size * (stored + of_steps) + of_products * min(size, PRODUCT_WIDTH)
    kept = int(min((free - fixed) / of_step / (1 + 1 / PASSING), steps))
    if kept < PASSING:  # then the block that passes by is of one step
        kept = int(min((free - fixed) / of_step - 1, steps))
    if kept < 1:
        least = matrices + min(of_coordinate * min(grain, size), fixed + 2 * of_step)
        raise invalid(
            "memory",
            f"is {memory / 2**30:.3g} GiB for {steps} steps of {size} parameters"
            + f" and {layers} layers" * by_layer,
            f"at least {least / 2**30:.3g} GiB",
            "give more, take shorter windows, or keep the points in files that can be read in "
            "parts, such as .npy or .safetensors",
        )
    starts = np.arange(0, steps, kept)
    return StreamPlan("steps", kept, len(starts), int((num_points - starts).sum()) * whole)


def blocks_of_coordinates(
    leaves: Sequence[Leaf], width: int, grain: int = 1
) -> Iterator[list[Part]]:
    """Yield the parts of all leaves in blocks of at most `width` coordinates.

    Cuts are at multiples of the grain, if these are not wider than a block.
    """
    block: list[Part] = []
    free = width
    for number, leaf in enumerate(leaves):
        start = 0
        while start < leaf.size:
            stop = min(leaf.size, start + free)
            if stop < leaf.size and grain <= width:
                stop = max(start, stop // grain * grain)
            if stop > start:
                block.append(Part(number, start, stop))
                free -= stop - start
            if stop < leaf.size or not free:
                yield block
                block, free = [], width
            start = stop
    if block:
        yield block


class _Sums:
    """The matrices of the layers, to which the products of blocks are added."""

    def __init__(self, read, num_points, leaves, offset, by_layer, report):
        self.read, self.leaves, self.offset, self.report = read, leaves, offset, report
        self.keys = [_key(leaf, by_layer) for leaf in leaves]
        self.grams = {key: np.zeros((num_points - 1,) * 2) for key in sorted(set(self.keys))}
        self.known = np.ones(num_points, bool)

    def add_coordinates(self, parts: Sequence[Part]) -> None:
        """Add the products of all steps on some coordinates."""
        blocks = self._points(0, len(self.known), parts)
        for part in parts:
            block = blocks.pop(0)
            steps = _steps(block)
            self._note(steps, block, 0)
            del block
            for columns in _columns(steps):
                self.grams[self.keys[part.leaf]] += columns @ columns.T

    def add_steps(self, first: int, width: int, passing: int) -> None:
        """Add the products of the steps first, ..., first + width - 1 with these and later ones."""
        kept: list[np.ndarray] = []
        for start, steps in self._passing(first, width, passing):
            kept = kept or steps
            here = slice(first, first + len(kept[0]))
            there = slice(start, start + len(steps[0]))
            for key, ours, theirs in zip(self.keys, kept, steps, strict=True):
                gram = self.grams[key]
                if start == first:
                    for columns in _columns(ours):
                        gram[here, here] += columns @ columns.T
                    continue
                for left, right in zip(_columns(ours), _columns(theirs), strict=True):
                    product = left @ right.T
                    gram[here, there] += product
                    gram[there, here] += product.T

    def _passing(self, first, width, passing):
        """Yield blocks of steps from the first on: of `width` steps, then of `passing` ones."""
        whole = [Part(number, 0, leaf.size) for number, leaf in enumerate(self.leaves)]
        last = self._points(first, first + 1, whole)
        start, count, end = first, width, len(self.known) - 1
        while start < end:
            stop = min(start + count, end)
            points = self._points(start + 1, stop + 1, whole)
            steps = [_steps(block, before[0]) for before, block in zip(last, points, strict=True)]
            for moved, before, block in zip(steps, last, points, strict=True):
                self._note(moved, before, start)
                self._note(moved, block, start + 1)
            last = [block[-1:].copy() for block in points]
            del points, block
            yield start, steps
            start, count = stop, passing

    def _points(self, start, stop, parts):
        blocks = list(self.read(self.offset + start, self.offset + stop, parts))
        self.report(sum(block.nbytes for block in blocks))
        return blocks

    def _note(self, steps, block, start):
        """Note which points of a block are not finite."""
        if not np.isfinite(steps.sum()):
            self.known[start : start + len(block)] &= np.isfinite(block).all(axis=1)


def _steps(points: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Return the differences of points (n, m). Complex numbers become pairs of real ones.

    Args:
        points: as they are stored.
        before: (m,) the point before them, if there is one.
    """
    if jnp.issubdtype(points.dtype, jnp.complexfloating):
        points = np.ascontiguousarray(points).view(points.real.dtype)
        before = None if before is None else np.ascontiguousarray(before).view(points.dtype)
    dtype = _type_of_steps(points.dtype)
    later = points[1:] if before is None else points
    last: np.ndarray = (points[0] if before is None else before).astype(dtype)
    steps: np.ndarray = np.empty(later.shape, dtype)
    for step, point in zip(steps, later, strict=True):
        new = point.astype(dtype, copy=False)
        np.subtract(new, last, out=step)
        last = new
    return steps


def _numbers(dtype: np.dtype) -> int:
    """Return how many real numbers one of a type is."""
    return 2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1


def _type_of_steps(dtype: np.dtype) -> type:
    """Return the floating type of the differences of real numbers, as `step_gram` takes them."""
    narrow = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize <= 4
    return np.float32 if narrow else np.float64


def _bytes_of_steps(dtype: np.dtype) -> int:
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return dtype.itemsize
    return np.dtype(_type_of_steps(dtype)).itemsize


def _columns(steps: np.ndarray) -> Iterator[np.ndarray]:
    """Yield blocks of the coordinates of steps as float64."""
    for start in range(0, steps.shape[1], PRODUCT_WIDTH):
        yield steps[:, start : start + PRODUCT_WIDTH].astype(np.float64, copy=False)


def _key(leaf: Leaf, by_layer: bool) -> str:
    return leaf.layer if by_layer else ""
