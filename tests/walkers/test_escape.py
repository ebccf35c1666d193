"""Escapes: a process whose times are known, and then the theory of escape.

The noise of Langevin steps is compared with exact mean first passage times, to the other minimum,
since a step that jumps over a saddle is seen there too early. The figures for mini-batches come
from a simulation in NumPy. It had at least 600 trials, and a rate of R trials has the relative
standard error 1 / sqrt(R).
"""

import functools

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from optimized import OPTIMIZED

from sgd_diffusion._platforms import traced_on
from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.escape import (
    escape_rate,
    logistic_double_well,
    mean_first_passage_time,
    styblinski_tang,
)
from sgd_diffusion.walkers import escape_times, langevin_steps, minibatch_steps

KEY = jax.random.key(0)
MOST = 2_000_000
LEAST_TRIALS = 600  # of the figures for mini-batches
CHANCE = 0.05

# The first and last points of a sweep, with more trials; or all points.
ends = pytest.mark.parametrize(
    "whole", [pytest.param(False, id="ends"), pytest.param(True, id="all", marks=pytest.mark.slow)]
)


def jump(key, theta):
    """Up by one with a known chance, without any memory."""
    return theta + (jax.random.uniform(key) < CHANCE)


def moved(theta):
    return theta > 0


def above(place, theta):
    return theta > place


def above_after_scaling(place, scale, theta):
    return scale * theta > place


def one_jump(repeats=2000, max_steps=10_000, key=KEY, **options):
    options = {"step": jump, "start": 0.0, "is_outside": moved} | options
    return escape_times(key, **options, repeats=repeats, max_steps=max_steps)


# A process that is known


def test_times_of_a_chance_that_is_known():
    """Geometric times: mean 1/p, variance (1-p)/p^2, and the chance (1-p)^t to be inside still."""
    times = np.asarray(one_jump())
    assert times.dtype == np.int32 and times.shape == (2000,)
    spread = (1 - CHANCE) ** 0.5 / CHANCE
    assert abs(times.mean() - 1 / CHANCE) < 4 * spread / 2000**0.5
    for steps in (1, 5, 16, 17, 40, 80):
        inside = (1 - CHANCE) ** steps
        assert abs((times > steps).mean() - inside) < 4 * (inside * (1 - inside) / 2000) ** 0.5
    found = escape_rate(times, 10_000, 1)
    assert abs(np.log(found.rate / CHANCE)) < 4 * found.log_rate_error


def test_a_trial_depends_on_the_key_and_its_number():
    times = np.asarray(one_jump())
    np.testing.assert_array_equal(one_jump(), times)
    for repeats in (1, 100, 513):  # those of many are dropped by and by, those of few never
        np.testing.assert_array_equal(one_jump(repeats=repeats), times[:repeats])
    assert (one_jump(key=jax.random.key(1)) != times).mean() > 0.8
    # 667 on each of three devices, of which each drops those of its own
    np.testing.assert_array_equal(one_jump(devices=jax.devices()), times)
    steps = np.arange(1, 1000)
    of_trial = jax.random.fold_in(KEY, 7)
    jumps = jax.vmap(lambda step: jump(jax.random.fold_in(of_trial, step), 0))
    assert times[7] == steps[np.asarray(jax.jit(jumps)(steps)) > 0][0]


@pytest.mark.parametrize("most", [1, 15, 16, 17])
def test_who_is_inside_at_the_end_is_censored(most):
    times = np.asarray(one_jump())
    expected = np.where(times > most, -1, times)
    np.testing.assert_array_equal(one_jump(max_steps=most), expected)


def test_all_leave_at_once_or_never():
    always = one_jump(step=lambda key, theta: theta + 1, repeats=700)
    np.testing.assert_array_equal(always, np.ones(700))
    never = one_jump(step=lambda key, theta: theta, repeats=700, max_steps=100)
    np.testing.assert_array_equal(never, -np.ones(700))
    counted = one_jump(step=lambda key, theta: theta + 1, is_outside=Partial(above, 20.5))
    np.testing.assert_array_equal(counted, np.full(2000, 21))


