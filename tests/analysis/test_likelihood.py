"""Maximum likelihood: the normal law in closed form, bounds, weights, bad starts, SciPy's fit,
transforms.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.scipy import special
from scipy import stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.likelihood import maximize

ANYWHERE = (-np.inf, np.inf)


def normal(parameters, x):
    location, log_scale = parameters
    return -(((x - location) * jnp.exp(-log_scale)) ** 2) / 2 - log_scale - np.log(2 * np.pi) / 2


def student_t(parameters, x):
    inverse, location, log_scale = parameters
    nu = 1 / inverse
    norm = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - jnp.log(np.pi * nu) / 2
    return (
        norm
        - (nu + 1) / 2 * jnp.log1p(((x - location) * jnp.exp(-log_scale)) ** 2 / nu)
        - log_scale
    )


@functools.partial(jax.jit, static_argnums=0)
def on_device(log_density, x, start, bounds, weights):
    return maximize(log_density, x, start, *bounds.T, weights=weights)


def maximum(log_density, x, start, bounds, weights=None):
    with jax.enable_x64(True):
        start, bounds = np.array(start, np.float64), np.array(bounds, np.float64)
        return jax.tree.map(np.asarray, on_device(log_density, x, start, bounds, weights))


def normal_sample(seed=0, n=500):
    return np.random.default_rng(seed).normal(0.5, 1.5, n)


# Closed forms


def test_normal_law():
    x = normal_sample()
    found = maximum(normal, x, [0.0, 0.0], [ANYWHERE, ANYWHERE])
    # It ends 1e-4 standard errors from the maximum.
    errors = np.array([x.std() / np.sqrt(500), 1 / np.sqrt(1000)])
    np.testing.assert_allclose(
        found.parameters, [x.mean(), np.log(x.std())], atol=2e-4 * errors.max()
    )
    np.testing.assert_allclose(found.covariance / errors / errors[:, None], np.eye(2), atol=1e-3)
    np.testing.assert_allclose(
        found.log_likelihood, stats.norm.logpdf(x, x.mean(), x.std()).sum(), rtol=1e-10
    )
    assert found.status == Status.OK
    assert 1 <= found.iterations < 100


@pytest.mark.parametrize(("start", "bound"), [(0.0, 0.2), (0.2, 0.2), (-5.0, -1.0)])
def test_parameter_at_its_bound(start, bound):
    x = normal_sample()
    found = maximum(normal, x, [start, 0.0], [(-np.inf, bound), ANYWHERE])
    root_mean_square = np.sqrt(
        ((x - bound) ** 2).mean()
    )  # the scale of the largest likelihood at that location
    assert found.parameters[0] == bound
    np.testing.assert_allclose(found.parameters[1], np.log(root_mean_square), atol=1e-4)
    assert found.status == Status.AT_BOUND
    assert np.isnan(found.covariance[0]).all()
    assert np.isnan(found.covariance[:, 0]).all()
    np.testing.assert_allclose(found.covariance[1, 1], 1 / 1000, rtol=1e-3)


def test_bounds_that_do_not_matter():
    x = normal_sample()
    free = maximum(normal, x, [0.0, 0.0], [ANYWHERE, ANYWHERE])
    for start in (
        [-1.0, 0.0],
        [0.0, -1.0],
        [2.0, 2.0],
    ):  # from the bounds themselves, and from a corner
        bounded = maximum(normal, x, start, [(-1.0, 2.0), (-1.0, 2.0)])
        assert bounded.status == Status.OK
        np.testing.assert_allclose(bounded.parameters, free.parameters, atol=2e-5)
        np.testing.assert_allclose(bounded.covariance, free.covariance, rtol=1e-3, atol=1e-7)


def test_both_parameters_at_bounds():
    found = maximum(normal, normal_sample(), [0.0, 0.0], [(-1.0, 0.2), (-1.0, 0.1)])
    assert found.parameters.tolist() == [0.2, 0.1]
    assert found.status == Status.AT_BOUND
    assert np.isnan(found.covariance).all()


def test_start_outside_the_bounds():
    found = maximum(normal, normal_sample(), [9.0, -9.0], [(-1.0, 2.0), (-1.0, 2.0)])
    assert found.status == Status.OK


# Other laws


@pytest.mark.parametrize("nu", [1.5, 4.0])
def test_student_t_against_scipy(nu):
    x = stats.t.rvs(nu, loc=0.3, scale=1.2, size=500, random_state=np.random.default_rng(1))
    found = maximum(student_t, x, [0.25, 0.0, 0.0], [(1e-3, 5.0), ANYWHERE, ANYWHERE])
    expected = stats.t.fit(x, nu, loc=0.3, scale=1.2)
    inverse, location, log_scale = found.parameters
    np.testing.assert_allclose(
        [1 / inverse, location, np.exp(log_scale)], expected, rtol=1e-3
    )  # Nelder and Mead's precision
    assert found.log_likelihood >= stats.t.logpdf(x, *expected).sum() - 1e-6


def test_covariance_against_differences_of_the_likelihood():
    x = stats.t.rvs(3, size=500, random_state=np.random.default_rng(2))
    found = maximum(student_t, x, [0.25, 0.0, 0.0], [(1e-3, 5.0), ANYWHERE, ANYWHERE])
    with jax.enable_x64(True):
        hessian = jax.jit(jax.hessian(lambda parameters: student_t(parameters, x).sum()))(
            found.parameters
        )
    np.testing.assert_allclose(
        found.covariance, np.linalg.inv(-np.asarray(hessian)), rtol=1e-4, atol=1e-9
    )


# Weights


COPIES = (166, 168, 166)  # numbers of data that are there not at all, once and twice; 500 in all


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_weights_repeat_data(seed):
    generator = np.random.default_rng(seed)
    x, times = generator.normal(size=500), generator.permutation(np.repeat([0, 1, 2], COPIES))
    weighted = maximum(normal, x, [0.0, 0.0], [ANYWHERE, ANYWHERE], weights=times.astype(float))
    repeated = maximum(normal, np.repeat(x, times), [0.0, 0.0], [ANYWHERE, ANYWHERE])
    np.testing.assert_allclose(weighted.parameters, repeated.parameters, atol=1e-4)
    np.testing.assert_allclose(weighted.log_likelihood, repeated.log_likelihood, rtol=1e-6)
    np.testing.assert_allclose(weighted.covariance, repeated.covariance, rtol=1e-2, atol=1e-5)


# Starts and data that lead nowhere


def test_far_start_converges_or_says_that_it_did_not():
    x = normal_sample()
    best = stats.norm.logpdf(x, x.mean(), x.std()).sum()
    for start in (
        [0.0, 5.0],
        [3.0, 0.0],
        [0.0, -1.0],
        [0.0, -8.0],
        [100.0, 0.0],
        [0.0, 400.0],
        [0.0, -400.0],
    ):
        found = maximum(normal, x, start, [ANYWHERE, ANYWHERE])
        reached = bool(found.log_likelihood > best - 1e-6)
        assert reached == (found.status == Status.OK), start
    assert maximum(normal, x, [0.0, 5.0], [ANYWHERE, ANYWHERE]).status == Status.OK


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_are_not_finite(bad):
    x = normal_sample()
    x[3] = bad
    assert maximum(normal, x, [0.0, 0.0], [ANYWHERE, ANYWHERE]).status == Status.NOT_CONVERGED
    assert (
        maximum(normal, normal_sample(), [np.nan, 0.0], [ANYWHERE, ANYWHERE]).status
        == Status.NOT_CONVERGED
    )


# Transforms


def test_vmap_is_a_loop():
    samples = np.stack([normal_sample(seed) for seed in range(4)])
    samples[2, 1] = np.nan
    singles = [maximum(normal, x, [0.0, 0.0], [(-np.inf, 0.6), ANYWHERE]) for x in samples]

    def fitted(x):
        with jax.enable_x64(True):
            return maximize(
                normal, x, jnp.zeros(2), np.array([-np.inf, -np.inf]), np.array([0.6, np.inf])
            )

    with jax.enable_x64(True):
        samples = jnp.asarray(samples)
    together = jax.tree.map(np.asarray, jax.jit(jax.vmap(fitted))(samples))  # without 64-bit mode
    for field, values in zip(together, zip(*singles, strict=True), strict=True):
        np.testing.assert_allclose(field, values, rtol=1e-6, atol=1e-9)
    assert together.parameters.dtype == np.float64
    assert together.status[2] == Status.NOT_CONVERGED
