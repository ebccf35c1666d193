"""What is measured of a late path, and the walks that stand beside it.

The walks have the mini-batch gradients at the base point, less their mean, so that they have no
drift. The random walk adds them up. The linear one also falls back to the base point, by the
Hessian there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from experiments import hidden_block
from experiments.hidden_block import HiddenBlock, Moments
from sgd_diffusion._arrays import in_double
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import Key
from sgd_diffusion.analysis import components_of_weights
from sgd_diffusion.dynamics.batches import batch_indices
from sgd_diffusion.theory.flatness import correlation_times, effective_temperature, flatness

SMALLEST, RATIO, TOL = 0.05, 1.15, 1e-3  # of the displacements in which the loss is looked at
PLACES = 41  # points of a profile
REACH = 1.3  # of a profile, over the edges of the valley
TRACKS = (0, 1, 48, 49)  # components whose coordinates are shown, as in the paper
MOST_POINTS = 3000  # of them


class Base(NamedTuple):
    """The point where the training ended, and what is known of the loss there.

    Attributes:
        block: the layer that is followed.
        loss: on all training examples.
        moments: Hessian and covariance of per-example gradients.
        eigenvalues: (mode,) of the Hessian, falling.
        modes: (parameter, mode) its eigenvectors.
    """

    block: HiddenBlock
    loss: float
    moments: Moments
    eigenvalues: np.ndarray
    modes: np.ndarray


def base_point(problem: Any, params: Any) -> Base:
    """Return what is known of the loss at weights of a network from `late_training.network`."""
    block = hidden_block.hidden_block(problem, params)
    found = hidden_block.moments(block)
    eigenvalues, modes = np.linalg.eigh(found.hessian)
    with in_double():
        (loss,) = losses_along(block, np.zeros(block.weights.size), np.zeros(1))
    return Base(block, float(loss), found, np.maximum(eigenvalues[::-1], 0), modes[:, ::-1])


def walks(
    key: Key, base: Base, steps: int, *, learning_rate: float, batch_size: int, sampling: str
) -> dict[str, Callable[[], np.ndarray]]:
    """Return functions that make the walks, {name: () -> displacements (point, parameter)}."""
    rows = batch_indices(
        key,
        0,
        steps,
        num_examples=len(base.block.labels),
        batch_size=batch_size,
        sampling=sampling,
    )
    pushes = -learning_rate * np.asarray(batch_gradients(base.block, rows), np.float64)

    def random_walk():
        return np.pad(pushes.cumsum(axis=0), ((1, 0), (0, 0)))

    def linear():
        keep = 1 - learning_rate * base.eigenvalues
        place, path = np.zeros(len(keep)), np.zeros((steps + 1, len(keep)))
        for step, push in enumerate(pushes @ base.modes):
            place = keep * place + push
            path[step + 1] = place
        return path @ base.modes.T

    return {"random walk": random_walk, "linear": linear}


@jax.jit
def batch_gradients(block: HiddenBlock, rows: Array) -> Array:
    """Return gradients (step, parameter) of mini-batches, less that of all examples.

    Args:
        block: at the base point.
        rows: (step, B) examples of the mini-batches.
    """
    with full_precision():
        factors = hidden_block.gradient_factors(block)
        mean = block.inputs.T @ factors / len(factors)

        def of_batch(own):
            return (block.inputs[own].T @ factors[own] / len(own) - mean).ravel()

        return jax.lax.map(of_batch, rows)


def measured(
    path: np.ndarray,
    base: Base,
    *,
    components: np.ndarray,
    shown: np.ndarray,
    learning_rate: float,
    batch_size: int,
    limit: float,
) -> xr.Dataset:
    """Return all that is measured of a path, as `tables.variance_flatness` takes it.

    Args:
        path: (point, parameter) weights, from any origin.
        base: the base point of the losses.
        components: ranks of the components whose flatness is measured.
        shown: ranks whose profiles of the loss and of the temperature are kept.
        learning_rate: of the training.
        batch_size: of the training.
        limit: displacement beyond which a direction has no flatness.
    """
    found = jax.tree.map(np.asarray, components_of_weights(path))
    directions, scores = found.directions[components], found.scores[:, components]
    with in_double():
        width = jax.tree.map(np.asarray, widths(base.block, base.loss, directions, limit))
    tracks = [rank for rank in TRACKS if rank < len(found.variances)]
    thin = slice(None, None, -(-len(path) // MOST_POINTS))
    weights = np.asarray(base.block.weights, np.float64).ravel()
    drift = abs(found.directions[0] @ weights) / np.linalg.norm(weights)
    across = ((path - path.mean(axis=0)) @ base.modes).var(axis=0)
    return xr.Dataset(
        {
            "variance": ("rank", found.variances),
            "flatness": ("component", width.flatness),
            "curvature": ("component", _along(directions, base.moments.hessian)),
            "noise": ("component", _along(directions, base.moments.covariance)),
            "position_time": ("component", np.asarray(correlation_times(scores))),
            "velocity_time": ("component", np.asarray(correlation_times(np.diff(scores, axis=0)))),
            "mode_variance": ("mode", across),
            "alignment": drift,
            "track": (("point", "track_rank"), found.scores[thin, tracks]),
            **_profiles(base, found.directions, shown, limit, learning_rate, batch_size),
        },
        coords={"component": components, "shown": shown, "track_rank": tracks},
    )


@jax.jit
def widths(block: HiddenBlock, base_loss: Any, directions: Array, limit: Any) -> Any:
    """Return flatness along directions, one after the other: each has its own number of places."""

    def width(direction):
        return flatness(
            hidden_block.loss_along(block, direction),
            base_loss,
            limit=limit,
            smallest=SMALLEST,
            ratio=RATIO,
            tol=TOL,
        )

    with full_precision():
        return jax.lax.map(width, directions)


def _along(directions, matrix):
    return ((directions @ matrix) * directions).sum(axis=1)


def _profiles(base, directions, shown, limit, learning_rate, batch_size):
    """Losses and temperatures along some components, a little beyond the edges of the valley."""
    with in_double():
        edges = widths(base.block, base.loss, directions[shown], limit)
        left, right = (np.clip(side, -limit, limit) for side in edges[1:])
        places = np.linspace(REACH * left, REACH * right, PLACES, axis=1)
        along = list(zip(directions[shown], places, strict=True))
        losses, slopes = (
            np.stack([np.asarray(of(base.block, *each)) for each in along])
            for of in (losses_along, slopes_along)
        )
    count = slopes.shape[-1] // batch_size
    order = np.random.default_rng(0).permutation(slopes.shape[-1])[: count * batch_size]
    of_batches = slopes[..., order].reshape(*slopes.shape[:-1], count, batch_size).mean(axis=-1)
    dims = ("shown", "place")
    return {
        "displacement": (dims, places),
        "loss_profile": (dims, losses / base.loss),
        "temperature_profile": (dims, np.asarray(effective_temperature(of_batches, learning_rate))),
    }


@jax.jit
def losses_along(block: HiddenBlock, direction: Array, places: Array) -> Array:
    """Return losses (place,) along a direction."""
    with full_precision():
        return jax.lax.map(hidden_block.loss_along(block, direction), places)


@jax.jit
def slopes_along(block: HiddenBlock, direction: Array, places: Array) -> Array:
    """Return slopes (place, example) of the losses of examples along a direction."""
    with full_precision():
        return jax.lax.map(lambda place: hidden_block.slopes_along(block, direction, place), places)
