"""Roughness of the loss: landscapes of known exponent, the weights themselves, batch noise, fits
and their ranges.
"""

from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from sgd_diffusion.analysis.pairs import average, block_bootstrap
from sgd_diffusion.analysis.roughness import (
    batch_noise_floor,
    hurst_exponent,
    loss_by_contour,
    loss_by_distance,
    mean_squared_loss,
)
from sgd_diffusion.errors import InputError


def step_gram(weights):
    steps = np.diff(np.asarray(weights, dtype=np.float64), axis=0)
    return steps @ steps.T


def random_walk(seed, steps=12, dim=5):
    return np.random.default_rng(seed).normal(size=(steps + 1, dim)).cumsum(axis=0)


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@cache
def compiled(function, bins):
    """A function of a Gram matrix and losses, in one program in double precision."""
    jitted = jax.jit(partial(function, bins=bins))

    def call(gram, losses):
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, jitted(gram, np.asarray(losses, dtype=np.float64)))

    return call


# Mean squared loss


@given(st.integers(0, 2**31), st.integers(1, 4))
@settings(deadline=None, max_examples=20)
def test_mean_squared_loss_against_the_weights(seed, dim):
    weights, losses = random_walk(seed, dim=dim), noise(seed + 1, 13)
    first, second = np.triu_indices(13, 1)
    contour = np.append(0, np.cumsum(np.linalg.norm(np.diff(weights, axis=0), axis=1)))
    squares = (losses[second] - losses[first]) ** 2
    edges = (0.3, 1.0, 2.0, 4.0, 20.0)
    gram = step_gram(weights)
    distances, msl, counts = compiled(mean_squared_loss, edges)(gram, losses)
    for keys, curve in (
        (cdist(weights, weights)[first, second], msl),
        (contour[second] - contour[first], average(compiled(loss_by_contour, edges)(gram, losses))),
    ):
        inside = [(keys >= low) & (keys < high) for low, high in pairwise(edges)]
        np.testing.assert_allclose(
            curve, [squares[pairs].mean() if pairs.any() else np.nan for pairs in inside], rtol=1e-9
        )
        if curve is msl:
            assert counts.tolist() == [pairs.sum() for pairs in inside]
            geometric = [
                np.exp(np.log(keys[pairs]).mean()) if pairs.any() else np.nan for pairs in inside
            ]
            np.testing.assert_allclose(distances, geometric, rtol=1e-9)
    pairs = compiled(loss_by_distance, edges)(gram, losses)
    np.testing.assert_allclose(average(pairs), msl, rtol=1e-12)


def test_squares_are_averaged_and_not_averages_squared():
    """One bin with a rise and a fall of the loss by 1."""
    result = compiled(mean_squared_loss, (0.9, 1.1))(np.eye(2), [0.0, 1.0, 0.0])
    assert (float(result.msl[0]), float(result.counts[0])) == (1.0, 2.0)


def test_a_constant_slope_has_exponent_two():
    steps = 300
    edges = tuple(0.5 * np.arange(1, 101) - 0.25)
    result = compiled(mean_squared_loss, edges)(
        np.full((steps, steps), 0.25), 3.0 * np.arange(steps + 1)
    )
    np.testing.assert_allclose(result.msl, 36 * result.distances**2, rtol=1e-10)
    fit = hurst_exponent(*result)
    assert abs(fit.exponent - 2) < 1e-9
    assert abs(fit.hurst - 1) < 1e-9


@pytest.mark.parametrize(("contraction", "deviation"), [(0.5, 0.001), (0.9, 0.02)])
def test_descent_into_a_quadratic_minimum_has_exponent_four(contraction, deviation):
    """w_t = c^t w_0 has no scale between its largest steps and its end, and 4 is the exponent up to
    terms in 1/T.

    Of the pairs of w_i, T - i are with points that have as good as arrived: at large distances they
    are a larger part.
    """
    weights = contraction ** np.arange(601)
    distances = (1 - contraction) * np.geomspace(
        1e-3, 0.5, 13
    )  # below the largest steps, far above the last ones
    result = compiled(mean_squared_loss, tuple(distances))(
        step_gram(weights[:, None]), weights**2 / 2
    )
    assert abs(hurst_exponent(*result).exponent - 4) < deviation


