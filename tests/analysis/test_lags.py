"""Standard lags and ranges: what they are, and that they can be fitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_diffusion.analysis.lags import standard_lags, standard_ranges
from sgd_diffusion.errors import InputError


def test_standard_ranges():
    assert standard_ranges(1000) == {"short": (10, 100), "long": (100, 500)}
    assert standard_ranges(10_000) == {"short": (10, 100), "long": (100, 5000)}
    assert standard_ranges(100) == {"short": (1, 10), "long": (10, 50)}


@given(st.integers(10, 5000))
def test_every_standard_range_can_be_fitted(steps):
    for low, high in standard_ranges(steps).values():
        assert 1 <= low < high <= steps / 2
        lags = standard_lags(steps)
        assert np.count_nonzero((lags >= low) & (lags <= high)) >= 3


@given(st.integers(10, 5000))
def test_standard_lags_are_of_one_parity_in_windows_long_enough(steps):
    lags = standard_lags(steps)
    assert np.all(np.diff(lags) > 0) and 1 <= lags[0] and lags[-1] in (steps, steps - 1)
    if steps >= 60:
        assert np.all(lags % 2 == 0)


@pytest.mark.parametrize("function", [standard_lags, standard_ranges])
def test_windows_too_short_are_refused(function):
    with pytest.raises(InputError, match=r"window is 9; expected an integer in 10.."):
        function(9)
