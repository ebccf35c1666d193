"""The loss of a network as a function of its layer between two hidden layers, at one point.

All other weights are fixed, so the inputs of the layer are the same everywhere. A displacement of
the layer costs two small products. With ReLU the Gauss-Newton matrix of one layer is its Hessian.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.late_training import BLOCK, margin_cross_entropy
from sgd_diffusion._arrays import in_double
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion.landscape.curvature import top_eigenpairs
from sgd_diffusion.problems.objectives import Problem

PART = 5000  # examples whose products are in memory at a time


class HiddenBlock(NamedTuple):
    """The layer at the base point, with what the other layers make of the training examples.

    Attributes:
        weights: (input, unit) float32 of the layer at the base point.
        inputs: (example, input) float32.
        output: (unit, label) float32 weights of the last layer.
        labels: (example,).
        bias: (unit,) of the layer, or 0.
        output_bias: (label,) of the last layer, or 0.
    """

    weights: Array
    inputs: Array
    output: Array
    labels: Array
    bias: Array
    output_bias: Array

    def units(self) -> Array:
        """Return the inputs (example, unit) of the units, before ReLU."""
        return self.inputs @ self.weights + self.bias

    def logits(self, units: Array) -> Array:
        """Return what the last layer makes of the inputs of the units."""
        return jax.nn.relu(units) @ self.output + self.output_bias


class Moments(NamedTuple):
    """Second moments of the block at the base point, float64.

    Attributes:
        hessian: (parameter, parameter) of the loss on all training examples.
        covariance: (parameter, parameter) of per-example gradients.
    """

    hessian: np.ndarray
    covariance: np.ndarray


def hidden_block(problem: Problem, params: Any) -> HiddenBlock:
    """Return the block of a network from `late_training.network` at some weights."""
    first, own, last = (params[name] for name in ("linear1", BLOCK, "linear3"))
    bias, output_bias, first_bias = (
        jnp.atleast_1d(layer.get("bias", 0.0)) for layer in (own, last, first)
    )
    return HiddenBlock(
        jnp.asarray(own["kernel"]),
        _hidden(problem.examples.images, first["kernel"], first_bias),
        jnp.asarray(last["kernel"]),
        problem.examples.labels,
        bias,
        output_bias,
    )


@jax.jit
def _hidden(images, kernel, bias):
    """What the first layer makes of images."""
    with full_precision():
        return jax.nn.relu(images @ kernel + bias)


def loss_along(block: HiddenBlock, direction: Array) -> Callable[[Array], Array]:
    """Return `displacement -> loss` along a direction (parameter,) from the base point.

    Losses of examples are float32, exact to rounding, and their mean is float64.
    """
    own = block.units()
    along = block.inputs @ direction.reshape(block.weights.shape).astype(jnp.float32)

    def loss(displacement):
        logits = block.logits(own + displacement.astype(jnp.float32) * along)
        return margin_cross_entropy(logits, block.labels).astype(jnp.float64).mean()

    return loss


def slopes_along(block: HiddenBlock, direction: Array, displacement: Array) -> Array:
    """Return the derivatives (example,) of losses along a direction at a displacement."""
    own = block.units()
    along = block.inputs @ direction.reshape(block.weights.shape).astype(jnp.float32)

    def losses(place):
        return margin_cross_entropy(block.logits(own + place * along), block.labels)

    place = jnp.asarray(displacement, jnp.float32)
    return jax.jvp(losses, (place,), (jnp.ones_like(place),))[1]


def gradient_factors(block: HiddenBlock) -> Array:
    """Return d (example, unit): the gradient of an example is the outer product of input and d."""
    return _curvature(block)[0]


def sharpest(block: HiddenBlock, k: int) -> tuple[Array, Array]:
    """Return the k largest eigenvalues of the Hessian by the layer, falling, and its trace.

    The Hessian is never formed. Its product with a layer takes 3 N P operations, as little as with
    the matrix itself.
    """
    with full_precision():
        curvature = _curvature(block)[1]

    def product(layer):
        along = jnp.einsum("njl,nl->nj", curvature, block.inputs @ layer)
        return block.inputs.T @ along / len(block.labels)

    squares = (block.inputs**2).sum(axis=1)
    trace = (squares * jnp.trace(curvature, axis1=1, axis2=2)).mean()
    return top_eigenpairs(product, block.weights, k).values, trace


def moments(block: HiddenBlock) -> Moments:
    """Return the Hessian of the loss, and the covariance of per-example gradients."""
    count = len(block.labels)
    with in_double():
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), block)
        wide = wide._replace(labels=np.asarray(block.labels))
        hessian = covariance = mean = 0.0
        for start in range(0, count, PART):
            rows = slice(start, start + PART)
            part = wide._replace(inputs=wide.inputs[rows], labels=wide.labels[rows])
            of_hessian, of_gradients, gradient = jax.tree.map(np.asarray, sums(part))
            hessian, covariance = hessian + of_hessian, covariance + of_gradients
            mean = mean + gradient
        mean = np.ravel(mean) / count
        return Moments(
            _matrix(hessian / count, block),
            _matrix(covariance / count, block) - np.outer(mean, mean),
        )


@jax.jit
def sums(part: HiddenBlock) -> tuple[Array, Array, Array]:
    """Return sums over examples: of both moments on pairs of inputs and of units, and of gradients.

    All of them are symmetric in the pairs, so that each pair is there once.
    """
    factors, curvature = _curvature(part)
    inputs, units = (np.triu_indices(size) for size in part.weights.shape)
    pairs = part.inputs[:, inputs[0]] * part.inputs[:, inputs[1]]
    return (
        pairs.T @ curvature[:, *units],
        pairs.T @ (factors[:, units[0]] * factors[:, units[1]]),
        part.inputs.T @ factors,
    )


def _curvature(block: HiddenBlock):
    """Gradient (example, unit) and Hessian (example, unit, unit) by the inputs of the units.

    Logits count from that of the label. So nothing cancels where its probability is nearly 1.
    """
    units = block.units()
    active = (units > 0).astype(units.dtype)
    logits = block.logits(units)
    others = jax.nn.softmax(logits) * (jnp.arange(logits.shape[-1]) != block.labels[:, None])
    apart = (block.output[None] - block.output.T[block.labels][:, :, None]) * active[:, :, None]
    mean = jnp.einsum("nc,njc->nj", others, apart)
    square = jnp.einsum("nc,njc,nlc->njl", others, apart, apart)
    return mean, square - mean[:, :, None] * mean[:, None]


def _matrix(pairs: np.ndarray, block: HiddenBlock) -> np.ndarray:
    """The matrix over all parameters from its entries for pairs of inputs and of units."""
    inputs, units = block.weights.shape
    place = [np.zeros((size, size), int) for size in (inputs, units)]
    for index in place:
        upper = np.triu_indices(len(index))
        index[upper] = index.T[upper] = np.arange(len(upper[0]))
    full = pairs[place[0][:, None, :, None], place[1][None, :, None, :]]
    return full.reshape(inputs * units, inputs * units)
