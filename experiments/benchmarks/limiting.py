"""Measure what predicted displacements of many modes at many lags cost, beside NumPy loops.

The program prints JSON: compile and warm seconds of `stationary_msd` and `msd_from_point`, the
memory of their programs, and NumPy loops over the steps that do the same for all modes at once, in
as few operations as the recursions of the autocorrelation and of the covariance need. All take
turns on the machine. The largest difference of the results is stated. Run from the checkout: python
-m experiments.benchmarks.limiting
"""

import dataclasses
from typing import Annotated, Any

import jax
import numpy as np

from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion.theory.limiting import Hyperparameters, msd_from_point, stationary_msd

HYPER = Hyperparameters(0.01, momentum=0.9, batch_size=128)


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    modes: Annotated[int, *within(1, 10_000_000)] = 100_000
    """Modes, with eigenvalues from 1e-6 to 10."""
    lags: Annotated[int, *within(1, 1_000_000)] = 10_000
    """Lags 1, 2, ..., as many."""
    repeats: Annotated[int, *within(1, 1000)] = 3
    """Timed runs of each candidate."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    eigenvalues = np.logspace(-6, 1, options.modes)
    noise = eigenvalues * np.random.default_rng(0).uniform(size=options.modes)
    offset = np.random.default_rng(1).normal(size=options.modes)
    lags = np.arange(1, options.lags + 1)
    with jax.enable_x64(True):
        programs = {
            "stationary_msd": jax.jit(lambda h, v: stationary_msd(lags, h, v, HYPER)),
            "msd_from_point": jax.jit(lambda h, v, x: msd_from_point(lags, x, h, v, HYPER)),
        }
        arguments = {
            "stationary_msd": jax.device_put((eigenvalues, noise)),
            "msd_from_point": jax.device_put((eigenvalues, noise, offset)),
        }
        memory = {
            name: program.lower(*arguments[name]).compile().memory_analysis().temp_size_in_bytes
            for name, program in programs.items()
        }
    loops = {
        "numpy_stationary_msd": lambda: numpy_stationary_msd(options.lags, eigenvalues, noise),
        "numpy_msd_from_point": lambda: numpy_msd_from_point(
            options.lags, offset, eigenvalues, noise
        ),
    }

    def in_double(name):
        def run():
            with jax.enable_x64(True):
                return jax.block_until_ready(programs[name](*arguments[name]))

        return run

    found = timing.seconds(
        {name: in_double(name) for name in programs} | loops, repeats=options.repeats
    )
    return {
        "memory_of_program_bytes": memory,
        "seconds": found,
        "largest_relative_difference": {
            name: float(abs(np.asarray(in_double(name)()) / loops[f"numpy_{name}"]() - 1).max())
            for name in programs
        },
        "rows": [
            group.row(
                f"{name} of {options.modes} modes at {options.lags} lags",
                found[name]["rounds"],
                "NumPy",
                found[f"numpy_{name}"]["rounds"],
            )
            for name in programs
        ],
    }


def numpy_stationary_msd(steps: int, eigenvalues: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the stationary MSD (steps,) by the AR(2) recursion of the autocorrelation."""
    eta, beta, _, size = HYPER
    y = eta * eigenvalues
    variance = noise * eta**2 / (2 * size * y * (1 - beta) * (1 - y / (2 * (1 + beta))))
    before, now = np.ones_like(y), (1 + beta - y) / (1 + beta)
    turn, found = 1 + beta - y, np.empty(steps)
    for step in range(steps):
        found[step] = 2 * (variance @ (1 - now))
        before, now = now, turn * now - beta * before
    return found


def numpy_msd_from_point(
    steps: int, offset: np.ndarray, eigenvalues: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Return the MSD (steps,) from a point at rest by recursions of the mean and covariance."""
    eta, beta, _, size = HYPER
    pull, pushed = eigenvalues, noise / size
    x, v = offset.copy(), np.zeros_like(offset)
    xx, xv, vv = np.zeros((3, len(offset)))
    found = np.empty(steps)
    for step in range(steps):
        v = beta * v - pull * x
        x = x + eta * v
        vv, xv = (
            beta**2 * vv - 2 * beta * pull * xv + pull**2 * xx + pushed,
            beta * xv - pull * xx,  # of the position before and the velocity after
        )
        xx, xv = xx + 2 * eta * xv + eta**2 * vv, xv + eta * vv
        found[step] = ((x - offset) ** 2 + xx).sum()
    return found


if __name__ == "__main__":
    group.program(measure, Options, __doc__)
