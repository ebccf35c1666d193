"""Walkers, walls, interpolants, basins, passages, escapes and valleys take all kinds of arrays and
integers, or refuse them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from input_table import Argument, Number, Option, input_tests, mode_tests

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.fractal_surfaces import Surface
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers import escape_times, langevin_steps, minibatch_steps, two_valleys
from sgd_diffusion.walkers.basins import wide_basin
from sgd_diffusion.walkers.boundaries import BOUNDARIES
from sgd_diffusion.walkers.interpolation import half_sides, interpolator, nearest
from sgd_diffusion.walkers.passages import Stays, final_entry, first_passage, mean_duration, stays
from sgd_diffusion.walkers.walk import walk, walk_ensemble

KEY = jax.random.key(0)
HEIGHTS = np.add.outer(np.arange(5.0) % 3, np.arange(5.0) ** 2 % 7) * 2
FLAT = np.zeros((5, 5))
ZEROS_AND_ONES = np.array([[0.0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
QUICK = {"boundary": "periodic"}  # compiles in half the time; the others have entries of their own


def a_walk(surface, start=(0.5, -0.3), steps=2, every=1, region=None):
    return walk(
        KEY,
        surface,
        start,
        learning_rate=1e-4,
        noise_std=1e-2,
        steps=steps,
        every=every,
        region=region,
        **QUICK,
    )


def an_ensemble(heights=FLAT[None], starts=((0.0, 0.0),), rates=(0.1,)):
    return walk_ensemble(
        jax.random.split(KEY, 1),
        Surface(heights, [2.0]),
        starts,
        learning_rates=rates,
        noise_stds=rates,
        steps=2,
        **QUICK,
    )


def place_and_slopes(heights):
    height = interpolator(Surface(heights, 2.0), interpolant="bicubic")
    return jax.value_and_grad(height, argnums=(0, 1))(0.3, -0.2)


def onward(theta):
    return 1 - theta


def misfit(theta, x):
    return ((theta - x.astype(theta.dtype)) ** 2).sum()


def upward(theta):
    return -jnp.ones_like(theta)


def above(theta):
    return (theta > 20).any()


def outside_of(start, repeats=3, max_steps=100):
    """Steps until walkers that go up with little noise are above 20 somewhere."""
    step = langevin_steps(upward, 1e-3, 1.0)
    return escape_times(KEY, step, start, above, repeats=repeats, max_steps=max_steps)


@jax.jit
def moved(step, theta):
    """One step, in one program for all values of its arguments."""
    return step(KEY, theta)


def in_two_valleys(rates=(0.1,), sigmas=(0.1,), walkers=2, steps=2, start_y=5.0, every=None):
    return two_valleys.simulate(
        KEY,
        rates,
        sigmas,
        walkers=walkers,
        steps=steps,
        start_y=start_y,
        landscape=TwoValleys(),
        record_every=every,
    )


def duration(field, value):
    found = stays(np.array([True, False, True, True, False]))._asdict() | {field: value}
    return mean_duration(Stays(**found))


STARTS, RATES, POINTS = (
    np.array([[0.0, 1.0], [1.0, 0.0]]),
    np.array([0.0, 1.0, 2.0]),
    np.array([0.0, 1.0, 3.0]),
)
WALKS = [
    Argument(
        "walk(surface.heights)", lambda heights: a_walk(Surface(heights, 2.0)), HEIGHTS, single=1e-3
    ),
    Argument(
        "walk(start)",
        lambda start: a_walk(Surface(FLAT, 2.0), start),
        np.array([0.0, 1.0]),
        eager=False,
    ),
    Argument(
        "walk(region)",
        lambda region: a_walk(Surface(FLAT, 2.0), region=region),
        FLAT + np.eye(5),
        eager=False,
        takes_none=True,
    ),
    Argument(
        "walk_ensemble(surfaces.heights)", an_ensemble, HEIGHTS[None], single=1e-3, eager=False
    ),
    Argument(
        "walk_ensemble(starts)", lambda starts: an_ensemble(starts=starts), STARTS, eager=False
    ),
    Argument(
        "walk_ensemble(learning_rates)", lambda rates: an_ensemble(rates=rates), RATES, eager=False
    ),
    Option("walk(steps)", lambda steps: a_walk(Surface(FLAT, 2.0), steps=steps), 2, eager=False),
    Option("walk(every)", lambda every: a_walk(Surface(FLAT, 2.0), every=every), 2, eager=False),
]
ESCAPES = [
    Argument("escape_times(start)", outside_of, np.array([0.0, 1.0, 3.0]), eager=False),
    Option("escape_times(repeats)", lambda number: outside_of(0.0, repeats=number), 3, eager=False),
    Option(
        "escape_times(max_steps)", lambda number: outside_of(0.0, max_steps=number), 3, eager=False
    ),
    Argument(
        "minibatch_steps(examples)",
        lambda x: moved(minibatch_steps(misfit, (x,), 0.5, 2), np.zeros(2)),
        np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]),
    ),
    Number(
        "minibatch_steps(learning_rate)",
        lambda rate: moved(minibatch_steps(misfit, (POINTS,), rate, 2), 0.0),
        0.5,
    ),
    Option(
        "minibatch_steps(batch_size)",
        lambda size: moved(minibatch_steps(misfit, (POINTS,), 0.5, size), 0.0),
        3,
    ),
    Number(
        "langevin_steps(diffusion)",
        lambda noise: moved(langevin_steps(onward, noise, 0.5), np.zeros(2)),
        0.5,
    ),
    Number(
        "langevin_steps(learning_rate)",
        lambda rate: moved(langevin_steps(onward, 0.5, rate), np.zeros(2)),
        0.5,
    ),
]
VALLEYS = [
    Argument("simulate(learning_rates)", in_two_valleys, RATES, single=1e-3, eager=False),
    Argument("simulate(sigmas)", lambda sigmas: in_two_valleys(sigmas=sigmas), RATES, eager=False),
    Option("simulate(walkers)", lambda walkers: in_two_valleys(walkers=walkers), 2, eager=False),
    Option("simulate(steps)", lambda steps: in_two_valleys(steps=steps), 2, eager=False),
    Option("simulate(record_every)", lambda every: in_two_valleys(every=every), 2, eager=False),
    Number("simulate(start_y)", lambda y: in_two_valleys(start_y=y), 5.0, eager=False),
]
ARGUMENTS = [
    *WALKS,
    *ESCAPES,
    *VALLEYS,
    *(
        Argument(
            f"{name}({argument})",
            functools.partial(
                lambda call, argument, value: call(
                    **({"mean": 1.0, "std": 1.0, "uniform": 0.3, "wall": 2.0} | {argument: value})
                ),
                boundary,
                argument,
            ),
            POINTS if argument != "wall" else POINTS + 1,
        )
        for name, boundary in BOUNDARIES.items()
        for argument in ("mean", "std", "wall")
    ),
    Argument(
        "reject(uniform)", lambda uniform: BOUNDARIES["reject"](1.0, 1.0, uniform, 2.0), POINTS
    ),
    Argument("interpolator(surface.heights)", place_and_slopes, HEIGHTS),
    Argument(
        "nearest(surface.heights)",
        lambda heights: nearest(Surface(heights, 2.0), np.zeros(2), np.ones(2)),
        HEIGHTS,
    ),
    Argument(
        "nearest(x)",
        lambda x: nearest(Surface(HEIGHTS, 2.0), x, np.zeros(3)),
        np.array([0.0, 1.0, 3.0]),
    ),
    Argument(
        "nearest(y)",
        lambda y: nearest(Surface(HEIGHTS, 2.0), np.zeros(3), y),
        np.array([0.0, 1.0, 3.0]),
    ),
    Argument(
        "half_sides(surface.extent)",
        lambda extent: half_sides(Surface(HEIGHTS, extent)),
        np.array([2.0, 3.0]),
    ),
    Argument(
        "wide_basin(surface.heights)",
        lambda heights: wide_basin(Surface(heights, 2.0), smoothing=0.2),
        HEIGHTS,
    ),
    Argument("first_passage(inside)", first_passage, ZEROS_AND_ONES),
    Argument("final_entry(inside)", final_entry, ZEROS_AND_ONES),
    Argument("stays(inside)", stays, ZEROS_AND_ONES),
    Argument(
        "mean_duration(duration)", functools.partial(duration, "duration"), np.array([1.0, 2.0])
    ),
    Argument("mean_duration(left)", functools.partial(duration, "left"), np.array([1.0, 0.0])),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)


def test_positions_of_any_type():
    height = interpolator(Surface(HEIGHTS, 2), interpolant="bilinear")
    for value in (
        np.int8(1),
        1,
        True,
        np.float16(1),
        jnp.bfloat16(1),
        np.float64(1),
        np.array(1),
        jnp.array(1),
    ):
        assert height(value, 0.25) == height(1.0, 0.25)
        assert height(0.25, value) == height(0.25, 1.0)
    for value in (np.ones(2), 1j, "1", None, [1.0]):
        with pytest.raises(InputError):
            height(value, 0.25)
    for extent in (0, -1.0, np.nan, np.inf, [2.0], "2", 2j):
        for function in (interpolator, wide_basin):
            with pytest.raises(InputError):
                function(Surface(HEIGHTS, extent))


def test_a_position_that_is_lost_has_no_height():
    assert np.isnan(nearest(Surface(HEIGHTS, 2.0), np.nan, 0.0))
    assert not nearest(Surface(HEIGHTS >= 0, 2.0), jnp.array([np.nan, 0.0]), jnp.zeros(2))[0]
