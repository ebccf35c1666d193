"""Quick stable fits: planted laws, errors against scatter, exact quantiles and Fourier components,
equivariance, edges.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.stable import law, quick_fits
from sgd_diffusion.analysis.stable.quick_fits import (
    characteristic_function,
    from_quantiles,
    quantiles,
)
from sgd_diffusion.errors import InputError

FITS = [quantiles, characteristic_function]
seeds = st.integers(0, 2**31)
# Of nearly all samples, and how many are fitted at once, so that the tests share their programs.
SIZE, MANY = 2000, 100


@functools.cache
def repeated(fit, symmetric):
    """The fit of many samples (R, n) at once. Symmetric is what the fit takes by itself."""
    options = {} if symmetric else {"symmetric": False}
    return jax.jit(jax.vmap(functools.partial(fit, **options)))


def fitted(fit, samples, symmetric):
    """Estimates (4, R), their errors (4, R), and statuses."""
    with jax.enable_x64(True):
        found = repeated(fit, symmetric)(samples)
    return np.array(found[:8:2]), np.array(found[1:8:2]), np.asarray(found.status)


def single(fit, x, **options):
    return jax.tree.map(np.asarray, fit(x, **options))


def sample(alpha=1.5, beta=0.0, *, size=SIZE, seed=0):
    return np.asarray(
        law.sample(jax.random.key(seed), alpha, beta, shape=(size,), location=1.0, scale=2.0)
    )


# Planted laws


LAWS = [(0.7, 0.0), (1.0, 0.5), (1.3, -0.9), (2.0, 0.0)]
OTHER_LAWS = [
    (alpha, beta)
    for alpha in (0.5, 0.7, 1.0, 1.3, 1.7, 1.95)
    for beta in (0.0, 0.5, -0.9)
    if (alpha, beta) not in LAWS
]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    ("alpha", "beta"), LAWS + [pytest.param(*law, marks=pytest.mark.slow) for law in OTHER_LAWS]
)
def test_planted_parameters(fit, alpha, beta):
    truth = np.array([alpha, beta, 1.0, 2.0])
    samples = law.sample(
        jax.random.key(1), alpha, beta, shape=(MANY, SIZE), location=1.0, scale=2.0
    )
    symmetric = beta == 0
    estimates, errors, status = fitted(fit, np.asarray(samples), symmetric)
    known = (
        [0, 2, 3] if symmetric or alpha > 1.9 else [0, 1, 2, 3]
    )  # near alpha = 2 most estimates of beta lie on its bounds
    bias = (estimates.mean(axis=1) - truth)[known] / estimates.std(axis=1)[known]
    inside = status == Status.OK
    assert np.all(np.isin(status, (Status.OK, Status.AT_BOUND)))
    # The mean of 100 has an error of a tenth of their scatter. Bounds cut off one side of the
    # scatter.
    assert np.all(abs(bias) < (0.5 if inside.mean() > 0.99 else 1.0))
    if inside.mean() > 0.99:
        # Median errors; the standard deviation of 100 is itself known to 7 percent.
        ratio = np.median(errors[known], axis=1) / estimates.std(axis=1)[known]
        assert np.all((ratio > 0.7) & (ratio < 1.4))


@pytest.mark.slow
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.3, 1.7, 1.9])
def test_standard_errors_of_characteristic_function(alpha, symmetric):
    samples = law.sample(jax.random.key(2), alpha, 0.0 if symmetric else 0.3, shape=(1000, 5000))
    estimates, errors, status = fitted(characteristic_function, np.asarray(samples), symmetric)
    assert np.all(status == Status.OK)
    ratio = np.sqrt((errors**2).mean(axis=1)) / estimates.std(axis=1)
    free = np.array([True, not symmetric, True, True])
    np.testing.assert_allclose(
        ratio[free], 1, atol=0.1
    )  # four times the error of a standard deviation of 1000
    by_quantiles = fitted(quantiles, np.asarray(samples), symmetric)[0]
    assert np.all(estimates[:2].std(axis=1)[free[:2]] < by_quantiles[:2].std(axis=1)[free[:2]])


# Exact input


EXACT = np.array(
    [
        (alpha, beta)
        for alpha in (0.35, 0.6, 0.999, 1.0, 1.4, 1.9, 2.0)
        for beta in (-0.8, 0.0, 0.4)
        if alpha < 2 or beta == 0
    ]
)


@pytest.fixture(scope="module")
def exact_quantiles():
    """Those of 5, 25, 50, 75 and 95 percent of the laws of EXACT, by bisection to 1e-10."""
    alpha, beta = EXACT.T[..., None]
    low, high = np.full((len(EXACT), 5), -1e4), np.full((len(EXACT), 5), 1e4)
    for _ in range(40):
        middle = np.sinh((np.arcsinh(low) + np.arcsinh(high)) / 2)
        left = np.asarray(law.cdf(middle, alpha, beta)) < [0.05, 0.25, 0.5, 0.75, 0.95]
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return low


@pytest.mark.parametrize("number", range(len(EXACT)), ids=[f"{a}, {b}" for a, b in EXACT])
def test_exact_quantiles_give_the_law(exact_quantiles, number):
    (alpha, beta), low = EXACT[number], exact_quantiles[number]
    found = np.asarray(from_quantiles(3 + 2 * low, symmetric=False))
    np.testing.assert_allclose(
        found[[0, 3]], [alpha, 2], rtol=2e-3
    )  # linear between the nodes of the table
    np.testing.assert_allclose(found[2], 3, atol=2e-3)
    if alpha < 2:
        np.testing.assert_allclose(found[1], beta, atol=2e-3)
    if beta == 0:
        np.testing.assert_allclose(
            from_quantiles(3 + 2 * low, symmetric=True), [alpha, 0, 3, 2], rtol=1e-3
        )


@pytest.mark.parametrize("symmetric", [True, False])
def test_nearest_law_of_other_quantiles(symmetric):
    uniform = np.asarray(from_quantiles([0.05, 0.25, 0.5, 0.75, 0.95], symmetric=symmetric))
    np.testing.assert_allclose(uniform[:3], [2, 0, 0.5], atol=1e-12)
    heavy = np.asarray(from_quantiles([-1e9, -1.0, 0.0, 1.0, 1e9], symmetric=symmetric))
    np.testing.assert_allclose(heavy[:3], [law.MIN_ALPHA, 0, 0], atol=1e-6)


def test_characteristic_function_of_the_law():
    # E exp(i k X) by summing over the density, against the form that the fit uses.
    points, step = np.linspace(-9, 9, 2048, retstep=True)
    z = np.sinh(points)
    density = [law.pdf(part, 1.6, 0.5) for part in np.split(z, 4)]
    weights = step * np.cosh(points) * np.concatenate(density)
    k = np.array([0.2, 0.7, 1.5])
    expected = (np.exp(1j * k[:, None] * z) * weights).sum(axis=1)
    with jax.enable_x64(True):
        found = jax.jit(quick_fits._log_characteristic)(k, np.array([1.6, 0.5, 0.0, 0.0]))
    found = np.exp(np.asarray(found))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_covariance_of_the_responses():
    # Against the scatter of the responses of many samples: relative errors of a variance of 2000
    # are 3 percent.
    parameters, k = np.array([1.4, 0.6, 0.0, 0.0]), np.array([0.3, 1.0])
    samples = stats.levy_stable.rvs(1.4, 0.6, size=(2000, 1000), random_state=0)
    samples += 0.6 * np.tan(np.pi / 2 * 1.4)  # S1 is SciPy's default
    with jax.enable_x64(True):
        empirical = np.log(np.exp(1j * k[:, None] * samples[:, None]).mean(axis=2))
        responses = np.concatenate([np.log(-empirical.real), empirical.imag], axis=1)
        expected = np.asarray(jax.jit(quick_fits._response_covariance)(k, parameters))
    covariance = 1000 * np.cov(responses.T)
    spread = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        covariance / spread / spread[:, None], expected / spread / spread[:, None], atol=0.13
    )


# Invariances


@pytest.mark.parametrize("fit", FITS)
@given(seed=seeds, shift=st.floats(-100, 100), factor=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=20)
def test_location_and_scale(fit, seed, shift, factor):
    x = sample(1.4, 0.3, seed=seed)
    before, after = (
        single(fit, x, symmetric=False),
        single(fit, shift + factor * x, symmetric=False),
    )
    assert before.status == after.status
    np.testing.assert_allclose(after[:4], before[:4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        after.location - shift, factor * before.location, rtol=1e-5, atol=1e-5 * factor
    )
    np.testing.assert_allclose(np.array(after[5:8]), factor * np.array(before[5:8]), rtol=1e-5)


@pytest.mark.parametrize("fit", FITS)
@given(seeds)
@settings(deadline=None, max_examples=20)
def test_mirror_image(fit, seed):
    x = sample(1.2, 0.3, seed=seed)
    left, right = single(fit, x, symmetric=False), single(fit, -x, symmetric=False)
    np.testing.assert_allclose(right[:4], np.array(left[:4]) * [1, 1, -1, 1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        right[4:8], np.array(left[4:8]) * [-1, 1, 1, 1], rtol=1e-6, atol=1e-9
    )


# Transforms


@pytest.mark.parametrize("fit", FITS)
def test_jit_and_vmap(fit):
    samples = np.stack([sample(seed=seed) for seed in range(3)])
    samples[1, 7] = np.nan
    singles = [single(fit, x, symmetric=False) for x in samples]
    assert singles[0].alpha.dtype == np.float64
    with jax.enable_x64(True):
        on_device = jnp.asarray(np.resize(samples, (MANY, SIZE)))
        mapped = jax.tree.map(lambda field: np.asarray(field)[:3], repeated(fit, False)(on_device))
    for field, values in zip(mapped, zip(*singles, strict=True), strict=True):
        np.testing.assert_allclose(field, np.array(values), rtol=1e-8)
    assert mapped.status.tolist() == [Status.OK, Status.NOT_FINITE, Status.OK]
    assert np.isnan(mapped.alpha).tolist() == [False, True, False]


@pytest.mark.parametrize("fit", FITS)
def test_single_precision(fit):
    x = sample().astype(np.float32)
    expected = single(fit, x.astype(float), symmetric=False)
    for of_32_bits in (x, jnp.asarray(x)):
        found = single(fit, of_32_bits, symmetric=False)
        np.testing.assert_allclose(found[:8], expected[:8], rtol=1e-12)


# Edges


@pytest.mark.parametrize("fit", FITS)
def test_unusable_data(fit):
    order = np.arange(float(SIZE))
    mostly = np.where(order <= SIZE // 2, 1.0, order)
    bad = [np.full(SIZE, 3.0), mostly, order.copy(), order.copy()]
    bad[2][4], bad[3][4] = np.nan, np.inf
    for x, status in zip(bad, [Status.CONSTANT] * 2 + [Status.NOT_FINITE] * 2, strict=True):
        found = single(fit, x, symmetric=False)
        assert found.status == status
        assert np.all(np.isnan(found[:8]))


@pytest.mark.parametrize("fit", FITS)
def test_shapes(fit):
    for shape in ((19,), (2, 50), ()):
        with pytest.raises(
            InputError, match=r"expected \(n,\) with n >= 20 samples: use jax.vmap for several"
        ):
            single(fit, np.zeros(shape))
    found = single(fit, np.random.default_rng(0).normal(size=20), symmetric=False)
    assert np.all(np.isfinite(found[:8:2]))


@pytest.mark.parametrize("fit", FITS)
def test_pinned_and_bounded_parameters_have_no_error(fit):
    samples = np.tile(sample(1.3), (MANY, 1))
    estimates, errors, _ = (field[..., 0] for field in fitted(fit, samples, symmetric=True))
    assert estimates[1] == 0 and np.isnan(errors).tolist() == [False, True, False, False]
    truncated = single(
        fit, special.ndtri(np.linspace(0.01, 0.99, SIZE)), symmetric=False
    )  # tails lighter than normal
    assert (truncated.alpha, truncated.beta, truncated.status) == (2, 0, Status.AT_BOUND)
    assert np.isnan(truncated[1:8:2]).tolist() == [True, True, False, False]
