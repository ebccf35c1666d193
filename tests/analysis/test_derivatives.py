"""Derivatives of what is taken from a path: finite wherever the value is, and those of central
differences.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.analysis.aging import two_time_displacements
from sgd_diffusion.analysis.displacement import (
    displacement_from_start,
    ergodicity_breaking,
    squared_displacements,
    step_angles,
    step_autocorrelation,
    time_averaged_msd,
)
from sgd_diffusion.analysis.moments import (
    displacement_distribution,
    displacement_moments,
    non_gaussian_parameter,
)
from sgd_diffusion.analysis.pairs import PairAverages, average, block_bootstrap, by_lag, in_bins
from sgd_diffusion.analysis.paths import (
    contour_length,
    end_to_end,
    excursion_slope,
    excursions_by_length,
    principal_components,
    transverse_excursions,
)
from sgd_diffusion.analysis.roughness import loss_by_contour, loss_by_distance, mean_squared_loss
from sgd_diffusion.analysis.surrogates import (
    drift_subtracted,
    drift_subtracted_msd,
    shuffled_msd,
    shuffled_steps,
    sign_flipped_steps,
)

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
STEPS = 14
MOVING = RANDOM.normal(size=(STEPS, 20))
RESTING = np.where(np.arange(STEPS)[:, None] == 5, 0.0, MOVING)  # one step of length 0
LOSSES = RANDOM.normal(size=STEPS + 1)
LAGS = np.array([1, 2, 4])
EDGES = np.array([0.5, 3.0, 7.0, 40.0, 50.0])  # the last bin is empty
SUMS, COUNTS = RANDOM.uniform(1, 2, size=(2, STEPS + 1, 3))
COUNTS[:, 0] = 0  # a bin without pairs

# Every function that can be differentiated, of a step Gram matrix
OF_A_PATH = {
    "squared_displacements": squared_displacements,
    "time_averaged_msd": time_averaged_msd,
    "displacement_from_start": displacement_from_start,
    "step_autocorrelation": step_autocorrelation,
    "step_angles": step_angles,
    "by_lag": lambda gram: average(by_lag(gram, LAGS)),
    "contour_length": contour_length,
    "end_to_end": lambda gram: end_to_end(gram, bins=EDGES),
    "transverse_excursions": lambda gram: transverse_excursions(gram, 4),
    "excursions_by_length": lambda gram: excursions_by_length(gram, LAGS),
    "excursion_slope": lambda gram: excursion_slope(
        KEY, transverse_excursions(gram, 4), num_resamples=3
    ),
    "principal_components": lambda gram: principal_components(gram, 2),
    "loss_by_distance": lambda gram: loss_by_distance(gram, LOSSES, bins=EDGES),
    "loss_by_contour": lambda gram: loss_by_contour(gram, LOSSES, bins=EDGES),
    "mean_squared_loss": lambda gram: mean_squared_loss(gram, LOSSES, bins=4),
    "displacement_moments": lambda gram: displacement_moments(gram, [0.5, 1, 2, 3]),
    "two_time_displacements": lambda gram: two_time_displacements(gram, [0, 10], [1, 8]),
    "drift_subtracted": drift_subtracted,
    "drift_subtracted_msd": drift_subtracted_msd,
    "shuffled_msd": shuffled_msd,
    "shuffled_steps": lambda gram: shuffled_steps(KEY, gram),
    "sign_flipped_steps": lambda gram: sign_flipped_steps(KEY, gram),
}
MSDS = np.where(
    np.arange(4)[:, None] == 1, np.nan, RANDOM.uniform(1, 2, size=(4, 3))
)  # one member has diverged
STILL = np.where(
    np.arange(3) == 1, 0.0, RANDOM.normal(size=(STEPS + 1, 3))
)  # one direction does not move
OF_OTHERS = {
    "ergodicity_breaking": (ergodicity_breaking, MSDS),
    "non_gaussian_parameter": (lambda positions: non_gaussian_parameter(positions, LAGS), STILL),
    "displacement_distribution": (
        lambda positions: displacement_distribution(positions, 2, bins=[-1.0, 0.0, 1.0]),
        STILL,
    ),
    "in_bins of keys": (lambda keys: in_bins(keys, SUMS @ COUNTS.T, EDGES), 3 * SUMS @ SUMS.T),
    "in_bins of values": (lambda values: in_bins(SUMS @ SUMS.T, values, EDGES), SUMS @ COUNTS.T),
    "average": (lambda sums: average(PairAverages(None, sums, COUNTS)), SUMS),
    "block_bootstrap": (
        lambda sums: block_bootstrap(KEY, PairAverages(None, sums, COUNTS), num_resamples=3),
        SUMS,
    ),
    "mean_squared_loss of losses": (
        lambda losses: mean_squared_loss(MOVING @ MOVING.T, losses, bins=4),
        LOSSES,
    ),
}


@functools.cache
def total_and_slope(function):
    """The sum of the finite results of a function, weighted at random, and its derivative."""

    def total(x):
        leaves = jax.tree.leaves(function(x))
        weights = [
            np.random.default_rng(k).normal(size=leaf.shape) for k, leaf in enumerate(leaves)
        ]
        return sum(
            jnp.sum(jnp.where(jnp.isfinite(leaf), leaf * weight, 0.0))
            for leaf, weight in zip(leaves, weights, strict=True)
        )

    return jax.jit(jax.value_and_grad(total))


def check_gradient(function, x, directions):
    """The derivative along directions of the numbers that are finite."""
    total = total_and_slope(function)
    with jax.enable_x64(True):
        value, gradient = map(np.asarray, total(x))
        assert value != 0
        assert np.isfinite(gradient).all()
        for direction in directions:
            step = 1e-5 * direction
            above, below = (float(total(x + sign * step)[0]) for sign in (1, -1))
            expected = (above - below) / 2e-5
            np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("steps", [MOVING, RESTING], ids=["moving", "a step of zero"])
@pytest.mark.parametrize("name", OF_A_PATH)
def test_functions_of_a_path(name, steps):
    gram = steps @ steps.T
    turned = RANDOM.normal(size=(2, STEPS, STEPS))
    # A step of length 0 has no inner products, and stays so.
    directions = [np.where(gram == 0, 0.0, direction + direction.T) for direction in turned]
    check_gradient(OF_A_PATH[name], gram, directions)


@pytest.mark.parametrize("name", OF_OTHERS)
def test_functions_of_other_arrays(name):
    function, x = OF_OTHERS[name]
    directions = [
        np.where(np.isfinite(x) & (x != 0), direction, 0.0)
        for direction in RANDOM.normal(size=(2, *x.shape))
    ]
    check_gradient(function, x, directions)
