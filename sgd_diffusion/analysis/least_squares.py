"""Curves on logarithmic axes: logarithms, the points of a fit, lines through them, and errors.

The modules that fit curves share these functions; users find the public functions there.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion._arrays import host_array, integer, number
from sgd_diffusion._least_inputs import MIN_REPLICATES
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike, NumberLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.errors import invalid

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


class Line(NamedTuple):
    """Least-squares lines intercept + slope * x.

    Attributes:
        intercept: of the line.
        slope: of the line.
        slope_error: textbook standard error, for independent residuals.
        rmse: root mean square of the residuals.
    """

    intercept: Float[HostArray, "*curves"]
    slope: Float[HostArray, "*curves"]
    slope_error: Float[HostArray, "*curves"]
    rmse: Float[HostArray, "*curves"]


class Moments(NamedTuple):
    """Sums of centered squares of n points, for lines through them.

    Attributes:
        n: number of points.
        x: mean of x.
        y: mean of y.
        xx: sum of squares of x about its mean.
        xy: sum of products of x and y about their means.
        yy: sum of squares of y about its mean.
    """

    n: Int[HostArray, "*curves"]
    x: Float[HostArray, "*#curves"]
    y: Float[HostArray, "*curves"]
    xx: Float[HostArray, "*#curves"]
    xy: Float[HostArray, "*curves"]
    yy: Float[HostArray, "*curves"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "n"], y: Float[np.ndarray, "*curves n"]) -> "Moments":
        """Return the moments of the points x (n,) of curves y (..., n)."""
        dx, dy = x - x.mean(), y - y.mean(axis=-1, keepdims=True)
        n = np.full(y.shape[:-1], len(x))
        return cls(n, x.mean(), y.mean(axis=-1), dx @ dx, dy @ dx, (dy**2).sum(axis=-1))

    @classmethod
    def of_tails(cls, x: Float[np.ndarray, "n"], y: Float[np.ndarray, "*curves n"]) -> "Moments":
        """Return the moments of the points k, k+1, ... for every k.

        They are suffix sums, taken about the last point to keep digits.
        """
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

    def line(self) -> Line:
        """Return the lines of least squares."""
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = self.xy / self.xx
            residual = np.maximum(self.yy - slope * self.xy, 0.0)
            error = np.sqrt(residual / np.maximum(self.n - 2, 0) / self.xx)
            return Line(self.y - slope * self.x, slope, error, np.sqrt(residual / self.n))


def logarithms(
    x_name: str, x: ArrayLike, y_name: str, y: ArrayLike
) -> tuple[Float[np.ndarray, "lag"], Float[np.ndarray, "lag"], Float[np.ndarray, "*curves lag"]]:
    """Return a checked axis, its natural logarithms and the logarithms of its curves.

    They are NaN where a curve is not positive and finite.
    """
    x, y = host_array(x_name, x), host_array(y_name, y)
    if x.ndim != 1 or len(x) == 0 or not (np.all(np.diff(x) > 0) and 0 < x[0] and x[-1] < np.inf):
        raise invalid(x_name, f"has shape {x.shape}", "(L,) increasing, positive, finite numbers")
    if y.shape[-1:] != x.shape:
        raise invalid(
            y_name, f"has shape {y.shape}", f"(..., {len(x)}), one value for each of {x_name}"
        )
    return x, np.log(x), _log_positive(y)


def log_replicates(
    replicates: ArrayLike, curves: Float[np.ndarray, "*curves lag"], at_least: int = 1
) -> Float[np.ndarray, "*curves replicate lag"]:
    """Return natural logarithms of replicates (..., B, L) of curves (..., L).

    They are NaN where a replicate is not positive and finite.
    """
    replicates = host_array("replicates", replicates)
    shapes = replicates.shape[:-2] + replicates.shape[-1:], replicates.shape[-2:-1]
    if replicates.ndim < 2 or shapes[0] != curves.shape or shapes[1][0] < at_least:
        expected = ", ".join(str(size) for size in (*curves.shape[:-1], "B", curves.shape[-1]))
        raise invalid(
            "replicates",
            f"has shape {replicates.shape}",
            f"({expected}), at least {at_least} replicates B of each curve",
        )
    return _log_positive(replicates)


def points_in_range(
    x: Float[np.ndarray, "lag"],
    x_min: NumberLike | None,
    x_max: NumberLike | None,
    num_points: IntegerLike,
    at_least: int,
) -> Int[np.ndarray, "point"]:
    """Return indices of `num_points` log-spaced points of `x` in [x_min, x_max].

    None stands for the end of `x`.
    """
    low = x[0] if x_min is None else number("x_min", x_min)
    high = x[-1] if x_max is None else number("x_max", x_max)
    num_points = integer("num_points", num_points, at_least, MAX_POINTS)
    inside = np.flatnonzero((x >= low) & (x <= high))
    points = inside[thinned(np.log(x[inside]), num_points)] if len(inside) else inside
    if len(points) < at_least:
        raise invalid(
            "the range",
            f"has {len(points)} points to fit with x_min = {x_min}, x_max = {x_max}, num_points = "
            f"{num_points} on x from {x[0]:g} to {x[-1]:g}",
            f"at least {at_least}",
            "widen the range",
        )
    return points


def thinned(log_x: Float[np.ndarray, "lag"], num_points: int) -> Int[np.ndarray, "point"]:
    """Return indices of the points nearest to `num_points` equally spaced targets, each once."""
    targets = np.linspace(log_x[0], log_x[-1], num_points)
    right = np.searchsorted(log_x, targets).clip(max=len(log_x) - 1)
    left = np.maximum(right - 1, 0)
    return np.unique(np.where(targets - log_x[left] < log_x[right] - targets, left, right))


def replicate_error(estimates: ArrayLike) -> Float[HostArray, "*curves"]:
    """Return the standard deviation of estimates (..., B) over the last axis.

    Estimates that are not finite are left out. It is NaN if fewer than 10 are left.
    """
    spread = ensemble_average(estimates, axis=-1)
    return np.where(spread.count >= MIN_REPLICATES, spread.std, np.nan)


def _log_positive(values):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.where((values > 0) & (values < np.inf), values, np.nan))