@pytest.mark.parametrize("hurst", [0.3, 0.9])
def test_fractional_brownian_landscape(hurst):
    """E (L_i - L_j)^2 = |w_i - w_j|^(2H), sampled at the points of a walk by the Cholesky factor of
    its covariance.
    """
    weights = random_walk(0, steps=60, dim=2)
    variogram = cdist(weights, weights) ** (2 * hurst)
    covariance = (variogram[:1].T + variogram[:1] - variogram) / 2
    factor = np.linalg.cholesky(covariance[1:, 1:])
    losses = np.pad(noise(1, 2000, 60) @ factor.T, ((0, 0), (1, 0)))
    edges = np.geomspace(0.5, 12, 9)
    with jax.enable_x64(True):
        gram = jnp.asarray(step_gram(weights))
        sampled = np.asarray(
            jax.jit(jax.vmap(lambda member: mean_squared_loss(gram, member, bins=edges).msl))(
                losses
            )
        )
        distances, _, counts = compiled(mean_squared_loss, tuple(edges))(gram, losses[0])
    first, second = np.triu_indices(61, 1)
    place = np.digitize(cdist(weights, weights)[first, second], edges) - 1
    expected = np.array([variogram[first, second][place == k].mean() for k in range(8)])
    error = sampled.std(axis=0) / np.sqrt(2000)
    assert np.all(
        np.abs(sampled.mean(axis=0) - expected) < 4.5 * error
    )  # 16 numbers within 4.5 standard errors
    assert np.all(error < 0.05 * expected)
    # The exponent of the mean curve: bins are wide enough to move it by 0.01.
    replicates = sampled.reshape(20, 100, 8).mean(axis=1)
    fit = hurst_exponent(distances, sampled.mean(axis=0), counts, replicates=replicates)
    assert fit.error_source == "replicates"
    assert (
        abs(fit.exponent - 2 * hurst) < 4 * fit.exponent_error / np.sqrt(20) + 0.01
    )  # an error of each of the 20


def test_batch_noise_on_a_flat_landscape():
    """Independent noise of variance v: 2 v at every distance; on the probe, nothing."""
    gram = step_gram(random_walk(2, steps=60, dim=3))
    edges = np.geomspace(0.5, 15, 8)
    losses = (5 + 0.3 * noise(3, 1000, 61)).astype(np.float32)
    single = gram.astype(np.float32)
    msl = np.asarray(
        jax.jit(jax.vmap(lambda member: mean_squared_loss(single, member, bins=edges).msl))(losses)
    )
    error = msl.std(axis=0) / np.sqrt(1000)
    assert np.all(np.abs(msl.mean(axis=0) - 2 * 0.3**2) < 4.5 * error)
    assert not np.any(compiled(mean_squared_loss, tuple(edges))(gram, np.full(61, 5.0)).msl)


# Noise floor


def test_noise_floor_and_its_error():
    """(e_{t+1} - e_t)^2 of Gaussian noise has variance 8 v^2 and covariance 2 v^2 with the next:
    Var(floor) = 12 v^2/T.
    """
    steps, variance = 400, 0.09
    probe = np.sin(np.arange(steps + 1) / 50)
    offset = np.linspace(0.5, 0.4, steps + 1)  # between the probe's loss and that of all examples
    losses = probe + offset + np.sqrt(variance) * noise(4, 500, steps + 1)
    result = batch_noise_floor(losses, np.broadcast_to(probe, losses.shape))
    error = np.sqrt(12 / steps) * variance
    assert abs(result.floor.mean() - 2 * variance) < 4 * error / np.sqrt(500)
    assert abs(result.floor.std() / error - 1) < 4 / np.sqrt(2 * 500)
    # The errors themselves scatter, and come out low by a few of the 400 terms.
    assert abs(np.sqrt(np.mean(result.standard_error**2)) / error - 1) < 0.03
    without = batch_noise_floor(losses)
    assert np.all(
        without.floor.mean() > result.floor.mean()
    )  # contains the slope of the loss along the path
    np.testing.assert_allclose(
        without.floor.mean() - result.floor.mean(), np.mean(np.diff(probe) ** 2), atol=4e-4
    )


