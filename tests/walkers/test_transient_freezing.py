"""What Yang et al. (arXiv:2601.10962) find with walkers in two valleys, and the controls of it.

Figures of the paper are the authors' own results. They come from a limited number of walkers, and
so does ours: the tolerances are four standard errors of the difference of two means or shares. The
slow tests have as many walkers as the paper.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optimized import OPTIMIZED
from scipy import stats

from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers.two_valleys import simulate

GRID = np.logspace(-2, -1, 10)
# Learning rates no. 2, 6 and 10 of the grid, all sigmas (Fig. 3 d).
FLAT = """
    .5000 .5015 .5000 .5035 .5060 .5110 .5490 .7080 .9010 .9480
    .5025 .5130 .5690 .7195 .9250 .9530 .9590 .9610 .9690 .9735
    .9765 .9835 .9870 .9835 .9885 .9870 .9905 .9890 .9910 .9805
"""
FREEZING_STEP = """
    1.0     1.0   1.0    1.0    1.6    8.7   57.4  336.7  873.9  1731.9
    1.1     6.7  32.7  136.3  281.8  626.4 1494.1 2844.9 4614.6  6736.0
    131.6 312.6 719.1 1238.9 1917.4 2709.2 3856.5 5511.2 7833.8 11690.8
"""
FREEZING_Y = """
    5.000 5.000 5.000 5.000 5.000  5.002  5.016  5.099  5.257  5.513
    5.000 5.005 5.026 5.111 5.231  5.516  6.242  7.392  8.926 10.778
    5.299 5.719 6.672 7.916 9.562 11.491 14.225 17.966 22.842 30.078
"""
# The same for noise that follows the squared Hessian (Fig. S6), and a grid over two decades.
FLAT_SQUARED = """
    .5000 .5000 .5000 .5000 .5000 .5030 .5250 .5595 .8700 .9915
    .5000 .5010 .5095 .5545 .8950 .9995 .9985 .9965 .9720 .9110
    .9945 1.000 .9990 .9990 1.000 1.000 .9980 .9800 .9340 .8690
"""
# Fig. 4 b, for sigma = 0.1, 0.05, 0.01: the share in the flat valley where the mean of y is that.
AT_Y = {
    0.1: ([1.5, 2, 3, 4, 5, 6], [0.646, 0.681, 0.773, 0.852, 0.912, 0.948]),
    0.05: ([1.5, 2, 3, 4, 5], [0.700, 0.771, 0.877, 0.929, 0.940]),
    0.01: ([1.5, 2, 3], [0.909, 0.923, 0.925]),
}
# The sweep of Fig. 4 c at learning rate 0.01: sigma, final share, mean y where walkers freeze.
SWEEP = {0.005: (0.694, 1.024), 0.01: (0.920, 1.202), 0.05: (0.943, 2.971), 0.1: (0.949, 4.534)}
SIX = np.logspace(-4, np.log10(4e-3), 6) / 0.01
# What an independent NumPy simulation of 300 walkers gives for these six.
SIX_FREEZING_Y = [1.19, 1.81, 2.72, 4.17, 6.78, 11.92]
SIX_FREEZING_TIME = [12.9, 51, 100, 167, 272, 468]

KEY = jax.random.key(0)
sizes = pytest.mark.parametrize(
    "size", [pytest.param(1, id="few"), pytest.param(20, id="all", marks=pytest.mark.slow)]
)


def table(text, columns=slice(None)):
    return np.array(text.split(), float).reshape(3, 10)[:, columns]


def run(rates, sigmas, walkers, steps, start_y, landscape=None, **options):
    """Walks of a program that is optimized as a user's is, which is worth it for so many steps."""
    program = functools.partial(
        simulate,
        walkers=walkers,
        steps=steps,
        start_y=start_y,
        landscape=landscape or TwoValleys(),
        **options,
    )
    fast = jax.jit(program, compiler_options=OPTIMIZED)
    return jax.tree.map(np.asarray, fast(KEY, jnp.asarray(rates), jnp.asarray(sigmas)))


