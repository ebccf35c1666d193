"""Reference processes against their closed forms: covariances, displacements, tails; and that they
are functions of a key.

Statistical checks have fixed keys and allow 4 or 5 standard errors, estimated from the sample or,
where it is said, known.
"""

import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgd_diffusion.analysis import processes
from sgd_diffusion.analysis.displacement import ergodicity_breaking, time_averaged_msd
from sgd_diffusion.analysis.processes import (
    ballistic,
    brownian,
    continuous_time_random_walk,
    fractional_brownian,
    fractional_brownian_field,
    heavy_tailed,
    levy_flight,
    levy_walk,
    ornstein_uhlenbeck,
    period_two_with_drift,
    persistent_walk,
    scaled_brownian,
)
from sgd_diffusion.analysis.scaling import fit_power_law

KEY = jax.random.key(3)
PROCESSES = {
    "ballistic": ballistic,
    "brownian": functools.partial(brownian, drift=0.5),
    "ornstein_uhlenbeck": functools.partial(ornstein_uhlenbeck, relaxation_time=5, std=2.0),
    "persistent_walk": functools.partial(persistent_walk, persistence_time=5),
    "fractional_brownian": functools.partial(fractional_brownian, hurst=0.7),
    "scaled_brownian": functools.partial(scaled_brownian, alpha=0.5),
    "period_two_with_drift": functools.partial(
        period_two_with_drift, amplitude=1.0, drift=0.1, step_std=0.1
    ),
    "levy_flight": functools.partial(levy_flight, alpha=1.5),
    "levy_walk": functools.partial(levy_walk, alpha=1.5),
    "continuous_time_random_walk": functools.partial(continuous_time_random_walk, alpha=0.5),
}
every_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def step_gram(weights):
    steps = np.diff(np.asarray(weights, dtype=np.float64), axis=0)
    return steps @ steps.T


def ensemble(process, paths, steps, dim, key=KEY):
    """(paths, steps + 1, dim) float64, by programs of the process that know no parameters."""
    one = functools.partial(process, steps=steps, dim=dim)
    return np.asarray(jax.vmap(one)(jax.random.split(key, paths)), dtype=np.float64)


def assert_mean(samples, expected, *, largest_error=0.05):
    """The mean over the first axis is the expected one within 4 standard errors, which are small
    enough to tell.
    """
    samples = np.asarray(samples, dtype=np.float64)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    deviation = np.abs(samples.mean(axis=0) - expected)
    assert np.all(deviation <= 4 * error + 2e-6 * np.abs(expected)), (
        f"{deviation / error} standard errors"
    )
    assert np.all(error <= largest_error * np.abs(expected))


# Every process


@every_process
def test_positions(process):
    keys = jax.random.split(KEY, 3)
    path = np.asarray(process(keys[0], 20, 3))
    assert path.shape == (21, 3)
    assert path.dtype == np.float32
    assert np.all(np.isfinite(path))
    assert np.all(path[0] == 0) == (process is not PROCESSES["ornstein_uhlenbeck"])
    paths = ensemble(process, 3, 20, 3)  # mapped over the same keys
    np.testing.assert_allclose(paths[0], path, rtol=1e-4, atol=1e-4)
    assert np.any(paths[0] != paths[1])
    np.testing.assert_array_equal(process(keys[0], 20, 3), path)


@every_process
def test_double_precision_and_the_shortest_path(process):
    with jax.enable_x64(True):
        path = np.asarray(jax.jit(functools.partial(process, steps=1, dim=2))(KEY))
    assert path.shape == (2, 2)
    assert path.dtype == np.float64
    assert np.all(np.isfinite(path))


@every_process
def test_rejects_empty_paths(process):
    with pytest.raises(ValueError, match=r"steps is 0; expected an integer in 1\.\."):
        process(KEY, 0, 3)
    with pytest.raises(ValueError, match="dim is 0; expected an integer in "):
        process(KEY, 3, 0)
    with pytest.raises(ValueError, match=r"steps is 3\.5; expected an integer"):
        process(KEY, 3.5, 1)


