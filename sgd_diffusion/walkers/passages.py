"""Times at which walkers come into a region, stay and leave, from whether they are inside at every
step.

`inside` is (..., T+1) booleans, or numbers that are all 0 or 1, one path along the last axis;
times count steps from 0. What has not happened within the path has the time T + 1, so that times
above T are censored.
"""

from typing import NamedTuple

import numpy as np

from sgd_diffusion._arrays import booleans, host_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.errors import InputError

__all__ = ["MeanDuration", "Stays", "final_entry", "first_passage", "mean_duration", "stays"]


@shown_briefly
class Stays(NamedTuple):
    """Uninterrupted stays in a region, of all paths one after the other; every field is (K,)."""

    path: np.ndarray  # integers, index of the path, in the order of a flattened array of paths
    first: np.ndarray  # integers, the first step inside
    duration: np.ndarray  # integers, number of steps inside, at least 1
    entered: np.ndarray  # booleans, whether the entry was seen: not for a stay from step 0 on
    left: np.ndarray  # booleans, whether the exit was seen: not for a stay up to step T


@shown_briefly
class MeanDuration(NamedTuple):
    """Mean length of stays that go on beyond what was seen of them."""

    value: np.ndarray  # () steps; infinite where no exit was seen, NaN without a stay
    error: np.ndarray  # () its standard error, of independent stays
    exits: int  # how many were seen


def first_passage(inside):
    """First step inside, (...) integers: 0 for a path that starts there, T + 1 for one that never
    comes.

    >>> first_passage([[False, False, True], [False, False, False]]).tolist()
    [2, 3]
    """
    inside = _series(inside)
    return np.where(inside.any(axis=-1), inside.argmax(axis=-1), inside.shape[-1])


def final_entry(inside):
    """Step from which on a path stays inside until its end, (...) integers: T + 1 for one that ends
    outside.

    >>> final_entry([[True, False, True, True], [True, True, True, False]]).tolist()
    [2, 4]
    """
    inside = _series(inside)
    return inside.shape[-1] - first_passage(~inside[..., ::-1])


def stays(inside):
    """All uninterrupted stays; those outside are `stays(~inside)`.

    Returns:
        `Stays`.

    >>> found = stays([[True, False, True, True, False]])
    >>> found.first.tolist(), found.duration.tolist(), found.entered.tolist(), found.left.tolist()
    ([0, 2], [1, 2], [False, True], [True, True])
    """
    inside = _series(inside).reshape(-1, np.shape(inside)[-1])
    changes = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(np.int8), axis=-1)
    path, first = np.nonzero(changes == 1)
    end = np.nonzero(changes == -1)[1]
    return Stays(path, first, end - first, first > 0, end < inside.shape[-1])


def mean_duration(found):
    """Mean length of stays: all steps inside over the number of exits.

    The maximum-likelihood estimate for stays that end with the same probability at every step, with
    those that go on beyond the path as censored and those from step 0 on counted from there. Its
    relative error is sqrt((1 - 1/value)/exits), from the binomial law, for independent stays; many
    of one walker are not.

    >>> mean_duration(stays([[True, True, True, False, True]]))
    MeanDuration(value=4 ± 3.464, exits=1)
    """
    steps, exits = (
        host_array("duration", found.duration).sum(),
        int(booleans("left", found.left).sum()),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.asarray(np.float64(steps) / exits)
        return MeanDuration(value, np.asarray(value * np.sqrt((1 - 1 / value) / exits)), exits)


def _series(inside):
    host_array("inside", inside)  # refuses traced values
    inside = np.asarray(booleans("inside", inside))
    if inside.ndim < 1 or not inside.shape[-1]:
        raise InputError(
            f"inside has shape {inside.shape}; expected (..., T+1) with one point of a path at "
            "least"
        )
    return inside
