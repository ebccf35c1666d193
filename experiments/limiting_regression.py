"""The linear regression of experiments.limiting_dynamics: its laws, and how its walks move."""

from typing import Any

import jax
import numpy as np
import xarray as xr

from experiments import data_sets
from experiments.linear_regression import Regression, noise_of_the_law, regression, simulate
from sgd_diffusion.theory.limiting import Hyperparameters, stationary_covariance

SAMPLINGS = ("replacement", "epochs")
START = 6  # standard deviations, of the walks that begin away from the solution


def regression_laws(options: Any) -> tuple[Regression, Hyperparameters, np.ndarray]:
    """Return the regression, its hyperparameters and the noise of its stationary law.

    Raises:
        InputError: it has none.
    """
    data = data_sets.load(options.dataset, options.data_dir)
    problem = regression(data.train, data.num_classes)
    hyper = Hyperparameters(
        options.regression_learning_rate, options.momentum, batch_size=options.batch_size
    )
    return problem, hyper, noise_of_the_law(problem, hyper)


def regression_motion(
    options: Any, problem: Regression, hyper: Hyperparameters, noise: np.ndarray
) -> xr.Dataset:
    """Return the motion of the regression, as `tables.limiting_regression` takes it."""
    ranks = np.array([rank for rank in options.ranks if rank < len(problem.eigenvalues)])
    keys = jax.random.split(jax.random.key(0), options.regression_seeds)
    rest = np.zeros_like(noise)
    start = rest.copy()
    law = stationary_covariance(problem.eigenvalues[ranks], noise[ranks, 0], hyper)
    start[ranks] = START * np.sqrt(np.asarray(law.position))[:, None]
    walks = [
        simulate(
            keys,
            problem,
            hyper,
            rest,
            steps=options.regression_steps,
            modes=ranks,
            sampling=sampling,
        )
        for sampling in SAMPLINGS
    ]
    spirals = simulate(
        keys,
        problem,
        hyper,
        start,
        steps=options.spiral_steps,
        modes=ranks,
        sampling=SAMPLINGS[0],
    )
    own, spiral = (
        ("sampling", "seed", "point", "mode", "output"),
        ("seed", "spiral_point", "mode", "output"),
    )
    return xr.Dataset(
        {
            "position": (own, np.stack([walk.position for walk in walks])),
            "velocity": (own, np.stack([walk.velocity for walk in walks])),
            "displacement": (own[:3], np.stack([walk.displacement for walk in walks])),
            "spiral_position": (spiral, np.asarray(spirals.position)),
            "spiral_velocity": (spiral, np.asarray(spirals.velocity)),
            "spiral_start": (("mode", "output"), start[ranks]),
            "eigenvalue": ("rank", problem.eigenvalues),
            "noise": (("rank", "output"), problem.noise),
            "noise_of_law": (("rank", "output"), noise),
        },
        coords={"sampling": list(SAMPLINGS), "mode": ranks},
        attrs={name: float(value) for name, value in hyper._asdict().items()},
    )
