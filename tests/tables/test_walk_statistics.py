"""What is measured of walkers: paths made by hand, whose passages and displacements are known."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.errors import InputError
from sgd_diffusion.tables.walk_statistics import GRADIENT_EDGES, LAGS, walk_statistics

STEPS = 700


@pytest.fixture(scope="module")
def walks():
    """Two landscapes of three walkers: straight on for 100 steps and then at rest in the basin; at
    rest in it; never there.

    The third walker of the second landscape meets a wall at step 50. Gradients are normal, on the
    second landscape five times as large from step 50 on.
    """
    steps = np.arange(STEPS + 1)
    straight = np.stack([np.minimum(steps, 100) / 100 - 1, 0 * steps], axis=-1)
    resting, outside = np.zeros_like(straight), np.stack([-1 + 0 * steps, np.sin(steps)], axis=-1)
    position = np.stack([[straight, resting, outside]] * 2)
    random = np.random.default_rng(0)
    gradient = random.normal(size=position.shape)
    gradient[1, :, 50:] *= 5
    first_wall = np.full((2, 3), STEPS + 1)
    first_wall[1, 2] = 50
    walker = ("landscape", "walker")
    return xr.Dataset(
        {
            "position": ((*walker, "step", "axis"), position),
            "gradient": ((*walker, "step", "axis"), gradient),
            "inside": ((*walker, "step"), position[..., 0] >= 0),
            "first_wall_step": (walker, first_wall),
            "lowest_loss": (walker, np.array([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]])),
            "median_height": ("landscape", [5.0, 1.0]),
            "lowest_height": ("landscape", [1.0, -1.0]),
        }
    )


@pytest.fixture(scope="module")
def statistics(walks):
    return walk_statistics(walks)


def test_passages_stays_and_depth(statistics):
    never = STEPS + 1
    np.testing.assert_array_equal(statistics.first_passage, [[100, 0, never]] * 2)
    np.testing.assert_array_equal(statistics.final_entry, [[100, 0, never]] * 2)
    assert statistics.steps_inside.values.tolist() == [STEPS - 99 + STEPS + 1] * 2
    assert statistics.exits.values.tolist() == [0, 0]
    np.testing.assert_allclose(statistics.depth, [[1, 0.75, 0.5], [1, 0.5, 0]])


def test_parts_of_paths(statistics):
    """Before: only who came late, ballistic. After: who stays for 300 steps, at rest. Early and
    whole: all three.
    """
    np.testing.assert_array_equal(statistics.walkers, [[1, 1], [2, 2], [3, 3], [3, 3]])
    before = statistics.msd.sel(part="before")
    np.testing.assert_allclose(
        before.where(before.lag <= 20, drop=True), [(LAGS[LAGS <= 20] / 100) ** 2] * 2, rtol=1e-9
    )
    assert np.isnan(before.where(before.lag > 20)).all()
    after = statistics.msd.sel(part="after")
    assert (after.where(after.lag <= 100, drop=True) == 0).all()
    early = statistics.msd.sel(part="early", lag=60)
    swing = np.mean([(np.sin(start + 60) - np.sin(start)) ** 2 for start in range(85)])
    straight = np.mean([(min(start + 60, 100) - min(start, 100)) ** 2 for start in range(85)]) / 1e4
    np.testing.assert_allclose(early, (straight + swing) / 3, rtol=1e-9)
    assert np.isnan(statistics.msd.sel(part="whole", lag=500)).all()  # more than half of the path


def test_example_paths(statistics, walks):
    np.testing.assert_array_equal(statistics.path, walks.position.isel(walker=0))
    assert statistics.path_walker.values.tolist() == [0, 0]
    assert statistics.path_entry.values.tolist() == [100, 100]
    assert statistics.path_arrives.all()
    late = walk_statistics(walks.assign(first_wall_step=walks.first_wall_step * 0 + 99))
    assert not late.path_arrives.any()


def test_gradients_before_walls_and_everywhere(statistics, walks):
    """Pooling walkers of two scales makes the tails; a walker alone is normal, on the first
    landscape.
    """
    one = walks.gradient.values[0].ravel()
    np.testing.assert_allclose(statistics.gradient_std.sel(visits="all")[0], one.std())
    np.testing.assert_allclose(statistics.gradient_std.sel(visits="inner")[0], one.std())
    error = np.sqrt(24 / one.size)
    assert abs(statistics.gradient_excess.sel(visits="all")[0]) < 4 * error
    everywhere, inner = (
        statistics.gradient_excess.sel(visits=visits)[1] for visits in ("all", "inner")
    )
    small, large = 50 / 701, 651 / 701  # a mixture: 3 <v^2>/<v>^2 - 3 with the variances 1 and 25
    assert everywhere == pytest.approx(
        3 * (small + large * 625) / (small + large * 25) ** 2 - 3, abs=0.5
    )
    counts = statistics.gradient_counts.sel(visits="inner")[1].values
    shares = (50 * 3 + 651 * 2) * 2
    assert shares * 0.5 < counts.sum() < shares  # some lie outside the edges
    assert inner > 0
    assert np.all(np.abs(statistics.gradient_alpha.sel(visits="all")[0] - 2) < 0.1)
    assert np.isin(statistics.gradient_sample[0, 0].values, one).all()
    assert len(GRADIENT_EDGES) == counts.size + 1


@pytest.mark.parametrize("dtype", ["int16", "float32", ">f8"])
def test_numbers_of_any_type(walks, dtype):
    """Whole positions and gradients give what their float64 ones give; complex ones are refused."""
    names = ("position", "gradient", "lowest_loss", "median_height")
    whole = walks.assign({name: (10 * walks[name]).round() for name in names}).isel(landscape=[0])
    found = walk_statistics(whole.astype(dtype).assign(inside=whole["inside"].astype(dtype)))
    xr.testing.assert_allclose(found, walk_statistics(whole), rtol=1e-12)
    with pytest.raises(InputError, match="position has dtype complex128"):
        walk_statistics(whole.assign(position=whole["position"].astype(complex)))