def test_walkers_stay_where_they_left():
    """They are not outside again for the first time, nor do they go on to infinity."""
    with jax.debug_nans(True):
        times = one_jump(
            step=lambda key, theta: jnp.where(moved(theta), jnp.nan, jump(key, theta)), repeats=100
        )
    np.testing.assert_array_equal(times, one_jump(repeats=100))
    lost = one_jump(step=lambda key, theta: theta * jnp.nan, repeats=3, max_steps=50)
    np.testing.assert_array_equal(lost, [-1, -1, -1])


def test_jitted_and_mapped():
    times = one_jump(repeats=600)
    run = functools.partial(one_jump, 600, 10_000)
    np.testing.assert_array_equal(jax.jit(run)(KEY), times)
    mapped = jax.vmap(run)(jnp.stack([KEY, jax.random.key(1)]))
    np.testing.assert_array_equal(mapped, [times, run(jax.random.key(1))])


def test_pytrees_and_their_precision():
    def step(key, theta):
        return {"a": theta["a"] + jump(key, 0.0), "b": theta["b"]}

    def is_outside(theta):
        assert theta["b"].dtype == jnp.float32 and theta["b"].shape == (2, 3)
        return moved(theta["a"]).any()

    start = {"a": np.zeros(4), "b": np.zeros((2, 3), np.float16)}
    times = one_jump(step=step, start=start, is_outside=is_outside, repeats=600)
    np.testing.assert_array_equal(times, one_jump(repeats=600))


def test_the_same_functions_are_compiled_once():
    compiled = []

    def note(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details)

    def run(seed, rate, start, most):
        step = langevin_steps(slope_of_double_well, 0.1, rate)
        times = escape_times(jax.random.key(seed), step, start, moved, repeats=20, max_steps=most)
        return jax.block_until_ready(times)

    run(0, 0.1, -1.0, 100)
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        run(1, 0.05, -0.9, 200)
        assert not compiled
        one_jump(step=lambda key, theta: theta, repeats=20, max_steps=5)
        assert compiled  # so that the first is no empty promise
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


# Steps


