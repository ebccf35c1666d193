"""A converged network beside the theory of its limiting dynamics, over hyperparameters."""

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.tables.mean_exponents import exponent_of_mean
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    local_displacement,
    msd_from_point,
    stationary_covariance,
    stationary_msd,
)

__all__ = ["limiting_sweep"]

POINTS = ("seed", "window")
NOISE = ("node", "weight")
FRACTIONS = (0.5, 0.25, 0.1, 0.05)  # of the window, where ranges of lags begin


def limiting_sweep(runs: xr.Dataset) -> xr.Dataset:
    """Return local displacements and exponents beside their predictions, without fitted constants.

    The prediction of the local displacement is eta^2 Tr(Sigma) / (S (1 - beta^2)), with the mean of
    the traces that were measured where windows end. Displacements and exponents are predicted from
    the spectral measure of the noise (`dynamics.measurements.noise_spectrum`), for a stationary
    start. Negative curvature counts as none there, and has a share that is stated. Errors are those
    of the mean over members and windows; of exponents, by the jackknife.

    Args:
        runs: with `setting`, `seed`, `window`: `msd` and `displacement_from_start` (..., lag),
            `noise_trace`, `gradient_square`, and `noise_node` and `noise_weight` (..., probe,
            node); and the coordinates `learning_rate`, `momentum`, `weight_decay`, `batch_size`
            (setting). NaN for a member that diverged.

    Returns:
        Dataset over `setting`, with its coordinates. It has the measured number, `_error` and
        `_predicted` of

        - `local`, the mean squared displacement in one step, `local_discrete` its prediction with
          the factors of the steps, and `trace_scatter`, the standard error of the mean trace over
          the trace;
        - `displacement` (lag), |w_{t+k} - w_t|^2 from the start of a window;
        - `exponent` (first), its slope from the lag `first` to the end of the window, with an
          `exponent_predicted_error` too;

        - `gradient`, the squared norm of the mean gradient at the ends of windows, which is more
          than predicted where the network still drifts;
        - `twin`, if the runs have `twin_msd`: the squared displacement by full-batch gradient
          descent from the start of a window to its end, the control for drift. Predicted is what
          the positions of a stationary law fall back to the minimum;

        and `negative_share`, the share of the noise along negative curvature.
    """
    steps = runs.sizes["lag"]
    starts = [max(1, round(steps * fraction)) for fraction in FRACTIONS]
    rows = [_row(runs.isel(setting=i), starts) for i in range(runs.sizes["setting"])]
    of_settings = {name: coord for name, coord in runs.coords.items() if coord.dims == ("setting",)}
    return xr.concat(rows, "setting").assign_coords(
        of_settings | {"lag": runs["lag"], "first": starts}
    )


def _row(run: xr.Dataset, starts) -> xr.Dataset:
    hyper = Hyperparameters(*(float(run[name]) for name in Hyperparameters._fields))
    traces = ensemble_average(run["noise_trace"].values.ravel())
    spectra = [run[f"noise_{name}"].transpose(*POINTS, "probe", "node") for name in NOISE]
    nodes, weights = (_of_points(each.values.reshape(*each.shape[:2], -1)) for each in spectra)
    weights = weights / run.sizes["probe"]
    negative = weights[nodes < 0].sum() / weights.sum()
    nodes, all_weights = np.maximum(nodes, 0), weights.ravel() / max(len(weights), 1)
    lags = run["lag"].values
    measured = _of_points(run["displacement_from_start"].transpose(*POINTS, "lag").values)
    predicted = np.array(
        [stationary_msd(lags, *point, hyper) for point in zip(nodes, weights, strict=True)]
    ).reshape(-1, len(lags))
    average = ensemble_average(measured)
    position = np.asarray(stationary_covariance(nodes.ravel(), all_weights, hyper).position)
    position = np.where(nodes.ravel() + hyper.weight_decay > 0, position, 0)
    gradient = position * (nodes.ravel() + hyper.weight_decay) ** 2
    twin = {}
    if "twin_msd" in run:
        at_rest = msd_from_point(lags[-1:], np.sqrt(position), nodes.ravel(), 0.0, hyper)
        twin = _mean("twin", run["twin_msd"].isel(lag=-1)) | {"twin_predicted": float(at_rest[0])}
    trace_alone = local_displacement(0.0, traces.mean, hyper, discrete=False)
    return xr.Dataset(
        twin
        | _mean("local", run["msd"].isel(lag=0))
        | _mean("gradient", run["gradient_square"])
        | _exponent("exponent", measured, lags, starts)
        | _exponent("exponent_predicted", predicted, lags, starts)
        | {
            "gradient_predicted": gradient.sum(),
            "local_predicted": float(trace_alone),
            "local_discrete": float(local_displacement(nodes.ravel(), all_weights, hyper)),
            "trace_scatter": traces.standard_error / traces.mean,
            "displacement": ("lag", average.mean),
            "displacement_error": ("lag", average.standard_error),
            "displacement_predicted": ("lag", predicted.mean(axis=0)),
            "negative_share": negative,
        }
    )


def _mean(name, values):
    """The mean over members and windows, and its standard error."""
    average = ensemble_average(values.values.ravel())
    return {name: average.mean, f"{name}_error": average.standard_error}


def _of_points(values):
    """Values (seed, window, n) as rows (point, n), those that are finite."""
    rows = values.reshape(-1, values.shape[-1])
    return rows[np.isfinite(rows).all(axis=1)]


def _exponent(name, curves, lags, starts):
    """The exponent of the mean of curves (point, lag) on each range, and its error."""
    found = [exponent_of_mean(lags[lags >= first], curves[:, lags >= first]) for first in starts]
    slopes, errors = np.array(found).T
    return {name: ("first", slopes), f"{name}_error": ("first", errors)}