def test_noise_floor_of_batches_without_replacement():
    """Batches of an epoch share a fixed sum: one part in their number above independent ones."""
    per_epoch, epochs = 8, 20_000
    rng = np.random.default_rng(5)
    losses = rng.permuted(np.tile(np.linspace(-1, 1, per_epoch), (epochs, 1)), axis=1).ravel()
    floor, error = batch_noise_floor(losses)
    assert abs(floor - 2 * np.var(losses) * (1 + 1 / per_epoch)) < 4 * error
    assert error < 0.02 * floor


def test_noise_floor_at_the_edges():
    losses = np.array([[1.0, 3.0, 2.0], [1.0, np.nan, 2.0], [1.0, np.inf, np.inf]])
    floor, error = batch_noise_floor(losses)
    np.testing.assert_allclose(floor, [2.5, np.nan, np.nan])
    np.testing.assert_allclose(
        error, [np.sqrt(4.5 / 2), np.nan, np.nan]
    )  # negative covariance of the two left out
    assert np.isnan(batch_noise_floor(losses, losses).floor).tolist() == [False, True, True]
    floor, error = batch_noise_floor([1.0, 3.0])
    assert floor == 4
    assert np.isnan(error)


# Hurst exponent


D, COUNTS = np.geomspace(1, 100, 20), np.full(20, 1000)


def test_hurst_exponent_above_a_floor():
    msl = 0.1 * D**1.2 + 0.5
    fit = hurst_exponent(D, msl, COUNTS, noise_floor=0.5)
    assert abs(fit.exponent - 1.2) < 1e-9
    assert abs(fit.hurst - 0.6) < 1e-9
    assert (
        fit.x_min == D[0.1 * D**1.2 >= 0.5][0]
    )  # half of the value is above the floor from here on
    assert fit.x_max == D[-1]
    assert hurst_exponent(D, msl, COUNTS).exponent < 1.1


def test_bins_that_do_not_enter():
    clean = D**1.0
    msl, counts = clean.copy(), COUNTS.copy()
    msl[:2], counts[:2] = 1e3, 29  # too few pairs
    msl[2:4] = np.nan  # empty
    msl[4] = 0.0
    fit = hurst_exponent(D, msl, counts, x_max=50)
    assert abs(fit.exponent - 1) < 1e-9
    assert fit.x_min == D[5]
    assert fit.x_max == D[D <= 50][-1]
    assert fit.num_points == np.sum(D <= 50) - 5
    assert hurst_exponent(D, clean, COUNTS, x_min=10).x_min == D[D >= 10][0]


def test_hurst_error_is_the_scatter_of_the_replicates():
    replicates = D**1.4 * np.exp(0.1 * noise(6, 100, 20)) + 0.2
    fit = hurst_exponent(D, D**1.4 + 0.2, COUNTS, noise_floor=0.2, replicates=replicates)
    slopes = [np.polyfit(np.log(D), np.log(replicate - 0.2), 1)[0] for replicate in replicates]
    np.testing.assert_allclose(fit.exponent_error, np.std(slopes, ddof=1), rtol=1e-6)
    assert fit.error_source == "replicates"
    assert hurst_exponent(D, D**1.4, COUNTS).error_source == "residuals"


def test_nothing_to_fit():
    for msl, floor in (
        (np.full(20, np.nan), 0.0),
        (np.full(20, 1.9), 1.0),
        (np.where(D < 2, D, 0.0), 0.0),
    ):
        fit = hurst_exponent(D, msl, COUNTS, noise_floor=floor)
        assert np.isnan(fit[:5]).all()
        assert fit.num_points < 5


def test_from_a_path_to_an_exponent_with_its_error():
    """A walk in space on a slope, 2H = 2, at distances that it covers many times."""
    weights = random_walk(7, steps=200, dim=3)
    pairs = compiled(loss_by_distance, 20)(step_gram(weights), 4 * weights[:, 0])
    fit = hurst_exponent(
        pairs.x,
        average(pairs),
        pairs.counts.sum(axis=0),
        x_max=8,
        replicates=block_bootstrap(jax.random.key(0), pairs),
    )
    assert 0.01 < fit.exponent_error < 0.3
    assert abs(fit.exponent - 2) < 4 * fit.exponent_error


# Precision, transformations, NaN


def statistics(gram, losses):
    by_contour = loss_by_contour(gram, losses, bins=3)
    return mean_squared_loss(gram, losses, bins=[0.1, 2.0, 9.0]), by_contour, average(by_contour)