def test_steps_of_minibatches_by_hand():
    inputs, targets = np.arange(12.0).reshape(6, 2), np.arange(6.0)

    def loss(theta, x, y):
        return (theta["w"] @ x + theta["b"] - y) ** 2 / 2

    theta = {"w": jnp.array([0.1, -0.2]), "b": jnp.array(0.3)}
    step = minibatch_steps(loss, (inputs, targets), 0.01, 4)
    chosen = np.asarray(jax.random.bits(KEY, (4,), jnp.uint32)) % 6
    misfit = inputs[chosen] @ np.array([0.1, -0.2]) + 0.3 - targets[chosen]
    found = jax.jit(step)(KEY, theta)
    expected = np.array([0.1, -0.2]) - 0.01 * misfit @ inputs[chosen] / 4
    np.testing.assert_allclose(found["w"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["b"], 0.3 - 0.01 * misfit.mean(), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_examples_are_drawn_with_replacement(size):
    """Each of 5 with the same chance, whatever else is in the batch."""
    step = minibatch_steps(lambda theta, x: -theta @ x, (np.eye(5),), size, size)
    keys = jax.random.split(KEY, 4000)
    counts = np.asarray(jax.jit(jax.vmap(step, (0, None)))(keys, jnp.zeros(5)))
    np.testing.assert_allclose(counts.sum(axis=1), size, rtol=1e-6)
    error = (0.2 * 0.8 * size / 4000) ** 0.5
    assert (abs(counts.mean(axis=0) - 0.2 * size) < 4 * error).all()
    np.testing.assert_allclose(np.cov(counts.T)[0, :2], [0.16 * size, -0.04 * size], atol=0.02)


def test_steps_of_langevin_have_their_mean_and_covariance():
    """With one diffusion a coordinate; 4 standard errors."""
    strength = np.array([0.5, 2.0, 0.0])
    start, keys = jnp.array([1.0, -2.0, 3.0]), jax.random.split(KEY, 10_000)
    step = langevin_steps(lambda theta: theta, lambda theta: strength, 0.1)
    places = np.asarray(jax.jit(jax.vmap(step, (0, None)))(keys, start), np.float64)
    expected = 2 * 0.1 * strength
    assert (
        abs(places.mean(axis=0) - 0.9 * np.asarray(start)) <= 4 * (expected / 10_000) ** 0.5 + 1e-6
    ).all()
    covariance = np.cov(places.T)
    errors = (np.outer(expected, expected) + np.diag(expected) ** 2) / 10_000
    assert (abs(covariance - np.diag(expected)) <= 4 * errors**0.5 + 1e-9).all()
    step_of_two = langevin_steps(lambda theta: theta, 0.5, 1.0)
    two = np.asarray(jax.jit(jax.vmap(step_of_two, (0, None)))(keys, jnp.zeros(2)))
    kurtosis = (two**4).mean(axis=0)  # of numbers made of the words of the keys
    assert (abs(kurtosis - 3) < 4 * (96 / 10_000) ** 0.5).all()
    assert abs((two[:, 0] * two[:, 1]).mean()) < 4 / 10_000**0.5
    tree = {"a": jnp.zeros(2), "b": (jnp.zeros(()),)}
    moved_tree = jax.eval_shape(langevin_steps(lambda theta: theta, 0.5, 1.0), KEY, tree)
    assert jax.tree.map(jnp.shape, moved_tree) == jax.tree.map(jnp.shape, tree)


# White noise and noise that depends on the place, beside exact times


def slope_of_double_well(x):
    return x**3 - x


def sharp_slope(k, x):
    return jnp.sqrt(k) * slope_of_double_well(jnp.sqrt(k) * x)


def smooth_slope(x):
    """The slope of `styblinski_tang(x, 1.0)`."""
    return 2 * x**3 - 10 * x + 2.5


def curved(scale, k, x):
    """D = eta C / (2 B) for C = k (1 + k x^2), as positive as the Hessian is at both ends."""
    return scale * k * (1 + k * x**2)


many_escapes = jax.jit(
    escape_times, static_argnames=("repeats", "max_steps"), compiler_options=OPTIMIZED
)


def log_mean_times(runs, etas, repeats):
    """The logarithm of the mean time, -ln Gamma, for each run of a sweep."""
    found = []
    for number, ((step, start, is_outside), eta) in enumerate(zip(runs, etas, strict=True)):
        key = jax.random.key(number)
        times = many_escapes(key, step, start, is_outside, repeats=repeats, max_steps=MOST)
        found.append(-np.log(escape_rate(times, MOST, float(eta)).rate))
    return np.array(found)


def slope_and_error(x, y, variance):
    """The slope of a straight line, and its standard error where all points have one variance."""
    return np.polyfit(x, y, 1)[0], (variance / ((x - np.mean(x)) ** 2).sum()) ** 0.5


def passage(force, diffusion, start, end):
    reflecting = start - 2 * abs(end - start)
    return np.log(float(mean_first_passage_time(force, diffusion, start, end, reflecting)))


def agrees(x, found, exact, repeats, tolerance, straight=None):
    """Each value within 4 standard errors, and the slope within a share that is 3 of them."""
    assert (abs(found - exact) < 4 / repeats**0.5).all()
    slope, error = slope_and_error(x, found, 1 / repeats)
    expected = np.polyfit(x, exact, 1)[0]
    assert 3 * error < tolerance * abs(expected)
    assert abs(slope - expected) < tolerance * abs(expected)
    assert straight is None or abs(np.corrcoef(x, found)[0, 1]) > straight


@ends
def test_white_noise_has_the_exponent_of_the_barrier(whole):
    noises = np.array([0.045, 0.05, 0.06, 0.07, 0.085] if whole else [0.05, 0.11])
    eta, repeats = (0.05, 1500) if whole else (0.1, 1200)
    outside = Partial(above, 1.0)
    runs = [(langevin_steps(slope_of_double_well, noise, eta), -1.0, outside) for noise in noises]
    found = log_mean_times(runs, [eta] * len(runs), repeats)
    exact = np.array([passage(slope_of_double_well, lambda x, d=d: d, -1.0, 1.0) for d in noises])
    agrees(1 / noises, found, exact, repeats, 0.05, straight=0.999)


@ends
def test_white_noise_is_linear_in_the_sharpness(whole):
    ks = np.array([0.5, 1, 2, 4] if whole else [0.5, 4])
    eta, repeats, noise = 0.02, 1700, 0.06 if whole else 0.12
    runs = [
        (
            langevin_steps(Partial(sharp_slope, k), noise, eta),
            -1 / k**0.5,
            Partial(above_after_scaling, 1.0, k**0.5),
        )
        for k in ks
    ]
    found = log_mean_times(runs, [eta] * len(ks), repeats)
    exact = passage(slope_of_double_well, lambda x: noise, -1.0, 1.0) - np.log(ks)
    agrees(np.log(ks), found, exact, repeats, 0.05)


@ends
def test_noise_of_the_curvature_has_the_exponent_of_its_quasi_potential(whole):
    coldness = np.array([6.0, 9, 12, 15] if whole else [6.0, 12])  # B / eta
    eta, repeats = 0.05, 1200
    runs = [
        (
            langevin_steps(slope_of_double_well, Partial(curved, 1 / (2 * z), 1.0), eta),
            -1.0,
            Partial(above, 1.0),
        )
        for z in coldness
    ]
    found = log_mean_times(runs, [eta] * len(runs), repeats)
    exact = np.array(
        [
            passage(slope_of_double_well, Partial(curved, 1 / (2 * z), 1.0), -1.0, 1.0)
            for z in coldness
        ]
    )
    agrees(coldness, found, exact, repeats, 0.06, straight=0.999)


@ends
def test_noise_of_the_curvature_is_exponential_in_the_sharpness(whole):
    """Unlike white noise, where Gamma is proportional to k."""
    ks = np.array([0.6, 0.8, 1.2, 2] if whole else [0.8, 2])
    eta, repeats, coldness = 0.05, 1000, 9
    runs = [
        (
            langevin_steps(Partial(sharp_slope, k), Partial(curved, 1 / (2 * coldness), k), eta),
            -1 / k**0.5,
            Partial(above_after_scaling, 1.0, k**0.5),
        )
        for k in ks
    ]
    found = log_mean_times(runs, [eta] * len(ks), repeats)
    exact = np.array(
        [
            passage(slope_of_double_well, Partial(curved, k / (2 * coldness), 1.0), -1.0, 1.0)
            for k in ks
        ]
    )
    agrees(1 / ks, found + np.log(ks), exact, repeats, 0.06)
    assert np.corrcoef(1 / ks, found)[0, 1] > 0.998
    assert found[0] - found[-1] > 3 * np.log(ks[-1] / ks[0])


SMOOTH_MINIMUM, SMOOTH_SADDLE, OTHER_MINIMUM = -2.351910, 0.253248, 2.098659


@pytest.mark.slow
def test_white_noise_on_the_smoothed_function_of_styblinski_and_tang():
    noises, eta, repeats = np.array([2.5, 3, 3.6, 4.5]), 0.005, 1500
    runs = [
        (langevin_steps(smooth_slope, noise, eta), SMOOTH_MINIMUM, Partial(above, OTHER_MINIMUM))
        for noise in noises
    ]
    found = log_mean_times(runs, [eta] * len(runs), repeats)
    exact = [passage(smooth_slope, lambda x, d=d: d, SMOOTH_MINIMUM, OTHER_MINIMUM) for d in noises]
    agrees(1 / noises, found, np.array(exact), repeats, 0.05, straight=0.999)


# Mini-batches, beside figures of a simulation in NumPy


def shifted(scale, theta, x):
    """An example of the function of Styblinski and Tang, of the sharpness scale^2."""
    return styblinski_tang(scale * theta - x)


def normal_shifts(key, size):
    return (jax.random.normal(key, (size,)),)


def reproduces(x, found, known, repeats, straight=None):
    """Each value and the slope within 4 standard errors of two simulations."""
    variance = 1 / repeats + 1 / LEAST_TRIALS
    assert (abs(found - known) < 4 * variance**0.5).all()
    slope, error = slope_and_error(x, found, variance)
    assert abs(slope - np.polyfit(x, known, 1)[0]) < 4 * error
    assert straight is None or abs(np.corrcoef(x, found)[0, 1]) > straight


def shifted_run(k, eta, size):
    scale = np.float32(k**0.5)
    return (
        minibatch_steps(Partial(shifted, scale), normal_shifts, eta, size),
        SMOOTH_MINIMUM / scale,
        Partial(above_after_scaling, SMOOTH_SADDLE, scale),
    )


@ends
def test_shifted_data_with_batch_sizes(whole):
    """A straight line, and not that of diffusion theory, whose values would be 11 to 51."""
    known = np.array([0.533, 2.566, 4.385, 6.262][: 4 if whole else 2])
    sizes = np.arange(1, len(known) + 1)
    found = log_mean_times(
        [shifted_run(1, 0.018, int(size)) for size in sizes], [0.018] * len(sizes), 1000
    )
    reproduces(sizes, found, known, 1000, straight=0.998)


def shifted_noise(x):
    """D = eta C / (2 B) with C of `styblinski_tang_noise` and B = 1, in float32."""
    return 0.018 / 2 * ((6 * x**2 - 16) ** 2 + 144 * x**2 - 132)


def test_normal_noise_of_the_same_covariance_leaves_later():
    """The control of the line above: single examples kick harder than a normal law would."""

    step = langevin_steps(smooth_slope, shifted_noise, 0.018)
    outside = Partial(above, SMOOTH_SADDLE)
    found = log_mean_times([(step, SMOOTH_MINIMUM, outside)], [0.018], 1000)
    assert abs(found[0] - 1.47) < 4 * (1 / 1000 + 1 / LEAST_TRIALS) ** 0.5
    assert found[0] > 0.533 + 4 * (2 / LEAST_TRIALS) ** 0.5


def test_shifted_data_with_learning_rates():
    etas = np.array([0.010, 0.012, 0.015, 0.020])
    found = log_mean_times([shifted_run(1, eta, 1) for eta in etas], etas, 1000)
    reproduces(1 / etas, found, np.array([2.355, 1.718, 1.022, 0.321]), 1000, straight=0.998)


def test_shifted_data_with_sharpness():
    ks = np.array([1, 1.25, 1.5, 2])
    found = log_mean_times([shifted_run(k, 0.010, 1) for k in ks], [0.010] * 4, 1000)
    reproduces(1 / ks, found, np.array([2.359, 1.358, 0.632, -0.384]), 1000, straight=0.998)


@pytest.mark.parametrize("k", [1.5, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 4))])
def test_sharpness_is_a_learning_rate(k):
    """In the mode of 64 bits: rounding in 32 bits differs unless sqrt(k) is a power of two."""
    with jax.enable_x64(True):
        times = []
        for sharpness, eta in ((k, 0.01), (1, k * 0.01)):
            scale = sharpness**0.5
            step = minibatch_steps(Partial(shifted, scale), normal_shifts, eta, 1)
            outside = Partial(above_after_scaling, SMOOTH_SADDLE, scale)
            start = SMOOTH_MINIMUM / scale
            times.append(escape_times(KEY, step, start, outside, repeats=1000, max_steps=MOST))
    np.testing.assert_array_equal(*times)


