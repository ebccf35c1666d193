"""Measure what walkers in two valleys cost, beside a vectorized NumPy loop.

The program prints JSON. The phase diagram of Yang et al. (arXiv:2601.10962) is one call: 10 x 10
pairs of learning rate and noise. The peak memory is that of the process after it. Then fewer steps
of it and the NumPy loop take turns on the machine, with the compile time apart. NumPy takes the
same steps in float32. It has a thread for every core, each with one pair at a time, which stays in
the cache. The shares in the flat valley of both agree up to the standard error of two shares. Run
from the checkout: python -m experiments.benchmarks.freezing
"""

import concurrent.futures
import dataclasses
import functools
import os
import resource
import sys
import time
from typing import Annotated, Any

import jax
import numpy as np

from experiments import command_line
from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers.two_valleys import TwoValleyWalks, simulate

GRID = np.logspace(-2, -1, 10, dtype=np.float32)
START_Y = 5.0
VALLEYS = TwoValleys()


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    walkers: Annotated[int, *within(1, 100_000)] = 2000
    """Walkers of each of the 100 pairs."""
    diagram_steps: Annotated[int, *within(1, 1_000_000)] = 20_000
    """Steps of the phase diagram."""
    steps: Annotated[int, *within(1, 100_000)] = 500
    """Steps in the comparison with NumPy."""
    repeats: Annotated[int, *within(1, 1000)] = 3
    """Timed runs of each candidate."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    diagram = phase_diagram(options)
    candidates = {
        "simulate": lambda: walks(options.walkers, options.steps).final_x,
        "numpy": lambda: numpy_walks(options.walkers, options.steps),
    }
    seconds = timing.seconds(candidates, repeats=options.repeats)
    done = GRID.size**2 * options.walkers * options.steps
    speed = {name: done / found["median"] for name, found in seconds.items()}
    flat = {name: float((np.asarray(found()) > 0).mean()) for name, found in candidates.items()}
    return {
        "phase_diagram": diagram,
        "seconds": seconds,
        "walker_steps_per_second": speed,
        "flat_share": flat,
        "standard_error_of_difference": (0.5 / (GRID.size**2 * options.walkers)) ** 0.5,
        "rows": [
            group.row(
                "step of a walker in two valleys",
                seconds["simulate"]["rounds"],
                "NumPy",
                seconds["numpy"]["rounds"],
                amounts=(done, done),
            )
        ],
    }


def walks(walkers: int, steps: int) -> TwoValleyWalks:
    """Return walks of all pairs, on all devices."""
    return simulate(
        jax.random.key(0),
        GRID,
        GRID,
        walkers=walkers,
        steps=steps,
        start_y=START_Y,
        landscape=VALLEYS,
        devices=jax.devices(),
    )


def phase_diagram(options: Options) -> dict[str, float]:
    """Return what the whole diagram costs, compilation included, and its largest shares."""
    begin, busy, before = time.perf_counter(), time.process_time(), peak_bytes()
    found = jax.block_until_ready(walks(options.walkers, options.diagram_steps))
    return {
        "walker_steps": found.final_x.size * options.diagram_steps,
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - busy,
        "peak_memory_bytes": peak_bytes(),
        "peak_memory_bytes_before": before,
        "largest_flat_fraction": float(found.flat_fraction.max()),
        "largest_unfrozen_fraction": float(found.unfrozen_fraction.max()),
    }


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def numpy_walks(walkers: int, steps: int) -> np.ndarray:
    """Return x (pairs, walkers) at the end, with a thread for every core."""
    pairs = [(rate, sigma) for rate in GRID for sigma in GRID]
    generators = np.random.default_rng(0).spawn(len(pairs))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        walk = functools.partial(numpy_walk, walkers, steps)
        return np.stack(list(threads.map(walk, generators, pairs)))


def numpy_walk(
    walkers: int, steps: int, random: np.random.Generator, pair: tuple[np.float32, np.float32]
) -> np.ndarray:
    """Return x of the walkers of one pair at the end."""
    rate, strength = pair[0], np.sqrt(2 * pair[1])
    x = np.where(np.arange(walkers) % 2, 0.01, -0.01).astype(np.float32)
    y, freezing_step, freezing_y = np.full_like(x, START_Y), np.ones(walkers, np.int32), 0 * x
    for now in range(2, steps + 2):
        slope_x, slope_y, along_x, mixed, along_y = numpy_derivatives(x, y)
        mean, half = (along_x + along_y) / 2, (along_x - along_y) / 2
        spread = np.sqrt(half * half + mixed * mixed)
        large, small = (np.sqrt(np.maximum(mean + each, 0)) for each in (spread, -spread))
        by_identity, by_hessian = (large + small) / 2, (large - small) / (2 * spread)
        first, second = random.standard_normal((2, walkers), dtype=np.float32)
        noise_x = by_identity * first + by_hessian * (half * first + mixed * second)
        noise_y = by_identity * second + by_hessian * (mixed * first - half * second)
        before = x >= 0
        x = x - rate * (slope_x + strength * noise_x)
        y = y - rate * (slope_y + strength * noise_y)
        crosses = (x >= 0) != before
        freezing_step[crosses], freezing_y[crosses] = now, y[crosses]
    return x


def numpy_derivatives(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the slopes by x and y, and the second derivatives by xx, xy and yy."""
    sign = np.where(x >= 0, np.float32(1), np.float32(-1))
    place, u = np.where(x >= 0, np.float32(VALLEYS.x1), np.float32(VALLEYS.x2)), np.abs(x)
    apart, narrow = 1 / (y + np.float32(VALLEYS.y_b)), 1 / (y + np.float32(VALLEYS.y_f))
    width = 2 * place * y * apart
    width_1 = 2 * place * np.float32(VALLEYS.y_b) * apart * apart
    width_2 = -2 * width_1 * apart
    root = narrow / (place * apart)  # of 1 / f, the stiffness, for f0 = x0 = 1
    change = narrow - apart  # minus the logarithmic derivative of the root
    stiff = root * root
    stiff_1 = -2 * change * stiff
    stiff_2 = (4 * change * change + 2 * (narrow * narrow - apart * apart)) * stiff
    fall = np.float32(VALLEYS.L_d) * np.exp(-y / np.float32(VALLEYS.y_d))
    profile = u * (u - width)
    return (
        sign * (2 * u - width) * stiff,
        -fall / np.float32(VALLEYS.y_d) - u * width_1 * stiff + profile * stiff_1,
        2 * stiff,
        sign * ((2 * u - width) * stiff_1 - width_1 * stiff),
        fall / np.float32(VALLEYS.y_d**2)
        - u * (width_2 * stiff + 2 * width_1 * stiff_1)
        + profile * stiff_2,
    )


if __name__ == "__main__":
    command_line.use_cores_as_devices()
    group.program(measure, Options, __doc__)
