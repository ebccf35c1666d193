"""The noise of gradients beside the Hessian, through the training of a network."""

from typing import Any

import jax
import numpy as np
import xarray as xr

from experiments import data_sets
from experiments.hidden_block import hidden_block, moments
from experiments.late_training import network, one_epoch, total_loss
from experiments.progress import phase
from sgd_diffusion.dynamics.sgd import initial_carry, sgd
from sgd_diffusion.landscape.curvature import compare_with_hessian
from sgd_diffusion.problems.objectives import Problem

LEARNING_RATE, BATCH_SIZE = 0.1, 50
PAIRS = 2000  # elements of the matrices that are kept for a figure


def noise_and_curvature(options: Any) -> xr.Dataset:
    """Return covariances of gradients beside Hessians of one layer, at some epochs of a training.

    The network is that of `late_training`, and is trained by plain SGD. The layer is that between
    the hidden layers. Both matrices are over all training examples.
    """
    with phase(f"loading {options.dataset}"):
        data = data_sets.load(options.dataset, options.data_dir)
        problem = network(data, options.width)
    weights, order = jax.random.split(jax.random.key(options.seed))
    epoch = one_epoch(
        problem, order, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE, sampling="epochs"
    )
    carry, finished, rows = initial_carry(problem, sgd(), weights), 0, []
    for wanted in sorted(options.epochs):
        with phase(f"noise and curvature, epoch {wanted}"):
            for number in range(finished, wanted):
                carry, _, _ = epoch(carry, number)
            finished = wanted
            rows.append(_compared(problem, carry.params))
    return (
        xr.concat(rows, "epoch")
        .assign_coords(epoch=sorted(options.epochs))
        .assign_attrs(
            width=options.width,
            dataset=options.dataset,
            examples=problem.num_examples,
            learning_rate=LEARNING_RATE,
            batch_size=BATCH_SIZE,
            seed=options.seed,
        )
    )


def _compared(problem: Problem, params: Any) -> xr.Dataset:
    """One row of the dataset."""
    at = moments(hidden_block(problem, params))
    found = compare_with_hessian(at.covariance, at.hessian)
    pairs = _elements(at.covariance, at.hessian)
    return xr.Dataset(
        {
            "loss": float(total_loss(problem, params)),
            **{
                name: getattr(found, name)
                for name in found._fields
                if name not in ("eigenvalues", "variances")
            },
            "eigenvalue": ("mode", found.eigenvalues),
            "variance": ("mode", found.variances),
            "hessian_element": ("element", pairs[0]),
            "covariance_element": ("element", pairs[1]),
        }
    )


def _elements(covariance, hessian):
    """Elements of both matrices, equally many of each size of the Hessian's, of either sign."""
    upper = np.triu_indices(len(hessian))
    h, c = hessian[upper], covariance[upper]
    positive = np.flatnonzero((h > 0) & (c > 0))
    ordered = positive[np.argsort(h[positive])]
    places = np.geomspace(1, len(ordered), PAIRS)
    chosen = ordered[len(ordered) - np.unique(places.astype(int))]
    return np.resize(h[chosen], PAIRS), np.resize(c[chosen], PAIRS)
