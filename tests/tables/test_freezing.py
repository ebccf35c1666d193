"""Shares and means of walkers in two valleys, where the walkers are known."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import tables


def walks(sides=(1, 1, 1, -1), steps=(1, 5, 97, 40)):
    walker = {"freezing_step": steps, "freezing_y": (1.0, 2.0, 4.0, 3.0), "final_x": sides}
    return xr.Dataset(
        {name: (("learning_rate", "walker"), [values]) for name, values in walker.items()}
        | {"final_y": (("learning_rate", "walker"), np.full((1, 4), 5.0))},
        coords={"learning_rate": [0.1]},
        attrs={"steps": 100},
    )


def test_shares_and_means_have_their_standard_errors():
    table = tables.freezing(walks()).squeeze("learning_rate")
    assert table["flat_fraction"] == 0.75
    assert table["flat_fraction_error"] == pytest.approx((0.7 * 0.3 / 4) ** 0.5)
    assert table["unfrozen_fraction"] == 0.25  # 97 is beyond 95 of 100 steps
    assert table["freezing_y"] == 2.5
    spread = np.std([1, 2, 4, 3], ddof=1)
    assert table["freezing_y_std"] == pytest.approx(spread)
    assert table["freezing_y_error"] == pytest.approx(spread / 2)
    assert table["freezing_time"] == pytest.approx(0.1 * 143 / 4)
    assert table["final_y_error"] == 0
    assert table.attrs == {"steps": 100, "walkers": 4}


def test_a_share_of_all_walkers_has_an_error_too():
    table = tables.freezing(walks(sides=(1, 1, 0, 2)))  # the ridge counts as flat
    assert table["flat_fraction"] == 1 and table["flat_fraction_error"] > 0.1
