"""The table of surface dimensions: exact rough surfaces, smooth ones, the smooth control, and what
is lost.
"""

import jax
import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.landscape.fractal_surfaces import fractional_brownian_surface
from sgd_diffusion.tables.loss_surface import loss_surface, smooth_surface

HURST, POINTS = 0.4, 51
SIDE = np.linspace(-1, 1, POINTS)
BOWL = SIDE[:, None] ** 2 + 2 * SIDE**2


@pytest.fixture(scope="module")
def table():
    """Of a rough surface, a bowl and a member that diverged."""
    rough = np.asarray(fractional_brownian_surface(jax.random.key(1), POINTS, hurst=HURST).heights)
    losses = np.exp(np.stack([rough, BOWL, np.full_like(rough, np.nan)]))[None, :, None]
    surfaces = xr.Dataset(
        {"loss": (("plane", "seed", "learning_rate", "row", "column"), losses)},
        coords={"plane": ["random"], "seed": [0, 1, 2], "learning_rate": [0.1]},
    )
    return loss_surface(surfaces, calibration_repeats=10).isel(learning_rate=0)


def test_intervals_hold_the_truth_of_a_rough_surface(table):
    rough = table.sel(seed=0, surface="loss")
    truth = xr.where(rough.estimator == "level set, boxes", 2 - HURST, 3 - HURST)
    assert ((rough.low <= truth) & (truth <= rough.high)).all()
    assert (
        rough.low > table.sel(seed=0, surface="smooth").dimension
    ).all()  # told from a smooth one
    assert table.smooth_residual.sel(seed=0) > 0.1


def test_a_bowl_is_smooth(table):
    bowl = table.sel(seed=1)
    smooth = xr.where(bowl.estimator == "level set, boxes", 1, 2)
    assert (abs(bowl.dimension - smooth) < 0.1).all() and (abs(bowl.low - smooth) < 1e-9).all()
    # degree 4 holds a quadratic: the control is the bowl itself, up to boxes whose sides the bowl
    # touches: one of the 158 cells of its level set changes the slope over sizes 1 to 8 by at most
    # 1.5 / (5 ln 2) / 158 = 0.003
    np.testing.assert_allclose(
        bowl.raw.sel(surface="smooth"), bowl.raw.sel(surface="loss"), atol=3e-3
    )
    assert table.smooth_residual.sel(seed=1) < 1e-6


def test_a_member_that_diverged_is_lost_and_said_to_be(table):
    lost = table.sel(seed=2)
    assert all(
        np.isnan(lost[name]).all()
        for name in ("raw", "dimension", "low", "high", "curve", "smooth_residual")
    )
    assert (lost.status == "NOT_FINITE").all()


def test_curves_are_what_was_fitted(table):
    assert table["size"].values.tolist() == [1, 2, 4, 8]
    boxes = table.isel(seed=0).sel(estimator="graph, boxes", surface="loss")
    slope = np.polyfit(np.log(boxes["size"]), np.log(boxes.curve), 1)[0]
    np.testing.assert_allclose(-slope, boxes.raw, rtol=1e-9)


def test_the_smooth_surface_is_the_best_polynomial():
    quartic = 1 + BOWL - SIDE[:, None] ** 3 * SIDE + SIDE**4
    np.testing.assert_allclose(smooth_surface(quartic), quartic, atol=1e-12)
    rough = quartic + np.random.default_rng(0).normal(size=quartic.shape)
    left = rough - smooth_surface(rough)
    for power in range(5):  # what is left is at right angles to every term
        assert abs((left * SIDE**power).sum()) < 1e-9
    assert np.isnan(smooth_surface(np.full((4, 4), np.inf))).all()
