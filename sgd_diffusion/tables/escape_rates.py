"""Rates of escape over what is swept: slopes, beside those of a theory."""

import numpy as np
import xarray as xr

__all__ = ["ABSCISSAS", "escape_rates"]

ABSCISSAS = {
    "1/D": lambda sweeps: 1 / sweeps["diffusion"],
    "B": lambda sweeps: sweeps["batch_size"],
    "1/eta": lambda sweeps: 1 / sweeps["learning_rate"],
    "1/k": lambda sweeps: 1 / sweeps["sharpness"],
    "ln k": lambda sweeps: np.log(sweeps["sharpness"]),
}


def escape_rates(sweeps: xr.Dataset) -> xr.Dataset:
    """Return lines through logarithms of escape times, beside those through predicted ones.

    Every sweep is a line. Slopes are weighted by the errors of the points, and so are those of the
    predictions. A straight line says nothing about a theory; its slope does.

    Args:
        sweeps: with `line` and `point`: `log_time`, minus the natural logarithm of a rate, with
            `log_time_error` and `log_time_predicted`; and the coordinates `sweep` (line), one of
            `ABSCISSAS`, and `learning_rate`, `batch_size`, `sharpness`, `diffusion`, `coldness`
            (line, point). NaN where a line has fewer points.

    Returns:
        The same dataset with

        - `abscissa` (line, point), what is swept;
        - `slope` of log_time over it, with `slope_error` and `slope_predicted`;
        - `correlation`, Pearson's coefficient, NaN for two points;
        - `exponent`, the slope of log_time + ln k over the coldness, in which all sweeps are alike,
          with `exponent_error` and `exponent_predicted`; NaN where the coldness is one;
        - `excess`, the mean of log_time over that predicted, with `excess_error`.
    """
    abscissa = xr.concat(
        [
            ABSCISSAS[str(name)](sweeps.isel(line=i))
            for i, name in enumerate(sweeps["sweep"].values)
        ],
        "line",
        coords="minimal",
        compat="override",
    )
    # A setting that is not there has no place.
    abscissa = abscissa.where(np.isfinite(sweeps["log_time"]))
    reduced = {
        name: sweeps[name] + np.log(sweeps["sharpness"])
        for name in ("log_time", "log_time_predicted")
    }
    weight = 1 / sweeps["log_time_error"] ** 2
    excess = sweeps["log_time"] - sweeps["log_time_predicted"]
    few = np.isfinite(abscissa).sum("point") < 3
    return sweeps.assign(
        abscissa=abscissa.transpose("line", "point").reset_coords(drop=True),
        slope=_slope(abscissa, sweeps["log_time"], weight),
        slope_error=_slope_error(abscissa, weight),
        slope_predicted=_slope(abscissa, sweeps["log_time_predicted"], weight),
        correlation=xr.corr(abscissa, sweeps["log_time"], "point").where(~few),
        exponent=_slope(sweeps["coldness"], reduced["log_time"], weight),
        exponent_error=_slope_error(sweeps["coldness"], weight),
        exponent_predicted=_slope(sweeps["coldness"], reduced["log_time_predicted"], weight),
        excess=(weight * excess).sum("point") / weight.sum("point"),
        excess_error=weight.sum("point") ** -0.5,
    )


def _spread(x, weight):
    """Weighted squares of what x is away from its mean; NaN where it is nowhere away."""
    center = (weight * x).sum("point") / weight.sum("point")
    away = x - center
    squares = (weight * away**2).sum("point")
    alike = squares <= 1e-12 * (weight * x**2).sum("point")
    return away, squares.where(~alike)


def _slope(x, y, weight):
    away, squares = _spread(x, weight)
    return (weight * away * y).sum("point") / squares


def _slope_error(x, weight):
    return _spread(x, weight)[1] ** -0.5