@pytest.mark.parametrize(
    ("process", "name", "bad"),
    [
        (ornstein_uhlenbeck, "relaxation_time", (0, -1.0, math.nan)),
        (persistent_walk, "persistence_time", (0, -1.0, math.nan)),
        (fractional_brownian, "hurst", (0, 1, 1.5, math.nan)),
        (scaled_brownian, "alpha", (0, -1, math.inf)),
        (levy_flight, "alpha", (0, 2.01, math.nan)),
        (levy_walk, "alpha", (1, 0.5, math.inf)),
        (continuous_time_random_walk, "alpha", (0, 1, 1.5)),
    ],
)
def test_rejects_parameters_out_of_range(process, name, bad):
    for value in bad:
        with pytest.raises(ValueError, match=f"{name} is {value}; expected a"):
            process(KEY, 5, 2, **{name: value})


def test_period_two_takes_two_dimensions():
    with pytest.raises(ValueError, match=r"dim is 1; expected an integer in 2\.\."):
        period_two_with_drift(KEY, 5, 1, amplitude=1.0, drift=1.0)


# Gaussian processes: the whole covariance, over many independent coordinates of one path

TIMES = np.arange(7.0)


def stationary_steps(covariance):
    """Covariance of the positions at TIMES from that of steps k apart."""
    lags = np.abs(np.subtract.outer(TIMES[1:], TIMES[1:]))
    summed = np.tril(np.ones((7, 6)), -1)
    return summed @ covariance(lags) @ summed.T


def fractional(hurst):
    return 0.5 * (
        TIMES[:, None] ** (2 * hurst)
        + TIMES ** (2 * hurst)
        - np.abs(np.subtract.outer(TIMES, TIMES)) ** (2 * hurst)
    )


EARLIER = np.minimum.outer(TIMES, TIMES)
COVARIANCES = {
    "brownian": (functools.partial(brownian, step_std=1.5), 1.5**2 * EARLIER),
    "ornstein_uhlenbeck": (
        functools.partial(ornstein_uhlenbeck, relaxation_time=3, std=2.0),
        4 * np.exp(-np.abs(np.subtract.outer(TIMES, TIMES)) / 3),
    ),
    "persistent_walk": (
        functools.partial(persistent_walk, persistence_time=3, step_std=0.5),
        stationary_steps(lambda lags: 0.25 * np.exp(-lags / 3)),
    ),
    "antipersistent": (functools.partial(fractional_brownian, hurst=0.1), fractional(0.1)),
    "persistent": (functools.partial(fractional_brownian, hurst=0.9), fractional(0.9)),
    "subdiffusive": (functools.partial(scaled_brownian, alpha=0.3), EARLIER**0.3),
    "superdiffusive": (functools.partial(scaled_brownian, alpha=1.8), EARLIER**1.8),
    "levy_flight of index 2": (functools.partial(levy_flight, alpha=2), 2 * EARLIER),
}


@pytest.mark.parametrize(("process", "covariance"), COVARIANCES.values(), ids=COVARIANCES)
def test_gaussian_process(process, covariance):
    count = 100_000
    path = ensemble(process, 1, 6, count)[0]
    variance = np.diagonal(covariance)
    error = np.sqrt(
        (np.multiply.outer(variance, variance) + covariance**2) / count
    )  # of a product of two Gaussians
    assert np.all(np.abs(path @ path.T / count - covariance) <= 4.5 * error)
    assert np.all(np.abs(path.mean(axis=1)) <= 4.5 * np.sqrt(variance / count))
    assert abs(stats.kurtosis(path[-1])) < 4.5 * np.sqrt(24 / count)


