"""The wide basin: that of wells of known place and size, never a narrow hole."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.landscape.fractal_surfaces import Surface, gaussian_well
from sgd_diffusion.walkers.basins import wide_basin

SIZE, WIDTH = 129, 0.25
PLACE = np.linspace(-1, 1, SIZE)


def well(x, y, *, width=WIDTH, depth=1.0):
    return -depth * np.exp(-((PLACE[:, None] - x) ** 2 + (PLACE - y) ** 2) / (2 * width**2))


def test_a_well_is_filled_to_half_of_its_depth():
    """The disc of radius width sqrt(2 ln 2), wider by the filter; with almost no filter that of the
    well itself.
    """
    found = wide_basin(gaussian_well(SIZE, width=WIDTH), smoothing=1e-3)
    radius = WIDTH * np.sqrt(2 * np.log(2 / (1 + 1e-3)))
    assert found.area == pytest.approx(np.pi * radius**2 / 4, rel=0.03)
    np.testing.assert_allclose(found.center, [0, 0], atol=1e-6)
    assert found.margin == pytest.approx(1)
    assert found.depth == pytest.approx(1, rel=0.02)
    assert found.region[SIZE // 2, SIZE // 2]
    wider = wide_basin(gaussian_well(SIZE, width=WIDTH), smoothing=1 / 16)
    assert wider.area == pytest.approx(np.pi * radius**2 / 4 * (1 + (1 / 8 / WIDTH) ** 2), rel=0.05)


def test_the_wide_well_counts_and_a_narrow_hole_does_not():
    """A hole three times as deep, 1/12 as wide; its well is one connected part, the other is none
    of it.
    """
    heights = well(0.5, -0.3) + well(-0.5, 0.3, width=0.02, depth=3) + 0.9 * well(-0.6, 0.6)
    found = wide_basin(Surface(jnp.asarray(heights, np.float32), jnp.float32(2)))
    np.testing.assert_allclose(found.center, [0.5, -0.3], atol=0.04)
    assert found.margin == pytest.approx(0.5, abs=0.04)
    assert found.region[96, 45]
    assert not found.region[:60].any()
    exact = wide_basin(Surface(jnp.asarray(heights, np.float32), jnp.float32(2)), smoothing=1e-3)
    np.testing.assert_allclose(exact.center, [-0.5, 0.3], atol=0.02)


def test_a_slope_ends_at_a_wall():
    heights = np.broadcast_to(PLACE[:, None], (SIZE, SIZE))
    found = wide_basin(Surface(jnp.asarray(heights, np.float32), jnp.float32(2)))
    assert found.margin == 0
    assert found.area == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surface": Surface(np.zeros((4, 4)), 2.0)}, "finite numbers that are not all alike"),
        ({"surface": Surface(np.full((4, 4), np.nan), 2.0)}, "finite numbers"),
        ({"surface": Surface(np.zeros(4), 2.0)}, r"heights has shape \(4,\)"),
        ({"smoothing": 0.0}, "smoothing is 0.0; expected a finite number above 0 and below 1"),
        ({"filling": 1.0}, "filling is 1.0; expected a finite number above 0 and below 1"),
    ],
)
def test_errors_say_what_was_expected(change, message):
    arguments = {"surface": gaussian_well(9)} | change
    with pytest.raises(ValueError, match=message):
        wide_basin(**arguments)
