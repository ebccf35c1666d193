"""What the noise of mini-batches is: the curvature, where the model of the labels is right."""

import jax
import numpy as np

from sgd_diffusion.theory.escape import logistic_double_well
from sgd_diffusion.walkers import minibatch_steps

EXAMPLES, FEATURES = 100_000, 8
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
TRUTH = np.linspace(-1, 1, FEATURES, dtype=np.float32)
LOGITS = INPUTS @ TRUTH


def covariance_and_curvature(loss, targets):
    """C of gradients of examples and H of their mean loss, at the truth, in float64."""

    @jax.jit
    def gradients_and_curvature(inputs, targets):
        def gradients(theta):
            return jax.vmap(jax.grad(loss), (None, 0, 0))(theta, inputs, targets)

        return gradients(TRUTH), jax.jacfwd(lambda theta: gradients(theta).mean(axis=0))(TRUTH)

    each, bend = gradients_and_curvature(INPUTS, targets)
    return np.cov(np.asarray(each, np.float64).T, bias=True), np.asarray(bend, np.float64)


def logistic(theta, x, y):
    """`logistic_double_well` of an example, in float32."""
    logit = x @ theta
    return jax.nn.softplus(logit) - y * logit + ((theta**4 - theta**2) / 2).sum()


def squared(theta, x, y):
    return (x @ theta - y) ** 2 / 2


def test_noise_is_the_curvature_of_the_fit_where_labels_are_from_the_model():
    """A double well adds curvature and no noise, so it is taken off."""
    labels = (RANDOM.random(EXAMPLES) < 1 / (1 + np.exp(-LOGITS))).astype(np.float32)
    np.testing.assert_allclose(
        jax.jit(logistic)(TRUTH, INPUTS[0], labels[0]),
        jax.jit(logistic_double_well)(TRUTH, INPUTS[0], labels[0]),
        rtol=1e-5,
    )
    covariance, curvature = covariance_and_curvature(logistic, labels)
    of_fit = curvature - np.diag(6 * TRUTH**2 - 1)
    assert np.linalg.norm(covariance - of_fit) / np.linalg.norm(of_fit) < 0.02
    assert np.linalg.norm(covariance - curvature) / np.linalg.norm(curvature) > 0.5

    size, draws = 8, 8000
    step = minibatch_steps(logistic, (INPUTS, labels), 1.0, size)
    keys = jax.random.split(jax.random.key(0), draws)
    places = jax.jit(jax.vmap(step, (0, None)))(keys, TRUTH)
    of_batches = np.cov(np.asarray(places, np.float64).T)
    ratio = size * np.trace(of_batches) / np.trace(covariance)
    # its standard error for normal noise of FEATURES equal variances is 0.6 percent
    assert abs(ratio - 1) < 0.03


def test_noise_of_a_regression_is_the_residual_variance_times_the_curvature():
    noise = RANDOM.normal(size=EXAMPLES).astype(np.float32) / 2
    covariance, curvature = covariance_and_curvature(squared, LOGITS + noise)
    assert abs(np.trace(covariance) / np.trace(curvature) / 0.25 - 1) < 0.02
    np.testing.assert_allclose(covariance, curvature / 4, atol=0.01)
