"""All landscapes beside the selected ones: power laws, shares and tails that are known, with errors
by resampling.
"""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.errors import InputError
from sgd_diffusion.tables.phase_diagram import phase_diagram
from sgd_diffusion.tables.toy_walks import toy_walks
from sgd_diffusion.tables.walk_statistics import LAGS, PARTS, SAMPLE

LANDSCAPES, WALKERS, STEPS = 24, 5, 1000
SELECTED = np.arange(LANDSCAPES) < 12
EXPONENTS = [1.4, 0.5, 1.0, 0.8]


@pytest.fixture(scope="module")
def statistics():
    """One surface: power laws of scattered prefactors, steeper on selected landscapes; normal
    gradients of two scales.
    """
    random = np.random.default_rng(0)
    prefactor = np.exp(0.3 * random.normal(size=(len(PARTS), LANDSCAPES, 1)))
    exponent = np.array(EXPONENTS)[:, None, None] + 0.1 * SELECTED[:, None]
    scales = np.where(np.arange(LANDSCAPES) % 2, 1.0, 3.0)[:, None]
    sample = scales * random.normal(size=(2, LANDSCAPES, SAMPLE))
    never = STEPS + 1
    passage = np.tile([0, 100, 300, never, never], (LANDSCAPES, 1))
    dims = ("landscape", "walker")
    dataset = xr.Dataset(
        {
            "msd": (("part", "landscape", "lag"), prefactor * LAGS**exponent),
            "walkers": (
                ("part", "landscape"),
                random.integers(1, WALKERS, size=(len(PARTS), LANDSCAPES)),
            ),
            "first_passage": (dims, passage),
            "final_entry": (dims, np.where(SELECTED[:, None], passage, never)),
            "first_wall_step": (dims, np.tile([never, 5, never, never, 7], (LANDSCAPES, 1))),
            "depth": (dims, random.normal(0.5, 0.1, size=(LANDSCAPES, WALKERS))),
            "gradient_kurtosis": (dims, np.tile([-1.0, 0.0, 1.0, 2.0, 3.0], (LANDSCAPES, 1))),
            "steps_inside": ("landscape", np.full(LANDSCAPES, 100)),
            "exits": ("landscape", np.full(LANDSCAPES, 4)),
            "gradient_excess": (("visits", "landscape"), np.zeros((2, LANDSCAPES))),
            "gradient_alpha": (("visits", "landscape"), np.full((2, LANDSCAPES), 2.0)),
            "gradient_sample": (("visits", "landscape", "sample"), sample),
        },
        coords={"lag": LAGS, "part": list(PARTS), "visits": ["all", "inner"]},
        attrs={"steps": STEPS},
    )
    return dataset.expand_dims(surface=["fractal"]).assign_attrs(dataset.attrs)


@pytest.fixture(scope="module")
def table(statistics):
    return toy_walks(statistics, SELECTED).sel(surface="fractal")


def test_exponents_of_all_and_of_selected_landscapes(table, statistics):
    """The exponent of the mean lies between those of the landscapes; one landscape has its own
    exactly.
    """
    both = np.abs(table.exponent - xr.DataArray(EXPONENTS, dims="part"))
    assert (both.sel(selection="selected") < 0.1 + 1e-9).all()
    np.testing.assert_allclose(
        table.exponent.sel(selection="selected"), np.array(EXPONENTS) + 0.1, rtol=1e-9
    )
    assert (table.exponent.sel(selection="all") < table.exponent.sel(selection="selected")).all()
    np.testing.assert_allclose(
        table.exponent_error.sel(selection="selected"), 0, atol=1e-9
    )  # all have the same exponent
    assert (table.exponent_error.sel(selection="all") > 1e-4).all()
    weights = statistics.walkers
    mean = (statistics.msd * weights).sum("landscape") / weights.sum("landscape")
    np.testing.assert_allclose(table.msd.sel(selection="all"), mean.squeeze("surface"), rtol=1e-12)
    np.testing.assert_array_equal(
        table.walkers.sel(selection="all"), weights.sum("landscape").squeeze("surface")
    )


def test_shares_passages_and_stays(table):
    everyone = table.sel(selection="all")
    for name, expected in (
        ("started", 0.2),
        ("reached", 0.6),
        ("walls", 0.4),
        ("passage", 200.0),
        ("stay", 25.0),
        ("walker_excess", 1.0),
    ):
        assert everyone[name] == pytest.approx(expected)
        assert everyone[f"{name}_error"] == pytest.approx(0, abs=1e-12)  # alike on all landscapes
    assert everyone.ended == pytest.approx(0.3)  # three walkers on half of the landscapes
    assert table.ended.sel(selection="selected") == pytest.approx(0.6)
    expected = 0.1 / np.sqrt(LANDSCAPES * WALKERS)
    assert everyone.depth_error == pytest.approx(expected, rel=0.3)