def test_fractional_brownian_in_single_precision(monkeypatch):
    noise = np.random.default_rng(0).normal(size=(2000, 5))
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.asarray(noise))
    for hurst in (0.02, 0.3, 0.7, 0.98):
        single = np.diff(
            np.asarray(fractional_brownian(KEY, 1000, 5, hurst=hurst), dtype=np.float64), axis=0
        )
        with jax.enable_x64(True):
            double = np.diff(fractional_brownian(KEY, 1000, 5, hurst=hurst), axis=0)
        single_covariance, covariance = (
            [np.mean(steps[: 1000 - k] * steps[k:]) for k in range(50)]
            for steps in (single, double)
        )
        np.testing.assert_allclose(single_covariance, covariance, atol=1e-6)


# Displacements of the stationary ones: every pair of times, and the mean over them

LAGS = np.array([1, 2, 3, 10, 31, 100])


def persistent_walk_msd(lags, time):
    r = math.exp(-1 / time)
    return lags * (1 + r) / (1 - r) - 2 * r * (1 - r**lags) / (1 - r) ** 2


def levy_walk_msd(lags, alpha):
    leading = 2 * lags ** (3 - alpha) / (alpha * (2 - alpha) * (3 - alpha))
    return leading - lags * (alpha - 1) / (2 - alpha) + (alpha - 1) / (3 * (3 - alpha))


DISPLACEMENTS = {
    "ballistic": (functools.partial(ballistic, speed=3.0), 9.0 * LAGS**2),
    "brownian with drift": (
        functools.partial(brownian, step_std=0.5, drift=0.3),
        0.75 * LAGS + 0.09 * LAGS**2,
    ),
    "ornstein_uhlenbeck": (
        functools.partial(ornstein_uhlenbeck, relaxation_time=10, std=2.0),
        24 * -np.expm1(-LAGS / 10),
    ),
    "persistent_walk": (
        functools.partial(persistent_walk, persistence_time=10, step_std=0.5),
        0.75 * persistent_walk_msd(LAGS, 10),
    ),
    "fractional_brownian 0.05": (functools.partial(fractional_brownian, hurst=0.05), 3 * LAGS**0.1),
    "fractional_brownian 0.95": (functools.partial(fractional_brownian, hurst=0.95), 3 * LAGS**1.9),
    "period_two_with_drift": (
        functools.partial(period_two_with_drift, amplitude=2.0, drift=0.1, step_std=0.2),
        16 * (LAGS % 2) + 0.01 * LAGS**2 + 0.12 * LAGS,
    ),
    "levy_walk 1.3": (
        functools.partial(levy_walk, alpha=1.3, speed=2.0),
        4 * levy_walk_msd(LAGS, 1.3),
    ),
    "levy_walk 2.5": (functools.partial(levy_walk, alpha=2.5), levy_walk_msd(LAGS, 2.5)),
}


@pytest.mark.parametrize(("process", "expected"), DISPLACEMENTS.values(), ids=DISPLACEMENTS)
def test_displacements(process, expected):
    paths = ensemble(process, 1000, 100, 3)
    squares = [((paths[:, lag:] - paths[:, : 101 - lag]) ** 2).sum(axis=-1) for lag in LAGS]
    for pick in (
        lambda pairs: pairs[:, 0],
        lambda pairs: pairs[:, -1],
        lambda pairs: pairs.mean(axis=1),
    ):
        assert_mean(
            np.stack([pick(pairs) for pairs in squares], axis=1), expected, largest_error=0.08
        )


def test_period_two_without_a_walk_is_exact():
    path = ensemble(functools.partial(period_two_with_drift, amplitude=3.0, drift=0.2), 1, 50, 4)[0]
    lags = np.arange(1, 51)
    np.testing.assert_allclose(
        time_averaged_msd(step_gram(path)), 36 * (lags % 2) + 0.04 * lags**2, rtol=1e-4
    )


