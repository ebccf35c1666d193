"""The adiabatic law: its own solver, published curves, noise exponents, the last crossing."""

import jax
import numpy as np
import pytest
import scipy.integrate

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.freezing import (
    TwoValleys,
    adiabatic_occupation,
    fixed_y,
    hop_rates,
    last_crossing,
)

LANDSCAPE = TwoValleys()
ETA = 0.01
# of the paper's own walkers, 1000 for each sigma, at these y and at the end
CURVES = {
    0.01: ([1.5, 2.0, 3.0], [0.909, 0.923, 0.925], 0.925),
    0.05: ([1.5, 2.0, 3.0, 4.0, 5.0], [0.700, 0.771, 0.877, 0.929, 0.940], 0.940),
    0.1: ([1.5, 2.0, 3.0, 4.0, 5.0, 6.0], [0.646, 0.681, 0.773, 0.852, 0.912, 0.948], 0.955),
}
LAST = {0.01: (1.229, 1.203), 0.05: (3.080, 2.953), 0.1: (4.698, 4.485)}


@pytest.mark.parametrize("sigma", CURVES)
def test_curves_and_last_crossings_of_the_paper(sigma):
    """Occupation within 0.015 of the walkers of the paper, and the last crossing 2 to 5 % late."""
    y, curve, end = CURVES[sigma]
    grid = np.union1d(y, np.linspace(1, 3 if sigma < 0.02 else 10, 10))
    found = last_crossing(grid, ETA, sigma, LANDSCAPE)
    np.testing.assert_allclose(found.occupation[np.isin(grid, y)], curve, rtol=0, atol=0.015)
    assert found.occupation[-1] == pytest.approx(end, abs=0.015)
    mean, simulated = LAST[sigma]
    assert found.mean_y == pytest.approx(mean, rel=3e-3)
    assert 1.02 < found.mean_y / simulated < 1.05


@pytest.mark.parametrize(("sigma", "y"), [(0.01, 1.68), (0.05, 3.92), (0.1, 5.78)])
def test_hops_are_as_slow_as_y_where_the_occupation_freezes(sigma, y):
    speed = -float(LANDSCAPE.gradient(LANDSCAPE.floors(y).flat, y)[1])
    assert fixed_y(y, ETA, sigma, LANDSCAPE).spectral_gap / speed == pytest.approx(1, abs=0.05)


def test_time_scales():
    """x relaxes in at most 0.32, and y grows by 1 in at least 41.84."""
    y = np.linspace(0, 200, 20_001)
    flat = LANDSCAPE.floors(y).flat
    times = -1 / np.asarray(LANDSCAPE.gradient(flat, y))[:, 1]
    assert times.min() == pytest.approx(41.84, abs=0.01)
    assert y[times.argmin()] == pytest.approx(9.2, abs=0.05)
    widest = float(LANDSCAPE.flatnesses(1e9).flat)
    assert widest / 2 == pytest.approx(0.32, abs=1e-6)


def test_the_law_is_its_differential_equation(sigma=0.05):
    """An integrator of SciPy, with the drift written again and the rates at many points."""
    noise, grid = ETA * sigma, np.linspace(1, 9, 40)
    wide = np.linspace(1, 9, 2001)
    leave, enter = (np.asarray(rate) for rate in hop_rates(wide, noise, LANDSCAPE))
    share = enter / (enter + leave)
    flat, sharp = (x**2 * ((wide + 20) / (wide + 30)) ** 2 for x in (0.8, 0.65))
    change = 20 / ((wide + 20) * (wide + 30))
    speed = np.exp(-wide / 100) / 100 + 40 * wide / (wide + 20) ** 3
    speed += noise * change * (share / flat + (1 - share) / sharp)

    def slope(y, occupation):
        gain, loss, drift = (np.interp(y, wide, each) for each in (enter, leave, speed))
        return (gain * (1 - occupation) - loss * occupation) / drift

    expected = scipy.integrate.solve_ivp(
        slope, (1, 9), [0.3], "LSODA", grid, rtol=1e-8, atol=1e-10, max_step=0.05
    ).y[0]
    found = adiabatic_occupation(grid, ETA, sigma, LANDSCAPE, start=0.3, rates="closed")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
    np.testing.assert_allclose(found[20:], expected[20:], rtol=0, atol=2e-4)


