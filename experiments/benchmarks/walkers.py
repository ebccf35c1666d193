"""Measure what walkers on fractal surfaces cost, and compare them with vectorized NumPy.

The program prints JSON: steps a second and memory of a large ensemble. All walkers on all surfaces
are one call. Its peak memory is that of the process after it, surfaces included. The NumPy walkers
take the same steps, all of a surface at once in float32. They reflect at the walls, since redrawing
is a loop there, and do a few of the surfaces. Surfaces by midpoint displacement are compared with
NumPy's as well: many of them, one after the other (lax.map) and at once (vmap). All take turns on
the machine. Run from the checkout: python -m experiments.benchmarks.walkers
"""

import dataclasses
import functools
import resource
import sys
from typing import Annotated, Any

import jax
import numpy as np

from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion._types import Key
from sgd_diffusion.landscape.fractal_surfaces import Surface, diamond_square
from sgd_diffusion.walkers.walk import walk_ensemble

ROUGHNESS, LEARNING_RATE, NOISE_STD = 3.0, 0.02, 0.01


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    surfaces: Annotated[int, *within(1, 1000)] = 100
    """Surfaces."""
    walkers: Annotated[int, *within(1, 100_000)] = 1000
    """Walkers on each of them."""
    steps: Annotated[int, *within(1, 100_000)] = 1000
    """Steps of each walker."""
    every: Annotated[int, *within(1, 100_000)] = 10
    """Which positions are recorded."""
    levels: Annotated[int, *within(2, 12)] = 10
    """Surfaces have 2^levels + 1 points along a side."""
    numpy_surfaces: Annotated[int, *within(1, 1000)] = 2
    """Surfaces that the NumPy walkers do."""
    surfaces_timed: Annotated[int, *within(1, 1000)] = 20
    """Surfaces that are made in the comparison of surfaces."""
    repeats: Annotated[int, *within(1, 1000)] = 3
    """Timed runs of each candidate; three times as many of surfaces."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    keys = jax.random.split(jax.random.key(0), options.surfaces)
    surfaces = jax.block_until_ready(
        jax.jit(lambda keys: jax.lax.map(functools.partial(surface, options), keys))(keys)
    )
    starts = np.random.default_rng(0).uniform(-1, 1, size=(options.walkers, 2)).astype(np.float32)

    def ensemble(boundary):
        walks = jax.jit(
            functools.partial(
                walk_ensemble,
                learning_rates=[LEARNING_RATE],
                noise_stds=[NOISE_STD],
                steps=options.steps,
                every=options.every,
                boundary=boundary,
            )
        )
        return lambda: walks(keys, surfaces, starts)

    jax.block_until_ready(ensemble("reject")())
    peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    heights = [np.asarray(each) for each in surfaces.heights[: options.numpy_surfaces]]
    candidates = {boundary: ensemble(boundary) for boundary in ("reject", "reflect", "periodic")}
    candidates["numpy_reflect"] = lambda: [
        numpy_walk(each, starts, options.steps) for each in heights
    ]
    found = timing.seconds(candidates, repeats=options.repeats)
    done = {
        name: options.walkers
        * options.steps
        * (options.numpy_surfaces if name == "numpy_reflect" else options.surfaces)
        for name in found
    }
    speed = {name: done[name] / times["median"] for name, times in found.items()}
    making = timing.seconds(surface_candidates(options), repeats=3 * options.repeats)
    side = 2**options.levels + 1
    return {
        "peak_memory_bytes": peak_memory_bytes,
        "seconds": found,
        "walker_steps_per_second": speed,
        "surfaces": {
            "seconds": making,
            "milliseconds_per_surface": {
                name: 1e3 * times["median"] / options.surfaces_timed
                for name, times in making.items()
            },
        },
        "rows": [
            group.row(
                "step of a walker on a fractal surface",
                found["reflect"]["rounds"],
                "NumPy",
                found["numpy_reflect"]["rounds"],
                amounts=(done["reflect"], done["numpy_reflect"]),
            ),
            group.row(
                f"fractal surface of {side} x {side} points",
                making["map"]["rounds"],
                "NumPy",
                making["numpy"]["rounds"],
                amounts=(options.surfaces_timed,) * 2,
            ),
        ],
    }


def surface(options: Options, key: Key) -> Surface:
    """Return the published surface."""
    return diamond_square(key, options.levels, roughness=ROUGHNESS)


def surface_candidates(options: Options) -> dict:
    """Return makers of several surfaces: one after the other, at once, and in NumPy."""
    make, random = functools.partial(surface, options), np.random.default_rng(0)
    keys = jax.random.split(jax.random.key(1), options.surfaces_timed)
    return {
        "map": functools.partial(jax.jit(lambda keys: jax.lax.map(make, keys)), keys),
        "vmap": functools.partial(jax.jit(jax.vmap(make)), keys),
        "numpy": lambda: [numpy_diamond_square(random, options.levels) for _ in keys],
    }


def numpy_diamond_square(random: np.random.Generator, levels: int) -> np.ndarray:
    """Return a surface by midpoint displacement in float32, whole levels at once."""
    heights = np.zeros((2**levels + 1,) * 2, np.float32)
    for level in range(levels):
        half, step, width = (
            2 ** (levels - level - 1),
            2 ** (levels - level),
            np.float32(ROUGHNESS / 2**level),
        )

        def noise(shape, width=width):
            return (random.random(shape, dtype=np.float32) - np.float32(0.5)) * width

        corners = heights[::step, ::step]
        centers = (
            corners[:-1, :-1] + corners[1:, :-1] + corners[:-1, 1:] + corners[1:, 1:]
        ) / 4 + noise((2**level,) * 2)
        heights[half::step, half::step] = centers
        neighbors = np.float32([3] + [4] * (2**level - 1) + [3])
        along_rows = corners[:, :-1] + corners[:, 1:]
        along_rows[1:] += centers
        along_rows[:-1] += centers
        heights[::step, half::step] = along_rows / neighbors[:, None] + noise(along_rows.shape)
        along_columns = corners[:-1] + corners[1:]
        along_columns[:, 1:] += centers
        along_columns[:, :-1] += centers
        heights[half::step, ::step] = along_columns / neighbors + noise(along_columns.shape)
    return heights


def numpy_walk(heights: np.ndarray, starts: np.ndarray, steps: int) -> np.ndarray:
    """Return last positions of walkers on [-1, 1]^2 that are mirrored at the walls.

    Gradients are bilinear.
    """
    random, position = np.random.default_rng(1), starts.copy()
    cells = len(heights) - 1
    for _ in range(steps):
        place = (position + 1) * np.float32(cells / 2)
        corner = np.minimum(place.astype(np.int32), cells - 1)
        (i, j), (s, t) = corner.T, (place - corner).T
        a, b, c, d = heights[i, j], heights[i + 1, j], heights[i, j + 1], heights[i + 1, j + 1]
        slopes = np.stack(
            [(b - a) * (1 - t) + (d - c) * t, (c - a) * (1 - s) + (d - b) * s], axis=1
        ) * np.float32(cells / 2)
        position = position - np.float32(LEARNING_RATE) * slopes
        position += np.float32(NOISE_STD) * random.standard_normal(position.shape, dtype=np.float32)
        position = 1 - np.abs((position + 1) % 4 - 2)
    return position


if __name__ == "__main__":
    group.program(measure, Options, __doc__)
