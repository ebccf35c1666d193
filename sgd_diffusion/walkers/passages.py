"""Return the times at which walkers enter a region, stay in it and leave it.

The argument `inside` says at every step whether a walker is in the region. It is (..., T+1)
booleans, or numbers that are all 0 or 1, with one path along the last axis. Times count steps from
0. What does not happen within the path has the time T + 1; times above T are censored.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from sgd_diffusion._arrays import booleans, host_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray
from sgd_diffusion.errors import invalid

__all__ = ["MeanDuration", "Stays", "final_entry", "first_passage", "mean_duration", "stays"]


@shown_briefly
class Stays(NamedTuple):
    """Uninterrupted stays in a region, of all paths one after the other.

    Attributes:
        path: (K,) index of the path, in the order of a flattened array of paths.
        first: (K,) first step inside.
        duration: (K,) number of steps inside, at least 1.
        entered: (K,) whether the entry was seen. It is not seen where a stay begins at step 0.
        left: (K,) whether the exit was seen. It is not seen where a stay lasts until step T.
    """

    path: Int[np.ndarray, "stay"]
    first: Int[np.ndarray, "stay"]
    duration: Int[np.ndarray, "stay"]
    entered: Bool[np.ndarray, "stay"]
    left: Bool[np.ndarray, "stay"]


@shown_briefly
class MeanDuration(NamedTuple):
    """Mean length of stays, some of which last longer than they were observed.

    Attributes:
        value: () mean in steps. It is infinite where no exit was seen, and NaN without a stay.
        error: () standard error of the mean, for independent stays.
        exits: number of exits that were seen.
    """

    value: Float[HostArray, ""]
    error: Float[HostArray, ""]
    exits: int


def first_passage(inside: ArrayLike) -> Int[HostArray, "*paths"]:
    """Return the first step at which each path is inside.

    Args:
        inside: (..., T+1) booleans, or numbers that are all 0 or 1.

    Returns:
        (...) integers, 0 for a path that starts inside, T + 1 for a path that never enters.

    Raises:
        InputError: `inside` has other values, has no point of a path, or is traced.

    >>> first_passage([[False, False, True], [False, False, False]]).tolist()
    [2, 3]
    """
    inside = _series(inside)
    return np.where(inside.any(axis=-1), inside.argmax(axis=-1), inside.shape[-1])


def final_entry(inside: ArrayLike) -> Int[HostArray, "*paths"]:
    """Return the step from which each path stays inside until its end.

    Args:
        inside: (..., T+1) booleans, or numbers that are all 0 or 1.

    Returns:
        (...) integers, T + 1 for a path that ends outside.

    Raises:
        InputError: `inside` has other values, has no point of a path, or is traced.

    >>> final_entry([[True, False, True, True], [True, True, True, False]]).tolist()
    [2, 4]
    """
    inside = _series(inside)
    return inside.shape[-1] - first_passage(~inside[..., ::-1])


def stays(inside: ArrayLike) -> Stays:
    """Return all uninterrupted stays inside; `stays(~inside)` returns those outside.

    Args:
        inside: (..., T+1) booleans, or numbers that are all 0 or 1.

    Returns:
        `Stays` of all paths together.

    Raises:
        InputError: `inside` has other values, has no point of a path, or is traced.

    >>> seen = stays([[True, False, True, True, False]])
    >>> seen.first.tolist(), seen.duration.tolist(), seen.entered.tolist(), seen.left.tolist()
    ([0, 2], [1, 2], [False, True], [True, True])
    """
    inside = _series(inside).reshape(-1, np.shape(inside)[-1])
    changes = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(np.int8), axis=-1)
    path, first = np.nonzero(changes == 1)
    end = np.nonzero(changes == -1)[1]
    return Stays(path, first, end - first, first > 0, end < inside.shape[-1])


def mean_duration(observed: Stays) -> MeanDuration:
    r"""Return the mean length of stays: the number of steps inside divided by the number of exits.

    This is the maximum-likelihood estimate for stays that end with the same probability at every
    step. Stays that last beyond the path are censored; stays from step 0 on are counted from there.
    The relative error is sqrt((1 - 1/value)/exits), from the binomial law. It holds for independent
    stays, and many stays of one walker are not independent.

    Formula:
        Mean stay in a region. $\hat{\tau} = \frac{\mathrm{steps \; inside}}{\mathrm{exits}}$
        (maximum likelihood of the geometric law, censored)

    Args:
        observed: `Stays`, as `stays` returns them.

    Returns:
        `MeanDuration`.

    Raises:
        InputError: a duration is not a real number, or a value of `left` is not a boolean.

    >>> mean_duration(stays([[True, True, True, False, True]]))
    MeanDuration(value=4 ± 3.464, exits=1)
    """
    steps = host_array("duration", observed.duration).sum()
    exits = int(booleans("left", observed.left).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.asarray(np.float64(steps) / exits)
        return MeanDuration(value, np.asarray(value * np.sqrt((1 - 1 / value) / exits)), exits)


def _series(inside):
    host_array("inside", inside)  # refuses traced values
    inside = np.asarray(booleans("inside", inside))
    if inside.ndim < 1 or not inside.shape[-1]:
        raise invalid(
            "inside", f"has shape {inside.shape}", "(..., T+1) with at least one point of a path"
        )
    return inside