def test_landscapes_of_two_scales_have_heavy_tails_together(table):
    """A mixture of variances 1 and 9: excess 3 <v^2>/<v>^2 - 3, alpha below 2, though each
    landscape is normal.
    """
    mixed = table.sel(selection="all")
    expected = 3 * 41 / 25 - 3
    assert np.all(np.abs(mixed.excess - expected) < 4 * mixed.excess_error + 0.2)
    assert (mixed.alpha < 2 - 3 * mixed.alpha_error).all()
    assert (mixed.likelihood_ratio > 50).all()
    assert (mixed.p_value < 0.01).all()
    np.testing.assert_array_equal(mixed.landscape_alpha, 2)


def test_few_landscapes_have_no_errors(statistics):
    table = toy_walks(statistics, np.arange(LANDSCAPES) < 9, tails=()).sel(selection="selected")
    assert np.isnan(table.alpha).all()  # not asked for
    assert np.isfinite(table.exponent).all()
    assert np.isnan(table.exponent_error).all()
    assert np.isnan(table.depth_error).all()


def test_nothing_selected_gives_nothing(statistics):
    table = toy_walks(statistics, np.zeros(LANDSCAPES, bool)).sel(selection="selected")
    assert np.isnan(table.exponent).all()
    assert np.isnan(table.reached).all()
    assert np.isnan(table.alpha).all()
    assert (table.walkers == 0).all()


def test_fates_are_told_by_free_walkers():
    """Four walkers of known fate on three landscapes; the last landscape loses all of them."""
    dims = ("hurst", "landscape", "learning_rate", "noise_std", "walker")
    exponent = np.tile([1.5, 1.0, 0.5, 0.2], (1, 3, 1, 1, 1))
    resting = np.where(exponent == 0.5, np.nan, exponent)
    wall = np.full(exponent.shape, 1001)
    wall[..., 3] = 17
    wall[:, 2] = 1
    walks = xr.Dataset(
        {
            "exponent": (dims, exponent),
            "first_wall_step": (dims, wall),
            "depth": (dims, exponent / 2),
            "early_exponent": (dims[:-1], np.array([1.0, 1.1, 1.2]).reshape(1, 3, 1, 1)),
        },
        coords={"hurst": [0.5], "learning_rate": [0.1], "noise_std": [0.01]},
        attrs={"steps": 1000},
    )
    found = phase_diagram(walks, np.linspace(0.75, 1.25, 101)).squeeze()
    assert (found.free_low, found.free_high) == (pytest.approx(0.775), pytest.approx(1.225))
    np.testing.assert_allclose(found["share"], [1 / 6, 1 / 6, 1 / 6, 1 / 2], rtol=1e-9)
    np.testing.assert_allclose(found["share"].sum("fate"), 1)
    np.testing.assert_allclose(found.share_error[:3], 0.25 / 3, rtol=1e-9)
    assert found.exponent == pytest.approx(1)
    assert found.early_exponent == pytest.approx(1.1)
    assert found.depth == pytest.approx(0.4)
    at_rest = phase_diagram(
        walks.assign(exponent=(dims, resting)), np.linspace(0.75, 1.25, 101)
    ).squeeze()
    np.testing.assert_allclose(at_rest["share"], found["share"])
    for free in ([np.nan, 1.0], [], [[1.0]], ["1"]):
        with pytest.raises(InputError, match="free_exponents has"):
            phase_diagram(walks, free)


def test_selections_of_any_type(statistics):
    """Numbers that are 0 or 1 are booleans; others, and those of other landscapes, are refused."""
    expected = toy_walks(statistics, SELECTED, tails=())
    for dtype in ("int8", "float16", object):
        if dtype is object:
            with pytest.raises(InputError, match="selected has dtype object"):
                toy_walks(statistics, SELECTED.astype(dtype), tails=())
        else:
            xr.testing.assert_identical(
                toy_walks(statistics, SELECTED.astype(dtype), tails=()), expected
            )
    for selected, message in (
        (2 * SELECTED, "expected booleans"),
        (SELECTED[:5], r"selected has shape \(5,\)"),
    ):
        with pytest.raises(InputError, match=message):
            toy_walks(statistics, selected, tails=())
