"""Walkers in two valleys: noise, steps and bookkeeping beside a literal loop, and that each walker
is independent of the others.

What the paper finds with them is in test_transient_freezing.py.
"""

import functools

import jax
import numpy as np
import pytest
from scipy import stats

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers import two_valleys, valley_program
from sgd_diffusion.walkers.counted_noise import hashed, normal_pair
from sgd_diffusion.walkers.two_valleys import simulate

KEY = jax.random.key(3)
RATES, SIGMAS, START_Y = [0.05, 0.1], [0.0, 0.03, 0.1], 4.0


def walks(key=KEY, rates=RATES, sigmas=SIGMAS, **options):
    defaults = {"walkers": 5, "steps": 120, "record_every": 40}
    defaults |= {"start_y": START_Y, "landscape": TwoValleys()}
    return simulate(key, rates, sigmas, **(defaults | options))


def known_walks(*args, **options):
    return jax.tree.map(np.asarray, walks(*args, **options))


# Noise


hashes, normal_pairs = jax.jit(hashed), jax.jit(normal_pair)


def key_words(key=KEY):
    return tuple(np.asarray(jax.random.key_data(key)))


def counters(steps, walkers):
    """All steps from 1 on of all walkers, as two arrays (T, W)."""
    numbers = np.arange(1, steps + 1, dtype=np.uint32), np.arange(walkers, dtype=np.uint32)
    return tuple(np.meshgrid(*numbers, indexing="ij"))


def test_words_are_those_of_jax():
    """`jax.random.fold_in` hashes a number as the second counter, with 0 as the first."""
    numbers = np.arange(50, dtype=np.uint32)
    expected = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(KEY, numbers))
    found = hashes(key_words(), (np.zeros_like(numbers), numbers))
    np.testing.assert_array_equal(np.stack(found, axis=-1), expected)


