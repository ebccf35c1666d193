"""All kinds of arrays and options into the tables."""

import numpy as np
import pytest
import xarray as xr
from input_table import Argument, Number, input_tests, mode_tests

from sgd_diffusion.errors import InputError
from sgd_diffusion.tables import exponents
from sgd_diffusion.tables.loss_surface import smooth_surface

LAGS = np.arange(1, 101)
DATASET = xr.Dataset({"msd": (("seed", "lag"), LAGS ** np.array([[1.0], [1.5]]))}, {"lag": LAGS})
HEIGHTS = np.random.default_rng(0).integers(0, 100, size=(6, 7)).astype(float)


def exponents_and_onsets(**options):
    table = exponents(DATASET, **options)
    return table["exponent"].values, table["onset"].values


ENTRIES = [
    Argument("smooth_surface(heights)", smooth_surface, HEIGHTS),
    Number("exponents(max_rmse)", lambda bound: exponents_and_onsets(max_rmse=bound), 0.25),
    Number(
        "exponents(smallest lag)", lambda low: exponents_and_onsets(ranges={"a": (low, 50)}), 2.0
    ),
    Number(
        "exponents(largest lag)", lambda high: exponents_and_onsets(ranges={"a": (2, high)}), 50.0
    ),
]
test_inputs = input_tests(ENTRIES)
test_modes = pytest.mark.slow(mode_tests(ENTRIES))


@pytest.mark.parametrize("ranges", [{}, {"a": 5}, {"a": (1, 2, 3)}, [1, 2], 7])
def test_what_are_no_ranges_of_lags(ranges):
    with pytest.raises(InputError, match=r"ranges is .*expected .*smallest lag"):
        exponents(DATASET, ranges)
