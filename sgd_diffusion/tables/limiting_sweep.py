"""A converged network beside the theory of its limiting dynamics, over hyperparameters."""

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    local_displacement,
    msd_from_point,
    stationary_covariance,
    stationary_msd,
)

__all__ = ["limiting_sweep"]

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
        - `exponent` (first), its slope from the lag `first` to the end of the window;

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
    nodes, weights, negative = _spectrum(run)
    lags = run["lag"].values
    paths = run["displacement_from_start"].transpose("seed", "window", "lag").values
    paths = paths.reshape(-1, len(lags))
    paths = paths[np.isfinite(paths).all(axis=1)]
    average = ensemble_average(paths)
    predicted = np.asarray(stationary_msd(lags, nodes, weights, hyper))
    exponents = {}
    curves = {"": average.mean, "_without": _without(paths), "_predicted": predicted}
    for name, values in curves.items():
        exponents[name] = [
            fit_power_law(lags[lags >= first], values[..., lags >= first]).exponent
            for first in starts
        ]
    left_out = np.array(exponents["_without"])  # (first, path)
    count = max(len(paths), 1)
    scatter = ((left_out - left_out.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    position = np.asarray(stationary_covariance(nodes, weights, hyper).position)
    position = np.where(nodes + hyper.weight_decay > 0, position, 0)
    gradient = position * (nodes + hyper.weight_decay) ** 2
    twin = {}
    if "twin_msd" in run:
        at_rest = msd_from_point(lags[-1:], np.sqrt(position), nodes, np.zeros_like(nodes), hyper)
        twin = _mean("twin", run["twin_msd"].isel(lag=-1)) | {"twin_predicted": float(at_rest[0])}
    return xr.Dataset(
        twin
        | _mean("local", run["msd"].isel(lag=0))
        | _mean("gradient", run["gradient_square"])
        | {
            "gradient_predicted": gradient.sum(),
            "local_predicted": _local(traces.mean, hyper),
            "local_discrete": float(local_displacement(nodes, weights, hyper)),
            "trace_scatter": traces.std / np.sqrt(traces.count) / traces.mean,
            "displacement": ("lag", average.mean),
            "displacement_error": ("lag", average.std / np.sqrt(average.count)),
            "displacement_predicted": ("lag", predicted),
            "exponent": ("first", np.array(exponents[""])),
            "exponent_error": ("first", np.sqrt((count - 1) / count * scatter)),
            "exponent_predicted": ("first", np.array(exponents["_predicted"])),
            "negative_share": negative,
        }
    )


def _mean(name, values):
    """The mean over members and windows, and its standard error."""
    average = ensemble_average(values.values.ravel())
    return {name: average.mean, f"{name}_error": average.std / np.sqrt(average.count)}


def _local(trace, hyper):
    return float(local_displacement(0.0, trace, hyper, discrete=False))


def _spectrum(run):
    """Eigenvalues, the mean noise along them, and the share along negative ones."""
    nodes, weights = (
        run[f"noise_{name}"]
        .transpose("seed", "window", "probe", "node")
        .values.reshape(-1, run.sizes["node"])
        for name in ("node", "weight")
    )
    present = np.isfinite(nodes).all(axis=1)
    nodes, weights = nodes[present].ravel(), weights[present].ravel() / max(present.sum(), 1)
    negative = float(weights[nodes < 0].sum() / weights.sum())
    return np.maximum(nodes, 0), weights, negative


def _without(paths):
    """Means of all paths but one."""
    return (paths.sum(axis=0) - paths) / max(len(paths) - 1, 1)
