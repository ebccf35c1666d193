"""The landscapes of experiments.fractal_toy: random ones, controls, wide basins, and starts."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.toy_kinds import CONVEX, EXTENT
from sgd_diffusion._types import Key
from sgd_diffusion.landscape.fractal_surfaces import (
    Surface,
    cone,
    diamond_square,
    paraboloid,
    shuffled,
    smoothed,
)
from sgd_diffusion.walkers.basins import Basin, wide_basin

# Each purpose has a key of its own.
PURPOSES = ("surfaces", "walks", "shuffles", "starts", "phases", "free walkers")


def key(options: Any, purpose: str) -> Key:
    """Return the PRNG key for one purpose."""
    return jax.random.split(jax.random.key(options.seed), len(PURPOSES))[PURPOSES.index(purpose)]


def diamond_squares(options: Any, hurst: float, keys: Key) -> Surface:
    """Return landscapes from keys (S,), with heights (S, N, N)."""
    return _one_by_one(
        diamond_square,
        keys,
        levels=options.levels,
        roughness=options.roughness,
        hurst=hurst,
        extent=EXTENT,
    )


def smoothed_ones(options: Any, surfaces: Surface) -> Surface:
    """Return landscapes on scales above the smoothing."""
    return _one_by_one(smoothed, surfaces, std=options.smoothing * 2**options.levels)


def shuffled_ones(options: Any, keys: Key, surfaces: Surface) -> Surface:
    """Return landscapes with their heights in random order, smoothed."""
    return _one_by_one(
        shuffled,
        keys,
        surfaces,
        smoothing=options.shuffled_smoothing,
        power=options.shuffled_power,
    )


def _one_by_one(make, *inputs, **options):
    """Apply a function to every one of the inputs.

    It is compiled once for all calls with the same options.
    """
    return _program(make, tuple(options.items()))(inputs)


@functools.cache
def _program(make, options):
    return jax.jit(functools.partial(jax.lax.map, lambda inputs: make(*inputs, **dict(options))))


class Landscapes:
    """Landscapes of an experiment, their controls, wide basins, and the starts of walkers.

    They are made when asked for.

    Args:
        options: of the experiment.
    """

    def __init__(self, options: Any):
        self.options = options
        self._surface_keys, self.walk_keys, self._shuffle_keys = (
            jax.random.split(key(options, purpose), options.landscapes)
            for purpose in ("surfaces", "walks", "shuffles")
        )

    def surfaces(self, kind: str, which: slice = slice(None)) -> Surface:
        """Return surfaces of one kind, heights (S, N, N)."""
        options = self.options
        if kind in CONVEX:
            one = {"cone": cone, "paraboloid": paraboloid}[kind](
                2**options.levels + 1, extent=EXTENT
            )
            return jax.tree.map(
                lambda leaf: jnp.broadcast_to(leaf, (len(self.walk_keys[which]), *leaf.shape)), one
            )
        rough = diamond_squares(options, options.hurst, self._surface_keys[which])
        if kind == "smoothed":
            return smoothed_ones(options, rough)
        if kind == "shuffled":
            return shuffled_ones(options, self._shuffle_keys[which], rough)
        return rough if kind == "fractal" else rough._replace(heights=jnp.zeros_like(rough.heights))

    @functools.cached_property
    def basins(self) -> list[Basin]:
        """Return the wide basins of the fractal landscapes."""
        return [
            wide_basin(Surface(heights, EXTENT), smoothing=self.options.smoothing)
            for heights in self.surfaces("fractal").heights
        ]

    @functools.cached_property
    def selected(self) -> np.ndarray:
        """Return which landscapes have a wide minimum."""
        return np.array(
            [
                basin.area >= self.options.min_area
                and basin.margin >= self.options.min_margin * EXTENT
                for basin in self.basins
            ]
        )

    def regions(self, kind: str) -> np.ndarray:
        """Return where walkers on one kind of surface are in the basin, (S, N, N).

        Convex surfaces have their own basin, and all others that of the landscape.
        """
        if kind in CONVEX:
            surface = jax.tree.map(lambda leaf: leaf[0], self.surfaces(kind, slice(1)))
            one = wide_basin(surface, smoothing=self.options.smoothing)
            return np.broadcast_to(one.region, (self.options.landscapes, *one.region.shape))
        return np.stack([basin.region for basin in self.basins])

    def starts(self, kind: str) -> jax.Array:
        """Return the starts of the walkers, (S, W, 2).

        They are the same on all but convex surfaces; there they are the corner.
        """
        shape = (self.options.landscapes, self.options.walkers, 2)
        if kind in CONVEX:
            return jnp.full(shape, EXTENT / 2)
        return jax.random.uniform(
            key(self.options, "starts"), shape, minval=-EXTENT / 2, maxval=EXTENT / 2
        )
