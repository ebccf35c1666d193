"""A window of a real network on real data: what follows from its Gram matrix, against the weights
themselves.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from sgd_diffusion.analysis import displacement, paths, roughness
from sgd_diffusion.dynamics.batches import batch_indices, take_batch
from sgd_diffusion.dynamics.sgd import initial_carry, sgd, sgd_step
from sgd_diffusion.dynamics.window import record_window
from sgd_diffusion.problems.datasets import load
from sgd_diffusion.problems.models import model
from sgd_diffusion.problems.objectives import classification

STEPS, BATCH, RATE = 120, 32, 0.1
CLOSE = {"rtol": 1e-6}


@pytest.fixture(scope="module")
def window():
    """The record of a window of a two-layer network on digits, in NumPy, and the weights (T+1, P)
    at its points.
    """
    data = load("digits")
    problem = classification(
        model("fc2-width20", num_classes=data.num_classes), data, augment="standard", probe_size=50
    )
    optimizer, order, augmentation = sgd(), jax.random.key(1), jax.random.key(2)
    carry = initial_carry(problem, optimizer, jax.random.key(0))
    rows = batch_indices(order, 0, STEPS + 1, num_examples=problem.num_examples, batch_size=BATCH)
    _, record = jax.jit(
        lambda carry: record_window(problem, optimizer, carry, RATE, rows, augmentation, 0)
    )(carry)

    @jax.jit
    def step(carry, number):
        batch = take_batch(problem, rows[number], jax.random.fold_in(augmentation, number))
        return sgd_step(problem, optimizer, carry, batch, RATE, number)[0]

    points = [carry.params]
    for number in range(STEPS):
        carry = step(carry, jnp.int32(number))
        points.append(carry.params)
    weights = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(point)]) for point in points
    ]
    return jax.tree.map(np.asarray, record), np.array(weights, dtype=np.float64)


def in_one_program(function, *arguments):
    """What a function makes of the arguments, in double precision."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(function)(*arguments))


def test_length_and_directions_of_steps(window):
    record, weights = window
    steps = np.diff(weights, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    contour, correlation = in_one_program(
        lambda gram: (paths.contour_length(gram), displacement.step_autocorrelation(gram)),
        record.step_gram,
    )
    np.testing.assert_allclose(contour[1:], np.cumsum(lengths), **CLOSE)
    covariance = [np.mean((steps[k:] * steps[: STEPS - k]).sum(axis=1)) for k in range(STEPS)]
    expected = np.array(covariance) / covariance[0]
    np.testing.assert_allclose(correlation, expected, atol=1e-6)


def test_displacements(window):
    record, weights = window
    squares = cdist(weights, weights, "sqeuclidean")
    np.testing.assert_allclose(
        displacement.squared_displacements(record.step_gram), squares, rtol=1e-6, atol=1e-12
    )
    expected = [np.diagonal(squares, lag).mean() for lag in range(1, STEPS + 1)]
    np.testing.assert_allclose(displacement.time_averaged_msd(record.step_gram), expected, **CLOSE)


def test_transverse_excursions(window):
    record, weights = window
    expected = []
    for fragment in (weights[first : first + 41] for first in range(STEPS - 39)):
        chord = fragment[-1] - fragment[0]
        from_start = fragment - fragment[0]
        across = from_start - np.outer(from_start @ chord / (chord @ chord), chord)
        expected.append((across**2).sum(axis=1).max())
    found = in_one_program(lambda gram: paths.transverse_excursions(gram, 40), record.step_gram)
    np.testing.assert_allclose(found.squared_excursion, expected, **CLOSE)


def test_principal_components(window):
    record, weights = window
    reference = PCA(n_components=5, svd_solver="full").fit(weights)
    found = in_one_program(lambda gram: paths.principal_components(gram, 5), record.step_gram)
    np.testing.assert_allclose(found.variances, reference.explained_variance_, **CLOSE)
    np.testing.assert_allclose(
        np.abs(found.scores), np.abs(reference.transform(weights)), rtol=1e-4, atol=1e-6
    )


def test_mean_squared_loss(window):
    record, weights = window
    first, second = np.triu_indices(STEPS + 1, 1)
    distances = np.linalg.norm(weights[first] - weights[second], axis=1)
    edges = np.geomspace(distances.min() * 0.99, distances.max() * 1.01, 13)
    for losses in (record.losses, record.probe_losses):
        differences = (losses.astype(np.float64)[first] - losses[second]) ** 2
        counts, _ = np.histogram(distances, edges)
        expected = np.histogram(distances, edges, weights=differences)[0] / counts
        found = in_one_program(
            partial(roughness.mean_squared_loss, bins=edges), record.step_gram, losses
        )
        np.testing.assert_array_equal(found.counts, counts)
        np.testing.assert_allclose(found.msl, expected, **CLOSE)