# Random labels, from a generator of known state, so that the figures are those of the same data.
RANDOM = np.random.default_rng(3)
INPUTS = RANDOM.normal(size=(500, 5))
LABELS = (RANDOM.random(500) < 0.5).astype(int)


def sharp_logistic(scale, theta, x, y):
    return logistic_double_well(scale * theta, x, y)


def past_zero(theta):
    return (theta > 0).any()


def logistic_run(k, eta, size):
    scale = np.float32(k**0.5)
    step = minibatch_steps(Partial(sharp_logistic, scale), (INPUTS, LABELS), eta, size)
    return step, np.full(5, -(0.5**0.5) / scale, np.float32), Partial(past_zero)


LOGISTIC = {
    "batch size": [(1, 0.2, 1), (1, 0.2, 2), (1, 0.2, 3)],
    "learning rate": [(1, 0.075, 1), (1, 0.1, 1), (1, 0.14, 1), (1, 0.2, 1)],
    "sharpness": [(1, 0.08, 1), (1.3, 0.08, 1), (1.8, 0.08, 1), (2.5, 0.08, 1)],
}
KNOWN = {
    "batch size": [2.091, 4.184, 6.352],
    "learning rate": [5.683, 4.240, 2.966, 2.172],
    "sharpness": [5.297, 3.763, 2.361, 1.255],
}


