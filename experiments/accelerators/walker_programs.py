"""The programs of walkers: on surfaces, out of a valley, between two, and of a regression."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from experiments import (
    escape_langevin,
    escape_minibatches,
    escape_rates,
    escape_saddles,
    fractal_toy,
    freezing,
    freezing_walks,
    limiting_dynamics,
    limiting_regression,
    toy_landscapes,
    toy_walks,
)
from experiments.accelerators.network_programs import blank_network
from experiments.accelerators.programs import DATA_SETS, Made, Part, Program, floats, keys, shapes
from experiments.escape_sweeps import MOST, Setting
from experiments.linear_regression import Regression, simulate
from sgd_diffusion.landscape.fractal_surfaces import Surface
from sgd_diffusion.theory.limiting import Hyperparameters
from sgd_diffusion.walkers import escape_times
from sgd_diffusion.walkers.steps import as_pytree


def programs() -> Iterator[Program]:
    """Yield the programs of all presets that have walkers."""
    for preset, toy in fractal_toy.PRESETS.items():
        for part, make in _toy(toy).items():
            yield Program("fractal_toy", preset, part, Part(make))
    for preset, escape in escape_rates.PRESETS.items():
        for part, make in _escapes(escape).items():
            yield Program("escape_rates", preset, part, Part(make, shared=True))
    for preset, valleys in freezing.PRESETS.items():
        for part, make in _valleys(valleys).items():
            yield Program("freezing", preset, part, Part(make, shared=True))
    for preset, limiting in limiting_dynamics.PRESETS.items():
        for part, make in _regression(limiting).items():
            yield Program("limiting_dynamics", preset, part, Part(make))


def _toy(options: fractal_toy.Options) -> dict[str, Callable[[Any], Made]]:
    side = 2**options.levels + 1

    def surfaces(count):
        return Surface(floats(count, side, side), floats(count))

    def walks(count, walkers, rates, noises):
        walk = functools.partial(toy_walks.walked, options, learning_rates=rates, noise_stds=noises)
        starts = floats(count, walkers, 2)
        return lambda devices: (jax.jit(walk), (keys(count), surfaces(count), starts))

    def made(function, *arguments):
        return lambda devices: (jax.jit(functools.partial(function, options)), arguments)

    count = options.landscapes
    return {
        "landscapes": lambda devices: (
            jax.jit(functools.partial(toy_landscapes.diamond_squares, options, options.hurst)),
            (keys(count),),
        ),
        "smoothed": made(toy_landscapes.smoothed_ones, surfaces(count)),
        "shuffled": made(toy_landscapes.shuffled_ones, keys(count), surfaces(count)),
        "walks": walks(count, options.walkers, [options.learning_rate], [options.noise_std]),
        "phases": walks(
            options.phase_landscapes,
            options.phase_walkers,
            list(options.learning_rates),
            list(options.noise_stds),
        ),
        "free walkers": made(toy_walks.free_walks, keys(toy_walks.FREE_WALKERS)),
    }


def _escapes(options: escape_rates.Options) -> dict[str, Callable[[Any], Made]]:
    """One program of each kind of walker: the settings of a line are arguments of one program."""
    inputs, labels = escape_minibatches.random_labels()

    def langevin(landscape, setting):
        return escape_langevin.langevin(landscape, None, "", [setting]).walkers(setting)

    def network():
        own, size = blank_network(), escape_saddles.BARRIERS[0].batch_sizes[0]
        start = np.zeros(own.size, np.float32)
        return escape_saddles.steps(own, size), start, escape_saddles.outside(start + 1, start + 1)

    white, sgd = Setting(0.02, diffusion=0.06), Setting(1 / 3, 3)
    kinds = {
        "white": {
            "double well": lambda: langevin(escape_langevin.DOUBLE_WELL, white),
            "Styblinski-Tang": lambda: langevin(escape_langevin.SMOOTH, white),
        },
        "sgd": {"double well": lambda: langevin(escape_langevin.SHALLOW, sgd)},
        "minibatch": {
            "logistic": lambda: escape_minibatches.logistic_walkers(inputs, labels, sgd),
            "logistic, normal": lambda: escape_minibatches.normal_walkers(inputs, labels, sgd),
        },
        "warning": {
            "shifts": lambda: escape_minibatches.shifted_walkers(sgd),
            "shifts, normal": lambda: langevin(escape_minibatches.STYBLINSKI_TANG, sgd),
        },
        "saddle": {"network": network},
    }
    return {
        f"{panel}/{name}": functools.partial(_escape, walkers, _trials(options, panel))
        for panel, of_panel in kinds.items()
        if panel in options.panels
        for name, walkers in of_panel.items()
    }


def _trials(options: escape_rates.Options, panel: str) -> int:
    """How many walkers a point of a panel has."""
    return options.trials // escape_saddles.TRIALS if panel == "saddle" else options.trials


def _escape(walkers, repeats, devices: Sequence[jax.Device] | None) -> Made:
    def times(key, step, start, is_outside):
        return escape_times(
            key, step, start, is_outside, repeats=repeats, max_steps=MOST, devices=devices
        )

    step, start, is_outside = walkers()
    return jax.jit(times), shapes(
        jax.random.key(0), step, start, as_pytree("is_outside", is_outside)
    )


def _valleys(options: freezing.Options) -> dict[str, Callable[[Any], Made]]:
    def sweep(changes, devices):
        return (
            jax.jit(lambda key: freezing_walks.simulated(key, options, changes, devices)),
            shapes(jax.random.key(0)),
        )

    changes = freezing_walks.changes_of(options)
    return {name: functools.partial(sweep, own) for name, own in changes}


def _regression(options: limiting_dynamics.Options) -> dict[str, Callable[[Any], Made]]:
    count, _, shape, outputs = DATA_SETS[options.dataset]
    modes = int(np.prod(shape)) + 1  # at most
    hyper = Hyperparameters(
        options.regression_learning_rate, options.momentum, batch_size=options.batch_size
    )
    ranks = np.array([rank for rank in options.ranks if rank < modes])

    def make(steps, sampling, devices):
        def walks(keys, inputs, residuals, start):
            problem = Regression(np.zeros(modes), inputs, residuals, np.zeros((modes, outputs)))
            return simulate(
                keys, problem, hyper, start, steps=steps, modes=ranks, sampling=sampling
            )

        arguments = keys(options.regression_seeds), floats(count, modes)
        return jax.jit(walks), (*arguments, floats(count, outputs), floats(modes, outputs))

    replacement, epochs = limiting_regression.SAMPLINGS
    return {
        f"regression, {replacement}": functools.partial(
            make, options.regression_steps, replacement
        ),
        f"regression, {epochs}": functools.partial(make, options.regression_steps, epochs),
        "spirals": functools.partial(make, options.spiral_steps, replacement),
    }
