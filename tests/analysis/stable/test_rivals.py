"""Rivals of the stable law: closed forms and SciPy's fits, errors against scatter, equivariance,
transforms, edges.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.stable import law as stable_law
from sgd_diffusion.analysis.stable import rivals
from sgd_diffusion.errors import InputError


def on_host(function):
    """The function with results in NumPy, where comparing float64 numbers needs no 64-bit mode."""
    return lambda *arguments: jax.tree.map(np.asarray, function(*arguments))


FITS = [rivals.fit_normal, rivals.fit_student_t, rivals.fit_exponential_power]
fit_normal, fit_student_t, fit_exponential_power = map(on_host, FITS)
normal_log_density = on_host(rivals.normal_log_density)
student_t_log_density = on_host(rivals.student_t_log_density)
exponential_power_log_density = on_host(rivals.exponential_power_log_density)


SIZE = 500  # of nearly all samples, so that the tests share their programs


def sample(law, seed=0, size=SIZE):
    return 3 + 2 * law.rvs(size=size, random_state=np.random.default_rng(seed))


def test_normal_in_closed_form():
    x = sample(stats.norm)
    found = fit_normal(x)
    np.testing.assert_allclose((found.location, found.scale), stats.norm.fit(x))
    np.testing.assert_allclose(
        (found.location_error, found.scale_error), x.std() / np.sqrt([SIZE, 2 * SIZE])
    )
    np.testing.assert_allclose(
        normal_log_density(x, found), stats.norm.logpdf(x, *stats.norm.fit(x))
    )
    np.testing.assert_allclose(found.log_likelihood, stats.norm.logpdf(x, *stats.norm.fit(x)).sum())


@pytest.mark.parametrize("nu", [0.5, 1.0, 4.0, 20.0])
def test_student_t_against_scipy(nu):
    x = sample(stats.t(nu))
    found = fit_student_t(x)
    parameters = [float(found.shape), float(found.location), float(found.scale)]
    np.testing.assert_allclose(
        student_t_log_density(x, found), stats.t.logpdf(x, *parameters), rtol=1e-10
    )
    likelihood = stats.t.logpdf(x, *stats.t.fit(x, nu, loc=3, scale=2)).sum()
    assert abs(found.log_likelihood - likelihood) < 1e-4  # Nelder and Mead's precision
    assert abs(found.shape - nu) < 4 * found.shape_error
    assert found.status == Status.OK


@pytest.mark.parametrize("power", [0.4, 0.7, 1.0, 2.0, 6.0])
def test_exponential_power_against_scipy(power):
    x = sample(stats.gennorm(power))
    found = fit_exponential_power(x)
    parameters = [float(found.shape), float(found.location), float(found.scale)]
    np.testing.assert_allclose(
        exponential_power_log_density(x, found), stats.gennorm.logpdf(x, *parameters), rtol=1e-10
    )
    reached = stats.gennorm.logpdf(
        x, *stats.gennorm.fit(x, *parameters[:1], loc=parameters[1], scale=parameters[2])
    ).sum()
    # Where |x| is not smooth SciPy may end on one of the spikes that are rounded off here.
    assert -1e-6 < reached - found.log_likelihood < (1e-3 if power > 0.9 else 0.3)
    assert abs(found.shape - power) < 4 * found.shape_error


@pytest.mark.parametrize(("alpha", "size"), [(0.35, 500), (0.4, 2000), (0.7, 2000), (1.2, 2000)])
def test_exponential_power_finds_its_maximum_in_heavy_tails(alpha, size):
    for seed in range(4):
        x = np.asarray(stable_law.sample(jax.random.key(seed), alpha, shape=(size,)))
        found, distances = fit_exponential_power(x), abs(x - np.median(x))
        # For each power the best scale is known: a bound from all powers about the median.
        best = max(
            stats.gennorm.logpdf(
                distances, power, scale=(power * np.mean(distances**power)) ** (1 / power)
            ).sum()
            for power in np.geomspace(0.02, 20, 60)
        )
        assert found.status == Status.OK and found.log_likelihood > best
        parameters = [float(value) for value in found[:6:2]]
        for factor in (0.99, 1.01):
            assert (
                stats.gennorm.logpdf(x, factor * parameters[0], *parameters[1:]).sum()
                < found.log_likelihood
            )
            assert (
                stats.gennorm.logpdf(x, *parameters[:2], factor * parameters[2]).sum()
                < found.log_likelihood
            )


def test_lower_bound_of_the_power():
    x = np.random.default_rng(0).choice([-1, 1], SIZE) * np.exp(np.linspace(-150, 150, SIZE))
    found = fit_exponential_power(x)
    assert (found.shape, found.status) == (rivals.POWERS[0], Status.AT_BOUND) and np.isnan(
        found.shape_error
    )


@pytest.mark.parametrize(
    ("fit", "law"),
    [
        (rivals.fit_student_t, stats.t(3)),
        (rivals.fit_exponential_power, stats.gennorm(0.8)),
        pytest.param(rivals.fit_exponential_power, stats.gennorm(3), marks=pytest.mark.slow),
    ],
)
def test_errors_against_scatter(fit, law):
    samples = sample(law, size=(200, SIZE))
    found = np.array([fit(x) for x in samples]).T
    estimates, errors = found[:6:2], found[1:6:2]
    ratio = np.median(errors, axis=1) / estimates.std(axis=1)
    np.testing.assert_allclose(
        ratio, 1, atol=0.2
    )  # the standard deviation of 200 is known to 5 percent


@pytest.mark.parametrize("fit", FITS)
@given(seed=st.integers(0, 2**31), shift=st.floats(-100, 100), factor=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=10)
def test_location_and_scale(fit, seed, shift, factor):
    x = sample(stats.t(4), seed)
    before, after = (on_host(fit)(y) for y in (x, shift + factor * x))
    np.testing.assert_allclose(
        after[:2], before[:2], rtol=1e-3
    )  # both end 1e-4 standard errors from the maximum
    np.testing.assert_allclose(after[2] - shift, factor * before[2], rtol=1e-3)
    np.testing.assert_allclose(np.array(after[3:6]), factor * np.array(before[3:6]), rtol=1e-3)
    np.testing.assert_allclose(after[6], before[6] - SIZE * np.log(factor), rtol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_jit_vmap_and_unusable_members(fit):
    samples = np.stack([sample(stats.t(4), seed) for seed in range(4)])
    samples[1, 5], samples[2] = np.nan, 7.0
    singles = [on_host(fit)(x) for x in samples]
    with jax.enable_x64(True):
        on_device = jnp.asarray(samples)
    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(fit))(on_device))
    for field, values in zip(found, zip(*singles, strict=True), strict=True):
        np.testing.assert_allclose(field, values, rtol=1e-6)
    assert found.status.tolist() == [Status.OK, Status.NOT_FINITE, Status.CONSTANT, Status.OK]
    assert np.isnan(found.location).tolist() == [False, True, True, False]
    np.testing.assert_allclose(
        fit(samples[0].astype(np.float32)).location, found.location[0], rtol=1e-5
    )


def test_at_bounds():
    uniform = np.linspace(-1, 1, SIZE)
    student, power = fit_student_t(uniform), fit_exponential_power(uniform)
    np.testing.assert_allclose([student.shape, power.shape], [1e4, 20])
    assert student.status == power.status == Status.AT_BOUND
    assert np.isnan([student.shape_error, power.shape_error]).all()
    assert np.isfinite([student.scale_error, power.scale_error]).all()


@pytest.mark.parametrize("fit", FITS)
def test_shapes(fit):
    for shape in ((19,), (2, 50)):
        with pytest.raises(
            InputError, match=r"expected \(n,\) with n >= 20 samples: use jax.vmap for several"
        ):
            fit(np.zeros(shape))
