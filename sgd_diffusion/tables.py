"""Every table as a function: labelled dataset in, labelled dataset out."""

import numpy as np
import xarray as xr

from sgd_diffusion.analysis import paths, roughness, scaling
from sgd_diffusion.analysis.lags import STANDARD_STRIDE, standard_ranges
from sgd_diffusion.analysis.least_squares import replicate_error
from sgd_diffusion.errors import InputError

__all__ = ["exponents", "fractal_path"]

SGD = "SGD"
# The motions whose exponents stand beside those of SGD, and the variables that hold their MSD.
CONTROLS = {
    "drift subtracted": "drift_subtracted_msd",
    "shuffled": "shuffled_msd",
    "signs flipped": "sign_flipped_msd",
    "full-batch descent": "twin_msd",
}


def exponents(dataset, ranges=None, *, max_rmse=0.03):
    """Exponents of the time-averaged MSD on ranges of lags beside those of its controls, onsets and crossovers.

    Args:
        dataset: with ``msd`` (..., lag), such as (window, seed, learning_rate, lag), and the coordinate ``lag``. Where it
            has the measurements of :func:`~sgd_diffusion.dynamics.path_statistics.controls`, fits are made on their
            lags ``fit_lag``; where it has ``twin_msd`` of full-batch descent, this is one more control.
        ranges: {name: (smallest lag, largest lag)}; :func:`~sgd_diffusion.analysis.lags.standard_ranges` of the
            largest lag when None.
        max_rmse: bound of :func:`~sgd_diffusion.analysis.scaling.superdiffusion_onset` and of
            :func:`~sgd_diffusion.analysis.scaling.regime_boundary`.

    Returns:
        Dataset with the dimensions of ``msd`` less ``lag``, NaN for members without a curve, and

        - ``exponent``, ``exponent_error``, ``rmse`` with ``motion`` and ``range`` in front: least-squares power laws
          (:func:`~sgd_diffusion.analysis.scaling.fit_power_law`), with the fitted lags in the coordinates ``lag_min``
          and ``lag_max`` (range). Motions are "SGD" and the controls that the dataset has. The coordinate
          ``error_source`` (motion) says what an error is: "block bootstrap" over the window, the scatter of one of
          several random "draws" of a surrogate, whose mean the exponent is, or of the "residuals" (a lower bound);
        - ``onset``: tau_0 in steps, NaN where the window does not end superdiffusive, and ``onset_exponent``: the
          exponent of the longest power law that ends at the largest lag, superdiffusive or not;
        - ``crossing``: the lag at which the local exponent first rises through 1;
        - with controls ``crossover``, ``crossover_low``, ``crossover_high``, ``exponent_below``, ``exponent_above`` and
          their errors (:func:`~sgd_diffusion.analysis.scaling.fit_crossover` on lags up to half the largest), NaN where
          the curve is a single power law;
        - with windows ``regime_boundary``, without the dimension ``window``: the waiting time of the first window whose
          single power law from the first lag of the short range to half the largest lag is subdiffusive.

    Raises:
        InputError: a range has fewer than 3 lags, or the lags are too few for ranges or onsets.
    """
    msd = dataset["msd"].transpose(..., "lag")
    longest = int(dataset["lag"].values[-1])
    ranges = standard_ranges(longest) if ranges is None else dict(ranges)
    curves = msd.dims[:-1]
    found = dict(_all_fits(dataset, curves, ranges))
    onset = scaling.superdiffusion_onset(dataset["lag"].values, msd.values, max_rmse=max_rmse)
    lags, on_fit_lags = _at_fit_lags(dataset, "msd", curves)
    local = scaling.local_exponent(lags, on_fit_lags, stride=min(STANDARD_STRIDE, len(lags) - 1))

    def on_ranges(index, long_name):
        values = np.stack([np.stack([fit[index] for fit in fits]) for fits, _ in found.values()])
        return ("motion", "range", *curves), values, {"long_name": long_name}

    table = xr.Dataset(
        {
            "exponent": on_ranges(0, "exponent of the MSD"),
            "exponent_error": on_ranges(1, "standard error of the exponent"),
            "rmse": on_ranges(2, "root mean square residual of ln MSD"),
            "onset": (curves, onset.lag, {"long_name": "onset of superdiffusion", "units": "step"}),
            "onset_exponent": (curves, onset.fit.exponent, {"long_name": "exponent from the onset on"}),
            "crossing": (curves, scaling.normal_diffusion_crossing(*local), {"units": "step"}),
        },
        coords={
            "motion": list(found),
            "error_source": ("motion", [source for _, source in found.values()]),
            "range": list(ranges),
            "lag_min": ("range", [low for low, _ in ranges.values()], {"units": "step"}),
            "lag_max": ("range", [high for _, high in ranges.values()], {"units": "step"}),
            **{name: coord for name, coord in msd.coords.items() if "lag" not in coord.dims},
        },
        attrs={"max_rmse": max_rmse},
    )
    if "msd_replicates" in dataset:
        table = table.assign(_crossovers(dataset, curves, longest / 2))
    if "window" in curves:
        whole = next(iter(ranges.values()))[0], longest / 2
        table["regime_boundary"] = _regime_boundary(msd, *whole, max_rmse)
    return table


