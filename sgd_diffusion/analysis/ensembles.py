"""Averages over the members of an ensemble."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion._arrays import host_array, integer
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike
from sgd_diffusion.errors import invalid

__all__ = ["EnsembleAverage", "ensemble_average"]


@shown_briefly
class EnsembleAverage(NamedTuple):
    """Mean over members and what is known about it.

    Every array has the shape of the values without their axis.

    Attributes:
        mean: over the members.
        standard_error: of the mean: std / sqrt(count).
        std: between members, with N - 1 in the denominator.
        count: members that entered, integers.
    """

    mean: Float[HostArray, "*shape"]
    standard_error: Float[HostArray, "*shape"]
    std: Float[HostArray, "*shape"]
    count: Int[HostArray, "*shape"]  # type: ignore[assignment]


def ensemble_average(values: ArrayLike, *, axis: IntegerLike = 0) -> EnsembleAverage:
    """Return mean, standard error, standard deviation and count over members.

    It is computed in float64 on the host, point by point. A member that is NaN or infinite
    somewhere (it diverged) is left out there, silently; `count` says how many were left.

    Args:
        values: (..., N, ...), N members along `axis`.
        axis: the axis of the members.

    Returns:
        `EnsembleAverage`; the mean is NaN where no member is left, the spreads where fewer than two
        are.

    Raises:
        InputError: the values are no array of real numbers with such an axis.

    >>> average = ensemble_average([1.0, 3.0, float("nan")])
    >>> float(average.mean), float(average.standard_error), int(average.count)
    (2.0, 1.0, 2)
    """
    values = host_array("values", values)
    if values.ndim == 0:
        raise invalid("values", "has shape ()", "(..., N, ...), N members along an axis")
    axis = integer("axis", axis, -values.ndim, values.ndim - 1)
    present = np.isfinite(values)
    count = present.sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0.0).sum(axis=axis) / count
        deviation = np.where(present, values - np.expand_dims(mean, axis), 0.0)
        variance = np.where(count > 1, (deviation**2).sum(axis=axis) / (count - 1), np.nan)
        std = np.sqrt(variance)
        return EnsembleAverage(mean, std / np.sqrt(count), std, count)
