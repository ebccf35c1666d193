"""Processes and pooled series with every kind of input, in every mode of JAX."""

import functools

import jax
import numpy as np
from input_table import Argument, Number, Option, input_tests, mode_tests

from sgd_diffusion.analysis import pooling, processes

KEY = jax.random.key(0)
SERIES = np.random.default_rng(0).permutation(np.arange(1.0, 41)).reshape(10, 4)
WEIGHTS = np.array([3.0, 0.0, 1.0, 2.0])
PLACES = np.array([0.0, 3, 4, 7, 9])
OPTIONS = {
    "ballistic": ["speed"],
    "brownian": ["step_std", "drift"],
    "continuous_time_random_walk": ["alpha", "step_std"],
    "fractional_brownian": ["hurst"],
    "levy_flight": ["alpha"],
    "levy_walk": ["alpha", "speed"],
    "ornstein_uhlenbeck": ["relaxation_time", "std"],
    "period_two_with_drift": ["amplitude", "drift", "step_std"],
    "persistent_walk": ["persistence_time", "step_std"],
    "scaled_brownian": ["alpha"],
}
REQUIRED = {
    "continuous_time_random_walk": {"alpha": 0.5},
    "fractional_brownian": {"hurst": 0.3},
    "levy_flight": {"alpha": 1.5},
    "levy_walk": {"alpha": 1.5},
    "ornstein_uhlenbeck": {"relaxation_time": 3},
    "period_two_with_drift": {"amplitude": 1, "drift": 2},
    "persistent_walk": {"persistence_time": 3},
    "scaled_brownian": {"alpha": 0.5},
}
PROCESSES = {
    name: functools.partial(getattr(processes, name), **REQUIRED.get(name, {})) for name in OPTIONS
}

ARGUMENTS = [
    Argument("draw_entries(samples)", lambda x: pooling.draw_entries(KEY, x, WEIGHTS, 12), SERIES),
    Argument("draw_entries(weights)", lambda w: pooling.draw_entries(KEY, SERIES, w, 12), WEIGHTS),
    Argument(
        "gaussian_surrogate(samples)",
        lambda x: pooling.gaussian_surrogate(KEY, x, [0, 0, 1, 1]),
        SERIES,
    ),
    Argument("standardized(samples)", pooling.standardized, SERIES),
    # not in single precision: equal places in another order give the eigenvectors other signs
    Argument(
        "fractional_brownian_field(squared_displacements)",
        lambda squares: processes.fractional_brownian_field(KEY, squares, hurst=0.4),
        (PLACES[:, None] - PLACES) ** 2,
        single=1e-3,
    ),
    Option(
        "draw_entries(count)", lambda count: pooling.draw_entries(KEY, SERIES, WEIGHTS, count), 12
    ),
    *(
        Number(
            f"{name}({option})",
            lambda value, name=name, option=option: getattr(processes, name)(
                KEY, 7, 2, **(REQUIRED.get(name, {}) | {option: value})
            ),
            0.5 if option != "alpha" else 1.5 if "levy" in name else 0.75,
        )
        for name, options in OPTIONS.items()
        for option in options
    ),
    Number(
        "fractional_brownian_field(hurst)",
        lambda hurst: processes.fractional_brownian_field(
            KEY, (PLACES[:, None] - PLACES) ** 2, hurst=hurst
        ),
        0.5,
    ),
    *(
        Option(f"{name}(steps)", lambda steps, process=process: process(KEY, steps, 2), 7)
        for name, process in PROCESSES.items()
    ),
    *(
        Option(f"{name}(dim)", lambda dim, process=process: process(KEY, 7, dim), 2)
        for name, process in PROCESSES.items()
    ),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