def coldness(runs):
    """B / (eta k)."""
    k, eta, size = np.array(runs).T
    return size / (eta * k)


@ends
@pytest.mark.parametrize("sweep", LOGISTIC)
def test_logistic_double_well(sweep, whole):
    every = slice(None) if whole else slice(None, None, len(LOGISTIC[sweep]) - 1)
    runs, known = LOGISTIC[sweep][every], np.array(KNOWN[sweep][every])
    repeats = 1000 if whole else 600
    found = log_mean_times(
        [logistic_run(*run) for run in runs], [eta for _, eta, _ in runs], repeats
    )
    reproduces(coldness(runs), found, known, repeats, straight=0.998)
    # All three sweeps have one slope, where a rate that is proportional to k is taken out.
    sharpness = np.array([k for k, _, _ in runs])
    slope, _ = slope_and_error(coldness(runs), found + np.log(sharpness), 1)
    assert abs(slope - 0.425) < 0.1 * 0.425


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 3}, "step is 3; expected a function"),
        ({"is_outside": None}, "is_outside is None; expected a function"),
        (
            {"step": lambda key, theta: jnp.stack([theta, theta])},
            r"step returns float32\[2\]; expected float32\[\], as the start is",
        ),
        ({"step": lambda key, theta: (theta,)}, "step returns"),
        (
            {"start": np.zeros(2), "step": lambda key, theta: theta},
            r"is_outside returns bool\[2\]; expected one boolean: reduce it with .any()",
        ),
        ({"is_outside": lambda theta: theta}, "is_outside returns float32"),
        ({"start": 1.0}, "start is outside already; expected a place inside of the valley"),
        ({"start": {}}, "start is {}; expected an array, or a pytree of arrays"),
        ({"start": "here"}, "start has dtype"),
        ({"repeats": 0}, "repeats is 0; expected an integer in 1"),
        ({"max_steps": 2**31}, "max_steps is 2147483648; expected an integer in 1"),
    ],
)
def test_unusable_arguments(options, message):
    with pytest.raises(InputError, match=message):
        one_jump(**options)


