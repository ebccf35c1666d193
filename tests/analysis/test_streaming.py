"""The Gram matrix of a path that is read in blocks is that of the path in memory."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.analysis.streaming import (
    Leaf,
    Part,
    blocks_of_coordinates,
    stream_plan,
    streamed_gram,
)
from sgd_diffusion.errors import InputError

STEPS = 40
SIZES = {"a": 300, "b": 7, "c": 500}
MATRICES = 8 * STEPS**2 * 3


class Stored:
    """A path with a count of how often each point is read, and of the largest block."""

    def __init__(self, arrays, layers=None):
        self.arrays = list(arrays.values())
        self.leaves = [
            Leaf(name, array.shape[1:], array.dtype, (layers or {}).get(name, name))
            for name, array in arrays.items()
        ]
        self.reads, self.largest = np.zeros(STEPS + 1, int), 0

    def read(self, first, stop, parts):
        self.reads[first:stop] += 1
        blocks = [
            self.arrays[part.leaf].reshape(STEPS + 1, -1)[first:stop, part.start : part.stop]
            for part in parts
        ]
        self.largest = max(self.largest, sum(block.nbytes for block in blocks))
        return blocks

    def gram(self, **how):
        return streamed_gram(self.read, STEPS + 1, self.leaves, **how)


def walk(dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    return {
        name: np.cumsum(random.normal(size=(STEPS + 1, size)), axis=0).astype(dtype)
        for name, size in SIZES.items()
    }


WHOLE = sum(SIZES.values())


@pytest.mark.parametrize("grain", [1, 64, WHOLE], ids=["by coordinate", "by chunk", "by point"])
@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.complex64, np.int16]
)
def test_blocks_add_up_to_the_matrix_in_memory(dtype, grain):
    path = walk(dtype)
    stored = Stored(path)
    found = stored.gram(memory=MATRICES + 120_000, grain=grain)
    truth = np.asarray(step_gram(path))
    np.testing.assert_allclose(found.step_gram, truth, rtol=1e-12, atol=1e-12 * truth.max())
    assert stored.reads.max() > 1 and found.known.all()
    np.testing.assert_array_equal(found.step_gram, found.step_gram.T)


@pytest.mark.parametrize("grain", [1, WHOLE])
def test_leaves_of_several_types_keep_theirs(grain):
    path = walk(np.float32) | {"b": walk(np.float64)["b"], "c": walk(np.float16)["c"]}
    found = Stored(path).gram(memory=MATRICES + 120_000, grain=grain)
    truth = np.asarray(step_gram(path))
    np.testing.assert_allclose(found.step_gram, truth, rtol=1e-12, atol=1e-12 * truth.max())


@pytest.mark.parametrize("grain", [1, WHOLE])
def test_layers_are_the_matrices_of_their_leaves(grain):
    path = walk()
    stored = Stored(path, {"a": "first", "b": "second", "c": "second"})
    found = stored.gram(memory=2 * MATRICES + 120_000, grain=grain, by_layer=True)
    assert list(found.layer_grams) == ["first", "second"]
    first = np.asarray(step_gram(path["a"]))
    np.testing.assert_allclose(found.layer_grams["first"], first, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(sum(found.layer_grams.values()), found.step_gram, rtol=1e-12)


@pytest.mark.parametrize("grain", [1, 64, WHOLE])
@pytest.mark.parametrize("memory", [60_000, 120_000, 10**7])
def test_points_are_read_as_often_as_the_plan_says_and_blocks_fit(grain, memory):
    stored, reported = Stored(walk()), []
    plan = stream_plan(STEPS + 1, stored.leaves, memory=MATRICES + memory, grain=grain)
    stored.gram(memory=MATRICES + memory, grain=grain, report=reported.append)
    assert stored.reads.max() == plan.passes and sum(reported) == plan.bytes_read
    assert stored.largest <= memory
    assert plan.by == ("steps" if grain == WHOLE and memory < 10**7 else "coordinates")
    if plan.by == "coordinates":
        assert plan.bytes_read == 4 * WHOLE * (STEPS + 1)


def test_blocks_cover_every_coordinate_once():
    leaves = [Leaf("a", (10, 10), np.dtype("f4")), Leaf("b", (), np.dtype("f4"))]
    for width in (1, 7, 30, 100, 101, 500):
        for grain in (1, 10):
            blocks = list(blocks_of_coordinates(leaves, width, grain))
            assert all(sum(part.stop - part.start for part in block) <= width for block in blocks)
            parts = [part for block in blocks for part in block]
            assert [part for part in parts if part.leaf == 1] == [Part(1, 0, 1)]
            ends = [part.stop for part in parts if part.leaf == 0]
            assert [part.start for part in parts if part.leaf == 0] == [0, *ends[:-1]]
            assert ends[-1] == 100 and all(end % grain == 0 for end in ends if width >= grain)


@pytest.mark.parametrize("grain", [1, WHOLE])
def test_a_path_that_ends_in_a_divergence_is_nan_from_there_on(grain):
    path = walk()
    path["c"][30:, 499] = np.inf
    found = Stored(path).gram(memory=MATRICES + 120_000, grain=grain)
    truth = np.asarray(step_gram(path))[:29, :29]
    np.testing.assert_allclose(found.step_gram[:29, :29], truth, rtol=1e-12, atol=1e-10)
    assert np.isnan(found.step_gram[30:]).all() and np.flatnonzero(~found.known)[0] == 30


@pytest.mark.parametrize("grain", [1, WHOLE])
def test_missing_points_are_named_as_they_are_counted(grain):
    path = walk()
    path["a"][[3, 17], 0] = np.nan
    stored = Stored(path)

    def read(first, stop, parts):
        return stored.read(first - 100, stop - 100, parts)

    with pytest.raises(InputError, match=r"run 7 has 2 points .*: 103, 117; "):
        streamed_gram(
            read,
            STEPS + 1,
            stored.leaves,
            memory=MATRICES + 120_000,
            grain=grain,
            first=100,
            name="run 7",
        )


@pytest.mark.parametrize(
    ("points", "leaves", "memory", "words"),
    [
        (1, [Leaf("a", (3,), np.dtype("f4"))], 10**6, "has 1 points of 3 coordinates"),
        (5, [], 10**6, "has 5 points of 0 coordinates"),
        (1001, [Leaf("a", (3,), np.dtype("f4"))], 10**6, r"0.000931 GiB for 1000 steps .*at least"),
    ],
)
def test_what_cannot_be_read_is_refused(points, leaves, memory, words):
    with pytest.raises(InputError, match=words):
        streamed_gram(lambda *asked: pytest.fail("read"), points, leaves, memory=memory)


@pytest.mark.parametrize("grain", [1, 10**6])
def test_the_least_memory_of_the_message_is_enough(grain):
    leaves = [Leaf("a", (10**5,), np.dtype("f4"))]
    with pytest.raises(InputError) as refused:
        stream_plan(101, leaves, memory=2 * 10**5, grain=grain)
    least = float(str(refused.value).partition("at least ")[2].split()[0])
    assert stream_plan(101, leaves, memory=int(1.01 * least * 2**30), grain=grain).width >= 1


@pytest.mark.parametrize("size", [10_000, 100_000])
@pytest.mark.parametrize("by_point", [False, True])
def test_blocks_and_matrices_stay_within_the_memory(size, by_point):
    """Of arrays that are made when they are read, as from a disk."""
    steps, memory = 100, 10**7
    leaves = [Leaf("w", (size,), np.dtype("f4"))]

    def read(first, stop, parts):
        return [
            np.full((stop - first, part.stop - part.start), first, np.float32) for part in parts
        ]

    tracemalloc.start()
    try:
        streamed_gram(read, steps + 1, leaves, memory=memory, grain=size if by_point else 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.3 * memory < peak < memory
