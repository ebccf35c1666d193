"""Tables as rows and columns: every number once, beside the coordinates of its place."""

import itertools

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.errors import InputError
from sgd_diffusion.tables import exponents, to_dataframe


def test_every_number_of_a_table_is_in_its_row(measured_run):
    table = exponents(measured_run)
    frame = to_dataframe(table)
    for name, values in table.data_vars.items():
        rows = frame.dropna(subset=list(values.dims))
        without = [dim for dim in table.dims if dim not in values.dims]
        rows = rows[rows[without].isna().all(axis=1)] if without else rows
        assert len(rows) == values.size
        for place in itertools.product(*(table[dim].values for dim in values.dims)):
            chosen = rows
            for dim, value in zip(values.dims, place, strict=True):
                chosen = chosen[chosen[dim] == value]
            found = chosen[name].tolist()
            np.testing.assert_array_equal(
                found, [values.sel(dict(zip(values.dims, place, strict=True))).item()]
            )
    lags = frame.dropna(subset=["exponent"])
    assert set(lags.waiting_time) == {0, 200} and "lag_min" in frame and "error_source" in frame


def test_numbers_without_dimensions_and_dimensions_without_coordinates():
    table = xr.Dataset({"share": 0.5, "loss": ("point", [3.0, 2.0])})
    frame = to_dataframe(table)
    assert frame.loss.dropna().tolist() == [3, 2] and frame.share.dropna().tolist() == [0.5]
    assert frame.point.dropna().tolist() == [0, 1]


@pytest.mark.parametrize("table", [None, xr.Dataset(), xr.DataArray([1.0])])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(InputError, match=r"table is .*expected an xarray.Dataset"):
        to_dataframe(table)
