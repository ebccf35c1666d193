"""Stable fits of pooled series: the mixture of scales that mimics heavy tails."""

import jax
import numpy as np

from sgd_diffusion.analysis import pooling
from sgd_diffusion.analysis.stable import fits

COUNT = 10_000  # as many as the tests of comparisons fit, which share the program


def fit_of_entries(key, samples):
    entries = pooling.draw_entries(jax.random.key(key), samples, np.ones(50), COUNT)
    return jax.tree.map(np.asarray, fits.fit(entries.values))


def test_pooling_gaussian_series_of_different_scales_looks_heavy_tailed():
    """Ten layers whose scales span two decades: alpha about 1; in units of their own, and of one
    scale, 2.
    """
    random = np.random.default_rng(2)
    samples = random.normal(size=(500, 50)) * np.repeat(np.geomspace(0.01, 1, 10), 5)
    mixture, own, null = (
        fit_of_entries(3, x)
        for x in (
            samples,
            pooling.standardized(samples).values,
            pooling.gaussian_surrogate(jax.random.key(4), samples),
        )
    )
    assert mixture.alpha < 1.3 and mixture.alpha_error < 0.05
    # alpha is 2 for half of normal samples of this size, and the others are rarely below 1.96
    assert own.alpha > 1.95
    assert abs(null.alpha - mixture.alpha) < 4 * np.hypot(null.alpha_error, mixture.alpha_error)


def test_heavy_tails_survive_in_units_of_their_own():
    """Cauchy series of different scales: the pool is heavier still, and alpha is 1 again for series
    by themselves.
    """
    random = np.random.default_rng(5)
    samples = random.standard_cauchy(size=(500, 50)) * np.geomspace(0.01, 1, 50)
    found = fit_of_entries(0, pooling.standardized(samples).values)
    # quartiles of 500 Cauchy values scatter by 7 %: a mixture so narrow lowers alpha by less than
    # its error
    assert abs(found.alpha - 1) < 4 * found.alpha_error
