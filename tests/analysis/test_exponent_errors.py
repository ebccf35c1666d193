"""Exponents of fractional Brownian motion, and whether the errors stated for them are their
scatter.
"""

import jax
import numpy as np
import pytest

from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.analysis.pairs import average, block_bootstrap, by_lag
from sgd_diffusion.analysis.processes import fractional_brownian
from sgd_diffusion.analysis.scaling import fit_power_law


def exponents(hurst, *, dim, repeats, steps=1000):
    """Exponents of independent paths on lags up to a tenth of them, with their errors."""
    lags = np.unique(np.rint(np.geomspace(1, steps / 10, 50)).astype(int))

    @jax.jit
    def curves(gram, key):
        pairs = by_lag(gram, lags)
        return average(pairs), block_bootstrap(key, pairs)

    path = jax.jit(lambda key: step_gram(fractional_brownian(key, steps, dim, hurst=hurst)))
    fits = []
    with jax.enable_x64(True):
        for repeat in range(repeats):
            path_key, bootstrap_key = jax.random.split(jax.random.key(repeat))
            msd, replicates = map(np.asarray, curves(path(path_key), bootstrap_key))
            fits.append(fit_power_law(lags, msd, replicates=replicates))
    return np.array([fit.exponent for fit in fits]), np.array([fit.exponent_error for fit in fits])


def test_the_stated_error_is_the_scatter():
    estimates, errors = exponents(0.5, dim=100, repeats=40, steps=400)
    scatter = estimates.std(ddof=1)
    assert abs(estimates.mean() - 1) < 3 * scatter / np.sqrt(40)
    # the scatter of 40 estimates is known to 1/sqrt(2 * 39) = 11 %: 1.5 and two of these
    assert 1 / 1.9 < np.median(errors) / scatter < 1.9


@pytest.mark.slow
@pytest.mark.parametrize("hurst", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_exponents_and_errors_of_fractional_brownian_motion(hurst):
    estimates, errors = exponents(hurst, dim=2000, repeats=200)
    scatter, stated = estimates.std(ddof=1), np.median(errors)
    deviations = np.abs(estimates - 2 * hurst)
    print(
        f"H = {hurst}: mean exponent {estimates.mean():.5f}, scatter {scatter:.5f}, stated error "
        f"{stated:.5f}, ratio {stated / scatter:.2f}, within 3 errors "
        f"{np.mean(deviations < 3 * errors):.3f}, largest {deviations.max():.4f}"
    )
    assert abs(estimates.mean() - 2 * hurst) < 3 * scatter / np.sqrt(200)
    assert np.all(deviations < 0.03)
    assert np.mean(deviations < 3 * errors) > (
        0.95 if hurst <= 0.65 else 0.9
    )  # 0.997 if errors were exact
    allowed = 1.5 if hurst <= 0.65 else 2.5  # memory longer than the blocks
    assert 1 / allowed < stated / scatter < allowed
