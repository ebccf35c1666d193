"""The programs of tables and predictions: fits of laws, tails, surfaces, passage times, freezing.

What experiments analyze of a path is measured in its window, and is in the program `window`.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import (
    escape_langevin,
    escape_minibatches,
    escape_rates,
    freezing,
    freezing_tables,
    freezing_theory,
    freezing_walks,
    gradient_tails,
    loss_surface,
)
from experiments.accelerators.programs import Part, Program, doubles, floats, shapes
from experiments.escape_sweeps import PLACES, Landscape
from sgd_diffusion.analysis import pooling, tails
from sgd_diffusion.analysis.stable import comparison, fits
from sgd_diffusion.landscape.fractal_surfaces import fractional_brownian_surface
from sgd_diffusion.tables.gradient_tails import MOVING, NUM_BLOCKS, RIVALS
from sgd_diffusion.tables.gradient_tails import PLACES as TIMES
from sgd_diffusion.theory.escape import mean_first_passage_time, quasi_potential
from sgd_diffusion.theory.freezing import (
    TwoValleys,
    effective_potential,
    flat_occupation,
    freezing_point,
)


def programs() -> Iterator[Program]:
    """Yield the programs of all presets of these experiments."""
    for experiment, module, parts in (
        ("gradient_tails", gradient_tails, _tails),
        ("loss_surface", loss_surface, _calibration),
        ("escape_rates", escape_rates, _passages),
        ("freezing", freezing, _freezing),
    ):
        for preset, options in module.PRESETS.items():
            for title, part in parts(options).items():
                yield Program(experiment, preset, title, part)


def on_host_arrays(function: Callable[..., Any], arguments: Callable[[], tuple]) -> Part:
    """Return a program of a function that tables call with float64 arrays, outside of others.

    Such functions see to their precision themselves. A program around one has to be in 64-bit mode
    for that.
    """
    return Part(lambda devices: (jax.jit(function), arguments()), wide=True)


def _tails(options: gradient_tails.Options) -> dict[str, Part]:
    count, steps, coordinates = options.num_entries, options.window, options.gradient_samples
    places = jax.ShapeDtypeStruct((count,), jnp.int32)

    def entries():
        return doubles(count)

    def fit():
        return jax.eval_shape(fits.fit, entries())

    def key():
        return shapes(jax.random.key(0))

    def others(values, fit):
        return [
            comparison.compare_with_normal(values, fit, num_blocks=NUM_BLOCKS),
            *(
                comparison.compare(values, fit, rival, num_blocks=NUM_BLOCKS)
                for rival in RIVALS[1:]
            ),
        ]

    def indices(values):
        return tails.hill(values), tails.mohammadi_quantile(values), tails.excess_kurtosis(values)

    def surrogate(key, samples):
        return pooling.gaussian_surrogate(key, samples, np.arange(coordinates) % 4)

    def fluctuations(losses):
        return tails.loss_changes(losses), tails.moving_variance(losses, MOVING)

    replicates = functools.partial(
        fits.bootstrap_fit, num_times=TIMES, num_resamples=options.num_resamples
    )
    samples = floats(steps, coordinates)
    return {
        "entries": on_host_arrays(
            functools.partial(pooling.draw_entries, count=count),
            lambda: (*key(), samples, floats(coordinates)),
        ),
        "standardized": on_host_arrays(pooling.standardized, lambda: (samples,)),
        "Gaussian surrogate": on_host_arrays(surrogate, lambda: (*key(), samples)),
        "stable fit": on_host_arrays(fits.fit, lambda: (entries(),)),
        "bootstrap": on_host_arrays(
            lambda key, values, fit, times: replicates(key, values, fit, times=times),
            lambda: (*key(), entries(), fit(), places),
        ),
        "other laws": on_host_arrays(others, lambda: (entries(), fit())),
        "tail indices": on_host_arrays(indices, lambda: (entries(),)),
        "loss fluctuations": on_host_arrays(fluctuations, lambda: (floats(steps + 1),)),
    }


def _calibration(options: loss_surface.Options) -> dict[str, Part]:
    surface = functools.partial(fractional_brownian_surface, size=options.grid, hurst=0.5)
    return {
        "surface of the calibration": on_host_arrays(surface, lambda: shapes(jax.random.key(0)))
    }


def _passages(options: escape_rates.Options) -> dict[str, Part]:
    def of(landscape: Landscape) -> Part:
        def passage(strength):
            ends = landscape.minimum, landscape.target
            time = mean_first_passage_time(
                landscape.slope,
                lambda x: strength * landscape.variance(x),
                *ends,
                2 * ends[0] - ends[1],
                num_points=PLACES,
            )
            return time, quasi_potential(
                landscape.slope, landscape.variance, landscape.minimum, landscape.saddle
            )

        return on_host_arrays(passage, lambda: (doubles(),))

    panels = {
        "white": (escape_langevin.DOUBLE_WELL, escape_langevin.SMOOTH),
        "sgd": (escape_langevin.SHALLOW,),
        "warning": (escape_minibatches.STYBLINSKI_TANG,),
    }
    return {
        f"{panel}/passage time, {landscape.loss}": of(landscape)
        for panel in options.panels
        for landscape in panels.get(panel, ())
    }


def _freezing(options: freezing.Options) -> dict[str, Part]:
    landscape = TwoValleys()

    def occupation(noises):
        return flat_occupation(freezing_theory.MAP_Y, noises[:, None], landscape, form="ito")

    def potential(x):
        return effective_potential(
            x, freezing_theory.POTENTIAL_Y, freezing_theory.POTENTIAL_NOISE, landscape
        )

    def point(noise):
        return freezing_point(noise, landscape, epsilon=freezing_theory.FITTED)

    return {
        "map of occupations": on_host_arrays(
            occupation, lambda: (doubles(len(freezing_tables.NOISES)),)
        ),
        "effective potential": on_host_arrays(potential, lambda: (doubles(321),)),
        "freezing point": on_host_arrays(point, lambda: (doubles(len(freezing_walks.SIGMAS)),)),
    }
