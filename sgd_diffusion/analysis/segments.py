"""Displacements within parts of stored paths, such as before and after an event.

The event can come at another time on every path.
"""

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion._arrays import host_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.gram import checked_lags
from sgd_diffusion.errors import invalid

__all__ = ["segment_msd"]


def segment_msd(
    positions: ArrayLike,
    lags: ArrayLike,
    *,
    first: ArrayLike = 0,
    last: ArrayLike | None = None,
) -> tuple[Float[np.ndarray, "*paths lag"], Int[np.ndarray, "*paths lag"]]:
    """Return the time-averaged mean squared displacement of a part of each of many paths.

    It is the mean of |w_{i+lag} - w_i|^2 over all i with first <= i and i + lag <= last. For whole
    paths it is `displacement.time_averaged_msd`, from positions in few dimensions rather than from
    a Gram matrix. It is computed in float64 on the host.

    Args:
        positions: (..., T+1, P), paths of T steps.
        lags: (L,) integers in 1..T.
        first: (...) or a number, the first point of the part.
        last: (...) or a number, its last point; T when None. A part without a pair of points is
            allowed.

    Returns:
        (..., L) squared units of the positions, NaN where there is no pair.

        pairs: (..., L) integers, how many pairs entered.

    Raises:
        InputError: positions without two points, lags that are not integers in 1..T, or parts of
            other paths.

    >>> segment_msd([[0.0], [1.0], [2.0], [5.0]], [1], last=2)
    (array([1.]), array([2]))
    """
    positions, first = host_array("positions", positions), host_array("first", first)
    if positions.ndim < 2 or positions.shape[-2] < 2:
        raise invalid(
            "positions", f"has shape {positions.shape}", "(..., T+1, P) with at least one step"
        )
    *paths, points, _ = positions.shape
    lags = checked_lags(lags, points - 1)
    last = host_array("last", points - 1 if last is None else last)
    try:
        first, last = (np.broadcast_to(end, paths)[..., None] for end in (first, last))
    except ValueError:
        raise invalid(
            "first or last",
            f"has another shape than the paths have, {tuple(paths)}",
            "one number a path",
        ) from None
    msd, pairs = (np.empty((*paths, len(lags)), kind) for kind in (float, int))
    for column, lag in enumerate(lags):
        squares = ((positions[..., lag:, :] - positions[..., :-lag, :]) ** 2).sum(axis=-1)
        starts = np.arange(points - lag)
        within = (starts >= first) & (starts + lag <= last)
        pairs[..., column] = within.sum(axis=-1)
        with np.errstate(invalid="ignore"):
            msd[..., column] = np.where(within, squares, 0).sum(axis=-1) / pairs[..., column]
    return msd, pairs
