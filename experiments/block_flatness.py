"""How flat the loss is along the layer between two hidden layers, by the paper and without scale.

A network with ReLU computes the same function when the weights into a unit are multiplied and those
out of it divided by one number. The flatness changes with such a rescaling. The normalized flatness
does not: it is that of the network of the same function whose hidden units all have incoming
weights, with their bias, of norm 1 (`with_unit_norms`).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from experiments.hidden_block import hidden_block, sharpest
from sgd_diffusion.problems.objectives import Problem

TOP = 10  # eigenvalues, as in the paper
OUTLIERS = 9  # one less than there are classes: the eigenvalues above the bulk
HIDDEN = ("linear1", "linear2")
FOLLOWING = {"linear1": "linear2", "linear2": "linear3"}


class Flatness(NamedTuple):
    """Flatness along the layer at some weights.

    Attributes:
        flatness: inverse geometric mean of the 10 largest eigenvalues of the Hessian.
        flatness_of_outliers: of the 9 largest.
        share: of the 10 largest in the trace.
    """

    flatness: Array
    flatness_of_outliers: Array
    share: Array


def block_flatness(problem: Problem, params: Any) -> Flatness:
    """Return the flatness of a network from `late_training.network` at some weights."""
    values, trace = sharpest(hidden_block(problem, params), TOP)
    return Flatness(
        _inverse_mean(values),
        _inverse_mean(values[:OUTLIERS]),
        values.sum() / trace,
    )


def with_unit_norms(params: Any) -> Any:
    """Return the network of the same function whose hidden units have incoming norm 1.

    The norm is that of weights and bias together. A unit without any stays as it is.
    """
    layers = {name: dict(layer) for name, layer in params.items()}
    for name in HIDDEN:
        layer, following = layers[name], layers[FOLLOWING[name]]
        norm = jnp.sqrt((layer["kernel"] ** 2).sum(axis=0) + layer["bias"] ** 2)
        norm = jnp.where(norm > 0, norm, 1)
        layer["kernel"], layer["bias"] = layer["kernel"] / norm, layer["bias"] / norm
        following["kernel"] = following["kernel"] * norm[:, None]
    return layers


def _inverse_mean(values):
    """Inverse geometric mean, from logarithms."""
    return jnp.exp(-jnp.log(values).mean())
