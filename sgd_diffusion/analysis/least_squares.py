"""Curves on logarithmic axes: their logarithms, the points that a fit takes, lines through them,
and errors.

Shared by the modules that fit curves; users find the public functions there.
"""

from typing import NamedTuple

import numpy as np

from sgd_diffusion._arrays import host_array, integer, number
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.errors import InputError

__all__ = [
    "Line",
    "Moments",
    "log_replicates",
    "logarithms",
    "points_in_range",
    "replicate_error",
    "thinned",
]

MAX_POINTS = 10**6  # of a fit
MIN_REPLICATES = 10  # the standard deviation of ten is itself known to 24 percent


class Line(NamedTuple):
    """Least-squares lines intercept + slope * x."""

    intercept: np.ndarray
    slope: np.ndarray
    slope_error: np.ndarray  # textbook standard error, of independent residuals
    rmse: np.ndarray


class Moments(NamedTuple):
    """Sums of centred squares of n points, for lines through them."""

    n: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    @classmethod
    def of(cls, x, y):
        """Of the points x (n,) of curves y (..., n)."""
        dx, dy = x - x.mean(), y - y.mean(axis=-1, keepdims=True)
        n = np.full(y.shape[:-1], len(x))
        return cls(n, x.mean(), y.mean(axis=-1), dx @ dx, dy @ dx, (dy**2).sum(axis=-1))

    @classmethod
    def of_tails(cls, x, y):
        """Of the points k, k+1, ... for every k: suffix sums, about the last point to keep digits."""
        from_last = y[..., -1:]
        origin, y = x[-1], y - from_last
        x = x - origin
        n = np.broadcast_to(np.arange(len(x), 0, -1), y.shape)

        def tails(values):
            return np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]

        mean_x, mean_y = tails(x) / n, tails(y) / n
        xx, xy, yy = (tails(values) for values in (x * x, x * y, y * y))
        products = xx - n * mean_x**2, xy - n * mean_x * mean_y, yy - n * mean_y**2
        return cls(n, mean_x + origin, mean_y + from_last, *products)

    def line(self):
        """The lines of least squares."""
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = self.xy / self.xx
            residual = np.maximum(self.yy - slope * self.xy, 0.0)
            error = np.sqrt(residual / np.maximum(self.n - 2, 0) / self.xx)
            return Line(self.y - slope * self.x, slope, error, np.sqrt(residual / self.n))


def logarithms(x_name, x, y_name, y):
    """A checked axis, its natural logarithms and those of its curves, NaN where a curve is not
    positive and finite.
    """
    x, y = host_array(x_name, x), host_array(y_name, y)
    if x.ndim != 1 or len(x) == 0 or not (np.all(np.diff(x) > 0) and 0 < x[0] and x[-1] < np.inf):
        raise InputError(
            f"{x_name} has shape {x.shape}; expected (L,) increasing, positive, finite numbers"
        )
    if y.shape[-1:] != x.shape:
        raise InputError(
            f"{y_name} has shape {y.shape}; expected (..., {len(x)}), one value for each of "
            f"{x_name}"
        )
    return x, np.log(x), _log_positive(y)


def log_replicates(replicates, curves, at_least=1):
    """Natural logarithms of replicates (..., B, L) of curves (..., L), NaN where one is not
    positive and finite.
    """
    replicates = host_array("replicates", replicates)
    shapes = replicates.shape[:-2] + replicates.shape[-1:], replicates.shape[-2:-1]
    if replicates.ndim < 2 or shapes[0] != curves.shape or shapes[1][0] < at_least:
        expected = ", ".join(str(size) for size in (*curves.shape[:-1], "B", curves.shape[-1]))
        raise InputError(
            f"replicates has shape {replicates.shape}; expected ({expected}), at least {at_least} "
            "replicates B of each curve"
        )
    return _log_positive(replicates)


def points_in_range(x, x_min, x_max, num_points, at_least):
    """Indices of `num_points` log-spaced ones of the points in [x_min, x_max]; None is the end of
    `x`.
    """
    low, high = (
        x[0] if x_min is None else number("x_min", x_min),
        x[-1] if x_max is None else number("x_max", x_max),
    )
    num_points = integer("num_points", num_points, at_least, MAX_POINTS)
    inside = np.flatnonzero((x >= low) & (x <= high))
    points = inside[thinned(np.log(x[inside]), num_points)] if len(inside) else inside
    if len(points) < at_least:
        raise InputError(
            f"{len(points)} points to fit with x_min = {x_min}, x_max = {x_max}, num_points = "
            f"{num_points} on x from {x[0]:g} to {x[-1]:g}; expected at least {at_least}: widen "
            "the range"
        )
    return points


def thinned(log_x, num_points):
    """Indices of the points nearest to `num_points` equally spaced targets, each once."""
    targets = np.linspace(log_x[0], log_x[-1], num_points)
    right = np.searchsorted(log_x, targets).clip(max=len(log_x) - 1)
    left = np.maximum(right - 1, 0)
    return np.unique(np.where(targets - log_x[left] < log_x[right] - targets, left, right))


def replicate_error(estimates):
    """Standard deviation over the last axis, (..., B), of those that are finite; NaN if these are
    fewer than 10.
    """
    spread = ensemble_average(estimates, axis=-1)
    return np.where(spread.count >= MIN_REPLICATES, spread.std, np.nan)


def _log_positive(values):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.where((values > 0) & (values < np.inf), values, np.nan))
