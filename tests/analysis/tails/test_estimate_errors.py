"""Whether the errors stated for estimates from samples are their scatter, and the estimates what
they should be.
"""

import numpy as np
import pytest
from scipy import signal, stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.tails.extremes import hill, moment_estimator, pickands
from sgd_diffusion.analysis.tails.fluctuations import effective_sample_size, excess_kurtosis
from sgd_diffusion.analysis.tails.power_law import fit_power_law_tail
from sgd_diffusion.analysis.tails.stability_index import (
    log_variance,
    mohammadi,
    mohammadi_quantile,
    paired_differences,
)

REPEATS = 1000


def stable(alpha, beta=0.0, *, n=1000):
    return stats.levy_stable.rvs(alpha, beta, size=(REPEATS, n), random_state=0)


def generalized_pareto(gamma, *, n=1000):
    return stats.genpareto.rvs(gamma, size=(REPEATS, n), random_state=1)


def pareto(alpha, *, n=400):
    return stats.pareto.rvs(alpha, size=(REPEATS, n), random_state=2)


def autoregressive(r, *, n=2000):
    return signal.lfilter([1], [1, -r], np.random.default_rng(3).normal(size=(REPEATS, n + 100)))[
        :, 100:
    ]


def cases():
    """Estimates of REPEATS independent samples, and what they estimate."""
    for alpha in (0.8, 1.5, 2.0):
        yield f"mohammadi {alpha}", lambda alpha=alpha: mohammadi(stable(alpha)), alpha
        yield (
            f"mohammadi in small blocks {alpha}",
            lambda alpha=alpha: mohammadi(stable(alpha), block_size=7),
            alpha,
        )
        yield (
            f"mohammadi quantile {alpha}",
            lambda alpha=alpha: mohammadi_quantile(stable(alpha)),
            alpha,
        )
    yield (
        "another quantile",
        lambda: mohammadi_quantile(stable(1.3), block_size=5, quantile=0.7),
        1.3,
    )
    yield (
        "skewed and shifted",
        lambda: mohammadi(paired_differences(5 + stable(1.5, 0.7, n=2000)), block_size=10),
        1.5,
    )
    for alpha in (0.8, 1.4):
        yield f"log variance {alpha}", lambda alpha=alpha: log_variance(stable(alpha)), alpha
    yield "hill", lambda: hill(pareto(2.5), 100, side="right"), 2.5
    yield "hill, all", lambda: hill(-pareto(0.7), 399, side="left"), 0.7
    yield "moment, heavy", lambda: moment_estimator(pareto(2.0), 200), 0.5
    yield "moment, bounded", lambda: moment_estimator(generalized_pareto(-0.4, n=4000), 100), -0.4
    for gamma in (-0.4, 0.0, 0.7):
        yield (
            f"pickands {gamma}",
            lambda gamma=gamma: pickands(generalized_pareto(gamma), 800),
            gamma,
        )
    yield (
        "power law at a given threshold",
        lambda: fit_power_law_tail(pareto(1.5), num_candidates=1),
        1.5,
    )
    yield (
        "kurtosis, uniform",
        lambda: excess_kurtosis(np.random.default_rng(4).random((REPEATS, 1000))),
        -1.2,
    )
    yield "kurtosis, correlated", lambda: excess_kurtosis(autoregressive(0.5)), 0.0
    yield (
        "effective size",
        lambda: effective_sample_size(autoregressive(0.8, n=5000), block_size=100),
        5000 / 9,
    )


CASES = {name: (estimates, truth) for name, estimates, truth in cases()}
QUICK = [
    "mohammadi 1.5",
    "mohammadi quantile 1.5",
    "skewed and shifted",
    "log variance 0.8",
    "hill",
    "moment, heavy",
    "pickands 0.0",
    "power law at a given threshold",
    "kurtosis, uniform",
    "effective size",
]


def known_to(squares):
    """Relative standard error of a root mean square of independent numbers, from their scatter."""
    return squares.std() / squares.mean() / 2 / np.sqrt(len(squares))


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_the_stated_error_is_the_scatter(name):
    estimates, truth = CASES[name]
    found = estimates()
    assert (
        np.all(np.isin(found.status, (Status.OK, Status.AT_BOUND)))
        and np.mean(found.status == Status.OK) > 0.99
    )
    value, error = np.asarray(found[0]), np.asarray(found.error)
    scatter = value.std()
    ratio = np.sqrt(np.mean(error**2)) / scatter
    # Both are random, by a few percent here. 4 standard errors of this ratio; 1.06 for the first
    # order of error formulas whose relative next term is of the order of the squared relative
    # error, at most 0.05.
    allowed = 4 * np.hypot(known_to((value - value.mean()) ** 2), known_to(error**2))
    assert allowed < 0.25
    assert abs(np.log(ratio)) < allowed + np.log(1.06)
    # Bias of the same order: below a third of the scatter, plus 4 standard errors of the mean
    assert abs(value.mean() - truth) < (1 / 3 + 4 / np.sqrt(REPEATS)) * scatter


def test_the_gaussian_error_of_the_kurtosis_is_the_scatter_of_gaussian_samples():
    kurtosis = excess_kurtosis(np.random.default_rng(5).normal(size=(REPEATS, 1000)))
    value = np.asarray(kurtosis.value)
    np.testing.assert_allclose(kurtosis.gaussian_error, np.sqrt(24 / 1000))
    assert abs(value.mean() + 6 / 1001) < 4 * value.std() / np.sqrt(REPEATS)
    # exact variance of Gaussian samples, 24 n (n-2) (n-3) / ((n+1)^2 (n+3) (n+5)), is within 2 % of
    # 24/n
    assert abs(value.std() / np.sqrt(24 / 1000) - 1) < 0.02 + 4 * known_to(
        (value - value.mean()) ** 2
    )
