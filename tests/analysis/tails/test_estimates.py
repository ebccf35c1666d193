"""What all estimates of one number have in common: transforms, precision, and samples of which
nothing can be said.
"""

from functools import partial

import jax
import numpy as np
import pytest

from sgd_diffusion.analysis.estimates import Status, spread_status
from sgd_diffusion.analysis.tails.extremes import hill, moment_estimator, pickands
from sgd_diffusion.analysis.tails.fluctuations import effective_sample_size, excess_kurtosis
from sgd_diffusion.analysis.tails.stability_index import log_variance, mohammadi, mohammadi_quantile

ESTIMATORS = {
    "mohammadi": mohammadi,
    "mohammadi_quantile": mohammadi_quantile,
    "log_variance": log_variance,
    "hill": hill,
    "hill, 20": partial(hill, k=20),
    "moment_estimator": partial(moment_estimator, k=20),
    "pickands": partial(pickands, k=20),
    "excess_kurtosis": excess_kurtosis,
    "effective_sample_size": effective_sample_size,
}


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_many_samples_jit_vmap_and_precision(estimator):
    values = np.random.default_rng(0).standard_t(2, size=(2, 3, 100))
    together = estimator(values)
    assert together.value.dtype == together.error.dtype == np.float64
    assert all(field.shape == (2, 3) for field in together)
    with jax.enable_x64(True):
        alone = jax.jit(estimator)(values[1, 2])
        mapped = jax.jit(jax.vmap(estimator))(values)
        single = jax.jit(estimator)(values.astype(np.float32))
    for field, one, expected in zip(mapped, alone, together, strict=True):
        np.testing.assert_allclose(field, expected, rtol=1e-9)
        np.testing.assert_allclose(one, np.asarray(expected)[1, 2], rtol=1e-9)
    assert single.value.dtype == single.error.dtype == np.float32
    np.testing.assert_allclose(single.value, together.value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("samples", "status"),
    [
        (np.arange(40.0), Status.OK),
        ([0.0] * 20 + [1.0] * 20, Status.OK),
        ([0.0] * 21 + [1.0] * 20, Status.CONSTANT),
        ([1.0] * 20 + [2.0] * 21, Status.CONSTANT),
        ([-1.0] * 10 + [0.0] * 21 + [1.0] * 10, Status.CONSTANT),
        ([-1.0] * 10 + [0.0] * 20 + [1.0] * 10, Status.OK),
        ([0.0] * 40 + [np.inf], Status.NOT_FINITE),
        ([*np.arange(40.0), np.nan], Status.NOT_FINITE),
    ],
)
def test_samples_have_a_spread_unless_more_than_half_are_one_value(samples, status):
    assert spread_status(np.asarray(samples)) == status
