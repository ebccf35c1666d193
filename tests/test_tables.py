"""Tables: labels, values and missing members."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.analysis.scaling import fit_power_law, superdiffusion_onset
from sgd_diffusion.tables import exponents

LAGS = np.arange(1, 201)


@pytest.fixture
def dataset():
    short, long = np.array([0.5, 1.0])[:, None, None], np.array([1.5, 1.0, 0.8])[:, None]
    msd = 1e-3 * LAGS ** np.where(LAGS > 0, short, 0) + 1e-3 * LAGS ** (long + 0.3)  # (learning_rate, window, lag)
    msd = np.stack([msd, 2 * msd, np.full_like(msd, np.nan), 3 * msd])
    return xr.Dataset(
        {"msd": (("seed", "learning_rate", "window", "lag"), msd)},
        coords={
            "seed": [0, 1, 2, 3],
            "learning_rate": [0.1, 0.5],
            "waiting_time": ("window", [0, 200, 400]),
            "lag": LAGS,
        },
    )


def test_exponents_are_the_fits_of_each_curve(dataset):
    table = exponents(dataset, {"a": (5, 50), "b": (20, 100)}, max_rmse=0.02)
    assert table.exponent.dims == ("range", "seed", "learning_rate", "window")
    assert table.lag_min.values.tolist() == [5, 20]
    assert table.lag_max.values.tolist() == [50, 100]
    assert table.waiting_time.values.tolist() == [0, 200, 400]
    curve = {"seed": 1, "learning_rate": 1, "window": 2}
    fit = fit_power_law(LAGS, dataset.msd.isel(curve).values, x_min=20, x_max=100)
    for name in ("exponent", "exponent_error", "rmse"):
        np.testing.assert_allclose(table[name].sel(range="b").isel(curve), getattr(fit, name), rtol=1e-9, atol=1e-12)
    onset = superdiffusion_onset(LAGS, dataset.msd.isel(curve).values, max_rmse=0.02)
    np.testing.assert_allclose(table.onset.isel(curve), onset.lag)
    np.testing.assert_allclose(table.onset_exponent.isel(curve), onset.fit.exponent)


def test_missing_members_stay_missing(dataset):
    table = exponents(dataset)
    assert table["range"].values.tolist() == ["short", "long"]
    for name in ("exponent", "exponent_error", "rmse", "onset", "onset_exponent"):
        assert np.all(np.isnan(table[name].sel(seed=2)))
    assert np.all(np.isfinite(table.exponent.sel(seed=[0, 1, 3])))
