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
        - `onset` and `crossing` of the first window: tau_0, and the lag at which the local exponent
          rises through 1;
        - `decades_beyond_onset` and `decades_beyond_crossing`, the length of the superdiffusive
          range of the first window by each of them: log10(T / tau_0), and the same with the
          crossing. 0 where the window ends without superdiffusion, NaN where this cannot be told:
          no power law is found, or the exponent is above 1 from the first lag on;
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
    exponents = {
        "onset": first["onset_exponent"],
        "crossing": found["first_exponent"].sel(motion="SGD", drop=True),
    }
    for name, exponent in exponents.items():
        decades = xr.apply_ufunc(np.log10, longest / first[name])
        found[name] = first[name]
        found[f"decades_beyond_{name}"] = xr.where(exponent <= 1, decades.fillna(0.0), decades)
    found |= {
        "regime_boundary": table["regime_boundary"],
        "boundary_time": table["regime_boundary"] * table["learning_rate"],
    }
    found |= {name: last[name] for name in ("loss", "test_accuracy") if name in last}
    return xr.Dataset(found).drop_vars(["lag_min", "lag_max"], errors="ignore")
