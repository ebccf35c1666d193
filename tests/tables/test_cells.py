"""Many tables in one: every number is where its place says, and nowhere else."""

import itertools

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import tables
from sgd_diffusion.errors import InputError


def table(value, windows=2, seeds=(0, 1), lag=10):
    shape = windows, len(seeds)
    return xr.Dataset(
        {"exponent": (("window", "seed"), np.full(shape, value)), "diverged_at": ("seed", [-1, 5])},
        {"window": range(windows), "seed": list(seeds), "lag_max": lag},
        {"curve": "msd", "run": str(value)},
    )


def test_every_number_is_in_its_place():
    places = [
        {"model": model, "batch_size": size}
        for model, size in itertools.product(("fc3", "fc2"), (64, 8, 16))
    ]
    joined = tables.over_cells([(place, table(float(k))) for k, place in enumerate(places)])
    assert joined.exponent.dims == ("model", "batch_size", "window", "seed")
    assert joined.model.values.tolist() == ["fc3", "fc2"]  # as given, not in alphabetical order
    assert joined.batch_size.values.tolist() == [64, 8, 16]
    for k, place in enumerate(places):
        assert (joined.exponent.sel(place) == k).all()
    assert joined.diverged_at.dtype.kind == "i" and joined.attrs == {"curve": "msd"}


def test_what_is_not_there_is_nan_and_what_differs_has_the_dimension():
    joined = tables.over_cells(
        [
            ({"model": "a", "size": 1}, table(1.0, windows=3)),
            ({"model": "b", "size": 2}, table(2.0, seeds=(1, 2), lag=20)),
        ]
    )
    assert np.isnan(joined.exponent.sel(model="a", size=2)).all()
    assert joined.exponent.sel(model="b", size=2, seed=[1, 2], window=[0, 1]).values.min() == 2
    assert np.isnan(joined.exponent.sel(model="b", size=2, window=2)).all()
    assert np.isnan(joined.exponent.sel(model="b", size=2, seed=0)).all()
    assert (
        joined.lag_max.sel(model="b", size=2) == 20 and joined.lag_max.sel(model="a", size=1) == 10
    )


def test_one_table_and_values_that_are_no_numbers():
    xr.testing.assert_identical(tables.over_cells([({}, table(1.0))]), table(1.0))
    joined = tables.over_cells([({"dim": None}, table(1.0)), ({"dim": 20}, table(2.0))])
    assert joined.dim.values.tolist() == ["None", "20"]


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [({"a": 1}, table(1.0)), ({"b": 1}, table(1.0))],
        [({"a": 1}, table(1.0)), ({"a": 1}, table(2.0))],
    ],
)
def test_places_that_tell_nothing_apart_are_refused(cells):
    with pytest.raises(InputError, match=r"cells is .*expected one or more pairs"):
        tables.over_cells(cells)


def test_an_overview_has_exponents_losses_and_accuracies(measured_run):
    run = measured_run.assign(
        test_accuracy=measured_run.loss.isel(point=0, drop=True),
        diverged_at=(("seed", "learning_rate"), [[-1], [3]]),
    ).assign_attrs(configuration="{}")
    found = tables.overview(run)
    xr.testing.assert_identical(
        found[list(tables.exponents(run).data_vars)].drop_attrs(deep=False),
        tables.exponents(run).drop_attrs(deep=False),
    )
    np.testing.assert_array_equal(found.loss, run.loss.mean("point"))
    np.testing.assert_array_equal(found.probe_loss, run.probe_loss.mean("point"))
    xr.testing.assert_equal(found.test_accuracy, run.test_accuracy)
    assert found.attrs == {"curve": "msd", "max_rmse": 0.03, "configuration": "{}"}
    assert "test_accuracy" not in tables.overview(measured_run)