def test_normal_numbers_of_two_uniform_ones():
    counter = counters(200, 100)
    u, v = ((np.asarray(word) // 512 + 0.5) / 2**23 for word in hashes(key_words(), counter))
    expected = np.sqrt(-2 * np.log(u)) * np.exp(1j * np.pi * (2 * v - 1))
    found = normal_pairs(key_words(), *counter)
    np.testing.assert_allclose(found, [expected.real, expected.imag], atol=5e-6)


def test_normal_numbers_of_steps_and_walkers_are_independent():
    found = np.asarray(normal_pairs(key_words(), *counters(200, 100)))
    assert stats.kstest(found.ravel(), "norm").pvalue > 0.01
    neighbors = [
        found[:, 1:] * found[:, :-1],
        found[..., 1:] * found[..., :-1],
        found[0] * found[1],
    ]
    for products in neighbors:
        assert abs(products.mean()) < 4 / products.size**0.5


# Steps and bookkeeping


@jax.jit
def slope_and_curvature(place):
    x, y = place[..., 0], place[..., 1]
    return TwoValleys().gradient(x, y), TwoValleys().hessian(x, y)


def literal(noise, *, hold_y, walkers, steps):
    """The paths (T + 1, R, S, W) of x and of y in float64, with an eigenproblem for each step."""
    keys = [[jax.random.fold_in(jax.random.fold_in(KEY, r), s) for s in range(3)] for r in range(2)]
    counter = counters(steps, walkers)
    normal = [[normal_pairs(key_words(key), *counter) for key in row] for row in keys]
    normal = np.moveaxis(np.asarray(normal, np.float64), (2, 3), (-1, 0))  # (T, R, S, W, 2)
    roots = {
        "hessian": lambda values: np.sqrt(values),
        "hessian-squared": lambda values: values,
        "isotropic": lambda values: np.full_like(values, 7**0.5),
    }
    eta, sigma = np.array(RATES)[:, None, None, None], np.array(SIGMAS)[:, None, None]
    x = np.broadcast_to(np.where(np.arange(walkers) % 2, 0.01, -0.01), (2, 3, walkers))
    path = [np.stack([x, np.full_like(x, START_Y)], axis=-1)]
    for draw in normal:
        with jax.enable_x64(True):
            slope, curvature = map(np.asarray, slope_and_curvature(path[-1]))
        values, vectors = np.linalg.eigh(curvature)
        root = (vectors * roots[noise](np.maximum(values, 0))[..., None, :]) @ vectors.mT
        xi = np.sqrt(2 * sigma) * (root @ draw[..., None])[..., 0]
        path.append(path[-1] - eta * (slope + xi) * ([1, 0] if hold_y else [1, 1]))
    return np.moveaxis(np.asarray(path), -1, 0)


def freezing_steps(sides):
    """The number of the first point after the last change of side, by the definition."""
    steps = np.ones(sides.shape[1:], int)
    for point in range(2, len(sides) + 1):  # points are counted from 1
        steps[sides[point - 1] != sides[point - 2]] = point
    return steps


@pytest.mark.parametrize(
    ("noise", "hold_y"), [("hessian", False), ("hessian-squared", True), ("isotropic", False)]
)
def test_walks_beside_a_literal_loop(noise, hold_y):
    x, y = literal(noise, hold_y=hold_y, walkers=5, steps=120)
    found = known_walks(noise=noise, hold_y=hold_y)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=2e-5)
    close(found.final_x, x[-1])
    close(found.final_y, y[-1])
    steps = freezing_steps(x >= 0)
    assert (steps > 1).sum() > 5 and (steps < 121).sum() > 5
    np.testing.assert_array_equal(found.freezing_step, steps)
    close(found.freezing_y, np.take_along_axis(y, steps[None] - 1, axis=0)[0])
    np.testing.assert_array_equal(found.recorded_step, [40, 80, 120])
    close(found.recorded_flat_fraction, np.moveaxis((x >= 0).mean(-1)[40::40], 0, -1))
    close(found.recorded_y, np.moveaxis(y.mean(-1)[40::40], 0, -1))
    close(found.recorded_y_std, np.moveaxis(y.std(-1)[40::40], 0, -1))
    close(found.flat_fraction, (x[-1] >= 0).mean(-1))
    close(found.unfrozen_fraction, (steps > 0.95 * 120).mean(-1))


# Who else walks


def same_ends(found, expected):
    np.testing.assert_array_equal(found.freezing_step, expected.freezing_step)
    for name in ("final_x", "final_y", "freezing_y"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5)


def first(found, rates=None, sigmas=None, walkers=None):
    return jax.tree.map(
        lambda each: each[:rates, :sigmas, :walkers] if each.ndim == 3 else each, found
    )


def test_a_walker_depends_on_the_key_and_its_numbers():
    many = known_walks()
    assert len(np.unique(many.final_y[:, 1:])) == 2 * 2 * 5
    same_ends(walks(rates=RATES[:1], sigmas=SIGMAS[:2], walkers=3), first(many, 1, 2, 3))
    assert (known_walks(jax.random.key(4)).final_y != many.final_y)[:, 1:].all()


def test_walkers_depend_on_no_group(monkeypatch):
    """Three pairs, two at once: the last group has one that is left."""
    many = first(known_walks(), 1)
    monkeypatch.setitem(valley_program.AT_ONCE, "cpu", 11)
    two_valleys._walks.clear_cache()
    few = known_walks(rates=RATES[:1])
    two_valleys._walks.clear_cache()
    same_ends(few, many)
    np.testing.assert_allclose(few.recorded_y_std, many.recorded_y_std[:1], rtol=1e-4, atol=1e-6)


def test_walkers_depend_on_no_device():
    """Two on each of three devices. Those of the last are surplus."""
    many, dealt = known_walks(), known_walks(walkers=4, devices=jax.devices())
    same_ends(dealt, first(many, walkers=4))
    np.testing.assert_allclose(
        dealt.recorded_flat_fraction[..., -1], (dealt.final_x >= 0).mean(-1), rtol=1e-6
    )
    np.testing.assert_allclose(dealt.recorded_y[..., -1], dealt.final_y.mean(-1), rtol=1e-6)
    np.testing.assert_allclose(
        dealt.recorded_y_std[..., -1], dealt.final_y.std(-1), rtol=1e-3, atol=1e-6
    )


def test_jitted_and_mapped():
    landscapes = TwoValleys(x1=np.array([0.8, 0.7]))
    axes = TwoValleys(*(0 if name == "x1" else None for name in TwoValleys._fields))
    run = jax.vmap(
        lambda landscape, y: walks(rates=[0.1], sigmas=[0.1], landscape=landscape, start_y=y),
        (axes, None),
    )
    found = jax.tree.map(np.asarray, jax.jit(run)(landscapes, 4.0))
    for number, x1 in enumerate((0.8, 0.7)):
        expected = walks(rates=[0.1], sigmas=[0.1], landscape=TwoValleys(x1=x1))
        same_ends(jax.tree.map(lambda each, number=number: each[number], found), expected)


def test_traced_values_out_of_range_are_nan():
    found = jax.jit(lambda rates, sigmas: walks(rates=rates, sigmas=sigmas))(
        np.array([-0.1, 0.1]), np.array([0.1, -0.1, 0.0])
    )
    found = jax.tree.map(np.asarray, found)
    wrong = [[True, True, True], [False, True, False]]
    for each in (found.flat_fraction, found.final_y[..., 0], found.recorded_y[..., 0]):
        np.testing.assert_array_equal(np.isnan(each), wrong)


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": [-0.1]}, r"learning_rates is \[-0.1"),
        ({"sigmas": [[0.1]]}, r"sigmas has shape \(1, 1\)"),
        ({"sigmas": []}, r"sigmas has shape \(0,\)"),
        ({"walkers": 0}, "walkers is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"record_every": 7}, "record_every is 7; expected a divisor of steps, which is 120"),
        ({"start_y": -1}, "start_y is -1"),
        (
            {"noise": "white"},
            "noise is 'white'; expected one of hessian, hessian-squared, isotropic",
        ),
        ({"landscape": None}, "landscape is a NoneType; expected a TwoValleys"),
        ({"landscape": TwoValleys(x1=-1)}, "x1 is -1"),
        ({"devices": []}, "devices is empty"),
        ({"walkers": 2**30, "rates": np.ones(1000)}, "GiB of memory"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(InputError, match=message):
        walks(**options)
