"""Exponents of variances on data that have them, and on a random walk, which has them too."""

import numpy as np
import pytest
from scipy.stats import linregress

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.flatness import (
    components_for_share,
    rank_exponent,
    variance_flatness_exponent,
)

RANDOM = np.random.default_rng(0)
FLAT = np.geomspace(0.3, 30, 60)
VARIANCES = FLAT**-4.0


def test_a_power_law_has_its_exponent_on_any_range():
    for first, last in ((0, None), (1, 30), (10, 59)):
        fit = variance_flatness_exponent(VARIANCES, FLAT, first=first, last=last)
        assert fit.exponent == pytest.approx(4, rel=1e-12)
        assert fit.pearson == pytest.approx(-1) and fit.exponent_error < 1e-6
        assert (fit.first, fit.last) == (first, 59 if last is None else last)
        assert fit.num_components == fit.last - fit.first + 1 and fit.dropped == 0


def test_the_fit_is_that_of_scipy():
    variances = VARIANCES * np.exp(RANDOM.normal(size=60))
    fit = variance_flatness_exponent(variances, FLAT, first=3, last=40)
    expected = linregress(np.log(FLAT[3:41]), np.log(variances[3:41]))
    assert fit.exponent == pytest.approx(-expected.slope)
    assert fit.exponent_error == pytest.approx(expected.stderr)
    assert fit.pearson == pytest.approx(expected.rvalue)


def test_the_error_is_that_of_independent_residuals():
    """Of 400 fits, a third is away by more than the error: 127 of 400 with an error of 9."""
    away = 0
    for _ in range(400):
        variances = VARIANCES * np.exp(0.3 * RANDOM.normal(size=60))
        fit = variance_flatness_exponent(variances, FLAT)
        away += abs(fit.exponent - 4) > fit.exponent_error
    assert abs(away - 127) < 4 * 9


def test_directions_without_a_flatness_are_dropped_and_counted():
    flat, variances = FLAT.copy(), VARIANCES.copy()
    flat[[5, 6]], flat[7], variances[8] = np.inf, np.nan, 0
    fit = variance_flatness_exponent(variances, flat)
    assert fit.exponent == pytest.approx(4) and (fit.num_components, fit.dropped) == (55, 4)


def test_ranks_of_some_components():
    ranks = np.arange(0, 60, 5)
    fit = variance_flatness_exponent(VARIANCES[ranks], FLAT[ranks], first=1, last=33, ranks=ranks)
    assert (fit.first, fit.last, fit.num_components) == (5, 30, 6)
    assert fit.exponent == pytest.approx(4)


def test_the_spectrum_of_a_random_walk_falls_with_the_square_of_the_rank():
    ranks = np.arange(1, 501)
    assert rank_exponent(ranks**-2.0).exponent == pytest.approx(2)
    fit = rank_exponent(np.append(9, ranks[1:] ** -2.5), first=20, last=200)
    assert fit.exponent == pytest.approx(2.5) and fit.num_components == 181


def test_the_share_of_components():
    """Of 6 / (pi k)^2 the first six have 0.9056, and without the first the next twelve 0.9."""
    variances = 6 / (np.pi * np.arange(1, 200_001)) ** 2
    assert components_for_share(variances) == 6
    rest = np.cumsum(variances[1:])
    assert components_for_share(variances, skip=1) == 1 + np.sum(rest < 0.9 * rest[-1])
    assert components_for_share([2.0, 1.0, 1.0], 0.5) == 1
    assert components_for_share([2.0, 1.0, 1.0], 0.51) == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: variance_flatness_exponent(VARIANCES, FLAT[1:]), r"has shape \(59,\)"),
        (lambda: variance_flatness_exponent(VARIANCES, FLAT, first=58), "has 2 components to fit"),
        (lambda: variance_flatness_exponent(VARIANCES, np.full(60, np.inf)), "has 0 components"),
        (lambda: variance_flatness_exponent(VARIANCES, FLAT, first=-1), "first is -1"),
        (lambda: variance_flatness_exponent(VARIANCES, FLAT, first=9, last=8), "last is 8"),
        (lambda: variance_flatness_exponent([1.0], [1.0], ranks=[-1]), "ranks is"),
        (lambda: variance_flatness_exponent([1.0, 1], [1.0, 2], ranks=[1, 1]), "that increase"),
        (lambda: rank_exponent(np.ones((2, 2))), r"has shape \(2, 2\)"),
        (lambda: rank_exponent([1.0, 2, 3]), "has 0 components"),
        (lambda: components_for_share([1.0, -1.0]), "variances has entries that are negative"),
        (lambda: components_for_share([0.0, 0.0]), "all 0"),
        (lambda: components_for_share([1.0, 2.0], 1.0), "share is 1"),
        (lambda: components_for_share([1.0, 2.0], skip=2), "skip is 2"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(InputError, match=words):
        call()