def agree_in_shares(found, expected, walkers, authors):
    """Shares of two numbers of walkers, with 0.005 for those that are next to 0 or 1."""
    variance = expected * (1 - expected) * (1 / walkers + 1 / authors)
    assert (abs(found - expected) < 4 * variance**0.5 + 0.005).all(), found - expected


def agree_in_means(found, expected, authors, rounding):
    """Means over the last axis, whose spread is the same in both simulations."""
    error = found.std(-1) * (1 / found.shape[-1] + 1 / authors) ** 0.5
    assert (abs(found.mean(-1) - expected) < 4 * error + rounding).all(), found.mean(-1) - expected


# The phase diagram


@sizes
def test_phase_diagram(size):
    columns = np.arange(10) if size > 1 else np.array([2, 5, 7, 8, 9])
    found = run(GRID[[1, 5, 9]], GRID[columns], 100 * size, 20_000, 5.0)
    steps, places = table(FREEZING_STEP, columns), table(FREEZING_Y, columns)
    agree_in_shares(found.flat_fraction, table(FLAT, columns), 100 * size, 2000)
    often = steps > 100  # the few who cross in other cells give no standard error
    agree_in_means(found.freezing_step[often], steps[often], 2000, 0.05)
    agree_in_means(found.freezing_y[often], places[often], 2000, 0.0005)
    np.testing.assert_allclose(found.freezing_y.mean(-1)[~often], places[~often], rtol=0.01)
    assert found.unfrozen_fraction.max() < 0.1


@sizes
def test_phase_diagram_with_the_squared_hessian(size):
    """Which is not monotone: at the strongest noise walkers are not frozen after 2e4 steps."""
    columns = np.arange(10) if size > 1 else np.array([0, 4, 9])
    grid = np.logspace(-3, -1, 10)
    found = run(grid[[1, 5, 9]], grid[columns], 50 * size, 20_000, 5.0, noise="hessian-squared")
    agree_in_shares(found.flat_fraction, table(FLAT_SQUARED, columns), 50 * size, 2000)
    assert found.flat_fraction[2, -1] < 0.97 < found.flat_fraction[2, columns == 4]
    assert found.unfrozen_fraction[2, -1] > 0.95 and found.unfrozen_fraction[2, 0] == 0


# Freezing


@pytest.fixture(scope="module", params=[50, pytest.param(1500, marks=pytest.mark.slow)])
def sweep(request):
    """Walks at learning rate 0.01 from y = 1, by sigma, and their number."""
    sigmas = np.unique([*SWEEP, *SIX.round(12)])
    found = run([0.01], sigmas, request.param, 100_000, 1.0, record_every=500)
    return sigmas, found, request.param


def chosen_from(sigmas, some):
    return np.searchsorted(sigmas, np.array(list(some)).round(12))


def test_ensembles_from_the_start_on(sweep):
    sigmas, found, walkers = sweep
    for sigma, (places, shares) in AT_Y.items():
        (number,) = chosen_from(sigmas, [sigma])
        share = np.interp(
            places, found.recorded_y[0, number], found.recorded_flat_fraction[0, number]
        )
        agree_in_shares(share, np.array(shares), walkers, 1000)
    three = chosen_from(sigmas, [0.01, 0.05, 0.1])
    agree_in_shares(found.flat_fraction[0, three], np.array([0.925, 0.940, 0.955]), walkers, 1000)
    agree_in_means(found.final_y[0, three], [22.613, 22.678, 22.789], 1000, 0.0005)
    for step, expected in {20_000: [4.727, 4.786, 4.897], 50_000: [11.776, 11.847, 11.974]}.items():
        record = np.searchsorted(found.recorded_step, step)
        std = found.recorded_y_std[0, three, record]
        error = std * (1 / walkers + 1 / 1000) ** 0.5 + 0.0005
        assert (abs(found.recorded_y[0, three, record] - expected) < 4 * error).all()


