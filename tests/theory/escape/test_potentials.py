"""Potentials: known minima, saddles and barriers, noise against samples, the sharpness family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.escape import (
    double_well,
    logistic_double_well,
    quasi_potential,
    sharpened,
    styblinski_tang,
    styblinski_tang_noise,
)


@pytest.fixture(autouse=True)
def double_precision():
    """Results are compared with each other, which JAX does in the mode of 64 bits only."""
    with jax.enable_x64(True):
        yield


def landmarks(loss, *near):
    """Points where the slope of a loss of one coordinate vanishes, by Newton's steps."""
    slope = jax.grad(loss)
    of_points = jax.jit(jax.vmap(lambda x: (slope(x), jax.grad(slope)(x))))
    points = np.array(near)
    for _ in range(8):
        slopes, curvatures = of_points(points)
        points = points - slopes / curvatures
    return np.asarray(points), np.asarray(of_points(points)[1]), [float(loss(x)) for x in points]


def test_the_double_well():
    points, curvatures, losses = landmarks(double_well, -0.9, 0.1, 1.2)
    np.testing.assert_allclose(points, [-1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(curvatures, [2, -1, 2], rtol=1e-12)
    np.testing.assert_allclose(losses, [-0.25, 0, -0.25], atol=1e-15)


def test_the_function_of_styblinski_and_tang():
    points, curvatures, losses = landmarks(styblinski_tang, -3.0, 0.2, 2.7)
    np.testing.assert_allclose(points, [-2.903534, 0.156731, 2.746803], atol=5e-7)
    np.testing.assert_allclose(losses[0], -39.166166, rtol=1e-8)
    np.testing.assert_allclose(losses[1] - losses[0], 39.3618, rtol=1e-6)
    np.testing.assert_allclose(curvatures[:2], [34.5831, -15.8526], rtol=5e-6)


def test_shifts_of_the_data_smooth_it():
    def smoothed(x):
        return styblinski_tang(x, 1.0)

    points, curvatures, losses = landmarks(smoothed, -2.3, 0.3)
    np.testing.assert_allclose(points, [-2.351910, 0.253248], atol=1e-6)
    np.testing.assert_allclose(curvatures, [23.1889, -9.6152], rtol=1e-5)
    np.testing.assert_allclose(losses[1] - losses[0], 18.5530, rtol=1e-5)
    np.testing.assert_allclose(styblinski_tang_noise(points[0], 1.0), 959.99, rtol=1e-5)
    slope = jax.vmap(jax.grad(smoothed))
    exponent = quasi_potential(slope, lambda x: styblinski_tang_noise(x, 1.0), *points)
    np.testing.assert_allclose(exponent, 0.242376, rtol=2e-6)


@pytest.mark.parametrize("std", [0.3, 1.0])
def test_loss_and_noise_are_those_of_shifted_data(std):
    """The averages over 100,000 shifts; five standard errors. And exactly, by Gauss and Hermite."""
    theta, count = np.array([-2.35, 0.25, 1.7]), 100_000
    shifts = np.random.default_rng(0).normal(scale=std, size=(count, 3))
    gradients = np.asarray(jax.jit(jax.grad(styblinski_tang))((theta - shifts).ravel()))
    gradients = gradients.reshape(count, 3).astype(np.float64)
    squares = (gradients - gradients.mean(axis=0)) ** 2
    noise = styblinski_tang_noise(theta, std)
    assert (abs(squares.mean(axis=0) - noise) < 5 * squares.std(axis=0) / count**0.5).all()
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)  # exact to the order 15
    weights = weights / weights.sum()
    slope = jax.jit(jax.vmap(jax.grad(styblinski_tang)))
    slopes = np.array([slope(theta - std * node) for node in nodes])
    mean = weights @ slopes
    np.testing.assert_allclose(noise, weights @ (slopes - mean) ** 2, rtol=1e-10)
    np.testing.assert_allclose(jax.grad(styblinski_tang)(theta, std), mean, rtol=1e-10)
    losses = [styblinski_tang(theta - std * node) for node in nodes]
    np.testing.assert_allclose(weights @ losses, styblinski_tang(theta, std), rtol=1e-12)


def test_potentials_are_sums_over_coordinates():
    theta = np.array([0.3, -1.2, 2.0])
    for loss in (double_well, lambda x: styblinski_tang(x, 0.7)):
        np.testing.assert_allclose(loss(theta), sum(loss(x) for x in theta), rtol=1e-12)


def test_logistic_regression_with_a_double_well():
    random = np.random.default_rng(0)
    inputs, labels, theta = random.normal(size=(7, 3)), random.integers(0, 2, 7), [0.1, -0.7, 0.4]
    chance = 1 / (1 + np.exp(-inputs @ theta))
    expected = -np.log(np.where(labels == 1, chance, 1 - chance)).mean()
    expected += sum(x**4 - x**2 for x in theta) / 2
    found = logistic_double_well(theta, inputs, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    examples = [logistic_double_well(theta, *each) for each in zip(inputs, labels, strict=True)]
    np.testing.assert_allclose(np.mean(examples), expected, rtol=1e-12)
    gradients = jax.vmap(jax.grad(logistic_double_well), (None, 0, 0))(
        jnp.array(theta), inputs, labels
    )
    theta = np.array(theta)
    exact = (chance - labels)[:, None] * inputs + 2 * theta**3 - theta
    np.testing.assert_allclose(gradients, exact, rtol=1e-12)


def test_the_double_well_of_the_regression_alone():
    def alone(x):
        return logistic_double_well(jnp.reshape(x, 1), [0.0], 0) - np.log(2)

    points, curvatures, losses = landmarks(alone, -0.8, 0.1)
    np.testing.assert_allclose(points, [-(0.5**0.5), 0], atol=1e-12)
    np.testing.assert_allclose(curvatures, [2, -1], rtol=1e-12)
    np.testing.assert_allclose(losses, [-0.125, 0], atol=1e-15)


def test_sharpened_valleys():
    k = 2.5
    sharp = sharpened(styblinski_tang, k)
    usual, curvatures, losses = landmarks(styblinski_tang, -3.0, 0.2)
    points, sharper, same = landmarks(sharp, -3.0 / k**0.5, 0.2 / k**0.5)
    np.testing.assert_allclose(points, usual / k**0.5, rtol=1e-12)
    np.testing.assert_allclose(sharper, k * curvatures, rtol=1e-12)
    np.testing.assert_allclose(same, losses, rtol=1e-12)


def test_sgd_on_a_sharpened_loss_is_sgd_with_a_larger_learning_rate():
    """The same path, position by position, over sqrt(k)."""
    k, eta = 2.0, 0.01
    shifts = np.random.default_rng(0).normal(size=(50, 3))

    def example(theta, x):
        return styblinski_tang(theta - x)

    def walk(loss, rate, theta):
        def step(theta, x):
            return theta - rate * jax.grad(loss)(theta, x), theta

        return jax.lax.scan(step, theta, shifts)[1]

    def sharp_example(theta, x):
        return sharpened(lambda scaled: example(scaled, x), k)(theta)

    start = np.full(3, -2.9)
    sharp = walk(sharp_example, eta, start / k**0.5)
    usual = walk(example, k * eta, start)
    np.testing.assert_allclose(sharp * k**0.5, usual, rtol=1e-9)


def test_transformations():
    theta = np.array([0.3, -1.2])
    for function in (double_well, styblinski_tang, sharpened(double_well, 3.0)):
        eager = function(theta)
        np.testing.assert_allclose(jax.jit(function)(theta), eager, rtol=1e-12)
        stack = jax.vmap(function)(np.stack([theta, 2 * theta]))
        np.testing.assert_allclose(stack[0], eager, rtol=1e-12)
        assert np.isfinite(jax.grad(function)(theta)).all()
    noise = jax.jit(styblinski_tang_noise)(theta, 1.0)
    np.testing.assert_allclose(noise, styblinski_tang_noise(theta, 1.0), rtol=1e-12)
    slope = jax.grad(lambda k: sharpened(double_well, k)(theta))(1.0)
    np.testing.assert_allclose(slope, (theta**4 - theta**2).sum() / 2, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(styblinski_tang, 1)(theta, 0.0), 0, atol=1e-12)
    with jax.enable_x64(False):
        assert double_well(np.float32(1)).dtype == styblinski_tang([1]).dtype == np.float64
    assert np.isnan(jax.jit(styblinski_tang)(theta, -1.0))
    assert np.isnan(jax.jit(styblinski_tang_noise)(theta, -1.0)).all()
    assert np.isnan(jax.jit(lambda k: sharpened(double_well, k)(theta))(0.0))
    labels = jax.jit(lambda label: logistic_double_well([1.0], [1.0], label))
    assert np.isfinite(labels(1.0)) and np.isnan(labels(2.0))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: styblinski_tang([1.0], -1.0), "shift_std is -1.0"),
        (lambda: styblinski_tang_noise([1.0], np.nan), "shift_std is nan"),
        (lambda: logistic_double_well([1.0, 2.0], [1.0], 1), r"inputs has shape \(1,\)"),
        (lambda: logistic_double_well([1.0], [[1.0]], [2]), "labels has entries out of 0..1"),
        (lambda: logistic_double_well(1.0, 1.0, 1), r"theta \(\), which is \(n,\)"),
        (lambda: logistic_double_well([1.0], np.ones((0, 1)), []), "inputs has shape"),
        (lambda: sharpened(double_well, 0.0), "k is 0.0"),
        (lambda: sharpened(1.0, 2.0), "loss is 1.0; expected a function"),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()
