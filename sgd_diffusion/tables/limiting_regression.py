"""Linear regression beside the theory of its limiting dynamics, number by number."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.tables.mean_exponents import exponent_of_mean
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    mean_and_covariance,
    msd_from_point,
    stationary_covariance,
)

__all__ = ["limiting_regression"]


def limiting_regression(motion: xr.Dataset) -> xr.Dataset:
    """Return what is measured of the modes of a regression beside what is predicted.

    The second half of the steps counts as stationary. Errors are those of the mean over seeds. The
    prediction of a variance is made twice: with the noise at the solution, and with the noise of
    the law (`noise_of_law`), which also has what the residuals grow by away from it.

    Args:
        motion: with `position` and `velocity` (sampling, seed, point, mode, output) and
            `displacement` (sampling, seed, point) from the solution, started there at rest;
            `spiral_position` and `spiral_velocity` (seed, spiral_point, mode, output) and the
            `spiral_start` (mode, output) of walks that began elsewhere; `eigenvalue` (rank),
            `noise` and `noise_of_law` (rank, output); the coordinate `mode`, ranks; and the
            attributes `learning_rate`, `momentum`, `weight_decay`, `batch_size`.

    Returns:
        Dataset with, for each of them, the measured number, its `_error` and its `_predicted`:

        - `position`, `cross`, `velocity` (sampling, mode), mean over outputs of the covariance over
          that of the noise at the solution, so that `_at_solution` is 1;
        - `circulation` (sampling, mode): E (x_k v_{k+1} - x_{k+1} v_k), likewise over that at the
          solution;
        - `period` (sampling, mode), steps, of the recursion x_{k+1} = a x_k + b x_{k-1}, NaN where
          it does not oscillate;
        - `msd` (sampling, point), and `exponent` (sampling), its slope on the second half;
        - `spiral_mean_position`, `spiral_mean_velocity` (spiral_point, mode) of output 0, and
          `spiral_low` and `spiral_high` of the position, 2.5 and 97.5 percent.
    """
    hyper = Hyperparameters(
        *(float(motion.attrs[name]) for name in Hyperparameters._fields),
    )
    ranks = motion["mode"].values
    eigenvalues = motion["eigenvalue"].values
    noise = {name: motion[name].values for name in ("noise", "noise_of_law")}
    laws = {
        name: stationary_covariance(
            np.broadcast_to(eigenvalues[ranks, None], values[ranks].shape), values[ranks], hyper
        )
        for name, values in noise.items()
    }
    late = motion[["position", "velocity"]].isel(point=slice(motion.sizes["point"] // 2, None))
    x, v = late["position"], late["velocity"]
    measured = {"position": x**2, "cross": x * v, "velocity": v**2}
    table: dict[str, Any] = {}
    for name, squares in measured.items():
        unit = _rows(getattr(laws["noise"], name))
        table |= _over_seeds(name, (squares.mean("point") / unit).mean("output"))
        predicted = _rows(getattr(laws["noise_of_law"], name)) / unit
        table[f"{name}_predicted"] = predicted.mean("output")
    swept = (x.shift(point=1) * v - x * v.shift(point=1)).mean("point")
    unit = _rows(_circulation(laws["noise"], eigenvalues[ranks, None], hyper))
    table |= _over_seeds("circulation", (swept / unit).mean("output"))
    predicted = _rows(_circulation(laws["noise_of_law"], eigenvalues[ranks, None], hyper)) / unit
    table["circulation_predicted"] = predicted.mean("output")
    table |= _over_seeds("period", _period(x))
    table["period_predicted"] = ("mode", _period_of(eigenvalues[ranks], hyper))
    table |= _displacements(motion, noise["noise_of_law"], hyper)
    table |= _spirals(motion, noise["noise_of_law"][ranks, 0], hyper)
    coords = {name: motion[name] for name in ("sampling", "mode")}
    return xr.Dataset(table, coords=coords, attrs=motion.attrs)


def _rows(values):
    return xr.DataArray(np.asarray(values), dims=("mode", "output"))


def _over_seeds(name: str, values: xr.DataArray) -> dict:
    """The mean over seeds and its standard error."""
    axis = values.get_axis_num("seed")
    average = ensemble_average(values.values, axis=axis)
    dims = [dim for dim in values.dims if dim != "seed"]
    return {
        name: (dims, average.mean),
        f"{name}_error": (dims, average.standard_error),
    }


def _circulation(law, eigenvalue, hyper):
    """E (x_k v_{k+1} - x_{k+1} v_k) of the exact steps."""
    xx, xv, vv = map(np.asarray, law)
    h, beta = eigenvalue + hyper.weight_decay, hyper.momentum
    return beta * xv - h * xx - xv - hyper.learning_rate * (beta * vv - h * xv)


def _period(x: xr.DataArray) -> xr.DataArray:
    """The period of the recursion of order two that fits positions best, over all outputs."""
    now, before, after = (
        x.isel(point=slice(start, x.sizes["point"] - 2 + start)).drop_vars("point", errors="ignore")
        for start in (1, 0, 2)
    )
    dims = ("point", "output")
    a, b, c = ((u * w).sum(dims) for u, w in ((now, now), (now, before), (before, before)))
    d, e = ((u * after).sum(dims) for u in (now, before))
    first, second = (d * c - e * b) / (a * c - b * b), (e * a - d * b) / (a * c - b * b)
    return _turns(first, -second, xr.where)


def _period_of(eigenvalue, hyper):
    y = hyper.learning_rate * (eigenvalue + hyper.weight_decay)
    return _turns(1 + hyper.momentum - y, hyper.momentum, np.where)


def _turns(trace, determinant, where: Callable):
    """Steps in which the roots of z^2 - trace z + determinant turn once; NaN for real ones."""
    turning = trace**2 < 4 * determinant
    cosine = where(turning, trace / (2 * np.sqrt(where(turning, determinant, 1))), 0)
    return where(turning, 2 * np.pi / np.arccos(cosine), np.nan)


def _displacements(motion, noise, hyper):
    """MSD from the solution at rest, and its slope on the second half of the steps."""
    outputs = noise.shape[1]
    modes = np.repeat(motion["eigenvalue"].values, outputs), noise.ravel()
    steps = motion.sizes["point"] - 1
    lags = np.arange(steps // 2, steps + 1)
    predicted = msd_from_point(np.arange(1, steps + 1), 0.0, *modes, hyper)
    found = motion["displacement"].transpose("sampling", "seed", "point")
    slopes, errors = np.array(
        [exponent_of_mean(lags, curves) for curves in found.values[..., lags]]
    ).T
    return _over_seeds("msd", found) | {
        "msd_predicted": ("point", np.append(0.0, np.asarray(predicted))),
        "exponent": ("sampling", slopes),
        "exponent_error": ("sampling", errors),
        "exponent_predicted": fit_power_law(lags, np.asarray(predicted)[lags - 1]).exponent,
    }


def _spirals(motion, noise, hyper):
    """Means of walks of output 0 that began away from the solution, and their 95 percent bands."""
    ranks = motion["mode"].values
    eigenvalues = motion["eigenvalue"].values[ranks]
    start = motion["spiral_start"].isel(output=0).values
    steps = np.arange(motion.sizes["spiral_point"])
    law = mean_and_covariance(steps, start, 0.0, eigenvalues, noise, hyper)
    spread = 1.959964 * np.sqrt(np.asarray(law.covariance.position))
    mean = np.asarray(law.mean.position)
    dims = ("spiral_point", "mode")
    own = {
        name: motion[f"spiral_{name}"].isel(output=0).mean("seed").transpose(*dims)
        for name in ("position", "velocity")
    }
    position = motion["spiral_position"].isel(output=0).transpose("seed", *dims).values
    within = (abs(position - mean) <= spread + 1e-12).mean(axis=(0, 1))
    return {
        "spiral_mean_position": own["position"],
        "spiral_mean_velocity": own["velocity"],
        "spiral_mean_position_predicted": (dims, mean),
        "spiral_mean_velocity_predicted": (dims, np.asarray(law.mean.velocity)),
        "spiral_low": (dims, mean - spread),
        "spiral_high": (dims, mean + spread),
        "spiral_within": ("mode", within),
    }
