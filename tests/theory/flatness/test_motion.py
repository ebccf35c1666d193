"""Times, temperatures and variances of walks whose law is known."""

import jax
import numpy as np
import pytest
from scipy.signal import lfilter

from sgd_diffusion.analysis import components_of_weights
from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.flatness import (
    correlation_times,
    effective_temperature,
    random_walk_variance,
    temperature_at_base,
)
from sgd_diffusion.theory.limiting import Hyperparameters, stationary_covariance

RATE, BATCH = 0.1, 5.0
NOISE = np.array([4.0, 1.0, 0.25])
CURVATURE = np.array([2.0, 0.5, 0.1])


def pushes(random, shape):
    return -RATE * np.sqrt(NOISE / BATCH) * random.normal(size=(*shape, 3))


def test_the_variance_of_a_random_walk_along_fixed_directions():
    """400 walks of 200 steps; five standard errors."""
    steps = pushes(np.random.default_rng(0), (400, 200))
    walks = np.pad(steps.cumsum(axis=1), ((0, 0), (1, 0), (0, 0)))
    found = walks.var(axis=1) * 201 / 200
    expected = np.asarray(random_walk_variance(NOISE, RATE, BATCH, 200))
    np.testing.assert_allclose(expected, RATE**2 * NOISE / BATCH * 202 / 6)
    error = found.std(axis=0) / 20
    assert (abs(found.mean(axis=0) - expected) < 5 * error).all()
    assert (error < 0.05 * expected).all()


def test_components_of_a_random_walk_in_many_dimensions():
    """Their shares are 6 / (pi k)^2, and their times those of cosines of the window."""
    steps, size = 150, 1000
    walk = np.random.default_rng(1).normal(size=(steps, size)).cumsum(axis=0)
    found = components_of_weights(walk, 5)
    order = np.arange(1, 6)
    np.testing.assert_allclose(found.explained_variance_ratio, 6 / (np.pi * order) ** 2, rtol=0.15)
    total = float(found.variances[0] / found.explained_variance_ratio[0])
    expected = size * float(random_walk_variance(1.0, 1.0, 1.0, steps - 1))
    assert total == pytest.approx(expected, rel=0.1)  # scatters by 0.9 / sqrt(1000) = 0.03
    cosines = np.cos(np.pi * order * (np.arange(steps)[:, None] + 0.5) / steps)
    np.testing.assert_allclose(
        correlation_times(found.scores), correlation_times(cosines), rtol=0.1
    )


def test_correlation_times_of_relaxation():
    """x <- r x + noise has the time -1 / ln r; each scatters by about sqrt(3 tau / T)."""
    keep = np.array([0.0, 0.9, 0.99])
    noise = np.random.default_rng(2).normal(size=(40_000, 3))
    walk = np.stack([lfilter([1], [1, -r], noise[:, i]) for i, r in enumerate(keep)], axis=1)
    times = np.asarray(correlation_times(walk))
    assert times[0] == pytest.approx(1 - 1 / np.e, abs=0.02)
    np.testing.assert_allclose(times[1:], -1 / np.log(keep[1:]), rtol=0.2)


def test_correlation_times_at_the_edges():
    """A cosine, a direct sum, a constant, and a gap."""
    t = np.arange(400)
    series = np.stack([np.cos(2 * np.pi * t / 40), t % 7, np.full(400, 0.1), t], axis=1)
    series[3, 3] = np.nan
    with np.errstate(invalid="ignore"):
        times = np.asarray(correlation_times(series))
    assert np.isfinite(times).tolist() == [True, True, False, False]
    for i in range(2):
        x = series[:, i] - series[:, i].mean()
        direct = np.array([x[: 400 - k] @ x[k:] for k in range(40)]) / (x @ x)
        k = np.argmax(direct < 1 / np.e)
        exact = k - 1 + (direct[k - 1] - 1 / np.e) / (direct[k - 1] - direct[k])
        assert times[i] == pytest.approx(exact)
    compiled = jax.jit(correlation_times)(series)
    np.testing.assert_allclose(compiled, times)


def test_the_temperature_of_batches_is_that_of_their_examples():
    """Of all batches drawn with replacement from four examples, exactly."""
    slopes = np.array([1.0, -2.0, 0.5, 3.0])
    batches = np.stack(np.meshgrid(*[slopes] * 3)).reshape(3, -1).mean(axis=0)
    found = effective_temperature(batches, RATE)
    np.testing.assert_allclose(found, temperature_at_base(slopes.var(), RATE, 3), rtol=1e-12)


def test_a_stationary_valley_has_the_variance_of_its_temperature():
    law = stationary_covariance(
        CURVATURE, NOISE, Hyperparameters(RATE, batch_size=BATCH), discrete=False
    )
    temperature = np.asarray(temperature_at_base(NOISE, RATE, BATCH))
    np.testing.assert_allclose(law.position, temperature / CURVATURE)
    np.testing.assert_allclose(law.position, RATE * NOISE / (2 * BATCH * CURVATURE))


def test_traced_arguments_out_of_range_give_nan():
    assert np.isnan(jax.jit(lambda rate: effective_temperature([1.0, 2.0], rate))(-1.0))
    found = jax.jit(lambda noise: random_walk_variance(noise, 0.1, 1.0, 5))(np.array([1.0, -1.0]))
    assert np.isnan(found).tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: correlation_times([1.0, 2.0]), r"series has shape \(2,\)"),
        (lambda: correlation_times([[1.0]]), r"series has shape \(1, 1\)"),
        (lambda: effective_temperature([1.0], 0.1), r"slopes has shape \(1,\)"),
        (lambda: effective_temperature([1.0, 2.0], 0.0), "learning_rate is 0"),
        (lambda: temperature_at_base([-1.0], 0.1, 1), "noise has entries that are negative"),
        (lambda: temperature_at_base([1.0], 0.1, 0.5), "batch_size is 0.5"),
        (lambda: random_walk_variance([1.0], 0.1, 1, 0), "num_steps is 0"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(InputError, match=words):
        call()
