"""Displacement statistics of a path: closed forms, accuracy against the weights themselves,
invariances, transforms.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from input_table import Argument, Option, input_tests, mode_tests
from jax.test_util import check_grads
from scipy.spatial.distance import cdist

from sgd_diffusion.analysis.displacement import (
    displacement_from_start,
    effective_pairs,
    ergodicity_breaking,
    squared_displacements,
    step_angles,
    step_autocorrelation,
    time_averaged_msd,
)

OF_A_PATH = [
    squared_displacements,
    time_averaged_msd,
    displacement_from_start,
    step_autocorrelation,
    step_angles,
]


def step_gram(weights):
    steps = np.diff(np.asarray(weights, dtype=np.float64), axis=0)
    return steps @ steps.T


def random_walk(seed, steps=12, dim=5):
    return np.random.default_rng(seed).normal(size=(steps + 1, dim)).cumsum(axis=0)


@cache
def compiled(function, **options):
    """A function of a Gram matrix, in one program in the precision of its input."""
    jitted = jax.jit(partial(function, **options))

    def call(gram):
        with jax.enable_x64(np.asarray(gram).dtype == np.float64):
            return np.asarray(jitted(gram))

    return call


# Inputs of all kinds

GRAM = np.array([[4.0, 1, 0, 2], [1, 3, 1, 0], [0, 1, 5, 1], [2, 0, 1, 6]])
ENTRIES = [
    *(Argument(f"{function.__name__}(step_gram)", function, GRAM) for function in OF_A_PATH),
    Argument("ergodicity_breaking(msds)", ergodicity_breaking, GRAM),
    Option(
        "displacement_from_start(waiting_time)",
        lambda time: displacement_from_start(GRAM, waiting_time=time),
        2,
    ),
    Option("step_angles(separation)", lambda separation: step_angles(GRAM, separation), 2),
    Option("time_averaged_msd(one lag)", lambda lag: time_averaged_msd(GRAM, [lag]), 2),
    Option("effective_pairs(steps)", effective_pairs, 8),
]
test_inputs = input_tests(ENTRIES)
test_modes = mode_tests(ENTRIES)


# Closed forms


def test_constant_velocity():
    velocity = np.array([3.0, -4.0])  # speed 5
    time = np.arange(9.0)
    gram = step_gram(time[:, None] * velocity)
    np.testing.assert_allclose(
        compiled(squared_displacements)(gram), 25 * (time[:, None] - time) ** 2
    )
    np.testing.assert_allclose(compiled(time_averaged_msd)(gram), 25 * time[1:] ** 2)
    np.testing.assert_allclose(compiled(displacement_from_start)(gram), 25 * time[1:] ** 2)
    np.testing.assert_allclose(compiled(step_autocorrelation)(gram), np.ones(8))


def test_a_single_step():
    assert compiled(squared_displacements)(np.array([[4.0]])).tolist() == [[0.0, 4.0], [4.0, 0.0]]
    assert compiled(time_averaged_msd)(np.array([[4.0]])).tolist() == [4.0]
    assert compiled(displacement_from_start)(np.array([[4.0]])).tolist() == [4.0]
    assert compiled(step_autocorrelation)(np.array([[4.0]])).tolist() == [1.0]
    assert effective_pairs(1).tolist() == [1.0]


def test_two_steps_at_a_right_angle():
    gram = np.diag([1.0, 4.0])
    assert compiled(time_averaged_msd)(gram).tolist() == [2.5, 5.0]
    assert compiled(displacement_from_start)(gram).tolist() == [1.0, 5.0]
    assert compiled(step_autocorrelation)(gram).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_period_two_returns_exactly(dtype):
    sign = (-1.0) ** np.arange(301)
    gram = (0.09 * np.outer(sign, sign)).astype(dtype)
    odd = np.arange(1, 302) % 2
    np.testing.assert_allclose(
        compiled(time_averaged_msd)(gram), 0.09 * odd, rtol=1e-6, atol=0
    )  # exact zeros at even lags
    np.testing.assert_allclose(
        compiled(displacement_from_start)(gram), 0.09 * odd, rtol=1e-6, atol=0
    )
    np.testing.assert_allclose(compiled(step_autocorrelation)(gram), sign, rtol=1e-6)


def test_steps_of_independent_positions_have_autocorrelation_minus_one_half():
    steps, dim = 400, 3000
    positions = np.random.default_rng(0).normal(size=(steps + 1, dim))
    # C(1) averages steps * dim terms of order 1/2: standard error below 1 / sqrt(steps * dim).
    error = 1 / np.sqrt(steps * dim)
    correlation = compiled(step_autocorrelation)(step_gram(positions))
    assert abs(correlation[1] + 0.5) < 5 * error
    assert np.all(np.abs(correlation[2:300]) < 5 / np.sqrt(100 * dim))


def test_a_path_that_never_moves():
    gram = np.zeros((8, 8))
    assert not np.any(compiled(squared_displacements)(gram))
    assert not np.any(compiled(time_averaged_msd)(gram))
    assert np.all(np.isnan(compiled(step_autocorrelation)(gram)))
    assert not np.any(compiled(displacement_from_start, waiting_time=2)(gram))
    assert np.all(np.isnan(compiled(step_angles)(gram)))


@pytest.mark.parametrize("function", OF_A_PATH)
def test_a_diverged_member_stays_nan(function):
    result = compiled(function)(np.full((8, 8), np.nan))
    assert np.all(np.isnan(result) | (np.eye(len(result)) == 1 if result.ndim == 2 else False))


@pytest.mark.parametrize("turn", [0.0, 1e-3, 0.5, np.pi / 2, 3.0, np.pi])
def test_steps_that_turn_by_a_constant_angle(turn):
    heading = turn * np.arange(9)
    steps = np.geomspace(1.0, 1e-6, 9)[:, None] * np.stack(
        [np.cos(heading), np.sin(heading)], axis=1
    )
    for separation in (1, 2, 8):
        expected = np.abs(np.angle(np.exp(1j * separation * turn)))
        angles = compiled(step_angles, separation=separation)(steps @ steps.T)
        assert angles.shape == (9 - separation,)
        np.testing.assert_allclose(
            angles, expected, rtol=1e-7, atol=1e-7
        )  # the square root of rounding at 0 and pi


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_angles_of_parallel_steps_survive_rounding(dtype):
    steps = np.random.default_rng(0).uniform(0.1, 10, size=50).astype(dtype)
    sign = (-1.0) ** np.arange(50)
    for step_lengths, angle in ((steps, 0.0), (steps * sign, np.pi)):
        angles = compiled(step_angles)(np.outer(step_lengths, step_lengths).astype(dtype))
        assert np.all(
            (angles >= 0) & (angles <= np.float32(np.pi))
        )  # no NaN: a cosine beyond 1 is clipped
        np.testing.assert_allclose(angles, angle, atol=1e-3 if dtype == np.float32 else 1e-7)


def test_a_step_of_zero_has_no_angle():
    steps = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    np.testing.assert_allclose(compiled(step_angles)(steps @ steps.T), [np.nan, np.nan, 0.0])
    np.testing.assert_allclose(
        compiled(step_angles, separation=2)(steps @ steps.T), [np.pi / 2, np.nan]
    )


# Independent pairs of a lag


def mean_squared_correlation(steps, lag):
    """Over all pairs of displacements of `lag` independent steps: which share max(lag - |i - j|,
    0) of them.
    """
    i = np.arange(steps + 1 - lag)
    return np.mean((np.maximum(lag - np.abs(i[:, None] - i), 0) / lag) ** 2)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 10, 25])
def test_effective_pairs_against_the_double_sum(steps):
    expected = [1 / mean_squared_correlation(steps, lag) for lag in range(1, steps + 1)]
    np.testing.assert_allclose(effective_pairs(steps), expected, rtol=1e-12)
    np.testing.assert_allclose(effective_pairs(steps, lags=[steps, 1]), [1.0, steps], rtol=1e-12)


def test_effective_pairs_are_the_scatter_of_the_msd():
    steps, dim, lags = 40, 3, np.array([1, 5, 19, 20, 21, 22, 35, 40])
    walks = np.random.default_rng(3).normal(size=(4000, steps + 1, dim)).cumsum(axis=1)
    msds = np.stack(
        [
            np.mean(np.sum((walks[:, lag:] - walks[:, :-lag]) ** 2, axis=-1), axis=-1)
            for lag in lags
        ],
        axis=-1,
    )
    expected = 2 / (dim * effective_pairs(steps, lags))
    # A relative variance over 4000 paths scatters by sqrt((2 + excess kurtosis) / 4000), and the
    # excess kurtosis of a chi-squared variable of 3 degrees of freedom, the last lag, is 4: 0.039.
    np.testing.assert_allclose(np.asarray(ergodicity_breaking(msds)), expected, rtol=5 * 0.039)


@given(st.integers(1, 5000))
@settings(deadline=None, max_examples=20)
def test_effective_pairs_fall_from_all_steps_to_one(steps):
    pairs = effective_pairs(steps)
    assert np.all(np.diff(pairs) < 1e-9)
    assert np.all(
        (pairs >= 1 - 1e-9) & (pairs <= steps + 1 - np.arange(1, steps + 1) + 1e-9 * steps)
    )


# Against the weights themselves


def test_agrees_with_scipy_distances():
    weights = random_walk(1, steps=40, dim=7)
    distances = cdist(weights, weights, "sqeuclidean")
    gram = step_gram(weights)
    np.testing.assert_allclose(
        compiled(squared_displacements)(gram), distances, rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(
        compiled(displacement_from_start)(gram), distances[0, 1:], rtol=1e-12
    )
    by_lag = [np.diagonal(distances, lag).mean() for lag in range(1, 41)]
    np.testing.assert_allclose(compiled(time_averaged_msd)(gram), by_lag, rtol=1e-12)
    some = compiled(time_averaged_msd, lags=(1, 7, 40))(gram)
    np.testing.assert_allclose(some, [by_lag[0], by_lag[6], by_lag[39]], rtol=1e-12)
    steps = np.diff(weights, axis=0)
    covariance = [
        np.mean([steps[u] @ steps[u + lag] for u in range(40 - lag)]) for lag in range(40)
    ]
    expected = np.array(covariance) / covariance[0]
    np.testing.assert_allclose(
        compiled(step_autocorrelation)(gram), expected, rtol=1e-12, atol=1e-13
    )


STEPS, STEP_SIZE = 1000, np.float32(1e-3)


@pytest.fixture(
    scope="module", params=[1000, pytest.param(20_000, marks=pytest.mark.slow)]
)  # parameters
def noise(request):
    return np.random.default_rng(7).standard_normal((STEPS + 1, request.param), dtype=np.float32)


def motion(name, noise):
    """(T+1, P) float32 weights of size 0.5 that move by about 0.001 a step."""
    weights = np.empty_like(noise)
    start = 0.5 * noise[-1]
    velocity = STEP_SIZE * noise[0]
    position = np.zeros_like(start)
    for t in range(STEPS + 1):
        weights[t] = start + position
        if name == "brownian":
            position += STEP_SIZE * noise[t]
        elif name == "ballistic":
            position += velocity
        elif name == "ornstein_uhlenbeck":
            position = np.float32(0.9) * position + STEP_SIZE * noise[t]
        elif name == "white":
            position = STEP_SIZE * noise[t]
        else:  # period 2, its even points a random walk ten times slower
            position += np.float32(0.1) * STEP_SIZE * noise[t]
            weights[t] += velocity if t % 2 else -velocity
    return weights


@pytest.mark.parametrize(
    "name", ["brownian", "ballistic", "ornstein_uhlenbeck", "white", "period_two"]
)
def test_accuracy_against_brute_force(name, noise):
    weights = motion(name, noise)
    exact = weights.astype(np.float64)
    lags = np.array([1, 2, 3, 10, 100, 501, 900, 998, 999, 1000])
    brute_force = [
        np.mean([squared(exact[i + lag] - exact[i]) for i in range(STEPS + 1 - lag)])
        for lag in lags
    ]
    steps = np.diff(weights, axis=0)
    double = steps.astype(np.float64)
    gram = double @ double.T
    assert_relative(compiled(time_averaged_msd, lags=tuple(lags))(gram), brute_force, 1e-6)
    # Without float64 (TPU): the products themselves are float32. Rounding leaves about 1e-4 of
    # |dw|^2 at any lag.
    assert_relative(
        compiled(time_averaged_msd, lags=tuple(lags))(steps @ steps.T), brute_force, 1e-3
    )
    start = compiled(displacement_from_start)(gram)
    from_start = [squared(exact[t] - exact[0]) for t in lags]
    assert_relative(start[lags - 1], from_start, 1e-6)
    assert_relative(compiled(squared_displacements)(gram)[0, lags], from_start, 1e-6)


def squared(vector):
    return vector @ vector


def assert_relative(actual, expected, tolerance):
    error = np.abs(np.asarray(actual, dtype=np.float64) / expected - 1)
    assert error.max() <= tolerance, f"worst relative error {error.max():.1e}"


@given(st.integers(0, 2**31), st.sampled_from([2, 7]))
@settings(deadline=None, max_examples=20)
def test_two_time_displacements_and_angles_against_brute_force(seed, steps):
    weights = random_walk(seed, steps=steps, dim=3)
    gram, moves = step_gram(weights), np.diff(weights, axis=0)
    for start in (0, 1, steps - 1):
        expected = [squared(weights[end] - weights[start]) for end in range(start + 1, steps + 1)]
        squares = compiled(displacement_from_start, waiting_time=start)(gram)
        np.testing.assert_allclose(squares, expected, rtol=1e-9, atol=1e-12)
    for separation in {1, steps - 1}:
        first, second = moves[:-separation], moves[separation:]
        cosines = (
            np.sum(first * second, axis=1)
            / np.linalg.norm(first, axis=1)
            / np.linalg.norm(second, axis=1)
        )
        angles = compiled(step_angles, separation=separation)(gram)
        np.testing.assert_allclose(np.cos(angles), cosines, rtol=1e-9, atol=1e-12)


# Invariances

paths = st.builds(
    random_walk, st.integers(0, 2**31), steps=st.sampled_from([1, 2, 7]), dim=st.integers(1, 4)
)


@given(paths)
@settings(deadline=None, max_examples=20)
def test_squared_displacements_are_squared_distances(weights):
    squares = compiled(squared_displacements)(step_gram(weights))
    assert np.all(squares >= 0)
    assert np.all(np.diagonal(squares) == 0)
    assert np.array_equal(squares, squares.T)
    distances = np.sqrt(squares)
    assert np.all(
        distances[:, None, :] <= distances[:, :, None] + distances[None] + 1e-6
    )  # triangle inequality


@given(paths, st.floats(0.01, 100.0), st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_rotation_translation_and_scale(weights, scale, seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(weights.shape[1],) * 2))
    moved = step_gram(scale * weights @ rotation + rng.normal(size=weights.shape[1]))
    gram = step_gram(weights)
    atol = 1e-10 * np.abs(gram).sum()
    for function in map(
        compiled, (squared_displacements, time_averaged_msd, displacement_from_start)
    ):
        expected = scale**2 * function(gram)
        np.testing.assert_allclose(function(moved), expected, rtol=1e-9, atol=scale**2 * atol)
    correlation = compiled(step_autocorrelation)
    np.testing.assert_allclose(correlation(moved), correlation(gram), rtol=1e-9, atol=1e-9)


@given(paths)
@settings(deadline=None, max_examples=20)
def test_time_reversal(weights):
    gram = step_gram(weights)
    back = step_gram(weights[::-1])
    msd, squares, correlation = map(
        compiled, (time_averaged_msd, squared_displacements, step_autocorrelation)
    )
    np.testing.assert_allclose(msd(back), msd(gram), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(squares(back)[::-1, ::-1], squares(gram), atol=1e-9)
    np.testing.assert_allclose(correlation(back), correlation(gram), atol=1e-9)


@given(paths)
@settings(deadline=None, max_examples=20)
def test_parts_of_the_parameters_add_up(weights):
    gram, part = step_gram(weights), step_gram(weights[:, :1])
    total = compiled(time_averaged_msd)(part) + compiled(time_averaged_msd)(gram - part)
    np.testing.assert_allclose(total, compiled(time_averaged_msd)(gram), rtol=1e-9, atol=1e-12)


# Precision and transformations


@pytest.mark.parametrize("function", OF_A_PATH)
@pytest.mark.parametrize("enabled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_precision_follows_the_input(function, enabled):
    gram = step_gram(random_walk(2))
    with jax.enable_x64(True):
        expected, double = np.asarray(function(gram)), jnp.asarray(gram)
    with jax.enable_x64(enabled):
        batch = jax.vmap(function)(jnp.stack([double] * 3))
        for result in (function(gram), function(double), jax.jit(function)(double), batch[0]):
            assert result.dtype == np.float64
            np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)
        single = gram.astype(np.float32)
        for result in (
            function(single),
            jax.jit(function)(single),
            jax.vmap(function)(np.stack([single] * 3))[0],
        ):
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", OF_A_PATH)
def test_numpy_under_transformations_outside_64_bit_mode_is_single(function):
    gram = step_gram(
        random_walk(2)
    )  # jit and vmap round it before the function sees it: documented, and no crash
    for result in (jax.jit(function)(gram), jax.vmap(function)(np.stack([gram] * 3))[0]):
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, function(gram), rtol=1e-5, atol=1e-5)


TRANSFORMATIONS = {
    "vmap": jax.vmap,
    "jit of vmap of jit": lambda function: jax.jit(jax.vmap(jax.jit(function))),
    "map": lambda function: lambda batch: jax.lax.map(function, batch),
    "map in batches": lambda function: jax.jit(
        lambda batch: jax.lax.map(function, batch, batch_size=2)
    ),
    "scan": lambda function: (
        lambda batch: jax.lax.scan(lambda carry, gram: (carry, function(gram)), 0, batch)[1]
    ),
}


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_double_precision_inside_a_program_of_single_precision(transformation):
    weights = np.stack([random_walk(seed) for seed in range(3)]).astype(np.float32)

    def program(weights):
        with jax.enable_x64(True):
            steps = jnp.diff(weights, axis=0).astype(jnp.float64)
            gram = jnp.sum(steps[:, None] * steps, axis=-1)
        return tuple(function(gram) for function in OF_A_PATH)

    results = TRANSFORMATIONS[transformation](program)(weights)
    for function, result in zip(OF_A_PATH, results, strict=True):
        assert result.dtype == np.float64
        expected = np.stack([compiled(function)(step_gram(member)) for member in weights])
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", OF_A_PATH)
def test_gradient(function):
    gram = step_gram(random_walk(4, steps=5))
    with jax.enable_x64(True):
        check_grads(
            jax.jit(lambda g: function(g @ g.T)),
            (jnp.asarray(gram),),
            order=1,
            modes=("fwd", "rev"),
        )


def test_lists_integers_and_half_precision():
    assert time_averaged_msd([[1, 1], [1, 1]]).tolist() == [1.0, 4.0]
    assert time_averaged_msd(jnp.ones((2, 2), jnp.bfloat16)).dtype == np.float32


# Ergodicity breaking


def test_ergodicity_breaking():
    msds = np.array([[1.0, 2.0, 0.0], [1.0, 4.0, 0.0], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(
        ergodicity_breaking(msds), [0.0, 10 / 9 - 1, np.nan], rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(ergodicity_breaking(msds.T, axis=1), ergodicity_breaking(msds))
    assert np.all(np.isnan(ergodicity_breaking(msds[1:])))  # one path says nothing about scatter
    assert ergodicity_breaking(msds).dtype == np.float64
    assert jax.jit(ergodicity_breaking)(msds.astype(np.float32)).dtype == np.float32


def test_ergodicity_breaking_of_brownian_motion():
    """EB = 4 lag / (3 T) per dimension for lag << T (Metzler et al. 2014)."""
    steps, paths_, lag = 200, 2000, 4
    noise = np.random.default_rng(5).normal(size=(paths_, steps))
    walks = noise.cumsum(axis=1)
    msds = np.mean((walks[:, lag:] - walks[:, :-lag]) ** 2, axis=1)[:, None]
    expected = (
        (4 * lag**2 + 2) / (6 * lag) * 2 / steps
    )  # discrete steps: 4 lag / (3 T) (1 + 1 / (2 lag^2))
    # A variance over N paths has relative standard error sqrt(2 / N), a little more for this skewed
    # TAMSD.
    assert (
        abs(float(ergodicity_breaking(msds)[0]) / expected - 1)
        < 5 * np.sqrt(2 / paths_) + lag / steps
    )


# Errors


@pytest.mark.parametrize(
    ("gram", "message"),
    [
        (np.zeros((3, 4)), r"step_gram has shape \(3, 4\).*jax.vmap"),
        (np.zeros((2, 3, 3)), r"step_gram has shape \(2, 3, 3\)"),
        (np.zeros((0, 0)), r"step_gram has shape \(0, 0\)"),
        (np.zeros((3, 3), complex), "step_gram has dtype complex128; expected real"),
    ],
)
@pytest.mark.parametrize("function", OF_A_PATH)
def test_rejects_what_is_not_one_path(function, gram, message):
    with pytest.raises(ValueError, match=message):
        function(gram)


@pytest.mark.parametrize("lags", [[0], [4], [1.0], 2])
def test_rejects_lags_outside_the_window(lags):
    with pytest.raises(ValueError, match=r"lags is .*integers in 1..3"):
        time_averaged_msd(np.eye(3), lags=lags)
    with pytest.raises(ValueError, match=r"lags is .*integers in 1..3"):
        effective_pairs(3, lags=lags)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: displacement_from_start(np.eye(3), waiting_time=3),
            r"waiting_time is 3; .*in 0..2 for a path of 3 steps",
        ),
        (lambda: displacement_from_start(np.eye(3), waiting_time=-1), "waiting_time is -1"),
        (lambda: displacement_from_start(np.eye(3), waiting_time=1.0), "waiting_time is 1.0"),
        (
            lambda: jax.jit(displacement_from_start)(np.eye(3), waiting_time=1),
            "waiting_time is .*expected an integer",
        ),
        (
            lambda: step_angles(np.eye(3), 3),
            r"separation is 3; expected an integer in 1..2 for a path of 3 steps",
        ),
        (lambda: step_angles(np.eye(3), 0), "separation is 0"),
        (lambda: step_angles([[4.0]]), r"separation is 1; .* for a path of 1 steps"),
        (lambda: effective_pairs(0), "steps is 0; expected an integer of at least 1"),
        (lambda: effective_pairs(10.0), "steps is 10.0"),
    ],
)
def test_rejects_times_outside_the_window(call, message):
    with pytest.raises(ValueError, match=message):
        call()
