"""Which coordinates of the gradient are kept, and how many parameters each of them stands for.

The entries of a gradient differ in size from layer to layer, and a uniform draw would hardly see
the small layers. So the layers share half of the coordinates equally, and the other half in
proportion to their sizes. Every coordinate gets a weight. A pool of entries that is drawn with
these weights is uniform over the parameters again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike, PyTree
from sgd_diffusion.dynamics.parameters import initial_shapes, layer_name, real_shapes
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = ["GradientCoordinates", "draw_coordinates"]

# All members, windows and runs get the same coordinates, so that they can be compared.
SEED = 0


class GradientCoordinates(NamedTuple):
    """Some coordinates of the gradient.

    Attributes:
        indices: (S,) increasing positions in the flattened gradient (see `parameters.flatten`), its
            leaves in the order of `jax.tree.leaves`.
        layers: (S,) names of the top-level layers that they belong to.
        weights: (S,) numbers of parameters that they stand for: those of a layer divided by its
            coordinates. They add up to the parameters of the layers.
    """

    indices: Int[np.ndarray, "coordinate"]
    layers: Shaped[np.ndarray, "coordinate"]
    weights: Float[np.ndarray, "coordinate"]

    def labels(self) -> dict[str, Any]:
        """Return the coordinates of a measurement with a dimension `coordinate` (see `schema`)."""
        return {
            "coordinate": self.indices,
            "coordinate_layer": ("coordinate", self.layers),
            "coordinate_weight": ("coordinate", self.weights),
        }


def draw_coordinates(
    problem: Problem, num_coordinates: IntegerLike, *, layers: Sequence[str] | None = None
) -> GradientCoordinates:
    """Return S coordinates of the gradient of a problem, without repetition and always the same.

    Args:
        problem: what SGD optimizes; only the shapes of its parameters matter.
        num_coordinates: S, one or more for every layer, or 0 for none.
        layers: top-level layers from which they are drawn; None for all of them.

    Raises:
        InputError: a layer does not exist, or there are fewer coordinates than layers or more than
            parameters in them.
    """
    num_coordinates = integer("gradient_samples", num_coordinates, 0)
    params, _ = initial_shapes(problem)
    sizes = _layer_sizes(params)
    chosen = [name for name in sizes if layers is None or name in layers]
    if layers is not None and set(layers) - set(chosen):
        raise invalid(
            "gradient_layers",
            f"is {tuple(layers)}, with layers that there are not",
            f"some of {', '.join(sizes)}",
        )
    available = np.array([sizes[name] for name in chosen])
    if num_coordinates and not len(chosen) <= num_coordinates <= available.sum():
        raise invalid(
            "gradient_samples",
            f"is {num_coordinates}",
            f"{len(chosen)} to {available.sum()}, one for every layer to all parameters",
            "gradient_layers chooses layers",
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


def _layer_sizes(params: PyTree) -> dict[str, int]:
    """Return the parameters of every top-level layer that has any, in the order of the gradient."""
    sizes: dict[str, int] = {}
    for path, leaf in jax.tree.leaves_with_path(real_shapes(params)):
        if leaf.size:
            sizes[layer_name(path)] = sizes.get(layer_name(path), 0) + leaf.size
    return sizes


def _quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Return how many of `count` coordinates come from layers of these sizes.

    Half of them are shared equally, half in proportion to the sizes.

    Args:
        sizes: (L,) parameters of the layers.
        count: number of coordinates.

    Returns:
        (L,).
    """
    # Every layer gets at least one.
    equal = _share(min(count, max(count // 2, len(sizes))), np.ones(len(sizes)), sizes)
    return equal + _share(count - equal.sum(), sizes, sizes - equal)


def _share(count: int | np.integer, parts: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return `count` as integers in proportion to `parts`, each at most `room`.

    What has no room goes to the others.
    """
    shares = np.zeros(len(parts), int)
    remaining = parts.sum()
    for layer in np.argsort(room / parts, kind="stable"):  # those that are full first come first
        shares[layer] = min(room[layer], round(count * parts[layer] / remaining))
        count, remaining = count - shares[layer], remaining - parts[layer]
    return shares