def test_precision_transformations_and_a_diverged_member():
    gram, losses = step_gram(random_walk(2)), noise(8, 13)
    with jax.enable_x64(True):
        double = (
            jnp.stack([jnp.asarray(gram), jnp.full((12, 12), jnp.nan)]),
            jnp.asarray([losses, losses]),
        )
        expected = jax.tree.leaves(statistics(double[0][0], losses))
    batch = jax.tree.leaves(
        jax.jit(jax.vmap(statistics))(*double)
    )  # outside 64-bit mode, in double precision all the same
    single = jax.tree.leaves(
        jax.eval_shape(statistics, jax.ShapeDtypeStruct((12, 12), np.float32), losses)
    )
    for field, rounded, value in zip(batch, single, expected, strict=True):
        assert rounded.dtype == np.float32
        assert field.dtype == value.dtype == np.float64
        np.testing.assert_allclose(np.asarray(field)[0], value, rtol=1e-9)
        assert np.isnan(np.asarray(field)[1]).all()


def test_single_precision_losses_are_cast_up():
    gram, losses = step_gram(random_walk(2)), noise(9, 13).astype(np.float32)
    result = mean_squared_loss(gram, losses, bins=3)
    np.testing.assert_array_equal(
        result.msl, mean_squared_loss(gram, losses.astype(np.float64), bins=3).msl
    )


def test_edges():
    one = compiled(mean_squared_loss, (1.0, 3.0))(np.array([[4.0]]), [1.0, 4.0])
    np.testing.assert_allclose(one, [[2.0], [9.0], [1.0]], rtol=1e-14)
    still = compiled(mean_squared_loss, 2)(
        np.zeros((3, 3)), [1.0, 2.0, 3.0, 4.0]
    )  # no two points apart
    np.testing.assert_array_equal(still, [[np.nan] * 2, [np.nan] * 2, [0, 0]])
    lost = compiled(mean_squared_loss, (0.5, 1.5, 2.5))(np.ones((2, 2)), [np.nan, 0.0, 1.0])
    np.testing.assert_array_equal(lost.msl, [np.nan, np.nan])


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mean_squared_loss(np.eye(3), np.ones(3), bins=2),
            r"losses has shape \(3,\); expected \(4,\)",
        ),
        (
            lambda: loss_by_contour(np.eye(3), np.ones(5), bins=2),
            r"losses has shape \(5,\); expected \(4,\)",
        ),
        (
            lambda: mean_squared_loss(np.eye(3), np.ones(4), bins=[2.0, 1.0]),
            r"bins is \[2.0, 1.0\]; expected",
        ),
        (
            lambda: mean_squared_loss(np.ones((2, 3)), np.ones(4), bins=2),
            r"step_gram has shape \(2, 3\)",
        ),
        (lambda: batch_noise_floor([1.0]), r"losses has shape \(1,\); expected \(..., T\+1\)"),
        (
            lambda: batch_noise_floor([1.0, 2.0], [1.0]),
            r"probe_losses has shape \(1,\); expected \(2,\)",
        ),
        (
            lambda: hurst_exponent(D, D[1:], COUNTS),
            r"distances, msl and counts have shapes \(20,\), \(19,\)",
        ),
        (
            lambda: hurst_exponent(D, D, COUNTS, replicates=np.ones((5, 5, 20))),
            r"replicates has shape \(5, 5, 20\)",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("floor", [1, np.int8(1), np.float32(1), np.array(1), jnp.float32(1), True])
def test_a_noise_floor_of_any_type(floor):
    distances = np.arange(1.0, 21)
    expected = hurst_exponent(distances, 1 + distances**1.5, np.full(20, 99), noise_floor=1.0)
    assert (
        hurst_exponent(distances, 1 + distances**1.5, np.full(20, 99), noise_floor=floor)
        == expected
    )
    assert abs(expected.exponent - 1.5) < 1e-6


@pytest.mark.parametrize("floor", [1j, "1", [1.0], None])
def test_what_is_no_noise_floor(floor):
    with pytest.raises(InputError, match="noise_floor"):
        hurst_exponent(np.arange(1.0, 21), np.arange(1.0, 21), np.full(20, 99), noise_floor=floor)
