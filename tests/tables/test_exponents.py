"""The table of exponents: labels, values and missing members."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.analysis.lags import standard_lags
from sgd_diffusion.analysis.scaling import fit_crossover, fit_power_law, superdiffusion_onset
from sgd_diffusion.tables import exponents

LAGS = np.arange(1, 201)


@pytest.fixture
def dataset():
    short, long = np.array([0.5, 1.0])[:, None, None], np.array([1.5, 1.0, 0.8])[:, None]
    msd = 1e-3 * LAGS ** np.where(LAGS > 0, short, 0) + 1e-3 * LAGS ** (
        long + 0.3
    )  # (learning_rate, window, lag)
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
    assert table.exponent.dims == ("motion", "range", "seed", "learning_rate", "window")
    assert table.motion.values.tolist() == ["SGD"] and table.error_source.values.tolist() == [
        "residuals"
    ]
    assert table.lag_min.values.tolist() == [5, 20]
    assert table.lag_max.values.tolist() == [50, 100]
    assert table.waiting_time.values.tolist() == [0, 200, 400]
    curve = {"seed": 1, "learning_rate": 1, "window": 2}
    fit = fit_power_law(LAGS, dataset.msd.isel(curve).values, x_min=20, x_max=100)
    for name in ("exponent", "exponent_error", "rmse"):
        found = table[name].sel(motion="SGD", range="b").isel(curve)
        np.testing.assert_allclose(found, getattr(fit, name), rtol=1e-9, atol=1e-12)
    onset = superdiffusion_onset(LAGS, dataset.msd.isel(curve).values, max_rmse=0.02)
    np.testing.assert_allclose(table.onset.isel(curve), onset.lag)
    np.testing.assert_allclose(table.onset_exponent.isel(curve), onset.fit.exponent)


def test_missing_members_stay_missing(dataset):
    table = exponents(dataset)
    assert table["range"].values.tolist() == ["short", "long"]
    for name in ("exponent", "exponent_error", "rmse", "onset", "onset_exponent"):
        assert np.all(np.isnan(table[name].sel(seed=2)))
    assert np.all(np.isfinite(table.exponent.sel(seed=[0, 1, 3])))


def test_controls_stand_beside_every_exponent(measured_run):
    more = measured_run.assign(twin_msd=measured_run.msd, average_msd=measured_run.msd)
    table = exponents(more).isel(learning_rate=0)
    assert table.motion.values.tolist() == [
        "SGD",
        "drift subtracted",
        "shuffled",
        "signs flipped",
        "full-batch descent",
        "averaged weights",
    ]
    assert table.error_source.values.tolist() == [
        "block bootstrap",
        "block bootstrap",
        "draws",
        "draws",
        "residuals",
        "residuals",
    ]
    drifting = table.sel(seed=0).isel(window=0).sel(range="long")
    error = drifting.exponent_error
    assert drifting.exponent.sel(motion="SGD") > 1.2
    for motion in (
        "drift subtracted",
        "signs flipped",
    ):  # 4 errors: that over this range is too small by a third
        assert abs(drifting.exponent.sel(motion=motion) - 1) < 4 * error.sel(motion=motion) + 0.05
    assert np.all(table.exponent.sel(motion="SGD").isel(window=1, seed=0) < 0.5)
    assert np.all(error.isnull() == drifting.exponent.isnull()) and np.all(error > 0)


def test_fits_with_controls_are_made_on_their_lags(measured_run):
    table = exponents(measured_run, {"whole": (2, 100)})
    curve = {"window": 0, "seed": 1, "learning_rate": 0}
    lags = standard_lags(200)
    fit = fit_power_law(
        lags,
        measured_run.msd.sel(lag=lags).isel(curve).values,
        x_min=2,
        x_max=100,
        replicates=measured_run.msd_replicates.isel(curve).values,
    )
    found = table.sel(motion="SGD", range="whole").isel(curve)
    np.testing.assert_allclose(
        [found.exponent, found.exponent_error], [fit.exponent, fit.exponent_error], rtol=1e-9
    )
    fit = fit_crossover(
        lags,
        measured_run.msd.sel(lag=lags).isel(curve).values,
        x_max=100,
        replicates=measured_run.msd_replicates.isel(curve).values,
    )
    np.testing.assert_allclose(
        table.crossover.isel(curve), fit.crossover, rtol=1e-5
    )  # an iteration ends within 1e-6
    draws = fit_power_law(
        lags, measured_run.shuffled_msd.isel(curve).values, x_min=2, x_max=100
    ).exponent
    shuffled = table.sel(motion="shuffled", range="whole").isel(curve)
    np.testing.assert_allclose(
        [shuffled.exponent, shuffled.exponent_error], [draws.mean(), draws.std(ddof=1)]
    )


def test_the_regime_changes_where_the_first_window_is_subdiffusive(measured_run, dataset):
    assert (
        exponents(measured_run, max_rmse=0.5)
        .regime_boundary.isel(learning_rate=0)
        .values.tolist()[0]
        == 200
    )
    boundary = exponents(dataset, max_rmse=0.5).regime_boundary
    assert boundary.dims == ("seed", "learning_rate") and np.isnan(boundary.sel(seed=2)).all()
