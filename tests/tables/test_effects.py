"""Changes along one option, and regimes: what is put in comes out."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import tables
from sgd_diffusion.errors import InputError

DEPTHS, SIZES, SEEDS = [8, 14, 20], [16, 64, 128], [0, 1, 2, 3]


def grid(function, noise=0.0):
    """A quantity over depth, shortcut, batch size and seed."""
    depth, short, size, _ = np.meshgrid(DEPTHS, [True, False], SIZES, SEEDS, indexing="ij")
    values = function(depth, short, size) + noise * np.random.default_rng(0).normal(
        size=depth.shape
    )
    coords = {"depth": DEPTHS, "shortcut": [True, False], "batch_size": SIZES, "seed": SEEDS}
    return xr.DataArray(values, coords, tuple(coords))


def test_slopes_per_doubling_and_differences_are_found_exactly():
    values = grid(lambda depth, short, size: 2 * np.log2(depth) - 0.5 * short + 0.1 * np.log2(size))
    for dim, change, count in (("depth", 2, 6), ("shortcut", -0.5, 9), ("batch_size", 0.1, 6)):
        found = tables.effect(values, dim)
        assert float(found.change) == pytest.approx(change) and found["count"] == count
        assert float(found.error) == pytest.approx(0, abs=1e-12)
        assert float(found.low) == pytest.approx(float(found.high))


def test_an_interaction_is_in_the_spread_and_not_in_the_error():
    found = tables.effect(grid(lambda depth, short, size: short * np.log2(size)), "batch_size")
    assert float(found.change) == pytest.approx(0.5) and float(found.error) < 1e-12
    assert float(found.low) == pytest.approx(0, abs=1e-12) and float(found.high) == pytest.approx(1)


def test_the_error_is_that_of_independent_seeds():
    """The slope at three places has the variance of the noise over the sum of squares of x."""
    x = np.log2(SIZES)
    deviation = 1 / np.sqrt(((x - x.mean()) ** 2).sum() * 6 * len(SEEDS))
    found = [
        tables.effect(grid(lambda *_: 0.0) + noise, "batch_size")
        for noise in np.random.default_rng(1).normal(size=(400, 3, 2, 3, len(SEEDS)))
    ]
    changes = np.array([float(each.change) for each in found])
    squares = np.mean([float(each.error) ** 2 for each in found])
    assert abs(changes.mean()) < 4 * deviation / 20
    assert np.sqrt(squares) == pytest.approx(deviation, rel=4 / np.sqrt(2 * 3 * 400))
    assert changes.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * 400))


def test_missing_places_are_left_out():
    values = grid(lambda depth, short, size: np.log2(size) + 0.0 * depth)
    values.loc[{"depth": 8, "batch_size": 64}] = np.nan
    values.loc[{"depth": 14, "batch_size": [16, 64]}] = np.nan
    found = tables.effect(values, "batch_size")
    assert float(found.change) == pytest.approx(1) and found["count"] == 4
    assert np.isnan(tables.effect(np.nan * values, "depth").change)


@pytest.mark.parametrize(
    ("dim", "change"),
    [
        ("window", {}),
        ("batch_size", {"batch_size": [-1, 2, 3]}),
        ("batch_size", {"batch_size": list("abc")}),
    ],
)
def test_what_has_no_doubling_is_refused(dim, change):
    with pytest.raises(InputError, match=r"values has .*expected"):
        tables.effect(grid(lambda *_: 0.0).assign_coords(change), dim)


def test_regimes_are_the_numbers_of_the_first_and_the_last_window(measured_run):
    table = tables.overview(measured_run)
    found = tables.regimes(table)
    xr.testing.assert_equal(
        found.first_exponent, table.exponent.sel(range="long", drop=True).isel(window=0, drop=True)
        .drop_vars(["lag_min", "lag_max"], errors="ignore"),
    )  # fmt: skip
    for name, exponent in (("onset", table.onset_exponent), ("crossing", found.first_exponent)):
        begin = found[name].values.ravel()
        ends = exponent.sel(motion="SGD") if "motion" in exponent.dims else exponent.isel(window=0)
        wanted = np.where(
            np.isfinite(begin), np.log10(200 / begin), np.where(ends.values.ravel() <= 1, 0, np.nan)
        )
        np.testing.assert_allclose(found[f"decades_beyond_{name}"].values.ravel(), wanted)
    assert np.isnan(found.last_exponent.sel(seed=1)).all()  # it has diverged
    np.testing.assert_array_equal(found.boundary_time, 0.1 * found.regime_boundary)
    with pytest.raises(InputError, match="long lags"):
        tables.regimes(table.sel(range=["short"]))


def run(power, seeds=(0, 1)):
    """Distances and losses that depend on eta t alone, times a power of eta."""
    rates, steps = np.array([0.01, 0.05, 0.1]), np.arange(401)
    times = rates[:, None] * steps
    factor = rates[:, None] ** power * np.ones((len(seeds), 1, 1))
    dims = ("window", "seed", "learning_rate", "point")
    return xr.Dataset(
        {
            "loss": (dims, (factor * np.exp(-0.01 * times))[None]),
            "displacement_from_start": ((*dims[:3], "lag"), (factor * times**1.5)[None, ..., 1:]),
        },
        {"seed": list(seeds), "learning_rate": rates, "lag": steps[1:],
         "waiting_time": ("window", [0])},
    )  # fmt: skip


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_runs_that_agree_at_equal_training_time_are_found_to(power):
    found = tables.training_times(run(power))
    assert found.lower_rate.values.tolist() == [0.01, 0.05]
    wanted = np.array([5.0, 2.0]) ** power
    np.testing.assert_allclose(found.distance_ratio, wanted, rtol=2e-3)
    np.testing.assert_allclose(found.loss_ratio, wanted, rtol=2e-3)  # of means over 50 updates
    np.testing.assert_allclose(found.loss_ratio_error, 0, atol=1e-12)


def test_training_times_need_two_rates_and_two_seeds():
    with pytest.raises(InputError, match="single learning rate"):
        tables.training_times(run(0).isel(learning_rate=[0]))
    assert np.isnan(tables.training_times(run(0, seeds=(0,))).distance_ratio_error).all()
