"""Networks of so few parameters that their minima, saddles and noise are known to rounding.

One hidden layer of tanh and one logit learn a question about digits, from a few principal
components of the images. Not all answers can be told from these, so that the gradient noise stays.
Weight decay makes minima isolated. Exchanging two hidden units, or the sign of one, does not change
the function: every minimum has mirror images, which count as one here.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from sgd_diffusion._platforms import where_float64_is
from sgd_diffusion._types import Key
from sgd_diffusion.landscape.curvature import gradient_covariance
from sgd_diffusion.landscape.saddles import (
    CriticalPoint,
    ElasticBand,
    critical_point,
    nudged_elastic_band,
)
from sgd_diffusion.problems import datasets
from sgd_diffusion.walkers import minibatch_steps

QUESTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "odd": lambda digits: digits % 2,
    "five or more": lambda digits: digits >= 5,
}
COMPONENTS = 2
SAME = 1e-4  # distance of two minima that are one
RATE, BATCH, STEPS = 0.3, 32, 10_000  # of the SGD that finds minima
STARTS = 8  # of that SGD
AT_ONCE = 8  # searches for a minimum side by side
IMAGES = 31  # of a band
DESCENT, LENGTH = 2000, 1.0  # steps of gradient descent before Newton's method, and their length


class Network(NamedTuple):
    """A network and its data.

    Attributes:
        hidden: units.
        weight_decay: of all parameters.
        inputs: (example, component) float64.
        targets: (example,) 0 or 1, float64.
    """

    hidden: int
    weight_decay: float
    inputs: np.ndarray
    targets: np.ndarray

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.hidden * (self.inputs.shape[1] + 2) + 1

    def example_loss(self, theta: Any, x: Any, target: Any) -> Any:
        """Return the loss of one example with the weight decay, for parameters (size,)."""
        rows = theta[:-1].reshape(self.hidden, -1)
        logit = jnp.tanh(rows[:, :-2] @ x + rows[:, -2]) @ rows[:, -1] + theta[-1]
        return jax.nn.softplus(logit) - target * logit + self.weight_decay / 2 * (theta @ theta)

    def loss(self, theta: Any) -> Any:
        """Return the mean loss of all examples."""
        return self.mean_loss(theta, (self.inputs, self.targets))

    def mean_loss(self, theta: Any, examples: Any) -> Any:
        """Return the mean loss of some examples."""
        return jax.vmap(self.example_loss, (None, 0, 0))(theta, *examples).mean()

    def covariance(self, theta: Any) -> jax.Array:
        """Return the covariance of the gradients of examples."""
        return gradient_covariance(self.mean_loss, theta, (self.inputs, self.targets))


def network(hidden: int, weight_decay: float, question: str) -> Network:
    """Return a network for one of the `QUESTIONS` about the training digits."""
    data = datasets.load("digits").train
    pixels = np.asarray(data.images, np.float64).reshape(len(data.labels), -1)
    pixels = pixels - pixels.mean(axis=0)
    directions = np.linalg.svd(pixels, full_matrices=False)[2][:COMPONENTS]
    inputs = pixels @ directions.T
    targets = np.asarray(QUESTIONS[question](np.asarray(data.labels)), np.float64)
    return Network(hidden, weight_decay, inputs / inputs.std(axis=0), targets)


class Searches(NamedTuple):
    """Compiled searches on the loss of a network.

    Attributes:
        settle: points (n, size) -> `CriticalPoint`, the minima of the valleys in which they are.
        climb: a point (size,) -> `CriticalPoint`, the saddle near it.
        band: two points (size,) -> `ElasticBand`.
    """

    settle: Callable[[Any], CriticalPoint]
    climb: Callable[[Any], CriticalPoint]
    band: Callable[[Any, Any], ElasticBand]


def programs(own: Network) -> Searches:
    """Return the searches as programs; `settle` takes `AT_ONCE` points."""

    @jax.jit
    @jax.vmap
    def settle(theta):
        slope = jax.grad(own.loss)
        with jax.enable_x64(True):  # Newton's steps alone would leave the valley
            theta = jnp.asarray(theta, jnp.float64)
            low = jax.lax.fori_loop(0, DESCENT, lambda _, x: x - LENGTH * slope(x), theta)
        return critical_point(own.loss, low, index=0, max_step=0.1, max_steps=300)

    return Searches(
        settle,
        jax.jit(lambda theta: critical_point(own.loss, theta, max_step=0.05)),
        jax.jit(lambda a, b: nudged_elastic_band(own.loss, a, b, num_images=IMAGES)),
    )


def searches(own: Network) -> Searches:
    """Return the searches on the loss of a network."""
    settle, climb, band = programs(own)

    def in_parts(points):
        """One program for all numbers of points."""
        count = len(points)
        padded = np.resize(points, (-(-count // AT_ONCE), AT_ONCE, own.size))
        parts = [_on_host(settle, part) for part in padded]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)

    return Searches(
        in_parts,
        functools.partial(_on_host, climb),
        functools.partial(_on_host, band),
    )


def _on_host(search, *points):
    with where_float64_is():
        return jax.tree.map(np.asarray, search(*points))


def minima(own: Network, settle: Callable[[Any], CriticalPoint], key: Key) -> list[np.ndarray]:
    """Return the different minima that SGD and then Newton's method find, the lowest first."""
    data = tuple(np.asarray(part, np.float32) for part in (own.inputs, own.targets))
    step = minibatch_steps(own.example_loss, data, RATE, BATCH)

    @jax.jit
    @jax.vmap
    def trained(key):
        first, others = jax.random.split(key)
        begin = jax.random.normal(first, (own.size,), np.float32)
        keys = jax.random.split(others, STEPS)
        return jax.lax.scan(lambda theta, k: (step(k, theta), None), begin, keys)[0]

    found = settle(np.asarray(trained(jax.random.split(key, STARTS))))
    different: list[np.ndarray] = []
    for i in np.argsort(found.loss):
        theta = found.point[i]
        if found.converged[i] and all(
            np.linalg.norm(aligned(own, theta, other) - other) > SAME for other in different
        ):
            different.append(theta)
    return different


def aligned(own: Network, theta: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the mirror image of theta whose hidden units are most like those of another one."""
    rows, others = (each[:-1].reshape(own.hidden, -1) for each in (theta, other))
    products = rows @ others.T
    mine, places = scipy.optimize.linear_sum_assignment(-abs(products))
    image = np.empty_like(rows)
    image[places] = rows[mine] * np.where(products[mine, places] < 0, -1, 1)[:, None]
    return np.append(image.ravel(), theta[-1])
