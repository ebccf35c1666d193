"""Gradient noise of a small network, and of a law that is known, for its tails."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree

from experiments.progress import phase
from sgd_diffusion import tables
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion.problems import datasets, models, objectives

MODEL, DATASET, CLASSES = "fc2-width16", "digits", 10
TRAINING_RATE, TRAINING_BATCH, TRAINING_STEPS = 0.1, 32, 500
BATCH_SIZES = (1, 32, 256)
PARAMETERS = 1000  # of the law that is known


def noise_tails(options: Any) -> xr.Dataset:
    """Return `tables.noise_tails` of all kinds of noise, along `case`."""
    found = {}
    for name, noise in cases(options):
        with phase(f"tails: {name}"):
            values = xr.Dataset({"noise": (("batch", "parameter"), noise)})
            found[name] = tables.noise_tails(values, seed=options.seed)
    return xr.concat(found.values(), "case").assign_coords(case=list(found))


def cases(options: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names of the kinds of noise with their samples (batch, parameter)."""
    random = np.random.default_rng(options.seed)
    scales = np.arange(1, PARAMETERS + 1) ** -0.5
    normal = random.normal(size=(options.noise_batches, PARAMETERS)) * scales
    yield "normal, variances 1/j", normal.astype(np.float32)
    problem = objectives.classification(
        models.model(MODEL, num_classes=CLASSES), datasets.load(DATASET)
    )
    for name, gradients in per_example_gradients(problem, options.seed).items():
        for size in BATCH_SIZES:
            yield f"{name}, B = {size}", batch_noise(random, gradients, size, options.noise_batches)


def per_example_gradients(problem: objectives.Problem, seed: int) -> dict[str, np.ndarray]:
    """Return gradients (example, parameter) less their mean, before and after a training."""
    start, order = jax.random.split(jax.random.key(seed))
    params, state = problem.init(start)
    trained, gradients = training_and_gradients(problem, params, state)
    weights = ravel_pytree(params)[0]
    points = {"at the start": weights, "trained": trained(weights, order)}
    return {name: np.asarray(gradients(place)) for name, place in points.items()}


def training_and_gradients(
    problem: objectives.Problem, params: Any, state: Any
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the programs `(weights, key) -> weights` and `weights -> gradients less their mean`.

    Args:
        problem: whose gradients they are.
        params: a point, for its shapes.
        state: of the problem.
    """
    unravel = ravel_pytree(params)[1]

    def loss(weights, batch):
        return problem.loss(unravel(weights), state, batch, False)[0]

    def chosen(index):
        return jax.tree.map(lambda leaf: leaf[index], problem.examples)

    def step(weights, key):
        index = jax.random.randint(key, (TRAINING_BATCH,), 0, problem.num_examples)
        return weights - TRAINING_RATE * jax.grad(loss)(weights, chosen(index)), None

    @jax.jit
    def trained(weights, order):
        return jax.lax.scan(step, weights, jax.random.split(order, TRAINING_STEPS))[0]

    @jax.jit
    def gradients(weights):
        every = jnp.arange(problem.num_examples)
        with full_precision():
            each = jax.vmap(lambda i: jax.grad(loss)(weights, chosen(i[None])))(every)
        return each - each.mean(axis=0)

    return trained, gradients


def batch_noise(
    random: np.random.Generator, gradients: np.ndarray, batch_size: int, count: int
) -> np.ndarray:
    """Return the noise (count, parameter) of mini-batches that are drawn with replacement."""
    examples = len(gradients)
    chosen = random.multinomial(batch_size, np.full(examples, 1 / examples), size=count)
    return (chosen / batch_size).astype(gradients.dtype) @ gradients
