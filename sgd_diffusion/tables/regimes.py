"""The two regimes of training in one number each: exponents, range of superdiffusion, boundary."""

import numpy as np
import xarray as xr

from sgd_diffusion.errors import invalid

__all__ = ["regimes"]


def regimes(table: xr.Dataset) -> xr.Dataset:
    """Return the numbers that Figs. 3 and 4 of Chen, Qu & Gong (arXiv:2009.10588) compare.

    Args:
        table: `tables.overview` of a run, or `tables.over_cells` of many, with the ranges "short"
            and "long".

    Returns:
        Dataset with the dimensions of the table without `window` and `range`:

        - `first_exponent`, `last_exponent` with `motion` in front: the long-lag exponents of the
          first and of the last window, and their errors within a window
          (`first_exponent_error`, `last_exponent_error`);
        - `onset`: tau_0 of the first window, NaN where it does not end superdiffusive;
        - `superdiffusive_decades`: log10(T / tau_0), the length of the superdiffusive range of the
          first window in decades; 0 where there is none, NaN for members without a curve;
        - `regime_boundary` as in `tables.exponents`, and `boundary_time`, the learning rate times
          it;
        - `loss` and `test_accuracy` of the last window, where the table has them.

    Raises:
        InputError: the table has no long lags.
    """
    if "range" not in table.dims or "long" not in table["range"].values:
        raise invalid("table", "has no range of long lags", "a table of tables.overview")
    first, last = (table.isel(window=number, drop=True) for number in (0, -1))
    found = {}
    for name, window in (("first", first), ("last", last)):
        on_long = window.sel(range="long", drop=True)
        for suffix in ("", "_error"):
            found[f"{name}_exponent{suffix}"] = on_long[f"exponent{suffix}"]
    longest = 2 * first["lag_max"].sel(range="long", drop=True)  # long lags end at half of T
    curve = np.isfinite(found["first_exponent"].sel(motion="SGD", drop=True))
    decades = xr.apply_ufunc(np.log10, longest / first["onset"]).fillna(0.0)
    found |= {
        "onset": first["onset"],
        "superdiffusive_decades": decades.where(curve),
        "regime_boundary": table["regime_boundary"],
        "boundary_time": table["regime_boundary"] * table["learning_rate"],
    }
    found |= {name: last[name] for name in ("loss", "test_accuracy") if name in last}
    return xr.Dataset(found).drop_vars(["lag_min", "lag_max"], errors="ignore")
