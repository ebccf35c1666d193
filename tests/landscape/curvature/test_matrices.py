"""Dense curvature matrices: closed forms, the gradient noise of a model that is right, inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature import (
    compare_with_hessian,
    dense_matrix,
    gauss_newton_product,
    gradient_covariance,
    hessian_vector_product,
    layer_block,
)

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(7, 3))
TARGETS = RANDOM.normal(size=7)

THETA = {"a": np.array([0.3, -0.2]), "b": np.array([1.0])}


def in_one_program(function):
    return np.asarray(jax.jit(function)())


def squares(theta, examples):
    x, y = examples
    return (((x @ jnp.concatenate([theta["a"], theta["b"]]) - y) ** 2) / 2).mean()


def test_linear_regression_in_closed_form():
    """Leaf after leaf, in float64, whatever the chunks."""
    weights = np.concatenate([THETA["a"], THETA["b"]])
    slopes = INPUTS * (INPUTS @ weights - TARGETS)[:, None]
    found = in_one_program(
        lambda: gradient_covariance(squares, THETA, (INPUTS, TARGETS), chunk_size=3)
    )
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.cov(slopes.T, bias=True), rtol=1e-12)
    product = hessian_vector_product(squares, THETA, (INPUTS, TARGETS), chunk_size=4)
    hessian = in_one_program(lambda: dense_matrix(product, THETA, columns_at_once=2))
    np.testing.assert_allclose(hessian, INPUTS.T @ INPUTS / 7, rtol=1e-12)


def test_gauss_newton_matrix_of_a_block_of_relu_is_its_hessian():
    """It is sum_c p_c (J_c - Jbar)(J_c - Jbar)^T for cross-entropy, as the block is linear."""
    params = {
        name: RANDOM.normal(size=shape)
        for name, shape in (("first", (3, 4)), ("second", (4, 3)), ("third", (3, 2)))
    }
    labels = np.arange(7) % 2

    def predict(params, examples):
        hidden = jax.nn.relu(jax.nn.relu(examples[0] @ params["first"]) @ params["second"])
        return hidden @ params["third"]

    def cross_entropy(logits, examples):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), examples[1][:, None], axis=1).mean()

    def loss(params, examples):
        return cross_entropy(predict(params, examples), examples)

    own, block = layer_block(loss, params, "second")
    outputs, _ = layer_block(predict, params, "second")
    examples = (INPUTS, labels)
    hessian = dense_matrix(hessian_vector_product(own, block, examples), block)
    gauss_newton = dense_matrix(
        gauss_newton_product(outputs, cross_entropy, block, examples), block
    )
    np.testing.assert_allclose(gauss_newton, hessian, rtol=1e-9, atol=1e-12)
    with jax.enable_x64(True):
        slopes = np.asarray(jax.jacrev(outputs)(jnp.asarray(block), examples)).reshape(7, 2, -1)
        shares = np.asarray(jax.nn.softmax(predict(params, examples)))
    apart = slopes - (shares[..., None] * slopes).sum(axis=1, keepdims=True)
    expected = np.einsum("nc,nci,ncj->ij", shares, apart, apart) / 7
    np.testing.assert_allclose(gauss_newton, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def logistic():
    """C and H of a logistic regression at the true weights, with labels that the model drew."""
    count, size = 200_000, 8
    x = RANDOM.normal(size=(count, size)).astype(np.float32)
    weights = RANDOM.normal(size=size).astype(np.float32)
    labels = (RANDOM.uniform(size=count) < 1 / (1 + np.exp(-x @ weights))).astype(np.float32)

    def loss(theta, examples):
        logits = examples[0] @ theta
        return (jax.nn.softplus(logits) - examples[1] * logits).mean()

    product = hessian_vector_product(loss, weights, (x, labels))
    covariance = gradient_covariance(loss, weights, (x, labels), chunk_size=50_000)
    return np.asarray(covariance), np.asarray(dense_matrix(product, weights))


def test_noise_of_a_model_that_is_right_is_its_hessian(logistic):
    covariance, hessian = logistic
    assert np.linalg.norm(covariance - hessian) / np.linalg.norm(hessian) < 0.02
    found = compare_with_hessian(covariance, hessian)
    assert abs(found.trace_ratio - 1) < 0.01
    assert abs(found.slope - 1) < 4 * found.slope_error
    assert found.diagonal_correlation > 0.99 and found.offdiagonal_ratio < 0.02


def test_known_powers_of_the_hessian():
    """Of C = H^2 in any basis: slope 2, and nothing off the diagonal."""
    basis = np.linalg.qr(RANDOM.normal(size=(6, 6)))[0]
    eigenvalues = np.array([8.0, 4, 2, 1, 0.5, 0.25])
    hessian, covariance = (
        basis @ np.diag(values) @ basis.T for values in (eigenvalues, eigenvalues**2)
    )
    found = compare_with_hessian(covariance, hessian, threshold=0)
    np.testing.assert_allclose(found.eigenvalues, eigenvalues)
    np.testing.assert_allclose(found.variances, eigenvalues**2)
    np.testing.assert_allclose([found.slope, found.slope_error], [2, 0], atol=1e-6)
    assert found.trace_ratio == pytest.approx((eigenvalues**2).sum() / eigenvalues.sum())
    assert found.median_ratio == pytest.approx(1.5) and found.offdiagonal_ratio < 1e-6
    expected = np.corrcoef(hessian.ravel(), covariance.ravel())[0, 1]
    assert found.element_correlation == pytest.approx(expected)
    mixed = basis @ (np.diag(eigenvalues) + 0.1 * (1 - np.eye(6))) @ basis.T
    ratio = 0.1 * np.sqrt(30) / np.linalg.norm(eigenvalues)
    assert compare_with_hessian(mixed, hessian).offdiagonal_ratio == pytest.approx(ratio)


def test_slope_of_noise_has_the_stated_error():
    """Over 200 draws, the scatter of slopes is the error."""
    eigenvalues = np.geomspace(1, 1e-3, 60)
    found = [
        compare_with_hessian(
            np.diag(eigenvalues * np.exp(0.3 * RANDOM.normal(size=60))), np.diag(eigenvalues)
        )
        for _ in range(200)
    ]
    slopes, errors = np.array([(each.slope, each.slope_error) for each in found]).T
    assert abs(slopes.mean() - 1) < 4 * errors.mean() / np.sqrt(200)
    assert slopes.std() == pytest.approx(errors.mean(), rel=4 / np.sqrt(400))


@pytest.mark.parametrize(
    ("covariance", "hessian", "message"),
    [
        (np.eye(3), np.eye(2), "hessian has shape"),
        (np.ones((2, 3)), np.eye(2), "covariance has shape"),
        (np.array([[1.0, 2], [0, 1]]), np.eye(2), "covariance differs from its transpose by 2"),
        (np.eye(2), np.diag([1, np.nan]), "hessian is not finite"),
    ],
)
def test_unusable_matrices(covariance, hessian, message):
    with pytest.raises(InputError, match=message):
        compare_with_hessian(covariance, hessian)


def test_matrices_that_do_not_fit():
    with pytest.raises(InputError, match="a matrix of 1000000 x 1000000 numbers needs"):
        dense_matrix(lambda v: v, np.zeros(10**6, np.float32))
