"""Every table as a function: labelled dataset in, labelled dataset out."""

import numpy as np
import xarray as xr

from sgd_diffusion.analysis import scaling

__all__ = ["exponents"]


def exponents(dataset, ranges=None, *, max_rmse=0.03):
    """Exponents of the time-averaged MSD on ranges of lags, and the onset of superdiffusion, for every curve.

    Args:
        dataset: with ``msd`` (..., lag), such as (window, seed, learning_rate, lag), and the coordinate ``lag``.
        ranges: {name: (smallest lag, largest lag)}; :func:`~sgd_diffusion.analysis.scaling.standard_ranges` of the
            largest lag when None.
        max_rmse: bound of :func:`~sgd_diffusion.analysis.scaling.superdiffusion_onset`.

    Returns:
        Dataset with the dimensions of ``msd`` less ``lag``, NaN for members without a curve, and

        - ``exponent``, ``exponent_error``, ``rmse`` with ``range`` in front: least-squares power laws
          (:func:`~sgd_diffusion.analysis.scaling.fit_power_law`; the error is a lower bound), with the fitted lags in
          the coordinates ``lag_min`` and ``lag_max`` (range);
        - ``onset``: tau_0 in steps, NaN where the window does not end superdiffusive, and ``onset_exponent``: the
          exponent of the longest power law that ends at the largest lag, superdiffusive or not.

    Raises:
        InputError: a range has fewer than 3 lags, or the lags are too few for ranges or onsets.
    """
    msd = dataset["msd"].transpose(..., "lag")
    lags = dataset["lag"].values
    ranges = scaling.standard_ranges(int(lags[-1])) if ranges is None else dict(ranges)
    fits = [scaling.fit_power_law(lags, msd.values, x_min=low, x_max=high) for low, high in ranges.values()]
    onset = scaling.superdiffusion_onset(lags, msd.values, max_rmse=max_rmse)
    curves = msd.dims[:-1]

    def on_ranges(field, long_name):
        return ("range", *curves), np.stack([getattr(fit, field) for fit in fits]), {"long_name": long_name}

    return xr.Dataset(
        {
            "exponent": on_ranges("exponent", "exponent of the MSD"),
            "exponent_error": on_ranges("exponent_error", "least-squares standard error of the exponent"),
            "rmse": on_ranges("rmse", "root mean square residual of ln MSD"),
            "onset": (curves, onset.lag, {"long_name": "onset of superdiffusion", "units": "step"}),
            "onset_exponent": (curves, onset.fit.exponent, {"long_name": "exponent from the onset on"}),
        },
        coords={
            "range": list(ranges),
            "lag_min": ("range", [low for low, _ in ranges.values()], {"units": "step"}),
            "lag_max": ("range", [high for _, high in ranges.values()], {"units": "step"}),
            **{name: coord for name, coord in msd.coords.items() if "lag" not in coord.dims},
        },
        attrs={"max_rmse": max_rmse},
    )
