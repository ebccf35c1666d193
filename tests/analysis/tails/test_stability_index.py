"""Index of stability: closed forms, definitions written out, wrong values, invariances, and no
estimate.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.tails.stability_index import (
    log_variance,
    mohammadi,
    mohammadi_quantile,
    paired_differences,
)
from sgd_diffusion.errors import InputError

ESTIMATORS = [mohammadi, mohammadi_quantile, log_variance]
BY_BLOCKS = [mohammadi, mohammadi_quantile]
seeds = st.integers(0, 2**31)


def sample(seed=0, *, alpha=1.5, n=100):
    return stats.levy_stable.rvs(alpha, 0, size=n, random_state=seed)


def assert_same(estimate, expected, rtol=1e-9):
    np.testing.assert_allclose(estimate.value, expected.value, rtol=rtol)
    np.testing.assert_allclose(estimate.error, expected.error, rtol=rtol, atol=1e-9)
    np.testing.assert_array_equal(estimate.status, expected.status)


# Closed forms


@pytest.mark.parametrize("estimator", BY_BLOCKS)
def test_sums_that_grow_with_the_block_have_index_one(estimator):
    blocks = np.repeat(np.geomspace(1, 100, 20), 5)  # a sum is 5 times each of its values
    estimate = estimator(blocks, block_size=5)
    np.testing.assert_allclose(estimate.value, 1, rtol=1e-9)
    assert estimate.num_points == 100


def test_sums_that_are_a_root_of_the_block_have_index_two():
    blocks = np.tile([3.0, 3.0, 3.0, -3.0], 20) * np.repeat(
        np.arange(1.0, 21), 4
    )  # sums of 4: twice the values
    estimate = mohammadi(blocks, block_size=4)
    np.testing.assert_allclose(estimate.value, 2, rtol=1e-9)
    assert float(estimate.error) < 1e-12  # every block says the same


@pytest.mark.parametrize(("law", "alpha"), [(stats.norm, 2.0), (stats.cauchy, 1.0)])
def test_variance_of_the_logarithms_of_known_laws(law, alpha):
    values = law.ppf((np.arange(400_000) + 0.5) / 400_000)  # quantiles: the law without chance
    np.testing.assert_allclose(log_variance(values).value, alpha, rtol=1e-4)


def test_variance_of_the_logarithms_below_the_gaussian_one():
    estimate = log_variance(np.linspace(-1, 1, 1000))  # uniform: variance 1 instead of pi^2/8
    assert (float(estimate.value), estimate.status) == (2, Status.AT_BOUND)
    logs = np.log(np.abs(np.linspace(-1, 1, 1000)))
    variance_error = np.sqrt((stats.moment(logs, 4) - stats.moment(logs, 2) ** 2) / 1000)
    np.testing.assert_allclose(estimate.error, 24 / np.pi**2 * variance_error, rtol=1e-9)


def test_differences_of_pairs():
    assert paired_differences([[1.0, 2.0, 5.0, 3.0, 9.0], [0.0] * 5]).tolist() == [
        [-1.0, 2.0],
        [0.0, 0.0],
    ]
    with pytest.raises(
        InputError, match=r"samples has shape \(1,\); expected \(..., n\) with n >= 2"
    ):
        paired_differences([1.0])


# Definitions


@given(seeds, st.sampled_from([2, 9]))
@settings(deadline=None, max_examples=20)
def test_mohammadi_written_out(seed, size):
    x = sample(seed)
    blocks = [x[start : start + size] for start in range(0, 100 - size + 1, size)]
    rises = [np.log(abs(block.sum())) - np.mean(np.log(abs(block))) for block in blocks]
    expected = np.log(size) / np.mean(rises)
    estimate = mohammadi(x, block_size=size)
    if expected <= 0:
        assert estimate.status == Status.OUT_OF_RANGE and np.isnan(estimate.value)
    else:
        np.testing.assert_allclose(estimate.value, expected, rtol=1e-9)
        np.testing.assert_allclose(
            estimate.error, expected**2 * stats.sem(rises) / np.log(size), rtol=1e-9
        )
    assert estimate.num_points == len(blocks) * size


@given(seeds, st.sampled_from([0.2, 0.77]))
@settings(deadline=None, max_examples=20)
def test_mohammadi_quantile_written_out(seed, quantile):
    x, size = sample(seed), 3
    blocks = x[:99].reshape(-1, size)
    sums = abs(blocks.sum(axis=1))
    expected = np.log(size) / np.log(
        np.quantile(sums, quantile) / np.quantile(abs(blocks), quantile)
    )
    estimate = mohammadi_quantile(x, block_size=size, quantile=quantile)
    np.testing.assert_allclose(estimate.value, expected if expected > 0 else np.nan, rtol=1e-9)
    assert estimate.status == (Status.OK if expected > 0 else Status.OUT_OF_RANGE)


def test_default_block_size():
    x = sample(n=103)  # sqrt(103) = 10.1
    for estimator in BY_BLOCKS:
        assert_same(estimator(x), estimator(x, block_size=10), rtol=0)
        assert estimator(x).num_points == 100
        assert_same(
            estimator(x), estimator(x[:100], block_size=10), rtol=0
        )  # the rest does not count


# What the estimators are for


def test_location_and_skewness_go_with_the_differences():
    x = 10 + stats.levy_stable.rvs(1.5, 0.9, size=20_000, random_state=0)
    alpha, error = np.array([mohammadi(values)[:2] for values in (x, paired_differences(x))]).T
    assert alpha[0] < 1.5 - 5 * error[0]  # sums of a location have index 1
    assert abs(alpha[1] - 1.5) < 3 * error[1]


def test_quantiles_tolerate_wrong_values_and_zeros():
    x = sample(n=3000)
    wrong = x.copy()
    wrong[[101, 1501, 2501]] = 1e30, -1e30, 1e25
    wrong[::50] = 0.0
    estimate = mohammadi_quantile(wrong)
    assert estimate.status == Status.OK
    assert abs(float(estimate.value) - float(mohammadi_quantile(x).value)) < 2 * float(
        estimate.error
    )  # 3 of 55 blocks
    assert mohammadi(wrong).status == log_variance(wrong).status == Status.NOT_POSITIVE


@pytest.mark.parametrize("law", [stats.t(3), stats.laplace])
def test_large_blocks_of_finite_variance_are_gaussian(law):
    estimate = mohammadi(law.rvs(size=(50, 10_000), random_state=0))
    mean = np.mean(np.asarray(estimate.value))
    assert (
        abs(mean - 2) < 0.3
    )  # a single error is 0.1; what is left is how far sums of 100 are from Gaussian
    assert (
        np.mean(np.asarray(log_variance(law.rvs(size=(50, 10_000), random_state=0)).value))
        < mean - 0.1
    )


# Invariances


@given(seeds, st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=20)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scale_and_sign_do_not_matter(estimator, seed, scale):
    x = sample(seed)
    assert_same(estimator(scale * x), estimator(x))
    assert_same(estimator(-x), estimator(x), rtol=0)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_order_matters_between_blocks_only(seed):
    x, random = sample(seed), np.random.default_rng(seed)
    blocks = x.reshape(10, 10)
    within = random.permuted(blocks, axis=1)[random.permutation(10)].ravel()
    for estimator in BY_BLOCKS:
        assert_same(estimator(within), estimator(x))
    assert_same(log_variance(random.permutation(x)), log_variance(x))


# No estimate


def bad_samples():
    good = sample(alpha=1, n=100)
    nan, infinite, zero = good.copy(), good.copy(), good.copy()
    nan[99], infinite[3], zero[50] = np.nan, np.inf, 0
    return np.stack([good, nan, infinite, np.full(100, 0.1), np.zeros(100), zero]).reshape(
        2, 3, 100
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_bad_samples_have_no_estimate_and_leave_the_others_alone(estimator):
    values = bad_samples()
    estimate = estimator(values)
    tolerant = Status.OK if estimator is mohammadi_quantile else Status.NOT_POSITIVE
    expected = [
        Status.OK,
        Status.NOT_FINITE,
        Status.NOT_FINITE,
        Status.CONSTANT,
        Status.CONSTANT,
        tolerant,
    ]
    assert estimate.status.ravel().tolist() == expected
    known = np.reshape(expected, (2, 3)) == Status.OK
    assert (
        np.isfinite(estimate.value).tolist()
        == np.isfinite(estimate.error).tolist()
        == known.tolist()
    )
    assert_same(
        type(estimate)(*(np.asarray(field)[0, 0] for field in estimate)), estimator(values[0, 0])
    )


def test_sums_that_do_not_grow_have_no_index():
    signs = np.tile([1.0, -0.9], 50) * np.repeat(np.geomspace(1, 10, 50), 2)
    for estimator in BY_BLOCKS:
        assert estimator(signs, block_size=2).status == Status.OUT_OF_RANGE
    assert (
        mohammadi(np.tile([1.0, -1.0], 50), block_size=2).status == Status.NOT_POSITIVE
    )  # sums of 0
    assert (
        mohammadi_quantile(np.append(np.tile([1.0, 1.0, -1.0], 33), 1.0), block_size=3).status
        == Status.CONSTANT
    )
    assert log_variance(np.tile([1.0, -1.0], 50)).status == Status.CONSTANT


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_samples_that_are_none_are_refused(estimator):
    with pytest.raises(
        InputError, match=r"samples has shape \(3, 19\); expected at least 20 values along axis -1"
    ):
        estimator(np.ones((3, 19)))
    with pytest.raises(InputError, match=r"samples has shape \(\)"):
        estimator(1.0)
    with pytest.raises(InputError, match="samples has dtype complex128; expected real numbers"):
        estimator(np.ones(30) * 1j)


def test_options_out_of_range_are_refused():
    for size in (1, 51, 7.0):
        for estimator in BY_BLOCKS:
            with pytest.raises(
                InputError, match=rf"block_size is {size}; expected an integer in 2..50"
            ):
                estimator(sample(n=100), block_size=size)
    with pytest.raises(
        InputError, match="quantile is 1; expected a finite number above 0 and below 1"
    ):
        mohammadi_quantile(sample(), quantile=1)
