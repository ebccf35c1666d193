"""Power laws: exact ones, the independent least squares of SciPy, invariances, and curves that have none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import (
    fit_power_law,
    local_exponent,
    standard_ranges,
    superdiffusion_onset,
)

LAGS = np.arange(1, 1001)


def noisy_power_law(exponent=1.3, noise=0.1, seed=0, curves=()):
    return 0.02 * LAGS**exponent * np.exp(noise * np.random.default_rng(seed).normal(size=(*curves, len(LAGS))))


def crossover(lag, short=0.6, long=1.6):
    """Slopes ``short`` and ``long`` that meet at ``lag``, without a bend in between."""
    return np.where(lag > LAGS, (LAGS / lag) ** short, (LAGS / lag) ** long)


# Local exponents


@pytest.mark.parametrize("stride", [1, 20, 999])
def test_local_exponent_of_a_power_law(stride):
    lags, exponent = local_exponent(LAGS, 3 * LAGS**1.7, stride)
    np.testing.assert_allclose(exponent, np.full(1000 - stride, 1.7), rtol=1e-9)
    np.testing.assert_allclose(lags, np.sqrt(LAGS[:-stride] * LAGS[stride:]))


def test_local_exponent_belongs_to_the_geometric_mean_of_its_lags():
    log_lags = np.log(LAGS)
    lags, exponent = local_exponent(LAGS, np.exp(0.5 * log_lags + 0.1 * log_lags**2))
    np.testing.assert_allclose(exponent, 0.5 + 0.2 * np.log(lags), rtol=1e-9)  # the exact derivative there


def test_local_exponent_of_many_curves():
    msd = noisy_power_law(curves=(2, 3))
    msd[1, 0] = np.nan
    msd[0, 1, 500] = 0.0
    exponent = local_exponent(LAGS, msd).exponent
    assert exponent.shape == (2, 3, 980)
    np.testing.assert_array_equal(exponent[1, 1], local_exponent(LAGS, msd[1, 1]).exponent)
    assert np.all(np.isnan(exponent[1, 0]))
    assert np.flatnonzero(np.isnan(exponent[0, 1])).tolist() == [480, 500]  # the two strides that touch the zero


# Fits


def test_fit_of_an_exact_power_law():
    fit = fit_power_law(LAGS, 0.02 * LAGS**1.63, x_min=100, x_max=500)
    np.testing.assert_allclose(fit.exponent, 1.63, rtol=1e-12)
    np.testing.assert_allclose(fit.prefactor, 0.02, rtol=1e-11)
    assert fit.rmse < 1e-7
    assert fit.exponent_error < 1e-7
    assert (fit.x_min, fit.x_max, fit.num_points) == (100, 500, 50)


def test_fit_agrees_with_scipy():
    x = np.geomspace(3.0, 70.0, 30)
    y = 4 * x**-0.7 * np.exp(np.random.default_rng(1).normal(size=30))
    fit = fit_power_law(x, y, num_points=30)  # every point
    line = stats.linregress(np.log(x), np.log(y))
    np.testing.assert_allclose(fit.exponent, line.slope, rtol=1e-12)
    np.testing.assert_allclose(fit.exponent_error, line.stderr, rtol=1e-12)
    np.testing.assert_allclose(fit.prefactor, np.exp(line.intercept), rtol=1e-12)
    residual = np.log(y) - line.intercept - line.slope * np.log(x)
    np.testing.assert_allclose(fit.rmse, np.sqrt(np.mean(residual**2)), rtol=1e-12)
    assert fit.num_points == 30


def test_points_are_spread_evenly_on_the_log_axis():
    # Slope 1 below lag 100 and 2 above: linear lags would see a tenth of the points below, log lags half of them.
    fit = fit_power_law(LAGS, crossover(100, 1.0, 2.0), x_min=10, x_max=1000)
    assert abs(fit.exponent - 1.5) < 0.02
    assert fit_power_law(LAGS, LAGS, x_min=1, x_max=10).num_points == 10  # all there are


def test_standard_error_covers_for_independent_residuals():
    fits = fit_power_law(LAGS, noisy_power_law(1.3, curves=(2000,)), x_min=100, x_max=500)
    pulls = (fits.exponent - 1.3) / fits.exponent_error
    # Student's t with 48 degrees of freedom: variance 48/46; a variance of 2000 has standard error sqrt(2/2000) = 3 %.
    assert abs(np.mean(pulls)) < 4 / np.sqrt(2000)
    assert abs(np.var(pulls) / (48 / 46) - 1) < 4 * 0.033


def test_fit_of_many_curves():
    msd = noisy_power_law(curves=(2, 3))
    for bad, index in zip((np.nan, 0.0, -1.0, np.inf), np.ndindex(2, 2), strict=True):
        msd[*index, 100] = bad
    fits = fit_power_law(LAGS, msd, x_min=101)
    assert all(field.shape == (2, 3) for field in fits)
    for field, single in zip(fits, fit_power_law(LAGS, msd[1, 2], x_min=101), strict=True):
        np.testing.assert_allclose(field[1, 2], single)
    for field in (fits.exponent, fits.exponent_error, fits.prefactor, fits.rmse):
        assert np.isnan(field).tolist() == [[True, True, False], [True, True, False]]
    assert np.all(np.isfinite(fit_power_law(LAGS, msd, x_min=102).exponent))  # bad values outside do not matter


@given(st.floats(-3, 3), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.integers(0, 100))
def test_units_move_the_prefactor_only(shift, y_unit, x_unit, seed):
    x = np.arange(1, 60)
    y = np.exp(np.random.default_rng(seed).normal(size=59))
    fit = fit_power_law(x, y)
    other = fit_power_law(x_unit * x, y_unit * y * x**shift)
    np.testing.assert_allclose(other.exponent, fit.exponent + shift, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.exponent_error, fit.exponent_error, rtol=1e-9)
    np.testing.assert_allclose(other.prefactor * x_unit**other.exponent, fit.prefactor * y_unit, rtol=1e-8)
    np.testing.assert_allclose(other.rmse, fit.rmse, rtol=1e-9)


# Onset of superdiffusion


def test_onset_is_the_smallest_lag_that_meets_the_bound():
    msd = crossover(60)
    lag, fit = superdiffusion_onset(LAGS, msd)
    assert 30 < lag < 60  # the bound forgives a little of the bend
    assert fit.x_min == lag
    assert fit.x_max == 1000
    assert fit.rmse <= 0.03
    assert 1.5 < fit.exponent < 1.6

    def rmse(x_min):
        return fit_power_law(LAGS, msd, x_min=x_min).rmse

    assert rmse(lag) < 0.031
    assert rmse(0.9 * lag) > 0.031


def test_onset_fit_is_the_least_squares_fit():
    msd = noisy_power_law(1.5, noise=0.02)
    lag, fit = superdiffusion_onset(LAGS, msd)
    assert lag == 1
    direct = fit_power_law(LAGS, msd, num_points=200)
    for field, expected in zip(fit, direct, strict=True):
        np.testing.assert_allclose(field, expected, rtol=1e-10)


def test_a_tighter_bound_moves_the_onset_out():
    onsets = [superdiffusion_onset(LAGS, crossover(60), max_rmse=bound).lag for bound in (0.1, 0.03, 0.01, 0.003)]
    assert onsets == sorted(onsets)
    assert onsets[0] < onsets[-1] <= 61


def test_no_onset():
    bent = np.exp(0.5 * np.log(LAGS) ** 2)  # no power law over half a decade anywhere
    msd = np.stack([LAGS**0.7, bent, np.full(1000, np.nan), np.where(LAGS == 1000, 0, LAGS**1.5)])
    lag, fit = superdiffusion_onset(LAGS, msd)
    assert np.all(np.isnan(lag))
    np.testing.assert_allclose(fit.exponent, [0.7, np.nan, np.nan, np.nan], rtol=1e-6)  # a subdiffusive law is told
    assert fit.num_points.tolist() == [131, 0, 0, 0]


def test_a_bad_value_hides_smaller_lags_only():
    assert 50 < superdiffusion_onset(LAGS, np.where((LAGS > 45) & (LAGS <= 50), np.nan, LAGS**1.5)).lag < 55


def test_a_trivial_tail_is_no_onset():
    assert np.isnan(superdiffusion_onset(LAGS, crossover(500, 0.1, 3.0)).lag)


# Ranges


def test_standard_ranges():
    assert standard_ranges(1000) == {"short": (10, 100), "long": (100, 500)}
    assert standard_ranges(10_000) == {"short": (10, 100), "long": (100, 5000)}
    assert standard_ranges(100) == {"short": (1, 10), "long": (10, 50)}


@given(st.integers(10, 5000))
def test_every_standard_range_can_be_fitted(steps):
    for low, high in standard_ranges(steps).values():
        assert 1 <= low < high <= steps / 2
        assert fit_power_law(np.arange(1, steps + 1), np.ones(steps), x_min=low, x_max=high).num_points >= 3


# Averages over members


def test_ensemble_average():
    values = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan], [8.0, np.inf, np.nan]])
    average = ensemble_average(values)
    np.testing.assert_allclose(average.mean, [4.0, 2.0, np.nan])
    np.testing.assert_allclose(average.std, [np.std([1, 3, 8], ddof=1), np.nan, np.nan])
    np.testing.assert_allclose(average.standard_error, [stats.sem([1, 3, 8]), np.nan, np.nan])
    assert average.count.tolist() == [3, 1, 0]
    transposed = ensemble_average(values.T, axis=-1)
    for field, expected in zip(transposed, average, strict=True):
        np.testing.assert_array_equal(field, expected)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: local_exponent([1, 2, 3], [1.0, 2.0, 3.0], 3), r"stride is 3; expected 1..2"),
        (lambda: local_exponent([1, 2, 2], [1.0, 2.0, 3.0], 1), r"lags has shape \(3,\); expected \(L,\) increasing"),
        (lambda: fit_power_law([0, 1, 2], [1.0, 2.0, 3.0]), r"x has shape \(3,\).*positive"),
        (lambda: fit_power_law([], []), r"x has shape \(0,\)"),
        (lambda: fit_power_law([1, 2, 3], [1.0, 2.0]), r"y has shape \(2,\); expected \(..., 3\)"),
        (lambda: fit_power_law(LAGS, LAGS, x_min=999), r"2 points .*x_min = 999.*at least 3: widen the range"),
        (lambda: fit_power_law(LAGS, LAGS, x_min=2000), r"0 points .*from 1 to 1000"),
        (lambda: superdiffusion_onset(LAGS[:9], LAGS[:9]), r"lags runs from 1 to 9.*longer window"),
        (lambda: standard_ranges(9), "window_length is 9; expected at least 10"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
