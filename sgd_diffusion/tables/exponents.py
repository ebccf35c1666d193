"""Exponents of the MSD, of its controls and of its parts."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from sgd_diffusion._arrays import number
from sgd_diffusion._types import NumberLike
from sgd_diffusion.analysis import scaling
from sgd_diffusion.analysis.lags import STANDARD_STRIDE, standard_ranges
from sgd_diffusion.analysis.least_squares import replicate_error
from sgd_diffusion.errors import InputError, invalid

__all__ = ["exponents"]

SGD = "SGD"
# The motions that stand beside SGD, and the variables that hold their MSD.
CONTROLS = {
    "drift subtracted": "drift_subtracted_msd",
    "shuffled": "shuffled_msd",
    "signs flipped": "sign_flipped_msd",
    "full-batch descent": "twin_msd",
    "averaged weights": "average_msd",
}


def exponents(
    dataset: xr.Dataset,
    ranges: Mapping[str, tuple[NumberLike, NumberLike]] | None = None,
    *,
    curve: str = "msd",
    max_rmse: NumberLike = 0.03,
) -> xr.Dataset:
    """Return exponents of the time-averaged MSD and of its controls, with onsets and crossovers.

    Args:
        dataset: with `msd` (..., lag), such as (window, seed, learning_rate, lag), and the
            coordinate `lag`. Where it has the measurements of `measurements.controls`, fits are
            made on their lags `fit_lag`. Where it has `twin_msd` of full-batch descent, or
            `average_msd` of averaged weights, these are further motions.
        ranges: {name: (smallest lag, largest lag)}; `lags.standard_ranges` of the largest lag when
            None.
        curve: "msd", or "displacement_from_start" for the MSD that is not averaged over time. It
            has neither controls nor replicates.
        max_rmse: bound of `scaling.superdiffusion_onset` and of `scaling.regime_boundary`.

    Returns:
        Dataset with the dimensions of `msd` without `lag`, NaN for members without a curve, and

        - `exponent`, `exponent_error`, `rmse` with `motion` and `range` in front: least-squares
          power laws (`scaling.fit_power_law`), with the fitted lags in the coordinates `lag_min`
          and `lag_max` (range). Motions are "SGD", whatever the optimizer, and those that the
          dataset has beside it. The
          coordinate `error_source` (motion) says what an error is. "block bootstrap" is over the
          window. "draws" is the scatter of one of several random draws of a surrogate; the exponent
          is their mean. "residuals" is that of the residuals, a lower bound;
        - `onset`: tau_0 in steps, NaN where the window does not end superdiffusive, and
          `onset_exponent`: the exponent of the longest power law that ends at the largest lag,
          superdiffusive or not;
        - `crossing`: the lag at which the local exponent first rises through 1;
        - with controls `crossover`, `crossover_low`, `crossover_high`, `exponent_below`,
          `exponent_above` and their errors (`scaling.fit_crossover` on lags up to half the
          largest), NaN where the curve is a single power law;
        - with windows `regime_boundary`, without the dimension `window`: the waiting time of the
          first window with a single subdiffusive power law from the first lag of the short range to
          half the largest lag.

        The attributes `curve` and `max_rmse` are those of the call.

    Raises:
        KeyError: the dataset does not have the curve.
        InputError: ranges are no such dict, a range has fewer than 3 lags, or there are too few
            lags for ranges or onsets.
    """
    dataset = select_curve(dataset, curve)
    msd = dataset["msd"].transpose(..., "lag")
    longest = int(dataset["lag"].values[-1])
    ranges = standard_ranges(longest) if ranges is None else _checked_ranges(ranges)
    max_rmse = number("max_rmse", max_rmse, at_least=0)
    curves = msd.dims[:-1]
    by_motion = dict(_all_fits(dataset, curves, ranges))
    onset = scaling.superdiffusion_onset(dataset["lag"].values, msd.values, max_rmse=max_rmse)
    lags, on_fit_lags = _at_fit_lags(dataset, "msd", curves)
    local = scaling.local_exponent(lags, on_fit_lags, stride=min(STANDARD_STRIDE, len(lags) - 1))

    def on_ranges(index, long_name):
        values = np.stack(
            [np.stack([fit[index] for fit in fits]) for fits, _ in by_motion.values()]
        )
        return ("motion", "range", *curves), values, {"long_name": long_name}

    table = xr.Dataset(
        {
            "exponent": on_ranges(0, "exponent of the MSD"),
            "exponent_error": on_ranges(1, "standard error of the exponent"),
            "rmse": on_ranges(2, "root mean square residual of ln MSD"),
            "onset": (curves, onset.lag, {"long_name": "onset of superdiffusion", "units": "step"}),
            "onset_exponent": (
                curves,
                onset.fit.exponent,
                {"long_name": "exponent from the onset on"},
            ),
            "crossing": (curves, scaling.normal_diffusion_crossing(*local), {"units": "step"}),
        },
        coords={
            "motion": list(by_motion),
            "error_source": ("motion", [source for _, source in by_motion.values()]),
            "range": list(ranges),
            "lag_min": ("range", [low for low, _ in ranges.values()], {"units": "step"}),
            "lag_max": ("range", [high for _, high in ranges.values()], {"units": "step"}),
            **{name: coord for name, coord in msd.coords.items() if "lag" not in coord.dims},
        },
        attrs={"curve": curve, "max_rmse": max_rmse},
    )
    if "msd_replicates" in dataset:
        table = table.assign(_crossovers(dataset, curves, longest / 2))
    if "window" in curves:
        whole = next(iter(ranges.values()))[0], longest / 2
        table["regime_boundary"] = _regime_boundary(msd, *whole, max_rmse)
    return table


def select_curve(dataset: xr.Dataset, curve: str) -> xr.Dataset:
    """Return a dataset whose `msd` is the curve. Only the MSD itself keeps its controls."""
    if curve == "msd":
        return dataset
    return dataset[[curve]].rename({curve: "msd"}).drop_vars("fit_lag", errors="ignore")


def local_exponents(curves: xr.Dataset) -> scaling.LocalExponent:
    """Return the local exponents of the MSD of one learning rate, as figures show them.

    Args:
        curves: with `msd` (window, seed, lag) and, where the run has them, `msd_replicates` at the
            lags of the fits.

    Returns:
        Exponents (window, seed, lag) at the lags of the fits, with errors where there are
        replicates.
    """
    msd = curves["msd"].transpose("window", "seed", "lag")
    if "fit_lag" in curves.coords:
        msd = msd.sel(lag=curves["fit_lag"].values)
        stride = STANDARD_STRIDE
    else:
        # Under bouncing of period two, odd and even lags differ. An even stride compares lags of
        # one parity.
        stride = min(20, max(2, msd.shape[-1] // 20 * 2))
    replicates = None
    if "msd_replicates" in curves:
        dims = ("window", "seed", "replicate", "fit_lag")
        replicates = curves["msd_replicates"].transpose(*dims).values
    stride = min(stride, msd.shape[-1] - 1)
    return scaling.local_exponent(msd["lag"].values, msd.values, stride, replicates)


def _checked_ranges(ranges):
    try:
        pairs = {name: (low, high) for name, (low, high) in dict(ranges).items()}
    except (TypeError, ValueError):
        pairs = {}
    if not pairs:
        raise invalid(
            "ranges",
            f"is {ranges}",
            "{name: (smallest lag, largest lag)} of at least one range",
        )
    for name, ends in pairs.items():
        for end in ends:
            number(f"ranges[{name!r}]", end)
    return pairs


def _all_fits(dataset, curves, ranges):
    """Yield each motion with (exponent, error, rmse) for each range, and what the errors are."""
    yield SGD, _fits(dataset, "msd", curves, ranges)
    for motion, variable in CONTROLS.items():
        if variable in dataset:
            yield motion, _fits(dataset, variable, curves, ranges)


def _fits(dataset, variable, curves, ranges):
    lags, values = _at_fit_lags(dataset, variable, curves)
    replicates = dataset.get(f"{variable}_replicates")
    if replicates is not None:
        replicates = replicates.transpose(*curves, "replicate", "fit_lag").values
    fits = [
        scaling.fit_power_law(lags, values, x_min=low, x_max=high, replicates=replicates)
        for low, high in ranges.values()
    ]
    if "draw" in dataset[variable].dims:
        return [
            (fit.exponent.mean(-1), replicate_error(fit.exponent), fit.rmse.mean(-1))
            for fit in fits
        ], "draws"
    source = "residuals" if replicates is None else "block bootstrap"
    return [(fit.exponent, fit.exponent_error, fit.rmse) for fit in fits], source


def _at_fit_lags(dataset, variable, curves):
    """Return the lags that fits are made on, and a variable there, (*curves, [draw,] lag)."""
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
    names = (
        "crossover",
        "crossover_low",
        "crossover_high",
        "exponent_below",
        "exponent_below_error",
        "exponent_above",
        "exponent_above_error",
    )
    return {name: (curves, getattr(fit, name)) for name in names}


def _regime_boundary(msd, low, high, max_rmse):
    ordered = msd.transpose(..., "window", "lag")
    boundary = scaling.regime_boundary(
        ordered["waiting_time"].values,
        ordered["lag"].values,
        ordered.values,
        x_min=low,
        x_max=high,
        max_rmse=max_rmse,
    )
    return ordered.dims[:-2], boundary, {"long_name": "first subdiffusive window", "units": "step"}