def _all_fits(dataset, curves, ranges):
    """Motions with (exponent, error, rmse) for each range, and what the errors are."""
    yield SGD, _fits(dataset, "msd", curves, ranges)
    for motion, variable in CONTROLS.items():
        if variable in dataset:
            yield motion, _fits(dataset, variable, curves, ranges)


def _fits(dataset, variable, curves, ranges):
    lags, values = _at_fit_lags(dataset, variable, curves)
    replicates = dataset.get(f"{variable}_replicates")
    if replicates is not None:
        replicates = replicates.transpose(*curves, "replicate", "fit_lag").values
    fits = [scaling.fit_power_law(lags, values, x_min=low, x_max=high, replicates=replicates)
            for low, high in ranges.values()]
    if "draw" in dataset[variable].dims:
        return [(fit.exponent.mean(-1), replicate_error(fit.exponent), fit.rmse.mean(-1)) for fit in fits], "draws"
    source = "residuals" if replicates is None else "block bootstrap"
    return [(fit.exponent, fit.exponent_error, fit.rmse) for fit in fits], source


def _at_fit_lags(dataset, variable, curves):
    """Lags that fits are made on, and a variable there, (*curves, [draw,] lag)."""
    curve = dataset[variable]
    if "lag" in curve.dims and "fit_lag" in dataset.coords:
        curve = curve.sel(lag=dataset["fit_lag"].values)
    dim = "lag" if "lag" in curve.dims else "fit_lag"
    return curve[dim].values, curve.transpose(*curves, ..., dim).values


def _crossovers(dataset, curves, longest):
    lags, values = _at_fit_lags(dataset, "msd", curves)
    replicates = dataset["msd_replicates"].transpose(*curves, "replicate", "fit_lag").values
    try:
        fit = scaling.fit_crossover(lags, values, x_max=longest, replicates=replicates)
    except InputError:  # a window too short for two power laws
        return {}
    names = ("crossover", "crossover_low", "crossover_high", "exponent_below", "exponent_below_error", "exponent_above",
             "exponent_above_error")
    return {name: (curves, getattr(fit, name)) for name in names}


def _regime_boundary(msd, low, high, max_rmse):
    ordered = msd.transpose(..., "window", "lag")
    boundary = scaling.regime_boundary(ordered["waiting_time"].values, ordered["lag"].values, ordered.values, x_min=low,
                                       x_max=high, max_rmse=max_rmse)
    return ordered.dims[:-2], boundary, {"long_name": "first subdiffusive window", "units": "step"}


