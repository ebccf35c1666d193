"""What people switch on to find a fault of theirs does not stop the library: all switches at once,
and 64-bit mode.

The slow tests of `input_table.mode_tests` try every public function with every switch alone; runs
are tried in tests/dynamics/test_any_problem.py.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.analysis import moments, pairs, paths, processes, roughness, stable, surrogates
from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.landscape import planes
from sgd_diffusion.landscape.curvature import (
    hessian_vector_product,
    hutchpp_trace,
    spectral_density,
    top_eigenpairs,
)
from sgd_diffusion.landscape.fractal_surfaces import (
    Surface,
    diamond_square,
    fractional_brownian_surface,
)
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers import escape_times, langevin_steps, two_valleys
from sgd_diffusion.walkers.walk import walk_ensemble

KEY = jax.random.key(0)
PATH = np.random.default_rng(0).normal(size=(31, 5)).cumsum(axis=0)
GRAM = np.asarray(step_gram(PATH))
SAMPLES = np.random.default_rng(1).standard_cauchy(100)
SURFACES = Surface(
    np.random.default_rng(2).normal(size=(2, 9, 9)).astype(np.float32), np.full(2, 2, np.float32)
)
STARTS = np.random.default_rng(3).uniform(-1, 1, size=(5, 2))


def quartic_product():
    return hessian_vector_product(lambda v: jnp.sum(v**4), jnp.ones(30)), jnp.ones(30)


CALLS = {
    "block_bootstrap": lambda: pairs.block_bootstrap(KEY, pairs.by_lag(GRAM, [1, 2])),
    "drift_subtracted_msd": lambda: surrogates.drift_subtracted_msd(GRAM, [1, 2]),
    "principal_components": lambda: paths.principal_components(GRAM, 3),
    "mean_squared_loss": lambda: roughness.mean_squared_loss(GRAM, np.arange(31.0), bins=5),
    "non_gaussian_parameter": lambda: moments.non_gaussian_parameter(PATH, [1, 2]),
    "stable.fit": lambda: stable.fit(SAMPLES),
    "stable.sample": lambda: stable.sample(KEY, 1.7, shape=(20,)),
    "fractional_brownian": lambda: processes.fractional_brownian(KEY, 50, 2, hurst=0.3),
    "top_eigenpairs": lambda: top_eigenpairs(*quartic_product(), 3),
    "spectral_density": lambda: spectral_density(KEY, *quartic_product(), num_products=10),
    "hutchpp_trace": lambda: hutchpp_trace(KEY, *quartic_product()),
    "principal_plane": lambda: planes.principal_plane(PATH),
    "diamond_square": lambda: diamond_square(KEY, 2, roughness=3.0, hurst=0.7),
    "fractional_brownian_surface": lambda: fractional_brownian_surface(KEY, 16, hurst=0.4),
    "walk_ensemble": lambda: walk_ensemble(
        jax.random.split(KEY, 2),
        SURFACES,
        STARTS,
        learning_rates=[0.001],
        noise_stds=[0.01],
        steps=20,
        every=10,
    ),
    "escape_times": lambda: escape_times(
        KEY,
        langevin_steps(lambda x: x**3 - x, 0.5, 0.1),
        [-1.0, 1.0],
        lambda x: (abs(x) < 0.1).any(),
        repeats=100,
        max_steps=1000,
    ),
    "two_valleys.simulate": lambda: two_valleys.simulate(
        KEY,
        [0.05, 0.1],
        [0.0, 0.1],
        walkers=3,
        steps=20,
        start_y=1.0,
        landscape=TwoValleys(),
        record_every=10,
    ),
}


@contextlib.contextmanager
def all_switches():
    with (
        jax.debug_nans(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        yield


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(all_switches, id="all switches"),
        pytest.param(lambda: jax.enable_x64(True), id="64 bits", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", CALLS)
def test_calls_finish_with_numbers(name, mode):
    with mode():
        leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(CALLS[name]())]
    assert np.isfinite(leaves[0]).all()  # what is asked for; a fit has no error of what it was told
