"""How a quantity changes with one of the options of a sweep, all others being equal."""

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.errors import invalid

__all__ = ["effect"]


def effect(values: xr.DataArray, dim: str) -> xr.Dataset:
    """Return by how much a quantity changes along an option, all others being equal.

    The change is a least-squares slope against log2 of the option, so that per doubling; against 0
    and 1 where the option is False or True, which is a difference. There is a slope for each seed
    and each combination of the other options.

    Args:
        values: with the dimensions `seed` and `dim` and any others. Where it is NaN, the slope is
            made without this place.
        dim: the option. Its coordinate has positive numbers, or False and True.

    Returns:
        Dataset of `change` (mean over seeds and combinations), `error` (the standard error of the
        means of seeds), `low` and `high` (the extremes of combinations, each the mean over seeds),
        and `count` (combinations). NaN where fewer than two values of the option have a number.

    Raises:
        InputError: the dimensions or the coordinate are others.

    >>> values = xr.DataArray([[1.0, 1.1], [1.2, 1.3], [1.4, 1.5]],
    ...                       {"batch_size": [16, 32, 64], "seed": [0, 1]}, ("batch_size", "seed"))
    >>> round(float(effect(values, "batch_size").change), 3)
    0.2
    """
    if not {"seed", dim} <= set(values.dims):
        raise invalid("values", f"has dimensions {values.dims}", f"seed, {dim} and any others")
    given = values[dim].values
    flags = given.dtype == bool
    if not flags and not (np.issubdtype(given.dtype, np.number) and np.all(given > 0)):
        raise invalid("values", f"has {dim} {given!r:.100}", "positive numbers, or False and True")
    x = given.astype(float) if flags else np.log2(given.astype(float))
    others = [name for name in values.dims if name not in ("seed", dim)]
    y = values.transpose("seed", *others, dim).values.astype(float)
    slopes = _slopes(x, y.reshape(len(y), -1, len(x)))
    per_seed = ensemble_average(slopes, axis=1).mean
    whole = ensemble_average(per_seed)
    combinations = ensemble_average(slopes).mean
    some = np.isfinite(combinations).any()
    return xr.Dataset(
        {
            "change": whole.mean,
            "error": whole.standard_error,
            "low": np.nanmin(combinations) if some else np.nan,
            "high": np.nanmax(combinations) if some else np.nan,
            "count": np.isfinite(combinations).sum(),
        }
    )


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return least-squares slopes over the last axis, without places that are NaN."""
    present = np.isfinite(y)
    count = present.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        center = np.where(present, x, 0).sum(axis=-1, keepdims=True) / count
        from_center = np.where(present, x - center, 0)
        slope = (from_center * np.where(present, y, 0)).sum(axis=-1) / (from_center**2).sum(axis=-1)
    return np.where(count[..., 0] > 1, slope, np.nan)
