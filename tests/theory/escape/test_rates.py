"""Rates of escape: simulated trials with and without censoring, the likelihood itself."""

import numpy as np
import pytest
import scipy.optimize

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.escape import escape_rate


def trials(random, chance, shape, most):
    times = random.geometric(chance, size=shape)
    return np.where(times > most, -1, times)


@pytest.mark.parametrize(("chance", "most"), [(0.01, 40), (0.01, 10**6), (0.3, 3)])
def test_the_stated_error_covers_the_truth(chance, most):
    """Two errors of the logarithm cover 95.4 % of 1000 sets of trials; four binomial errors."""
    sets, eta = 1000, 0.05
    times = trials(np.random.default_rng(0), chance, (sets, 900), most)
    found = [escape_rate(each, most, eta) for each in times]
    apart = np.array(
        [(np.log(each.rate * eta) - np.log(chance)) / each.log_rate_error for each in found]
    )
    covered = 0.9545
    error = (covered * (1 - covered) / sets) ** 0.5
    assert abs((abs(apart) < 2).mean() - covered) < 4 * error
    # the bias of a logarithm of a mean is half its variance, and below 0.04 errors here
    assert abs(apart.mean()) < 0.04 + 4 / sets**0.5
    assert abs(apart.std() - 1) < 4 / (2 * sets) ** 0.5


def test_it_is_the_maximum_of_the_likelihood():
    most = 30
    times = trials(np.random.default_rng(1), 0.05, 500, most)
    escaped = times[times > 0]

    def cost(log_chance):
        chance = np.exp(log_chance)
        stays = (escaped - 1).sum() + most * (times < 0).sum()
        return -(len(escaped) * log_chance + stays * np.log1p(-chance))

    best = scipy.optimize.minimize_scalar(cost, bounds=(-8, -0.1), method="bounded")
    found = escape_rate(times, most, 1.0)
    np.testing.assert_allclose(np.log(found.rate), best.x, atol=1e-5)
    step = 1e-3
    bend = (cost(best.x + step) - 2 * cost(best.x) + cost(best.x - step)) / step**2
    np.testing.assert_allclose(found.log_rate_error, bend**-0.5, rtol=1e-3)
    assert (found.escaped, found.censored) == (len(escaped), 500 - len(escaped))


def test_without_its_censored_trials_the_rate_would_be_too_high():
    times = trials(np.random.default_rng(2), 0.01, 2000, 50)
    found = escape_rate(times, 50, 1.0)
    known = escape_rate(times[times > 0], 50, 1.0)
    assert abs(np.log(found.rate / 0.01)) < 4 * found.log_rate_error
    assert np.log(known.rate / 0.01) > 20 * known.log_rate_error


def test_the_rate_is_per_unit_of_time():
    times = [4, 6, 5, 5]
    fast, slow = (escape_rate(times, 10, eta, min_escapes=1) for eta in (0.1, 0.2))
    assert fast.rate == pytest.approx(2) and slow.rate == pytest.approx(1)
    assert fast.log_rate_error == slow.log_rate_error == pytest.approx((0.8 / 4) ** 0.5)


@pytest.mark.parametrize(
    ("times", "options", "expected"),
    [
        ([5] * 199, {}, "times has 199 escapes; expected at least 200"),
        ([-1] * 500, {}, "times has 0 escapes"),
        ([5] * 300 + [11], {}, r"integers in -1\.\.10"),
        ([5] * 300 + [-2], {}, r"integers in -1\.\.10"),
        ([5] * 300 + [0], {}, "times has entries of 0"),
        ([5.0] * 300, {}, "integers"),
        ([5] * 300, {"max_steps": 0}, "max_steps is 0"),
        ([5] * 300, {"learning_rate": 0.0}, "learning_rate is 0.0"),
        ([5] * 300, {"min_escapes": 0}, "min_escapes is 0"),
    ],
)
def test_out_of_range(times, options, expected):
    with pytest.raises(InputError, match=expected):
        escape_rate(**({"times": times, "max_steps": 10, "learning_rate": 0.1} | options))
