"""Measure what simulated escapes from a valley cost, beside vectorized NumPy loops.

The program prints JSON: trials times steps a second of `escape_times`, with the compile time apart.
Walkers leave the double well by white noise, and a logistic double well by mini-batches of one
example. Counted are the steps until a walker leaves. The NumPy loops take the same steps in
float32, all walkers at once, and drop those who left. All take turns on the machine. The mean times
of both agree up to the standard error of two means. Run from the checkout: python -m
experiments.benchmarks.escape
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import command_line
from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion.walkers import escape_times, langevin_steps, minibatch_steps

MOST = 10_000_000  # steps, which no walker takes
NOISE, NOISE_RATE = 0.05, 0.05
FEATURES, EXAMPLES, DATA_RATE = 5, 500, 0.075
# In float32, unlike `theory.escape.logistic_double_well`, since NumPy's are too.
WELL = np.float32(0.5**0.5)


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    trials: Annotated[int, *within(1, 1_000_000)] = 1000
    """Walkers."""
    repeats: Annotated[int, *within(1, 1000)] = 3
    """Timed runs of each candidate."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    random = np.random.default_rng(3)
    inputs = random.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    labels = (random.random(EXAMPLES) < 0.5).astype(np.float32)
    noise = langevin_steps(slope, NOISE, NOISE_RATE)
    data = minibatch_steps(logistic, (inputs, labels), DATA_RATE, 1)
    valley = np.full(FEATURES, -WELL)

    def escape(step, start, is_outside):
        return escape_times(
            jax.random.key(0),
            step,
            start,
            is_outside,
            repeats=options.trials,
            max_steps=MOST,
            devices=jax.devices(),
        )

    candidates = {
        "white_noise": lambda: escape(noise, np.float32(-1), past_minimum),
        "minibatches": lambda: escape(data, valley, past_zero),
        "numpy_white_noise": lambda: numpy_escape(
            numpy_noise, np.full((options.trials, 1), -1, np.float32), 1
        ),
        "numpy_minibatches": lambda: numpy_escape(
            numpy_minibatch(inputs, labels), np.tile(valley, (options.trials, 1)), 0
        ),
    }
    seconds = timing.seconds(candidates, repeats=options.repeats)
    times = {name: np.asarray(candidate(), np.float64) for name, candidate in candidates.items()}
    speed = {name: times[name].sum() / found["median"] for name, found in seconds.items()}
    return {
        "seconds": seconds,
        "mean_steps": {name: each.mean() for name, each in times.items()},
        "trial_steps_per_second": speed,
        "rows": [
            group.row(
                f"step of an escape {why}",
                seconds[name]["rounds"],
                "NumPy",
                seconds[f"numpy_{name}"]["rounds"],
                amounts=(times[name].sum(), times[f"numpy_{name}"].sum()),
            )
            for name, why in (
                ("white_noise", "by white noise"),
                ("minibatches", "by mini-batches"),
            )
        ],
    }


def slope(x: jax.Array) -> jax.Array:
    """Return the slope of the double well."""
    return x * x * x - x


def past_minimum(x: jax.Array) -> jax.Array:
    """Return whether a walker is beyond the other minimum."""
    return x > 1


def logistic(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the loss of one example, with a double well in every coordinate."""
    logit = x @ theta
    return jax.nn.softplus(logit) - y * logit + ((theta**4 - theta**2) / 2).sum()


def past_zero(theta: jax.Array) -> jax.Array:
    """Return whether a walker is over the saddle of some coordinate."""
    return jnp.any(theta > 0)


def numpy_escape(step, theta: np.ndarray, boundary: float) -> np.ndarray:
    """Return the steps after which walkers (R, n) leave, with those who have left dropped."""
    random, now = np.random.default_rng(0), 0
    times, trial = np.empty(len(theta), np.int32), np.arange(len(theta))
    while len(trial):
        now += 1
        theta = step(random, theta)
        outside = (theta > boundary).any(axis=1)
        if outside.any():
            times[trial[outside]] = now
            theta, trial = theta[~outside], trial[~outside]
    return times


def numpy_noise(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Return walkers after a step of white noise on the double well."""
    normal = random.standard_normal(x.shape, dtype=np.float32)
    return (
        x - np.float32(NOISE_RATE) * slope(x) + np.float32((2 * NOISE_RATE * NOISE) ** 0.5) * normal
    )


def numpy_minibatch(inputs: np.ndarray, labels: np.ndarray):
    """Return the step of SGD with one example, for walkers on the logistic double well."""

    def step(random, theta):
        chosen = random.integers(len(inputs), size=len(theta))
        x = inputs[chosen]
        logit = np.einsum("rn,rn->r", x, theta)
        misfit = 1 / (1 + np.exp(-logit)) - labels[chosen]
        gradient = misfit[:, None] * x + 2 * theta * theta * theta - theta
        return theta - np.float32(DATA_RATE) * gradient

    return step


if __name__ == "__main__":
    command_line.use_cores_as_devices()
    group.program(measure, Options, __doc__)