def test_walkers_freeze_later_with_more_noise(sweep):
    sigmas, found, walkers = sweep
    assert (np.diff(found.freezing_y[0].mean(-1)) > 0).all()
    four, six = chosen_from(sigmas, SWEEP), chosen_from(sigmas, SIX)
    shares, places = np.array(list(SWEEP.values())).T
    agree_in_shares(found.flat_fraction[0, four], shares, walkers, 500)
    agree_in_means(found.freezing_y[0, four], places, 500, 0.0005)
    agree_in_means(found.freezing_y[0, six], SIX_FREEZING_Y, 300, 0.005)
    agree_in_means(0.01 * found.freezing_step[0, six], SIX_FREEZING_TIME, 300, 0.5)
    assert found.unfrozen_fraction.max() < 0.01


# Controls


def boltzmann(landscape):
    """The share in the flat valley for constant noise and small steps: exact at every y."""
    return float(landscape.x1 / (landscape.x1 + landscape.x2))


def stationary_share(landscape, y, learning_rate, sigma, cells=320):
    """The exact share of the map at fixed y with isotropic noise, from its transfer matrix."""
    edges = np.linspace(-1.6, 1.6, cells + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    slope = np.asarray(jax.jit(landscape.gradient)(middles, y))[:, 0]
    means, std = middles - learning_rate * slope, learning_rate * (2 * sigma * 7) ** 0.5
    matrix = np.diff(stats.norm.cdf(edges[:, None], means, std), axis=0)
    change = matrix - np.eye(cells)
    change[0] = 1  # in place of one equation that follows from the others: shares sum to 1
    return np.linalg.solve(change, np.eye(cells)[0])[middles > 0].sum()


def test_isotropic_noise_at_fixed_y():
    """The law of Boltzmann, 0.5517, as far as the steps are small; not gamma / (1 + gamma)."""
    valleys = TwoValleys()
    assert boltzmann(valleys) == pytest.approx(0.5517, abs=5e-5)
    exact = stationary_share(valleys, 5.0, 0.01, 0.5)
    assert exact == pytest.approx(0.5517, abs=0.01)
    smaller = stationary_share(valleys, 5.0, 0.0025, 2.0)  # as much noise in a unit of time
    assert abs(smaller - boltzmann(valleys)) < 0.6 * abs(exact - boltzmann(valleys))
    found = run([0.01], [0.5], 8000, 600, 5.0, noise="isotropic", hold_y=True)
    assert (found.final_y == 5).all()
    error = 0.5 / 8000**0.5
    assert abs(found.flat_fraction[0, 0] - exact) < 4 * error
    gamma = float(valleys.flatness_ratio)
    assert gamma / (1 + gamma) - found.flat_fraction[0, 0] > 4 * error


@pytest.mark.parametrize(
    ("walkers", "learning_rate", "steps"),
    [
        pytest.param(500, 0.02, 10_000, id="to y = 5"),
        pytest.param(1500, 0.01, 100_000, id="to the end", marks=pytest.mark.slow),
    ],
)
def test_isotropic_noise_prefers_no_valley_more_when_it_is_stronger(walkers, learning_rate, steps):
    """Where the noise follows the Hessian, 0.9 are in the flat valley at y = 5."""
    rates, sigmas = [learning_rate], np.array([0.05, 0.2]) * 0.01 / learning_rate
    share = run(rates, sigmas, walkers, steps, 1.0, noise="isotropic").flat_fraction[0]
    error = 0.5 / walkers**0.5
    assert (abs(share - boltzmann(TwoValleys())) < 4 * error).all()
    assert share[1] - share[0] < 4 * 2**0.5 * error


def test_valleys_as_flat_as_each_other_are_taken_as_often():
    """In the mean over starts on both sides, after any number of steps."""
    found = run([0.1], [0.05], 4000, 300, 1.0, landscape=TwoValleys(x2=0.8))
    assert (found.freezing_step > 1).mean() > 0.9
    assert abs(found.flat_fraction[0, 0] - 0.5) < 4 * 0.5 / 4000**0.5