def test_directions_are_uniform():
    ends = ensemble(ballistic, 4000, 1, 2)[:, 1]
    np.testing.assert_allclose(np.linalg.norm(ends, axis=1), 1, rtol=1e-6)
    angles = np.arctan2(ends[:, 1], ends[:, 0])
    assert stats.kstest(angles, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    signs = ensemble(ballistic, 4000, 1, 1)[:, 1, 0]
    np.testing.assert_allclose(np.abs(signs), 1, rtol=1e-6)
    assert abs(signs.mean()) < 4 / np.sqrt(4000)


def test_scaled_brownian_ages():
    """The same lag is crossed faster early on, and yet the TAMSD is nearly linear."""
    process = functools.partial(scaled_brownian, alpha=0.5)
    paths = ensemble(process, 400, 1000, 5)
    for start, lag in ((0, 1), (0, 1000), (10, 100), (900, 100)):
        squares = ((paths[:, start + lag] - paths[:, start]) ** 2).sum(axis=-1)
        assert_mean(squares, 5 * (np.sqrt(start + lag) - np.sqrt(start)))
    lags = np.arange(1, 21)
    time = np.arange(1001.0)
    expected = np.array([np.mean(np.sqrt(time[lag:]) - np.sqrt(time[:-lag])) for lag in lags])
    msds = [
        [np.mean(((path[lag:] - path[:-lag]) ** 2).sum(axis=-1)) for lag in lags] for path in paths
    ]
    assert_mean(msds, 5 * expected)
    assert abs(fit_power_law(lags, expected).exponent - 1) < 0.05


# Levy flights


@pytest.mark.parametrize(
    "alpha", [0.5, 1.5, *(pytest.param(alpha, marks=pytest.mark.slow) for alpha in (1.0, 1.9))]
)
def test_levy_flight_has_its_characteristic_function(alpha):
    with jax.enable_x64(True):
        steps = np.diff(levy_flight(KEY, 100_000, 3, alpha=alpha), axis=0)
    for size in (0.2, 1.0, 2.0):
        for direction in ([1, 0, 0], [2 / 3, 1 / 3, -2 / 3]):
            waves = np.cos(steps @ (size * np.array(direction)))
            error = waves.std() / np.sqrt(len(waves))
            assert abs(waves.mean() - np.exp(-(size**alpha))) < 4 * error


def test_levy_flight_of_index_one_is_cauchy():
    with jax.enable_x64(True):
        steps = np.diff(levy_flight(KEY, 20_000, 2, alpha=1.0), axis=0)
    assert stats.kstest(steps[:, 0], stats.cauchy.cdf).pvalue > 1e-3


def test_levy_flight_has_a_linear_but_erratic_time_averaged_msd():
    lags = np.arange(1, 26)
    paths = ensemble(functools.partial(levy_flight, alpha=1.5), 25, 500, 30)
    msd = jax.jit(functools.partial(time_averaged_msd, lags=lags))
    msds = np.stack([msd(step_gram(path).astype(np.float32)) for path in paths])
    slopes = fit_power_law(lags, msds).exponent
    error = slopes.std(ddof=1) / 5
    assert error < 0.02
    assert abs(slopes.mean() - 1) < 4 * error
    # Brownian motion has 4 lag / (3 T dim) = 4e-5 here; the mean square of T steps has no variance
    # to converge to.
    assert float(ergodicity_breaking(msds)[0]) > 0.1


def test_tails_are_finite_where_the_generator_ends(monkeypatch):
    ends = np.array([0.0, 1 - 2**-23], np.float32)
    # Without jit, which would keep the generator of the first call.
    flight, walk, waiting = (
        function.__wrapped__
        for function in (
            heavy_tailed._levy_flight,
            heavy_tailed._levy_walk,
            heavy_tailed._continuous_time_random_walk,
        )
    )
    for first in range(2):
        monkeypatch.setattr(
            jax.random,
            "uniform",
            lambda key, shape, first=first: jnp.asarray(np.resize(np.roll(ends, first), shape)),
        )
        assert np.all(np.isfinite(heavy_tailed._pareto(KEY, 2, 0.3)))
        for alpha in (0.5, 1.0, 1.5, 2.0):
            assert np.all(np.isfinite(flight(KEY, alpha, 2, 1)))
        assert np.all(np.isfinite(walk(KEY, 1.01, 0.01, 1.0, 2, 1)))
        assert np.all(np.isfinite(waiting(KEY, 0.05, 1.0, 2, 1)))


# Renewal processes


def test_levy_walk():
    paths = ensemble(functools.partial(levy_walk, alpha=1.5, speed=2.0), 2000, 200, 2)
    lengths = np.linalg.norm(np.diff(paths, axis=1), axis=-1)
    assert lengths.max() < 2 * (1 + 1e-4)
    assert_mean(
        (lengths > 2 * (1 - 1e-4)).mean(axis=1), 1 / 1.5
    )  # no turn: the flight under way has more than a step left
    lags = np.arange(10, 101, 10)
    msds = np.stack(
        [((paths[:, lag:] - paths[:, :-lag]) ** 2).sum(axis=-1).mean(axis=1) for lag in lags],
        axis=1,
    )
    slopes = fit_power_law(lags, msds.reshape(10, 200, 10).mean(axis=1)).exponent
    error = slopes.std(ddof=1) / np.sqrt(10)
    assert error < 0.02
    assert abs(slopes.mean() - fit_power_law(lags, levy_walk_msd(lags, 1.5)).exponent) < 4 * error
    assert (
        abs(slopes.mean() - 1.5) < 4 * error + 0.06
    )  # 3 - alpha, and the linear term: 1 / sqrt(lag) of the leading one


def number_of_jumps(times):
    """Expected, for alpha = 1/2: 2 sqrt(t)/pi - 1 + 1/pi + O(1/sqrt(t)), from the Laplace transform
    of the waiting times.
    """
    return 2 * np.sqrt(times) / np.pi - 1 + 1 / np.pi


def test_continuous_time_random_walk():
    paths = ensemble(
        functools.partial(continuous_time_random_walk, alpha=0.5, step_std=2.0), 3000, 500, 2
    )
    moved = np.any(paths != 0, axis=-1)
    for time in (1, 2, 10, 30):
        assert_mean(~moved[:, time], time**-0.5)  # P(no jump yet) = t^-alpha
    from_start = (paths**2).sum(axis=-1)
    assert_mean(from_start[:, [100, 200, 500]], 8 * number_of_jumps(np.array([100, 200, 500])))
    lags = np.array([1, 3, 10])
    msds = np.stack(
        [((paths[:, lag:] - paths[:, :-lag]) ** 2).sum(axis=-1).mean(axis=1) for lag in lags],
        axis=1,
    )
    times = np.arange(501)
    expected = np.where(times < 2, 0, number_of_jumps(times))  # neither 0 nor 1 has seen a jump
    assert_mean(msds, 8 * np.array([np.mean(expected[lag:] - expected[:-lag]) for lag in lags]))
    # At lag 1, n jumps of 2 coordinates add 2 / (2 <n>) to the scatter of n itself.
    breaking = 2 * math.gamma(1.5) ** 2 / math.gamma(2) - 1 + 1 / number_of_jumps(500)
    ratio = msds[:, 0] / msds[:, 0].mean()
    error = ((ratio - 1) ** 2).std() / np.sqrt(3000)
    assert error < 0.04 * breaking
    assert abs(float(ergodicity_breaking(msds)[0]) - breaking) < 4 * error


# Fractional Brownian fields


def path_with_a_return(steps=30, dim=3):
    weights = np.random.default_rng(4).normal(size=(steps + 1, dim)).cumsum(axis=0)
    weights[20] = weights[4]
    return weights


def squared_distances(weights):
    return ((weights[:, None] - weights) ** 2).sum(axis=-1)


@pytest.mark.parametrize("hurst", [0.2, 0.5, 0.9])
def test_field_has_its_variogram(hurst):
    squares = squared_distances(path_with_a_return(steps=30)).astype(np.float32)
    keys = jax.random.split(KEY, 4000)
    values = np.asarray(
        jax.jit(jax.vmap(lambda key: fractional_brownian_field(key, squares, hurst=hurst)))(keys)
    )
    assert not np.any(values[:, 0])
    rows, columns = np.triu_indices(31, 1)
    differences = values[:, rows] - values[:, columns]
    expected = squares[rows, columns] ** hurst
    twice = expected == 0
    assert twice.sum() == 1
    assert np.abs(differences[:, twice]).max() < 0.01
    assert np.all(
        np.abs((differences**2).mean(axis=0) / np.where(twice, 1, expected) - 1)[~twice]
        < 5 * np.sqrt(2 / 4000)
    )
    assert np.all(np.abs(differences.mean(axis=0)) < 5 * np.sqrt(expected / 4000) + 1e-3)


@pytest.mark.parametrize("hurst", [0.1, 0.5, 0.9, 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 5e-5)])
def test_field_is_exact(dtype, tolerance, hurst, monkeypatch):
    """The values are linear in the noise: unit vectors in its place give the whole variogram,
    without any statistics.
    """
    squares = squared_distances(path_with_a_return(steps=100))
    monkeypatch.setattr(
        jax.random, "normal", lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)[key]
    )
    field = functools.partial(
        fractional_brownian_field, squared_displacements=squares.astype(dtype), hurst=hurst
    )
    factor = np.asarray(jax.jit(jax.vmap(field))(jnp.arange(100)), dtype=np.float64)
    expected = squares**hurst
    np.testing.assert_allclose(
        squared_distances(factor.T), expected, rtol=0, atol=tolerance * expected.max()
    )
    assert squares[4, 20] == 0