def fractal_path(dataset):
    """Dimension and self-affinity of paths, and Hurst exponents of the loss along them, for every member and window.

    Args:
        dataset: with the measurements :func:`~sgd_diffusion.dynamics.path_statistics.shape` and
            :func:`~sgd_diffusion.dynamics.path_statistics.roughness`, and the series ``loss`` and, with a probe,
            ``probe_loss``.

    Returns:
        Dataset with dimensions (window, seed, learning_rate), NaN for members without a path, and, with ``motion`` in
        front, for SGD and its surrogates,

        - ``dimension`` of a single power law, ``dimension_below`` and ``dimension_above`` of two that meet at the contour
          length ``crossover`` (``crossover_low``, ``crossover_high``), with errors
          (:func:`~sgd_diffusion.analysis.paths.path_dimension` on contour lengths from 10 mean steps, or T/20 if that is
          less, to half that of the window);
        - ``self_affinity``, chi of squared excursion ~ squared end-to-end distance^chi, its error and ``verdict``
          (:func:`~sgd_diffusion.analysis.paths.self_affinity` on lengths from 10 to T/2);

        and of the losses

        - ``noise_floor`` of mini-batch losses with its error (:func:`~sgd_diffusion.analysis.roughness.batch_noise_floor`);
        - ``probe_exponent`` (with a probe) and ``batch_exponent``, the latter above the noise floor: 2H, with errors
          and the fitted distances ``probe_exponent_min``, ``probe_exponent_max`` and so on
          (:func:`~sgd_diffusion.analysis.roughness.hurst_exponent`).
    """
    dims = ("window", "seed", "learning_rate")
    members = xr.Dataset(coords={name: dataset[name] for name in (*dims, "waiting_time") if name in dataset.coords})
    floor = roughness.batch_noise_floor(*(dataset[name].transpose(*dims, "point").values
                                          for name in ("loss", "probe_loss") if name in dataset))
    table = members.assign(noise_floor=(dims, floor.floor), noise_floor_error=(dims, floor.standard_error))
    sizes = {dim: dataset.sizes[dim] for dim in dims}
    shapes = _rows(dataset, {"motion": dataset.sizes["motion"]} | sizes,
                   lambda path, index: _dimension_of(path) | _self_affinity_of(path))
    losses = _rows(dataset, sizes, lambda path, index: _hurst_of(path, floor.floor[index]))
    return table.assign(shapes | losses).assign_coords(motion=dataset["motion"])


def _rows(dataset, sizes, row):
    """Numbers {name: (dims, array)} from `row(part of the dataset, its indices)` for all combinations of indices."""
    found = [row(dataset.isel(dict(zip(sizes, index, strict=True))), index) for index in np.ndindex(*sizes.values())]
    return {name: (tuple(sizes), np.reshape([numbers[name] for numbers in found], tuple(sizes.values())))
            for name in found[0]}


def _hurst_of(path, floor):
    row = {}
    for kind, below in (("probe", 0.0), ("batch", floor)):
        if f"{kind}_msl" in path:
            fit = roughness.hurst_exponent(
                path["distance"].values, path[f"{kind}_msl"].values, path["pairs"].values, noise_floor=below,
                replicates=path[f"{kind}_msl_replicates"].values)
            row |= {f"{kind}_exponent": fit.exponent, f"{kind}_exponent_error": fit.exponent_error,
                    f"{kind}_exponent_min": fit.x_min, f"{kind}_exponent_max": fit.x_max}
    return row


def _dimension_of(path):
    names = ("dimension", "dimension_error", "dimension_below", "dimension_below_error", "dimension_above",
             "dimension_above_error", "crossover", "crossover_low", "crossover_high", "x_min", "x_max")
    contour, steps = path["contour_length"].values, path.sizes["point"] - 1
    whole = np.nanmax(contour, initial=0)
    shortest = min(10, steps / 20)  # in mean steps: a single step is straight, R = s, however the path winds
    try:
        fit = paths.path_dimension(contour, path["squared_end_to_end"].values, x_min=shortest * whole / steps,
                                   x_max=whole / 2, replicates=path["squared_end_to_end_replicates"].values)
    except InputError:  # a window too short for so many bins
        return dict.fromkeys(names, np.nan)
    return {name: getattr(fit, name) for name in names}


def _self_affinity_of(path):
    enough = path["fragment_length"].values >= min(10, path["fragment_length"].values[-1] / 5)
    path = path.isel(fragment_length=enough)
    ends, excursions = "squared_end_to_end_by_length", "squared_excursion_by_length"
    found = paths.self_affinity(path["fragment_length"].values, path[ends].values, path[excursions].values,
                                replicates=[path[f"{name}_replicates"].values for name in (ends, excursions)])
    return {"self_affinity": found.exponent, "self_affinity_error": found.exponent_error, "verdict": found.verdict}
