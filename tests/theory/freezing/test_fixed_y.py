"""The fixed-y map: Gaussian closed forms, another quadrature, published values, small steps."""

import jax
import numpy as np
import pytest
import scipy.special

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.freezing import (
    TwoValleys,
    escape_times,
    fixed_y,
    flat_occupation,
    hop_rates,
)

LANDSCAPE = TwoValleys()
TABLE = {  # (sigma, y) -> flat occupation with the learning rate 0.01
    (0.1, 1): 0.6248,
    (0.1, 2): 0.6872,
    (0.1, 3): 0.7713,
    (0.1, 5): 0.9232,
    (0.05, 1): 0.6485,
    (0.05, 2): 0.7630,
    (0.05, 3): 0.8882,
    (0.01, 1): 0.8072,
    (0.01, 2): 0.9889,
}


def cells(y, eta, sigma, count, steps_ahead):
    """The same law with equal cells, whose transitions are differences of distribution functions.

    A walker anywhere in a cell goes on from its middle. This adds the variance width^2 / 12 to
    every step, so quantities have errors of width^2.
    """
    x1, x2 = 0.8 * y / (y + 30), 0.65 * y / (y + 30)
    f1, f2 = (x**2 * ((y + 20) / (y + 30)) ** 2 for x in (0.8, 0.65))
    half = x1 + 8 * np.sqrt(eta * sigma / (1 - eta / f2))
    edges = np.linspace(-half, half, 2 * count + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    flat = middle > 0
    floor, width = np.where(flat, x1, -x2), np.where(flat, f1, f2)
    mean = middle - 2 * eta * (middle - floor) / width
    std = eta * np.sqrt(4 * sigma / width)
    steps = np.diff(scipy.special.ndtr((edges - mean[:, None]) / std[:, None]), axis=1)
    steps /= steps.sum(axis=1, keepdims=True)
    powers = [np.linalg.matrix_power(steps, steps_ahead)]
    powers.append(powers[0] @ powers[0])
    law = np.linalg.matrix_power(powers[1], 64)[0]
    # The trace is the sum of the powers of the eigenvalues, of which two are left.
    decay = np.divide(*(np.trace(power) - 1 for power in powers))
    found = [law[flat].sum(), np.log(decay) / steps_ahead / eta]
    for side, bottom in ((flat, x1), (~flat, -x2)):
        inside = steps[np.ix_(side, side)]
        power = np.linalg.matrix_power(inside, steps_ahead)
        found.append(np.log(np.trace(power) / np.trace(power @ power)) / steps_ahead / eta)
        times = np.linalg.solve(np.eye(len(inside)) - inside, np.ones(len(inside))) * eta
        found.append(np.interp(bottom, middle[side], times))
    return np.array(found)


def numbers(at):
    return [
        *(at.flat_occupation, at.spectral_gap, at.flat_passage_rate, at.flat_passage_time),
        *(at.sharp_passage_rate, at.sharp_passage_time),
    ]


def test_it_is_the_limit_of_fine_cells():
    """Richardson's extrapolation of two numbers of cells, whose error is of the fourth order."""
    coarse, fine = (cells(3.0, 0.01, 0.1, count, 512) for count in (60, 120))
    expected = fine + (fine - coarse) / 3
    np.testing.assert_allclose(numbers(fixed_y(3.0, 0.01, 0.1, LANDSCAPE)), expected, rtol=3e-4)
    error = abs(expected - fine) / expected
    assert error.max() > 1e-3  # what one number of cells would leave


def test_equal_valleys_without_a_barrier_are_an_autoregression():
    """x' = (1 - 2 eta / f) x + noise: normal, and relaxing with -ln(1 - 2 eta / f) a step."""
    eta, sigma = 0.05, 0.1
    at = fixed_y(0.0, eta, sigma, LANDSCAPE._replace(x2=0.8))
    width = 0.64 * (2 / 3) ** 2
    factor = 1 - 2 * eta / width
    variance = eta**2 * 4 * sigma / width / (1 - factor**2)
    assert at.flat_occupation == pytest.approx(0.5, rel=1e-12)
    assert at.spectral_gap == pytest.approx(-np.log(factor) / eta, rel=1e-9)
    expected = np.exp(-(at.points**2) / variance / 2) / np.sqrt(2 * np.pi * variance)
    np.testing.assert_allclose(at.density, expected, rtol=1e-6, atol=1e-12)


def test_mirrored_valleys():
    here = fixed_y(3.0, 0.02, 0.05, LANDSCAPE)
    there = fixed_y(3.0, 0.02, 0.05, LANDSCAPE._replace(x1=0.65, x2=0.8))
    assert there.flat_occupation == pytest.approx(1 - here.flat_occupation, rel=1e-9)
    assert there.spectral_gap == pytest.approx(here.spectral_gap, rel=1e-9)
    assert there.flat_passage_rate == pytest.approx(here.sharp_passage_rate, rel=1e-9)
    assert there.sharp_passage_time == pytest.approx(here.flat_passage_time, rel=1e-9)
    np.testing.assert_allclose(there.density, here.density[::-1], rtol=1e-6, atol=1e-9)


def test_occupation_and_closed_forms_beside_it():
    """The largest deviations over the table are those of each form; that of Ito is the smallest."""
    exact = np.array([fixed_y(y, 0.01, sigma, LANDSCAPE).flat_occupation for sigma, y in TABLE])
    np.testing.assert_allclose(exact, list(TABLE.values()), rtol=0, atol=2e-4)
    sigmas, y = np.array(list(TABLE)).T
    worst = [
        abs(exact - np.asarray(flat_occupation(y, 0.01 * sigmas, LANDSCAPE, form=form))).max()
        for form in ("ito", "erfi", "asymptotic", "fick")
    ]
    np.testing.assert_allclose(worst, [0.021, 0.035, 0.045, 0.082], rtol=0, atol=5e-4)


@pytest.mark.parametrize(
    ("eta", "difference"),
    [
        (0.01, -0.0203),
        (0.001, -0.0090),
        *(
            pytest.param(eta, difference, marks=pytest.mark.slow)
            for eta, difference in ((0.005, -0.0165), (0.002, -0.0119), (0.0002, -0.0044))
        ),
    ],
)
def test_small_steps_have_the_law_of_ito(eta, difference):
    """The difference vanishes with the root of the learning rate; that of "erfi" becomes larger."""
    exact = fixed_y(3.0, eta, 1e-3 / eta, LANDSCAPE).flat_occupation
    ito, erfi = (
        float(flat_occupation(3.0, 1e-3, LANDSCAPE, form=form)) for form in ("ito", "erfi")
    )
    assert exact - ito == pytest.approx(difference, abs=1e-4)
    assert exact - ito == pytest.approx(-0.3 * eta**0.5, rel=0.35)
    assert exact - erfi == pytest.approx(0.0381 + difference, abs=2e-4)


@pytest.mark.parametrize(
    ("eta", "sigma", "y", "gap", "hops", "passages", "tolerance"),
    [
        (0.01, 0.1, 4.0, 0.2542, 0.2554, 0.464, 0.15),
        (0.01, 0.1, 5.0, 0.0700, 0.0749, 0.134, 0.15),
        (0.01, 0.05, 4.0, 0.01746, 0.0194, 0.0346, 0.15),
        (0.001, 1.0, 5.0, 0.07364, 0.0749, 0.134, 0.02),
    ],
)
def test_the_spectral_gap_is_the_rate_of_hops(eta, sigma, y, gap, hops, passages, tolerance):
    """And not that of reaching the ridge, which is 1.8 times as large."""
    found = fixed_y(y, eta, sigma, LANDSCAPE).spectral_gap
    assert found == pytest.approx(gap, rel=1e-3)
    closed = sum(float(rate) for rate in hop_rates(y, eta * sigma, LANDSCAPE))
    assert closed == pytest.approx(hops, rel=3e-3) and closed == pytest.approx(found, rel=tolerance)
    ridge = sum(np.exp(-float(time)) for time in escape_times(y, eta * sigma, LANDSCAPE))
    assert ridge == pytest.approx(passages, rel=3e-3) and 1.75 < ridge / closed < 1.85


def test_passage_times_are_longer_for_larger_steps():
    """In the limit they are the exact first passages of the diffusion, 85.76 and 7.963."""
    large, small = (fixed_y(5.0, eta, 1e-3 / eta, LANDSCAPE) for eta in (0.01, 0.001))
    times = [[at.flat_passage_time, at.sharp_passage_time] for at in (large, small)]
    np.testing.assert_allclose(times, [[137.26, 12.359], [103.91, 9.548]], rtol=1e-4)
    roots = np.sqrt([0.01, 0.001])
    limit = np.log(times[1]) - np.log(np.divide(*times)) * roots[1] / (roots[0] - roots[1])
    np.testing.assert_allclose(np.exp(limit), [85.76, 7.963], rtol=0.07)


@pytest.mark.slow
def test_passages_of_small_steps():
    """900 cells, which are fine for larger steps, leave 2.5 % of the time out of the flat valley.

    The limit of small steps goes as the root of the learning rate.
    """
    at, smaller = (fixed_y(5.0, eta, 1e-3 / eta, LANDSCAPE) for eta in (0.001, 0.0002))
    coarse, fine = (cells(5.0, 0.001, 1.0, count, 2**15) for count in (450, 900))
    expected = fine + (fine - coarse) / 3
    np.testing.assert_allclose(numbers(at), expected, rtol=2e-4)
    assert 1 - coarse[3] / expected[3] > 0.02
    roots = np.sqrt([0.001, 0.0002])
    for name, exact in (("flat_passage_time", 85.763), ("sharp_passage_time", 7.963)):
        near, nearer = getattr(at, name), getattr(smaller, name)
        limit = nearer - (near - nearer) * roots[1] / (roots[0] - roots[1])
        assert limit == pytest.approx(exact, rel=2e-3)


def test_rates_below_all_rounding():
    """For high barriers both passage rates and times are one another's inverse, and hops half."""
    at = fixed_y(20.0, 0.01, 0.01, LANDSCAPE)
    assert at.flat_occupation == 1 and 0 < at.flat_passage_rate < 1e-200
    assert at.flat_passage_time * at.flat_passage_rate == pytest.approx(1, rel=1e-6)
    assert at.spectral_gap == pytest.approx(at.sharp_passage_rate, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"y": -1.0}, "y is -1.0; expected a finite number of at least 0"),
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"learning_rate": 0.25}, "learning_rate is 0.25; expected below the flatness"),
        ({"learning_rate": 1e-6, "sigma": 1e3}, r"learning_rate is 1e-06, for which \d+ points"),
        ({"y": 50.0, "sigma": 0.001}, "sigma makes the barrier .* at most 600 times"),
        ({"landscape": 1.0}, "landscape is a float"),
    ],
)
def test_out_of_range(given, expected):
    values = {"y": 3.0, "learning_rate": 0.01, "sigma": 0.1, "landscape": LANDSCAPE} | given
    with pytest.raises(InputError, match=expected):
        fixed_y(**values)


def test_traced_landscapes_are_refused():
    with pytest.raises(InputError, match="landscape is traced"):
        jax.jit(lambda x2: fixed_y(3.0, 0.01, 0.1, LANDSCAPE._replace(x2=x2)))(0.65)