def test_field_of_index_one_is_a_plane():
    line = np.array([0.0, 1.0, 3.0, 2.0, 2.0, -1.0])
    values = np.asarray(fractional_brownian_field(KEY, np.subtract.outer(line, line) ** 2, hurst=1))
    np.testing.assert_allclose(values, values[1] * line, atol=1e-6)
    assert values[1] != 0


def test_field_follows_the_precision_of_its_input():
    squares = squared_distances(path_with_a_return())
    field = functools.partial(fractional_brownian_field, hurst=0.5)
    with jax.enable_x64(True):
        double = jnp.asarray(squares)
        assert field(KEY, squares.astype(np.float32)).dtype == np.float32
    expected = np.asarray(field(KEY, squares))
    single = field(KEY, squares.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=0.05)  # the same draws: the same field
    batch = jax.jit(jax.vmap(field, in_axes=(None, 0)))(KEY, double[None])
    for result in (expected, jax.jit(field)(KEY, double), batch[0]):
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_field_edges():
    assert (
        fractional_brownian_field(KEY, np.zeros((4, 4)), hurst=0.5).tolist() == [0.0] * 4
    )  # a path that never moves
    one_step = ensemble_of_fields([[0.0, 4.0], [4.0, 0.0]])
    assert np.all(one_step[:, 0] == 0)
    assert abs(one_step[:, 1].var() / 2 - 1) < 5 * np.sqrt(2 / 1000)
    squares = np.stack([squared_distances(path_with_a_return())] * 2).astype(np.float32)
    squares[0] = np.nan
    values = jax.jit(jax.vmap(lambda squares: fractional_brownian_field(KEY, squares, hurst=0.5)))(
        squares
    )
    assert np.all(np.isnan(values[0, 1:]))
    assert np.all(np.isfinite(values[1]))


def ensemble_of_fields(squares):
    keys = jax.random.split(KEY, 1000)
    return np.asarray(
        jax.jit(jax.vmap(lambda key: fractional_brownian_field(key, squares, hurst=0.5)))(keys)
    )


def test_field_errors():
    for bad in (0, 1.1, math.nan):
        with pytest.raises(
            ValueError, match=f"hurst is {bad}; expected a finite number above 0 and of at most 1"
        ):
            fractional_brownian_field(KEY, np.zeros((3, 3)), hurst=bad)
    for shape in ((1, 1), (3, 4), (2, 3, 3)):
        with pytest.raises(ValueError, match=r"squared_displacements has shape .*n >= 2.*jax.vmap"):
            fractional_brownian_field(KEY, np.zeros(shape), hurst=0.5)


def test_key_comes_first():
    for name in processes.__all__:
        assert next(iter(inspect.signature(getattr(processes, name)).parameters)) == "key"
