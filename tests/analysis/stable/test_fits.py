"""Maximum likelihood fits of the alpha-stable law, and the table that they evaluate it from."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy import stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.stable import fits, interpolated, law
from sgd_diffusion.errors import InputError

ALPHAS = (0.7, 1.0, 1.3, 1.7, 1.95)


# At least so many random numbers are drawn at once, so that all come from one program.
DRAWN = 60 * 1000


def samples(alpha, beta=0.0, *, shape=(500,), location=0.0, scale=1.0):
    key, size = jax.random.key(round(1000 * alpha)), math.prod(shape)
    drawn = np.asarray(law.sample(key, alpha, beta, shape=(max(size, DRAWN),)))
    return location + scale * drawn[:size].reshape(shape)


def values(found):
    return type(found)(*(np.asarray(field) for field in found))


# The table


@functools.partial(jax.jit, static_argnums=3)
def table(z, alpha, beta, symmetric):
    return interpolated.log_density(z, alpha, beta, symmetric=symmetric)


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        (0.31, 0.0),
        (0.5, 0.0),
        (0.93, 0.0),
        (1.0, 0.0),
        (1.5, 0.0),
        (1.949, 0.0),
        (1.951, 0.0),
        (1.99, 0.0),
        (1.9999, 0.0),
        (0.3, 0.7),
        (0.35, 0.3),
        (0.4, 0.5),
        (0.4, 0.8),
        (0.4, 0.9),
        (0.45, -0.9),
        (0.45, 0.95),
        (0.5, 0.9),
        (0.5, 0.95),
        (0.55, 0.9),
        (0.65, -0.3),
        (0.8, -0.9),
        (1.0, 0.5),
        (1.2, -0.7),
        (1.7, 0.9),
        (1.97, -0.5),
    ],
)
def test_the_table_has_the_density_of_the_law(alpha, beta):
    z = np.concatenate([np.linspace(-50, 50, 601), [-1e6, -1e3, 1e3, 1e6]])
    with jax.enable_x64(True):
        found = np.asarray(table(jnp.asarray(z), alpha, beta, beta == 0))
    np.testing.assert_allclose(found, np.asarray(law.logpdf(z, alpha, beta)), rtol=0, atol=2e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_table_at_and_beside_all_nodes(symmetric):
    """Where one table takes over from another, a comparison of each side with the wrong one is nats
    off.
    """
    ends = np.unique(np.append(interpolated.RANGES, [law.MIN_ALPHA, 1.0, 2.0]))
    ends = ends[(ends >= law.MIN_ALPHA) & (ends <= 2)]
    alphas = np.concatenate([ends, np.nextafter(ends[1:], 0), np.nextafter(ends[:-1], 2)])
    points = chebyshev.chebpts1(interpolated.BETA_DEGREE + 1)[::4]
    z = np.concatenate([np.linspace(-6, 6, 31), [-100.0, 1e4]])
    for beta in [0.0] if symmetric else [-0.9, 0.0, 0.5, *points[abs(points) < 0.95]]:
        for alpha in alphas:
            with jax.enable_x64(True):
                found = np.asarray(table(jnp.asarray(z), alpha, beta, symmetric))
            expected = np.asarray(law.logpdf(z, alpha, beta))
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=1e-3, err_msg=f"{alpha} {beta}"
            )


@pytest.mark.parametrize("alpha", interpolated.RANGES[1:, 0])
def test_pinned_to_a_node(alpha):
    x = samples(alpha, shape=(500,))
    at, beside = fits.fit(x, alpha=alpha), fits.fit(x, alpha=alpha + 1e-9)
    assert abs(float(at.log_likelihood) - float(beside.log_likelihood)) < 1e-2


def test_pinned_to_the_normal_law():
    x = samples(1.8, shape=(500,))
    found = values(fits.fit(x, alpha=2.0))
    np.testing.assert_allclose(found.location, x.mean(), rtol=0, atol=1e-3 * found.location_error)
    np.testing.assert_allclose(np.sqrt(2) * found.scale, x.std(), rtol=1e-4)
    np.testing.assert_allclose(
        found.log_likelihood, stats.norm.logpdf(x, x.mean(), x.std()).sum(), rtol=1e-6
    )
    assert (
        fits.fit(samples(1.0, shape=(500,)), alpha=2.0).status == Status.NOT_CONVERGED
    )  # too far from any normal law


@jax.jit
def score_of_table(x, alpha):
    def of_alpha(alpha):
        return interpolated.log_density(x, alpha, 0.0, symmetric=True)

    return jax.jvp(of_alpha, (alpha,), (jnp.ones(()),))[1]


@pytest.mark.parametrize("alpha", [0.32, 0.499999, 0.500001, 1.3, 1.97])
def test_scores_of_the_table_put_no_bias_on_alpha(alpha):
    """The maximum is where the mean score vanishes: an error of it, over the information, is a
    bias.
    """
    x, step = samples(alpha, shape=(512,)), 2e-4
    score = (np.asarray(law.logpdf(x, alpha + step)) - np.asarray(law.logpdf(x, alpha - step))) / (
        2 * step
    )
    with jax.enable_x64(True):
        found = score_of_table(x, alpha)
    information = np.mean(score**2)
    assert abs(np.mean(np.asarray(found) - score)) / information < 0.02 / np.sqrt(
        5000 * information
    )


@jax.jit
def density(z, alpha):
    return interpolated.log_density(jnp.reshape(z, (1,)), alpha, 0.0, symmetric=True)[0]


slopes_of_density = jax.jit(jax.grad(density, argnums=(0, 1)))


@settings(deadline=None, max_examples=20)
@given(alpha=st.floats(0.31, 1.99), z=st.floats(-20, 20))
def test_derivatives_of_the_table_are_those_of_differences(alpha, z):
    step = 1e-5
    assume(
        np.all(abs(alpha - interpolated.RANGES[1:, 0]) > step)
    )  # where one polynomial takes over from another
    with jax.enable_x64(True):
        found = slopes_of_density(z, alpha)
        expected = [
            (density(z + step, alpha) - density(z - step, alpha)) / (2 * step),
            (density(z, alpha + step) - density(z, alpha - step)) / (2 * step),
        ]
    # Differences: rounding 1e-15/1e-5 and curvature.
    np.testing.assert_allclose(
        found, expected, rtol=1e-4, atol=1e-4 + (2 if alpha < 0.5 else 0.5) * 1e-2 * (abs(z) < 0.05)
    )


# The fit


@functools.cache
def repeats(alpha, count=200):
    """Fits to so many independent samples of 5000."""
    return values(fits.fit(samples(alpha, shape=(count, 5000))))


def check_errors(alpha, found, allowed_bias):
    """Bias and stated errors of repeated fits, against their scatter."""
    count = len(found.alpha)
    for name, truth in (("alpha", alpha), ("location", 0.0), ("scale", 1.0)):
        estimates, errors = getattr(found, name), getattr(found, f"{name}_error")
        scatter = estimates.std(ddof=1)
        assert abs(estimates.mean() - truth) < 4 * scatter / np.sqrt(count) + allowed_bias * scatter
        # The scatter is known to 1 in sqrt(2 N), for Gaussian estimates.
        assert np.sqrt(np.mean(errors**2)) / scatter == pytest.approx(1, abs=4 / np.sqrt(2 * count))


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ALPHAS)
def test_bias_and_errors_against_200_repeats(alpha):
    found = repeats(alpha)
    assert (found.status == Status.OK).all()
    check_errors(alpha, found, allowed_bias=0)


@pytest.mark.parametrize("alpha", [0.7, 1.7])
def test_bias_and_errors_of_small_samples(alpha):
    found = values(fits.fit(samples(alpha, shape=(60, 500))))
    assert (found.status == Status.OK).all()
    check_errors(alpha, found, allowed_bias=0.2)  # of order 1/sqrt(n) of the scatter


def coverage(alpha, beta, size, count):
    """Shares of nominal 95 % intervals of alpha, beta, location and scale that hold the truth."""
    found = values(fits.fit(samples(alpha, beta, shape=(count, size)), symmetric=False))
    assert (found.status == Status.OK).all()
    truth = {"alpha": alpha, "beta": beta, "location": 0.0, "scale": 1.0}
    return np.array(
        [
            (abs(getattr(found, name) - true) < 1.96 * getattr(found, f"{name}_error")).mean()
            for name, true in truth.items()
        ]
    )


def test_intervals_of_a_skewed_law_with_very_heavy_tails():
    assert (coverage(0.35, 0.8, 1000, 40) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 40)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        (0.45, 0.9),
        (0.35, 0.8),
        (0.5, 0.9),
        (0.5, 0.95),
        (0.4, 0.5),
        (0.35, 0.3),
        (0.6, 0.8),
        (0.7, -0.9),
        (1.3, 0.6),
    ],
)
def test_coverage_of_skewed_laws(alpha, beta):
    assert (abs(coverage(alpha, beta, 1000, 200) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 200)).all()


def test_a_search_that_ends_at_the_edge_of_beta_begins_again_inside():
    """At beta = 1 a sample left of zeta has no density, and the table's least one instead.

    The first search of one of these samples ends there, 44 below its largest log likelihood.
    """
    x = np.asarray(law.sample(jax.random.key(80), 0.8, 0.99, shape=(60, 1000)))[32:40]
    found = values(fits.fit(x, symmetric=False))
    inside = values(fits.fit(x, symmetric=False, beta=0.99))
    assert (found.log_likelihood > inside.log_likelihood - 1e-3).all()


def test_skewed_laws():
    alpha, beta = np.array([0.7, 1.0, 1.5, 1.3]), np.array([-1, 0.7, 0.5, -0.9])
    x = np.stack(
        [
            samples(*law_of, shape=(1000,), location=3.0, scale=0.01)
            for law_of in zip(alpha, beta, strict=True)
        ]
    )
    found = values(fits.fit(x, symmetric=False))
    assert list(found.status) == [Status.AT_BOUND] + [Status.OK] * 3
    assert (abs(found.alpha - alpha) < 4 * found.alpha_error).all()
    assert found.beta[0] == -1 and (abs(found.beta - beta) < 4 * found.beta_error)[1:].all()
    assert (abs(found.location - 3) < 4 * found.location_error).all() and (
        found.location_error < 0.002
    ).all()
    assert (abs(found.scale - 0.01) < 4 * found.scale_error).all()


@pytest.mark.slow
def test_the_fit_is_the_maximum_of_the_exact_likelihood():
    x = samples(1.4, shape=(500,), location=-2.0, scale=3.0)
    found = values(fits.fit(x))

    def log_likelihood(alpha, location, scale):
        return np.asarray(law.logpdf(x, alpha, location=location, scale=scale)).sum()

    best = log_likelihood(found.alpha, found.location, found.scale)
    assert found.log_likelihood == pytest.approx(best, abs=1e-3)
    # One standard error to either side costs about 1/2, a hundredth of it less than the
    # interpolation could hide.
    for shift in (-1, 1):
        assert (
            best
            - log_likelihood(found.alpha + shift * found.alpha_error, found.location, found.scale)
            > 0.3
        )
        assert (
            best
            - log_likelihood(
                found.alpha, found.location + shift * found.location_error, found.scale
            )
            > 0.3
        )
        assert (
            best
            - log_likelihood(found.alpha, found.location, found.scale + shift * found.scale_error)
            > 0.3
        )
        assert (
            best
            - log_likelihood(
                found.alpha + shift * 0.01 * found.alpha_error, found.location, found.scale
            )
            > -1e-3
        )
    np.testing.assert_allclose(
        np.asarray(fits.log_density(x, found)).sum(), found.log_likelihood, rtol=1e-12
    )


@pytest.mark.slow
def test_normal_samples_with_free_skewness():
    """At alpha = 2 the density does not depend on beta."""
    found = values(fits.fit(np.random.default_rng(7).normal(size=(60, 1000)), symmetric=False))
    at_bound = found.alpha == 2
    assert at_bound.mean() > 0.4 and (found.status != Status.NOT_CONVERGED).mean() > 0.9
    assert (found.status[at_bound] == Status.AT_BOUND).mean() > 0.9
    assert (found.beta[at_bound] == 0).all() and np.isnan(found.beta_error[at_bound]).all()
    np.testing.assert_allclose(
        found.scale_error[at_bound], found.scale[at_bound] / np.sqrt(2 * 1000), rtol=1e-3
    )


def test_normal_samples_lie_on_or_near_the_bound():
    found = values(fits.fit(np.random.default_rng(0).normal(5, 2, (60, 500))))
    at_bound = found.status == Status.AT_BOUND
    assert at_bound.any() and (found.alpha > 1.85).all()
    assert (found.alpha[at_bound] == 2).all() and np.isnan(found.alpha_error[at_bound]).all()
    np.testing.assert_allclose(
        found.scale_error[at_bound], found.scale[at_bound] / np.sqrt(2 * 500), rtol=1e-3
    )
    np.testing.assert_allclose(
        found.location_error[at_bound], np.sqrt(2) * found.scale[at_bound] / np.sqrt(500), rtol=1e-3
    )


@settings(deadline=None, max_examples=10)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-100, 100))
def test_units_and_mirror_images(scale, shift):
    x = samples(1.5, shape=(500,))
    first, second = values(fits.fit(x)), values(fits.fit(-scale * (x + shift)))
    np.testing.assert_allclose(second.alpha, first.alpha, rtol=1e-5)
    np.testing.assert_allclose(second.scale, scale * first.scale, rtol=1e-5)
    np.testing.assert_allclose(
        second.location, -scale * (first.location + shift), rtol=1e-4, atol=1e-4 * scale
    )
    np.testing.assert_allclose(
        second.log_likelihood, first.log_likelihood - 500 * np.log(scale), rtol=1e-7
    )


def test_pinned_parameters_stay_where_they_are():
    x = samples(1.3, shape=(500,), location=0.5)
    found = values(fits.fit(x, alpha=1.5, location=0.0))
    assert found.alpha == 1.5 and abs(found.location) < 1e-15
    assert np.isnan([found.alpha_error, found.location_error]).all()
    free = values(fits.fit(x))
    assert free.log_likelihood > found.log_likelihood
    again = values(fits.fit(x, scale=float(free.scale)))
    np.testing.assert_allclose([again.alpha, again.scale], [free.alpha, free.scale], rtol=1e-5)
    assert again.alpha_error < free.alpha_error


def test_mapped_fits_are_single_fits():
    x = samples(1.6, shape=(2, 3, 500))
    found = values(fits.fit(x))
    assert found.alpha.shape == found.status.shape == (2, 3)
    mapped = values(jax.jit(jax.vmap(jax.vmap(fits.fit)))(x.astype(np.float32)))
    np.testing.assert_allclose(mapped.alpha, found.alpha, rtol=1e-5)
    np.testing.assert_allclose(values(fits.fit(x[1, 2])).alpha, found.alpha[1, 2], rtol=1e-6)


def test_unusable_data_give_no_number():
    x = samples(1.6, shape=(6, 500))
    x[0], x[1, 7], x[2, 0], x[3, :251] = 2.0, np.nan, np.inf, x[3].min()
    found = values(fits.fit(x))
    assert (
        list(found.status)
        == [Status.CONSTANT, Status.NOT_FINITE, Status.NOT_FINITE, Status.CONSTANT]
        + [Status.OK] * 2
    )
    for field in found[:-1]:
        assert np.isnan(field[:4]).all()
    np.testing.assert_allclose(found.alpha[4], values(fits.fit(x[4])).alpha, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.arange(19.0)}, "shape"),
        ({"alpha": 0.2}, "alpha is 0.2"),
        ({"scale": -1.0}, "scale"),
        ({"beta": 0.1}, "symmetric"),
        ({"beta": 1.5, "symmetric": False}, "beta is 1.5"),
        ({"location": np.nan}, "location"),
        (
            {"alpha": 1, "location": 0, "scale": 1},
            "and scale are all pinned; expected at least one",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        fits.fit(**({"x": np.arange(100.0)} | arguments))


# Resampling


def resampled(x, found, times):
    """100 replicates for blocks of 10 samples."""
    return fits.bootstrap_fit(
        jax.random.key(1), x, found, times=times, num_times=50, num_resamples=100, num_blocks=50
    )


def test_bootstrap_errors_of_independent_samples_are_those_of_the_information():
    x = samples(1.5, shape=(500,))
    found = fits.fit(x)
    replicates = values(resampled(x, found, times=np.arange(500) // 10))
    # The scatter of 100 replicates of 50 blocks is known to 1 in sqrt(2 * 50) or so.
    for name in ("alpha", "location", "scale"):
        error = float(getattr(found, f"{name}_error"))
        assert getattr(replicates, name).std(ddof=1) / error == pytest.approx(1, abs=0.4)
        assert abs(np.median(getattr(replicates, name)) - float(getattr(found, name))) < 0.5 * error


def test_bootstrap_sees_that_samples_of_one_time_belong_together():
    """Every number ten times: the information believes in ten times as many samples, blocks of time
    do not.
    """
    x = np.repeat(samples(1.5, shape=(50,)), 10)
    found = fits.fit(x)
    replicates = resampled(x, found, times=np.arange(500) // 10)
    ratio = np.asarray(replicates.location).std(ddof=1) / float(found.location_error)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.4)


def test_bootstrap_of_unusable_data():
    x = np.full(500, np.nan)
    replicates = resampled(x, fits.fit(x), times=np.arange(500) // 10)
    assert np.isnan(np.asarray(replicates.alpha)).all()
    with pytest.raises(InputError, match="num_blocks"):
        fits.bootstrap_fit(jax.random.key(0), x, fits.fit(x), num_blocks=2)