def square(theta, x):
    return (theta - x) ** 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, (np.ones(3),), 0.1, 1), "loss is 1; expected a function"),
        ((square, np.ones(3), 0.1, 1), "examples is a ndarray; expected a tuple of arrays"),
        ((square, (), 0.1, 1), "examples has arrays of the shapes"),
        ((square, (np.ones(3), np.ones(2)), 0.1, 1), r"the shapes \[\(3,\), \(2,\)\]"),
        ((square, (np.ones(0),), 0.1, 1), "the same N of at least 1"),
        ((square, (1.0,), 0.1, 1), "the same N of at least 1"),
        ((square, (np.ones(3),), 0.0, 1), "learning_rate is 0.0; expected a finite number above 0"),
        ((square, (np.ones(3),), 0.1, 0), "batch_size is 0"),
    ],
)
def test_unusable_steps_of_minibatches(arguments, message):
    with pytest.raises(InputError, match=message):
        minibatch_steps(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 0.1, 0.1), "gradient is None; expected a function"),
        ((jnp.sin, -0.1, 0.1), "diffusion is -0.1; expected a finite number of at least 0"),
        ((jnp.sin, 0.1, np.inf), "learning_rate is inf; expected a finite number above 0"),
    ],
)
def test_unusable_steps_of_langevin(arguments, message):
    with pytest.raises(InputError, match=message):
        langevin_steps(*arguments)


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_products_of_steps_and_of_the_way_out_are_not_rounded(platform):
    """Those of the user's functions, which are linear here."""
    matrix = np.eye(3, dtype=np.float32)

    def slope(theta):
        return matrix @ theta

    def own_step(key, theta):
        return theta - slope(theta)

    steps = {
        "langevin": langevin_steps(slope, slope, 0.1),
        "mini-batches": minibatch_steps(lambda theta, x: x @ slope(theta), (matrix,), 0.1, 2),
        "own": own_step,
    }
    start = jnp.zeros(3)
    for name, step in steps.items():
        programs = [
            lambda key, step=step: escape_times(key, step, start, leaves, repeats=3, max_steps=9)
        ]
        if name != "own":  # a walk of the user's own
            programs.append(lambda key, step=step: step(key, start))
        for program in programs:
            with traced_on(platform):
                text = (
                    jax.jit(program)
                    .trace(KEY)
                    .lower(lowering_platforms=({"gpu": "cuda"}.get(platform, platform),))
                    .as_text()
                )
            products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
            assert products and all(line.count("HIGHEST") == 2 for line in products), name


def leaves(theta):
    return np.ones(3, np.float32) @ theta > 1
