"""Means, covariances and displacements: known values, powers of the step, simulated steps."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    local_displacement,
    mean_and_covariance,
    msd_from_point,
    position_autocorrelation,
    predicted_exponent,
    stationary_covariance,
    stationary_msd,
    velocity_autocorrelation,
)
from sgd_diffusion.theory.limiting.displacements import PART

HYPER = Hyperparameters(0.05, momentum=0.9, weight_decay=0.01, batch_size=8)
EIGENVALUES = np.array([2.0, 0.5, 0.1])
NOISE = 1.5 * EIGENVALUES
LAGS = np.array([1, 2, 5, 10, 20, 50, 100])


def summed_steps(steps, position, velocity, eigenvalue, noise, hyper):
    """The mean and the covariance of a mode, step by step."""
    eta, beta, h = hyper.learning_rate, hyper.momentum, eigenvalue + hyper.weight_decay
    step = np.array([[1 - eta * h, eta * beta], [-h, beta]])
    push = noise / hyper.batch_size * np.outer([eta, 1], [eta, 1])
    mean, covariance = np.array([position, velocity]), np.zeros((2, 2))
    for _ in range(steps):
        mean, covariance = step @ mean, step @ covariance @ step.T + push
    return mean, covariance


# Known values


def test_known_means_and_covariances():
    expected = {
        True: (
            (0.34369331493340166, -0.3907396976375712),
            (0.04178971160403187, 0.04520409674718534, 1.7939924219675079),
        ),
        False: (
            (0.3535561544052663, -0.312254640960372),
            (0.04070400518821657, 0.00022625436437516, 1.7436267692817053),
        ),
    }
    for discrete, (mean, covariance) in expected.items():
        law = mean_and_covariance(20, 1.0, 0.0, 2.0, 3.0, HYPER, discrete=discrete)
        np.testing.assert_allclose(law.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(law.covariance, covariance, rtol=1e-9)
    first = mean_and_covariance(1, 1.0, 0.0, 2.0, 3.0, HYPER)
    np.testing.assert_allclose(first.mean, (0.8995, -2.01), rtol=1e-12)
    np.testing.assert_allclose(first.covariance, (0.0009375, 0.01875, 0.375), rtol=1e-12)


def test_known_displacements():
    expected = [
        0.006557206934,
        0.024375,
        0.117622324254,
        0.243407760842,
        0.232895893853,
        0.281061547337,
        0.273744596951,
    ]
    lags, plateau = [*LAGS, 10**6], {True: 0.273701222990, False: 0.2704226195227}
    found = {
        discrete: stationary_msd(lags, EIGENVALUES, NOISE, HYPER, discrete=discrete)
        for discrete in plateau
    }
    np.testing.assert_allclose(found[True][:-1], expected, rtol=1e-9)
    for discrete, value in plateau.items():
        np.testing.assert_allclose(found[discrete][-1], value, rtol=1e-9)


def test_known_autocorrelation_of_velocities():
    found = velocity_autocorrelation(np.arange(6), 2.0, HYPER)
    expected = [1, 0.84975, 0.629125125, 0.3673356624, 0.0948079121, -0.1599952584]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_known_slopes_of_a_flat_mode():
    hyper = Hyperparameters(0.01, momentum=0.9)
    spaced = np.unique(np.logspace(np.log10(200), np.log10(2000), 20).astype(int))
    for lags, slope in [((1, 2), 1.926), (spaced, 0.982), ((10**6, 10**7), 0.0)]:
        found = predicted_exponent(lags, 1e-3, 1.0, hyper)
        np.testing.assert_allclose(found, slope, atol=5e-4)
    free = predicted_exponent([1, 2], 0.0, 1.0, hyper)
    np.testing.assert_allclose(free, np.log2(2 * 1.9), rtol=1e-12)


# Identities


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("eigenvalue", [-0.3, -0.01, 1e-6, 0.5, 30.0])
def test_steps_one_by_one(momentum, eigenvalue):
    hyper = HYPER._replace(momentum=momentum)
    counts = [0, 1, 2, 7, 60]
    law = mean_and_covariance(counts, 0.7, -0.4, eigenvalue, 2.0, hyper)
    for i, count in enumerate(counts):
        mean, covariance = summed_steps(count, 0.7, -0.4, eigenvalue, 2.0, hyper)
        np.testing.assert_allclose([part[i] for part in law.mean], mean, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(
            [part[i] for part in law.covariance],
            [covariance[0, 0], covariance[0, 1], covariance[1, 1]],
            rtol=1e-9,
            atol=1e-14,
        )


def test_the_law_forgets_its_start():
    for discrete in (True, False):
        law = mean_and_covariance(10**5, 1.0, 1.0, EIGENVALUES, NOISE, HYPER, discrete=discrete)
        limit = stationary_covariance(EIGENVALUES, NOISE, HYPER, discrete=discrete)
        np.testing.assert_allclose(law.mean, np.zeros((2, 3)), atol=1e-12)
        np.testing.assert_allclose(law.covariance, limit, rtol=1e-9, atol=1e-13)


def test_displacements_are_sums_of_velocities():
    """The formula of the paper, with the exact autocorrelation of velocities: t = 1, 2, 5, ..."""
    correlation = velocity_autocorrelation(np.arange(101), EIGENVALUES, HYPER)
    velocity = np.asarray(stationary_covariance(EIGENVALUES, NOISE, HYPER).velocity)
    for lag, msd in zip(LAGS, stationary_msd(LAGS, EIGENVALUES, NOISE, HYPER), strict=True):
        k = np.arange(1, lag)
        pairs = lag + 2 * ((lag - k)[:, None] * np.asarray(correlation)[k]).sum(axis=0)
        np.testing.assert_allclose(msd, 0.05**2 * (velocity * pairs).sum(), rtol=1e-9)


def test_displacements_are_twice_the_variance_that_is_forgotten():
    position = stationary_covariance(EIGENVALUES, NOISE, HYPER).position
    kept = position_autocorrelation(LAGS, EIGENVALUES, HYPER)
    expected = (2 * np.asarray(position) * (1 - np.asarray(kept))).sum(axis=1)
    np.testing.assert_allclose(stationary_msd(LAGS, EIGENVALUES, NOISE, HYPER), expected, rtol=1e-9)


def test_autocorrelations_by_the_roots():
    beta, lags = 0.9, np.arange(40)
    y = 0.05 * (EIGENVALUES + 0.01)
    root = np.sqrt((1 + beta - y) ** 2 - 4 * beta + 0j)
    one, two = (1 + beta - y + root) / 2, (1 + beta - y - root) / 2
    expected = (
        (1 - two**2) * one ** (lags[:, None] + 1) - (1 - one**2) * two ** (lags[:, None] + 1)
    ) / ((one - two) * (1 + one * two))
    found = position_autocorrelation(lags, EIGENVALUES, HYPER)
    np.testing.assert_allclose(found, expected.real, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found[1], (1.9 - y) / 1.9, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_flat_modes(momentum):
    hyper = Hyperparameters(0.05, momentum, batch_size=8)
    s2, beta = 3.0 / 8, momentum
    stationary = (
        0.05**2
        * s2
        / (1 - beta**2)
        * (LAGS * (1 + beta) / (1 - beta) - 2 * beta * (1 - beta**LAGS) / (1 - beta) ** 2)
    )
    rest = (
        0.05**2
        * s2
        / (1 - beta) ** 2
        * (
            LAGS
            - 2 * beta * (1 - beta**LAGS) / (1 - beta)
            + beta**2 * (1 - beta ** (2 * LAGS)) / (1 - beta**2)
        )
    )
    np.testing.assert_allclose(stationary_msd(LAGS, [0.0], [3.0], hyper), stationary, rtol=1e-9)
    np.testing.assert_allclose(msd_from_point(LAGS, 0.0, [0.0], [3.0], hyper), rest, rtol=1e-9)


def test_from_a_point_it_is_drift_and_variance():
    offset = np.array([0.3, -0.2, 1.0])
    law = mean_and_covariance(LAGS, offset, 0.0, EIGENVALUES, NOISE, HYPER)
    drift = ((np.asarray(law.mean.position) - offset) ** 2).sum(axis=1)
    expected = drift + np.asarray(law.covariance.position).sum(axis=1)
    found = msd_from_point(LAGS, offset, EIGENVALUES, NOISE, HYPER)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_one_step_is_the_local_displacement_and_no_step_is_none():
    found = np.asarray(stationary_msd([0, 1], EIGENVALUES, NOISE, HYPER))
    assert found[0] == 0
    np.testing.assert_allclose(found[1], local_displacement(EIGENVALUES, NOISE, HYPER), rtol=1e-12)


def test_the_plateau_is_reached_in_the_time_of_the_slowest_mode():
    """Beyond any relaxation, both starts have the law of positions."""
    position = np.asarray(stationary_covariance(EIGENVALUES, NOISE, HYPER).position).sum()
    late = [10**7]
    stationary = stationary_msd(late, EIGENVALUES, NOISE, HYPER)
    np.testing.assert_allclose(stationary, 2 * position, rtol=1e-9)
    point = msd_from_point(late, 0.0, EIGENVALUES, NOISE, HYPER)
    np.testing.assert_allclose(point, position, rtol=1e-9)


def test_steps_go_over_into_the_langevin_equation():
    """At the same damping and time, the difference of the laws falls with the learning rate."""
    differences, lags = [], [100, 1000]
    for place, eta in enumerate((1e-2, 1e-3)):
        damping = 5.0
        beta = (1 - damping * eta) / (1 + damping * eta)
        hyper = Hyperparameters(eta, beta)
        laws = [
            stationary_msd(lags, [20.0], [1.0], hyper, discrete=discrete)[place]
            for discrete in (True, False)
        ]
        differences.append(abs(float(laws[0]) / float(laws[1]) - 1))
    assert differences[1] < differences[0] / 5


def test_lags_in_any_order_and_more_than_once():
    lags = [50, 1, 7, 7, 0]
    found = stationary_msd(lags, EIGENVALUES, NOISE, HYPER)
    # With the largest one, so that all have one program.
    single = [stationary_msd([lag, 50], EIGENVALUES, NOISE, HYPER)[0] for lag in lags]
    np.testing.assert_allclose(found, single, rtol=1e-12)


def test_modes_that_are_alike_can_stand_as_one():
    found = stationary_msd(LAGS, [0.5] * 3, [0.2, 0.3, 0.4], HYPER)
    np.testing.assert_allclose(found, stationary_msd(LAGS, 0.5, 0.9, HYPER), rtol=1e-12)


# Simulated steps


@pytest.mark.parametrize("count", [5000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_simulated_steps(count):
    random = np.random.default_rng(0)
    x, v = np.ones((3, count)), np.zeros((3, count))
    strength = np.sqrt(NOISE / HYPER.batch_size)[:, None]
    looks = [5, 20, 100, 400]
    laws = mean_and_covariance(looks, 1.0, 0.0, EIGENVALUES, NOISE, HYPER)
    mean, covariance = jax.tree.map(np.asarray, tuple(laws))
    for step in range(1, 401):
        pull = (EIGENVALUES + HYPER.weight_decay)[:, None] * x
        v = 0.9 * v - pull - strength * random.normal(size=x.shape)
        x = x + 0.05 * v
        if step in looks:
            place = looks.index(step)
            xx, xv, vv = (part[place] for part in covariance)
            centers = (part[place] for part in mean)
            for values, center, variance in zip((x, v), centers, (xx, vv), strict=True):
                assert (abs(values.mean(axis=1) - center) < 5 * np.sqrt(variance / count)).all()
                spread = values.var(axis=1)
                assert (abs(spread / variance - 1) < 5 * np.sqrt(2 / count)).all()
            both = ((x - x.mean(axis=1, keepdims=True)) * v).mean(axis=1)
            assert (abs(both - xv) < 5 * np.sqrt((xx * vv + xv**2) / count)).all()


# Exponents


def test_the_exponent_is_that_of_the_fit_of_a_measurement():
    lags = np.arange(500, 1001)
    for offset in (None, np.array([0.3, -0.2, 1.0])):
        if offset is None:
            msd = stationary_msd(lags, EIGENVALUES, NOISE, HYPER)
        else:
            msd = msd_from_point(lags, offset, EIGENVALUES, NOISE, HYPER)
        expected = fit_power_law(lags, np.asarray(msd)).exponent
        found = predicted_exponent(lags, EIGENVALUES, NOISE, HYPER, offset=offset)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("s", [1.2, 1.5, 1.8])
def test_a_power_law_of_eigenvalues_is_subdiffusion(s):
    """Density rho^-s and noise proportional to rho: the displacement grows with exponent s - 1."""
    eigenvalues = np.logspace(-9, 1, 4001)
    weights = eigenvalues ** (1 - s)  # of a logarithmic grid
    lags = np.unique(np.logspace(4, 6, 20).astype(int))
    found = predicted_exponent(lags, eigenvalues, weights * eigenvalues, Hyperparameters(0.05, 0.5))
    np.testing.assert_allclose(found, s - 1, atol=0.02)


@pytest.mark.parametrize("pair", [((1e-4, 0.99), (1e-3, 0.9)), ((1e-5, 0.99), (1e-4, 0.9))])
def test_the_exponent_depends_on_the_learning_rate_over_one_less_momentum(pair):
    lags = np.arange(5000, 10_001, 50)
    eigenvalues = np.logspace(-2, 1, 50)
    exponents = [
        predicted_exponent(lags, eigenvalues, eigenvalues, Hyperparameters(*each)) for each in pair
    ]
    np.testing.assert_allclose(*exponents, atol=0.01)


@settings(max_examples=20)
@given(
    st.floats(0.0, 0.95),
    st.floats(1e-6, 1.9),
    st.floats(-1, 1),
)
def test_variances_are_positive_and_displacements_start_with_their_drift(beta, y, offset):
    hyper = Hyperparameters(1.0, beta)
    lags = np.array([1, 3, 30, 300])
    law = mean_and_covariance(lags, offset, 0.0, y, 1.0, hyper)
    xx, xv, vv = map(np.asarray, law.covariance)
    assert (xx > 0).all()
    assert (vv > 0).all()
    assert (xx[1:] * vv[1:] > xv[1:] ** 2).all()
    msd = msd_from_point(lags, offset, y, 1.0, hyper)
    np.testing.assert_allclose(msd[0], (y * offset) ** 2 + 1, rtol=1e-12)


# Transformations and errors


def test_transformations():
    offset = np.array([0.3, -0.2, 1.0])
    eager = (
        stationary_msd(LAGS, EIGENVALUES, NOISE, HYPER),
        msd_from_point(LAGS, offset, EIGENVALUES, NOISE, HYPER),
    )

    def both(eigenvalues):
        return (
            stationary_msd(LAGS, eigenvalues, NOISE, HYPER),
            msd_from_point(LAGS, offset, eigenvalues, NOISE, HYPER),
        )

    with jax.enable_x64(True):
        jitted = jax.jit(both)(EIGENVALUES)
        mapped = jax.jit(jax.vmap(both))(np.stack([EIGENVALUES, 2 * EIGENVALUES]))
    for one, other, many in zip(eager, jitted, mapped, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)
        np.testing.assert_allclose(many[0], one, rtol=1e-12)


def test_traced_steps():
    steps = np.array([0, 1, 20, 400])
    eager = mean_and_covariance(steps, 1.0, 0.0, EIGENVALUES, NOISE, HYPER)
    with jax.enable_x64(True):
        traced = jax.jit(
            lambda steps: mean_and_covariance(steps, 1.0, 0.0, EIGENVALUES, NOISE, HYPER)
        )(steps)
    for one, other in zip(jax.tree.leaves(eager), jax.tree.leaves(traced), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-18)


def displacements(h, eta, beta):
    hyper = Hyperparameters(eta, beta, batch_size=8.0)
    with jax.enable_x64(True):
        return (
            stationary_msd([3, 50], h, 1.0, hyper).sum()
            + msd_from_point([3, 50], 0.5, h, 1.0, hyper).sum()
        )


slopes_of_displacements = jax.jit(jax.grad(displacements, argnums=(0, 1, 2)))


@pytest.mark.parametrize("y", [0.0, (1 - 0.9**0.5) ** 2, 0.5])
def test_derivatives_are_finite_and_those_of_differences(y):
    """At zero curvature and at critical damping too; by all hyperparameters that have one."""
    point = (y / 0.05, 0.05, 0.9)
    with jax.enable_x64(True):
        slopes = slopes_of_displacements(*point)
    for i, slope in enumerate(slopes):
        assert np.isfinite(slope)
        if point[i] > 0:
            step = 1e-6 * point[i]
            ends = [
                float(displacements(*(np.array(point) + sign * step * np.eye(3)[i])))
                for sign in (1, -1)
            ]
            difference = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-9 * abs(ends[0]))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: stationary_msd([1], [-0.1], [1.0], HYPER), "no stationary law"),
        (lambda: stationary_msd([-1], [1.0], [1.0], HYPER), "lags"),
        (lambda: stationary_msd([0.5], [1.0], [1.0], HYPER), "lags"),
        (lambda: stationary_msd([], [1.0], [1.0], HYPER), "lags"),
        (lambda: msd_from_point([1], [1.0, 2.0], [1.0], [1.0], HYPER), "offset has shape"),
        (lambda: msd_from_point([1], np.nan, [1.0], [1.0], HYPER), "offset has entries"),
        (lambda: msd_from_point([1], 0.0, [80.0], [1.0], HYPER), "do not settle"),
        (lambda: predicted_exponent([5, 5], [1.0], [1.0], HYPER), "two different lags"),
        (lambda: predicted_exponent([0, 5], [1.0], [1.0], HYPER), "lags"),
        (lambda: mean_and_covariance(-1, 0.0, 0.0, 1.0, 1.0, HYPER), "steps"),
        (lambda: mean_and_covariance(0.5, 0.0, 0.0, 1.0, 1.0, HYPER), "steps"),
        (lambda: mean_and_covariance(1, [0.0, 1.0], 0.0, 1.0, 1.0, HYPER), "position has shape"),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()


def test_traced_arguments_out_of_range_give_nan():
    with jax.enable_x64(True):
        msd = jax.jit(lambda h: stationary_msd([1, 5], h, 1.0, HYPER))
        assert np.isfinite(msd(1.0)).all()
        assert np.isnan(msd(-1.0)).all()
        assert np.isnan(msd(100.0)).all()


def test_many_modes_are_the_sum_of_few():
    """Modes go through the lags in parts; five that are left over are a part of their own."""
    count, lags = 2 * PART + 5, [3, 1, 40]
    eigenvalues = np.logspace(-4, 1, count)
    noise, offset = np.random.default_rng(0).uniform(size=(2, count))
    hyper = Hyperparameters(0.05, momentum=0.9, batch_size=16)
    third = count // 3
    few = [slice(first, first + third) for first in range(0, count, third)]
    assert 3 * third == count  # so that all have one program

    def summed(of_modes):
        return np.sum([of_modes(own) for own in few], axis=0)

    np.testing.assert_allclose(
        stationary_msd(lags, eigenvalues, noise, hyper),
        summed(lambda own: stationary_msd(lags, eigenvalues[own], noise[own], hyper)),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        msd_from_point(lags, offset, eigenvalues, noise, hyper),
        summed(lambda own: msd_from_point(lags, offset[own], eigenvalues[own], noise[own], hyper)),
        rtol=1e-12,
    )
