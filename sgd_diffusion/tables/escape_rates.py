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
    columns = ("log_time", "log_time_predicted", "log_time_error", "sharpness", "coldness")
    found, theory, error, sharpness, coldness = (
        sweeps[name].transpose("line", "point").values for name in columns
    )
    names = sweeps["sweep"].values.tolist()
    abscissa = np.stack([ABSCISSAS[name](sweeps.isel(line=i)) for i, name in enumerate(names)])
    present = np.isfinite(found)
    weight = np.where(present, error, np.inf) ** -2.0
    # A setting that is not there has no place, and no weight.
    found, theory, sharpness, x, coldness = (
        np.where(present, values, fill)
        for values, fill in ((found, 0), (theory, 0), (sharpness, 1), (abscissa, 0), (coldness, 0))
    )
    reduced, reduced_theory = (values + np.log(sharpness) for values in (found, theory))
    total = weight.sum(axis=1)
    slope, slope_error = _line(x, found, weight)
    exponent, exponent_error = _line(coldness, reduced, weight)
    several = present.sum(axis=1) > 2
    numbers = {
        "slope": slope,
        "slope_error": slope_error,
        "slope_predicted": _line(x, theory, weight)[0],
        "correlation": np.where(several, _correlation(x, found, present), np.nan),
        "exponent": exponent,
        "exponent_error": exponent_error,
        "exponent_predicted": _line(coldness, reduced_theory, weight)[0],
        "excess": (weight * (found - theory)).sum(axis=1) / total,
        "excess_error": total**-0.5,
    }
    return sweeps.assign(
        {name: ("line", values) for name, values in numbers.items()}
        | {"abscissa": (("line", "point"), np.where(present, abscissa, np.nan))}
    )


def _line(x, y, weight):
    """Slopes of weighted lines along the last axis and their errors; NaN for one place alone."""
    center = (weight * x).sum(axis=1) / weight.sum(axis=1)
    away = np.where(weight > 0, x - center[:, None], 0)
    squares = (weight * away**2).sum(axis=1)
    alike = squares <= 1e-12 * (weight * x**2).sum(axis=1)
    squares = np.where(alike, np.nan, squares)
    return (weight * away * y).sum(axis=1) / squares, squares**-0.5


def _correlation(x, y, present):
    """Pearson's coefficient of each line, without its errors."""
    pairs = zip(x, y, present, strict=True)
    return [np.corrcoef(x[there], y[there])[0, 1] for x, y, there in pairs]