def test_grids_do_not_matter():
    ends = [
        last_crossing(np.linspace(1, 9, count), ETA, 0.1, LANDSCAPE, rates="closed")
        for count in (20, 40)
    ]
    assert ends[0].occupation[-1] == pytest.approx(ends[1].occupation[-1], abs=1e-4)
    assert ends[0].mean_y == pytest.approx(ends[1].mean_y, rel=1e-3)


@pytest.mark.parametrize("ratio", [1.0, 1.1, 1.25, (0.8 / 0.65) ** 2, 2.0])
def test_exponent_of_the_noise(ratio):
    """(1 - P) / P at the end goes as the noise to the power -(gamma - 1) / 2, within a quarter.

    The law is that of `freezing_point`; the noise is that of Fig. 4b of the paper.
    """
    noises = np.logspace(-4, -3, 5)
    landscape = LANDSCAPE._replace(x2=0.8 / ratio**0.5)
    ends = np.array(
        [
            adiabatic_occupation(
                np.geomspace(1, 20, 40), ETA, noise / ETA, landscape, rates="closed"
            )[-1]
            for noise in noises
        ]
    )
    slope = np.polyfit(np.log(noises), np.log((1 - ends) / ends), 1)[0]
    if ratio == 1:
        np.testing.assert_allclose(ends, 0.5, rtol=1e-12)
    else:
        assert slope < 0 and slope == pytest.approx(-(ratio - 1) / 2, rel=0.25)


def test_more_noise_freezes_later_and_fuller():
    """The other half of the paradox."""
    ends = [
        last_crossing(np.geomspace(1, 30, 40), ETA, sigma, LANDSCAPE, rates="closed")
        for sigma in (0.01, 0.02, 0.05, 0.1, 0.2)
    ]
    assert (np.diff([end.mean_y for end in ends]) > 0).all()
    assert (np.diff([end.occupation[-1] for end in ends]) > 0).all()


def test_survival_is_a_probability_of_no_later_crossing():
    found = last_crossing(np.geomspace(1, 8, 40), ETA, 0.05, LANDSCAPE, rates="closed")
    assert found.survival[-1] == 1 and (np.diff(found.survival) >= 0).all()
    assert found.survival[0] < 1e-6 and (np.diff(found.hazard) < 0).all()
    assert 1 < found.mean_y < 8


def test_high_barriers_are_not_crossed():
    """The map is not asked there, where it would refuse."""
    found = last_crossing([5.0, 20.0, 100.0], ETA, 0.01, LANDSCAPE, start=0.4)
    np.testing.assert_allclose(found.occupation, 0.4, atol=1e-6)
    assert found.mean_y == pytest.approx(5, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"y_grid": [1.0]}, r"y_grid has shape \(1,\); expected \(n,\) with n >= 2"),
        ({"y_grid": [2.0, 1.0]}, "y_grid is not ascending"),
        ({"y_grid": [0.0, 1.0]}, "y_grid is not ascending from above 0"),
        ({"y_grid": [1.0, np.inf]}, "y_grid is not ascending"),
        ({"rates": "exact"}, 'rates is \'exact\'; expected "map" or "closed"'),
        ({"start": 1.5}, "start is 1.5"),
        ({"sigma": -1}, "sigma is -1"),
        ({"sigma": 1e3, "landscape": LANDSCAPE._replace(y_f=90.0)}, "sigma makes the walkers"),
        ({"landscape": None}, "landscape is a NoneType"),
    ],
)
@pytest.mark.parametrize("function", [adiabatic_occupation, last_crossing])
def test_out_of_range(function, given, expected):
    values = {"y_grid": [1.0, 2.0], "learning_rate": ETA, "sigma": 0.1, "landscape": LANDSCAPE}
    with pytest.raises(InputError, match=expected):
        function(**(values | {"rates": "closed"} | given))


def test_traced_arguments_are_refused():
    with pytest.raises(InputError, match="is traced"):
        jax.jit(lambda x2: adiabatic_occupation([1.0, 2.0], ETA, 0.1, TwoValleys(x2=x2)))(0.65)
