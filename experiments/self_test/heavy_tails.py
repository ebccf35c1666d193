"""Heavy tails, and what tells samples of a law from a series."""

import math
from collections.abc import Iterator

import jax
import numpy as np

from experiments.self_test.laboratory import Check, Laboratory, check, check_errors
from sgd_diffusion.analysis import processes, tails
from sgd_diffusion.analysis.stable import fits, law, quick_fits


def tail_checks(lab: Laboratory) -> Iterator[Check]:
    """Check indices of heavy tails, and what tells samples of a law from a series."""
    for alpha in (0.8, 1.5, 1.9):
        samples = np.asarray(law.sample(lab.key(), alpha, shape=(lab.num_paths, 5000)))
        process = f"alpha-stable, {alpha}"
        fit = jax.tree.map(np.asarray, fits.fit(samples))
        yield check("stability, maximum likelihood", process, alpha, fit.alpha)
        yield check_errors(process, fit.alpha_error, fit.alpha, allowance=0.1)
        yield check(
            "stability, quantiles",
            process,
            alpha,
            [quick_fits.quantiles(row).alpha for row in samples],
        )
        yield check(
            "stability, characteristic function",
            process,
            alpha,
            [quick_fits.characteristic_function(row).alpha for row in samples],
        )
        yield check(
            "stability, Mohammadi", process, alpha, tails.mohammadi(samples).value, allowance=0.02
        )
    for alpha, beta in ((0.4, 0.8), (0.5, 0.9), (0.8, 0.5), (1.2, -0.5), (1.7, 0.5)):
        skewed = np.asarray(law.sample(lab.key(), alpha, beta, shape=(lab.num_paths, 5000)))
        process = f"alpha-stable, {alpha}, {beta}"
        fit = jax.tree.map(np.asarray, fits.fit(skewed, symmetric=False))
        yield check("stability, maximum likelihood", process, alpha, fit.alpha)
        yield check_errors(process, fit.alpha_error, fit.alpha, allowance=0.1)
        yield check("skewness, maximum likelihood", process, beta, fit.beta)
        yield check(
            "skewness, characteristic function",
            process,
            beta,
            [quick_fits.characteristic_function(row, symmetric=False).beta for row in skewed],
        )
    pareto = np.exp(lab.generator().exponential(1 / 1.5, (lab.num_paths, 5000)))
    yield check(
        "tail index, Hill", "Pareto, 1.5", 1.5, tails.hill(pareto, 500).value, allowance=0.01
    )
    yield check(
        "tail index, Clauset",
        "Pareto, 1.5",
        1.5,
        [tails.fit_power_law_tail(row).alpha for row in pareto],
        allowance=0.02,
    )
    with jax.enable_x64(True):
        series = jax.vmap(
            lambda key: processes.ornstein_uhlenbeck(key, 9999, 1, relaxation_time=10)
        )(lab.keys())[..., 0]
    correlation = math.exp(-1 / 10)
    yield check(
        "effective sample size / size",
        "autoregressive",
        (1 - correlation) / (1 + correlation),
        np.asarray(tails.effective_sample_size(series, block_size=500).value) / 10_000,
        allowance=0.02,
    )
    yield check(
        "excess kurtosis",
        "normal",
        0,
        tails.excess_kurtosis(lab.generator().normal(size=(lab.num_paths, 5000))).value,
        allowance=0.01,
    )
