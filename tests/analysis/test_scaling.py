"""Power laws: exact ones, the independent least squares of SciPy, invariances, replicates, and
curves that have none.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import (
    fit_power_law,
    local_exponent,
    normal_diffusion_crossing,
    regime_boundary,
    superdiffusion_onset,
)

LAGS = np.arange(1, 1001)


def noisy_power_law(exponent=1.3, noise=0.1, seed=0, curves=()):
    return (
        0.02
        * LAGS**exponent
        * np.exp(noise * np.random.default_rng(seed).normal(size=(*curves, len(LAGS))))
    )


def crossover(lag, short=0.6, long=1.6):
    """Slopes `short` and `long` that meet at `lag`, without a bend in between."""
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
    np.testing.assert_allclose(
        exponent, 0.5 + 0.2 * np.log(lags), rtol=1e-9
    )  # the exact derivative there


def test_local_exponent_of_many_curves():
    msd = noisy_power_law(curves=(2, 3))
    msd[1, 0] = np.nan
    msd[0, 1, 500] = 0.0
    exponent = local_exponent(LAGS, msd).exponent
    assert exponent.shape == (2, 3, 980)
    np.testing.assert_array_equal(exponent[1, 1], local_exponent(LAGS, msd[1, 1]).exponent)
    assert np.all(np.isnan(exponent[1, 0]))
    assert np.flatnonzero(np.isnan(exponent[0, 1])).tolist() == [
        480,
        500,
    ]  # the two strides that touch the zero


def test_standard_error_of_a_local_exponent():
    curve, noise = 3 * LAGS**0.8, 0.05
    replicates = curve * np.exp(noise * np.random.default_rng(2).normal(size=(2, 400, 1000)))
    local = local_exponent(LAGS, np.stack([curve, 2 * curve]), replicates=replicates)
    expected = (
        noise * np.sqrt(2) / np.log(LAGS[20:] / LAGS[:-20])
    )  # of a difference of two independent numbers
    # A standard deviation of 400 has a relative error of 1/sqrt(798) = 3.5 %, over 980 lags at most
    # 4.5 times that.
    np.testing.assert_allclose(local.error, np.stack([expected, expected]), rtol=4.5 * 0.035)
    lags, exponent = local  # unpacks as it does without replicates
    np.testing.assert_allclose(lags, np.sqrt(LAGS[:-20] * LAGS[20:]))
    np.testing.assert_allclose(exponent, 0.8)
    assert local_exponent(LAGS, curve).error is None


# Crossing of normal diffusion


def test_crossing_is_interpolated_in_the_logarithm():
    exponent = 0.5 + 0.2 * np.log(LAGS)
    np.testing.assert_allclose(normal_diffusion_crossing(LAGS, exponent), np.exp(2.5), rtol=1e-12)
    # that of a curve with this logarithmic derivative, through its local exponents
    msd = np.exp(0.5 * np.log(LAGS) + 0.1 * np.log(LAGS) ** 2)
    np.testing.assert_allclose(
        normal_diffusion_crossing(*local_exponent(LAGS, msd, 1)), np.exp(2.5), rtol=1e-9
    )


def test_crossings_of_many_curves():
    exponents = [
        [0.5, 0.8, 1.0, 1.2, 1.5],  # exactly 1 at a lag
        [0.5, 1.5, 0.5, 1.5, 0.5],  # the first of two
        [1.5, 1.2, 0.5, 0.5, 1.5],  # begins above
        [1.5, 1.2, 1.1, 1.5, 1.5],  # never below
        [1.5, 1.2, 0.8, 0.5, 0.2],  # falls only
        [0.8, 0.8, 0.8, 0.8, 0.8 - 1e-9],  # level
        [0.5, np.nan, 1.5, 0.5, 1.5],  # not across a gap
        [np.nan] * 5,
    ]
    lags = [1, 2, 4, 8, 16]
    expected = [4, np.sqrt(2), 8 * np.sqrt(2), np.nan, np.nan, np.nan, 8 * np.sqrt(2), np.nan]
    np.testing.assert_allclose(normal_diffusion_crossing(lags, exponents), expected)
    np.testing.assert_allclose(
        normal_diffusion_crossing(lags, np.reshape(exponents[:6], (2, 3, 5))).ravel(), expected[:6]
    )
    assert np.isnan(normal_diffusion_crossing([3], [0.7]))


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
    # Slope 1 below lag 100 and 2 above: linear lags would see a tenth of the points below, log lags
    # half of them.
    fit = fit_power_law(LAGS, crossover(100, 1.0, 2.0), x_min=10, x_max=1000)
    assert abs(fit.exponent - 1.5) < 0.02
    assert fit_power_law(LAGS, LAGS, x_min=1, x_max=10).num_points == 10  # all there are


def test_standard_error_covers_for_independent_residuals():
    fits = fit_power_law(LAGS, noisy_power_law(1.3, curves=(2000,)), x_min=100, x_max=500)
    pulls = (fits.exponent - 1.3) / fits.exponent_error
    # Student's t with 48 degrees of freedom: variance 48/46; a variance of 2000 has standard error
    # sqrt(2/2000) = 3 %.
    assert abs(np.mean(pulls)) < 4 / np.sqrt(2000)
    assert abs(np.var(pulls) / (48 / 46) - 1) < 4 * 0.033


def test_fit_of_many_curves():
    msd = noisy_power_law(curves=(2, 3))
    for bad, index in zip((np.nan, 0.0, -1.0, np.inf), np.ndindex(2, 2), strict=True):
        msd[*index, 100] = bad
    fits = fit_power_law(LAGS, msd, x_min=101)
    assert all(field.shape == (2, 3) for field in fits[:-1])
    for field, single in zip(
        fits[:-1], fit_power_law(LAGS, msd[1, 2], x_min=101)[:-1], strict=True
    ):
        np.testing.assert_allclose(field[1, 2], single)
    assert fits.error_source == "residuals"
    for field in (fits.exponent, fits.exponent_error, fits.prefactor, fits.rmse):
        assert np.isnan(field).tolist() == [[True, True, False], [True, True, False]]
    assert np.all(
        np.isfinite(fit_power_law(LAGS, msd, x_min=102).exponent)
    )  # bad values outside do not matter


@given(st.floats(-3, 3), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.integers(0, 100))
def test_units_move_the_prefactor_only(shift, y_unit, x_unit, seed):
    x = np.arange(1, 60)
    y = np.exp(np.random.default_rng(seed).normal(size=59))
    fit = fit_power_law(x, y)
    other = fit_power_law(x_unit * x, y_unit * y * x**shift)
    np.testing.assert_allclose(other.exponent, fit.exponent + shift, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.exponent_error, fit.exponent_error, rtol=1e-9)
    np.testing.assert_allclose(
        other.prefactor * x_unit**other.exponent, fit.prefactor * y_unit, rtol=1e-8
    )
    np.testing.assert_allclose(other.rmse, fit.rmse, rtol=1e-9)


# Errors from replicates


def test_error_from_replicates_covers_correlated_residuals():
    # Residuals that walk from lag to lag, as those of an MSD do: ln y = 1.3 ln x + noise, noise = W
    # e with W a sum.
    x = np.geomspace(10, 1000, 40)
    walk = 0.01 * np.tril(np.ones((40, 40)))
    replicates = x**1.3 * np.exp(np.random.default_rng(3).normal(size=(1000, 40)) @ walk.T)
    fit = fit_power_law(x, replicates[0], num_points=40, replicates=replicates)
    slope = np.log(x) - np.log(x).mean()
    exact = np.linalg.norm(slope @ walk) / (slope @ slope)  # the slope is linear in e
    assert abs(fit.exponent_error / exact - 1) < 4 / np.sqrt(
        2 * 999
    )  # 4 standard errors of a standard deviation
    assert fit.error_source == "replicates"
    textbook = fit_power_law(x, replicates[0], num_points=40)
    assert textbook.exponent == fit.exponent
    assert textbook.exponent_error < fit.exponent_error / 2


def test_replicates_that_are_nan_are_left_out():
    curves = noisy_power_law(curves=(2,))
    replicates = noisy_power_law(curves=(2, 30), seed=1)
    replicates[0, :20, 500] = np.nan
    replicates[1, :21, 500] = np.nan
    replicates[1, :, 99] = 0.0  # outside the range
    fit = fit_power_law(LAGS, curves, x_min=101, num_points=1000, replicates=replicates)
    exponents = fit_power_law(LAGS, replicates[0, 20:], x_min=101, num_points=1000).exponent
    np.testing.assert_allclose(
        fit.exponent_error, [np.std(exponents, ddof=1), np.nan], rtol=1e-9
    )  # nine are too few
    assert np.all(np.isfinite(fit.exponent))
    curves[0, 500] = np.nan  # a curve without an exponent has no error either
    assert np.isnan(
        fit_power_law(
            LAGS, curves, x_min=101, num_points=1000, replicates=replicates
        ).exponent_error[0]
    )


@settings(deadline=None, max_examples=20)
@given(st.floats(-3, 3), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.integers(0, 100))
def test_units_leave_errors_from_replicates_alone(shift, y_unit, x_unit, seed):
    x = np.arange(1, 60)
    replicates = np.exp(np.random.default_rng(seed).normal(size=(12, 59)))
    fit = fit_power_law(x, replicates[0], replicates=replicates)
    change = y_unit * x**shift
    other = fit_power_law(x_unit * x, change * replicates[0], replicates=change * replicates)
    np.testing.assert_allclose(other.exponent_error, fit.exponent_error, rtol=1e-8)
    same = np.broadcast_to(replicates[0], (12, 59))
    assert fit_power_law(x, replicates[0], replicates=same).exponent_error < 1e-14
    assert np.all(local_exponent(x, replicates[0], replicates=same).error < 1e-14)


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
    for field, expected in zip(fit[:-1], direct[:-1], strict=True):
        np.testing.assert_allclose(field, expected, rtol=1e-10)
    assert fit.error_source == "residuals"


def test_a_tighter_bound_moves_the_onset_out():
    onsets = [
        superdiffusion_onset(LAGS, crossover(60), max_rmse=bound).lag
        for bound in (0.1, 0.03, 0.01, 0.003)
    ]
    assert onsets == sorted(onsets)
    assert onsets[0] < onsets[-1] <= 61


def test_no_onset():
    bent = np.exp(0.5 * np.log(LAGS) ** 2)  # no power law over half a decade anywhere
    msd = np.stack([LAGS**0.7, bent, np.full(1000, np.nan), np.where(LAGS == 1000, 0, LAGS**1.5)])
    lag, fit = superdiffusion_onset(LAGS, msd)
    assert np.all(np.isnan(lag))
    np.testing.assert_allclose(
        fit.exponent, [0.7, np.nan, np.nan, np.nan], rtol=1e-6
    )  # a subdiffusive law is told
    assert fit.num_points.tolist() == [131, 0, 0, 0]


def test_a_bad_value_hides_smaller_lags_only():
    assert (
        50
        < superdiffusion_onset(LAGS, np.where((LAGS > 45) & (LAGS <= 50), np.nan, LAGS**1.5)).lag
        < 55
    )


def test_a_trivial_tail_is_no_onset():
    assert np.isnan(superdiffusion_onset(LAGS, crossover(500, 0.1, 3.0)).lag)


# Regime boundary


def test_regime_boundary_is_the_first_subdiffusive_power_law():
    laws = {
        "super": LAGS**1.4,
        "sub": LAGS**0.7,
        "bent": crossover(60, 0.2, 1.2),
        "nan": np.full(1000, np.nan),
    }
    runs = [
        ["super", "bent", "sub", "super", "sub"],
        ["nan", "super", "nan", "nan", "sub"],
        ["super", "super", "bent", "nan", "bent"],
        ["sub", "super", "super", "super", "super"],
    ]
    msd = np.stack([[laws[name] for name in run] for run in runs])
    waiting_times = [0, 1000, 2000, 3000, 5000]
    np.testing.assert_array_equal(
        regime_boundary(waiting_times, LAGS, msd), [2000, 5000, np.nan, 0]
    )
    np.testing.assert_array_equal(
        regime_boundary(waiting_times, LAGS, msd.reshape(2, 2, 5, 1000))[1], [np.nan, 0]
    )


def test_regime_boundary_on_a_range_and_by_a_bound():
    msd = np.stack([crossover(60, 0.2, 1.2), crossover(60, 0.8, 0.85)])
    assert regime_boundary([0, 10], LAGS, msd) == 10
    assert regime_boundary([0, 10], LAGS, msd, x_max=60) == 0  # subdiffusive there
    assert np.isnan(regime_boundary([0, 10], LAGS, msd, max_rmse=1e-3))
    assert (
        regime_boundary([0, 10], LAGS, msd, max_rmse=1.0) == 0
    )  # an exponent of 0.64 from end to end


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
        (
            lambda: local_exponent([1, 2, 3], [1.0, 2.0, 3.0], 3),
            r"stride is 3; expected an integer in 1..2",
        ),
        (
            lambda: local_exponent([1, 2, 2], [1.0, 2.0, 3.0], 1),
            r"lags has shape \(3,\); expected \(L,\) increasing",
        ),
        (lambda: fit_power_law([0, 1, 2], [1.0, 2.0, 3.0]), r"x has shape \(3,\).*positive"),
        (lambda: fit_power_law([], []), r"x has shape \(0,\)"),
        (lambda: fit_power_law([1, 2, 3], [1.0, 2.0]), r"y has shape \(2,\); expected \(..., 3\)"),
        (
            lambda: fit_power_law(LAGS, LAGS, x_min=999),
            r"2 points .*x_min = 999.*at least 3: widen the range",
        ),
        (lambda: fit_power_law(LAGS, LAGS, x_min=2000), r"0 points .*from 1 to 1000"),
        (
            lambda: fit_power_law([1, 2, 3], np.ones((2, 3)), replicates=np.ones((5, 3))),
            r"\(5, 3\); expected \(2, B, 3\)",
        ),
        (
            lambda: local_exponent([1, 2], [1.0, 2.0], 1, replicates=[1.0, 2.0]),
            r"replicates has shape \(2,\)",
        ),
        (
            lambda: fit_power_law([1, 2, 3], np.ones(3), replicates=np.ones((0, 3))),
            r"at least 1 replicates",
        ),
        (
            lambda: normal_diffusion_crossing([1, 2], [0.5]),
            r"exponent has shape \(1,\); expected \(..., 2\)",
        ),
        (
            lambda: regime_boundary([0, 1], LAGS, np.ones((3, 1000))),
            r"waiting_times has shape \(2,\) with msd \(3, 1000\)",
        ),
        (lambda: regime_boundary([1, 0], LAGS, np.ones((2, 1000))), r"expected \(W,\) increasing"),
        (lambda: regime_boundary(0, LAGS, LAGS), r"waiting_times has shape \(\)"),
        (lambda: superdiffusion_onset(LAGS[:9], LAGS[:9]), r"lags runs from 1 to 9.*longer window"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
