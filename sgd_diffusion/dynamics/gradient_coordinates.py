"""Which coordinates of the gradient are kept: from every layer some, with what each of them stands
for.

The entries of a gradient differ in size from layer to layer, and a uniform draw would hardly see
the small layers. So half of the coordinates are shared out equally among the layers, the other half
in proportion to their sizes, and every one gets a weight: a pool of entries that is drawn with
these weights is uniform over the parameters again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sgd_diffusion._arrays import integer
from sgd_diffusion.dynamics.parameters import initial_shapes, layer_name, real_shapes
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.objectives import Problem

SEED = 0  # the same coordinates for all members, windows and runs, which can then be compared


class GradientCoordinates(NamedTuple):
    """Some coordinates of the gradient.

    Attributes:
        indices: (S,) increasing positions in the flattened gradient (see `parameters.flatten`), its
            leaves in the order of `jax.tree.leaves`.
        layers: (S,) names of the top-level layers that they belong to.
        weights: (S,) parameters for which each of them stands: those of its layer by the
            coordinates drawn from it. They add up to the parameters of the layers.
    """

    indices: np.ndarray
    layers: np.ndarray
    weights: np.ndarray

    def labels(self) -> dict:
        """What a measurement with a dimension `coordinate` gives as its coordinates (see `schema`)."""
        return {
            "coordinate": self.indices,
            "coordinate_layer": ("coordinate", self.layers),
            "coordinate_weight": ("coordinate", self.weights),
        }


def draw_coordinates(
    problem: Problem, num_coordinates: int, *, layers: Sequence[str] | None = None
) -> GradientCoordinates:
    """Coordinates of the gradient of a problem, S of them, without repetition; always the same
    ones.

    Args:
        problem: what is optimised; only the shapes of its parameters are looked at.
        num_coordinates: S, one or more for every layer, or 0 for none.
        layers: top-level layers from which they are drawn; None for all of them.

    Raises:
        InputError: for a layer that there is not, fewer coordinates than layers, or more than
              parameters in them.
    """
    num_coordinates = integer("gradient_samples", num_coordinates, 0)
    params, _ = initial_shapes(problem)
    sizes = _layer_sizes(params)
    chosen = [name for name in sizes if layers is None or name in layers]
    if layers is not None and set(layers) - set(chosen):
        raise InputError(
            f"gradient_layers is {tuple(layers)}, with layers that there are not; expected some of "
            f"{', '.join(sizes)}"
        )
    available = np.array([sizes[name] for name in chosen])
    if num_coordinates and not len(chosen) <= num_coordinates <= available.sum():
        raise InputError(
            f"gradient_samples is {num_coordinates}; expected {len(chosen)} to {available.sum()}, "
            "one for every layer to all parameters: gradient_layers chooses layers"
        )
    random = np.random.default_rng(SEED)
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1], strict=True))
    quotas = _quotas(available, num_coordinates)
    indices = [
        starts[name] + np.sort(random.choice(size, quota, replace=False, shuffle=False))
        for name, size, quota in zip(chosen, available, quotas, strict=True)
    ]
    return GradientCoordinates(
        np.concatenate(indices),
        np.repeat(chosen, quotas),
        np.repeat(available / np.maximum(quotas, 1), quotas),
    )


def _layer_sizes(params) -> dict[str, int]:
    """Parameters of every top-level layer that has any, in the order of the flattened gradient."""
    sizes = {}
    for path, leaf in jax.tree.leaves_with_path(real_shapes(params)):
        if leaf.size:
            sizes[layer_name(path)] = sizes.get(layer_name(path), 0) + leaf.size
    return sizes


def _quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """How many of `count` coordinates come from layers of these sizes, (L,): half equally, half in
    proportion.
    """
    equal = _share(
        min(count, max(count // 2, len(sizes))), np.ones(len(sizes)), sizes
    )  # at least one for each
    return equal + _share(count - equal.sum(), sizes, sizes - equal)


def _share(count: int, parts: np.ndarray, room: np.ndarray) -> np.ndarray:
    """`count` as integers in proportion to `parts`, each at most `room`; what has no room is handed
    on to the others.
    """
    shares = np.zeros(len(parts), int)
    remaining = parts.sum()
    for layer in np.argsort(room / parts, kind="stable"):  # those that are full first come first
        shares[layer] = min(room[layer], round(count * parts[layer] / remaining))
        count, remaining = count - shares[layer], remaining - parts[layer]
    return shares
