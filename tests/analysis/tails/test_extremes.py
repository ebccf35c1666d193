"""Tail indices from the largest values: closed forms, SciPy's likelihood, the choice of k,
invariances, no estimate.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.tails.extremes import hill, hill_curve, moment_estimator, pickands
from sgd_diffusion.errors import InputError

seeds = st.integers(0, 2**31)


def hill_20(samples, **options):
    return hill(samples, 20, **options)


def moment_20(samples, **options):
    return moment_estimator(samples, 20, **options)


def pickands_20(samples, **options):
    return pickands(samples, 20, **options)


ESTIMATORS = [hill, hill_20, moment_20, pickands_20]


def sample(seed=0, *, n=100):
    return np.random.default_rng(seed).standard_t(2, size=n)


def assert_same(estimate, expected, rtol=1e-9):
    np.testing.assert_allclose(estimate.value, expected.value, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(estimate.error, expected.error, rtol=rtol)
    np.testing.assert_array_equal(estimate.num_points, expected.num_points)
    np.testing.assert_array_equal(estimate.status, expected.status)


def drees_kaufmann(x):
    """The number of tail points by its definition, band by band."""
    descending = np.sort(x[x > 0])[::-1]
    n = len(descending)
    gammas = {k: np.mean(np.log(descending[:k] / descending[k])) for k in range(1, n)}
    pilot = gammas[int(2 * np.sqrt(n))]

    def first_outside(r):
        outside = (
            k
            for k in gammas
            if any(abs(gammas[i] - gammas[k]) > r / np.sqrt(i) for i in range(2, k))
        )
        return next(outside, n - 1)

    r = 2.5 * pilot * n**0.25
    k = (
        (first_outside(r**0.7) / first_outside(r) ** 0.7) ** (1 / 0.3)
        * (2 * pilot**2) ** (1 / 3)
        / 3
    )
    return min(max(int(k), 2), n - 1)


# Closed forms and other people's estimators


def test_geometric_values():
    values = 3.0 ** np.arange(30)  # ln(x_(i) / x_(k+1)) = (k + 1 - i) ln 3
    curve = hill_curve(values)
    np.testing.assert_allclose(curve.alpha, 2 / (np.arange(1, 30) + 1) / np.log(3), rtol=1e-12)
    np.testing.assert_allclose(
        curve.error, np.asarray(curve.alpha) / np.sqrt(np.arange(1, 30)), rtol=1e-12
    )
    first, second = (
        np.log(3) * 11 / 2,
        np.log(3) ** 2 * 11 * 21 / 6,
    )  # means of 1..10 and of their squares
    np.testing.assert_allclose(
        moment_estimator(values, 10).value, first + 1 - 0.5 / (1 - first**2 / second), rtol=1e-12
    )
    expected = np.log((3.0**-1 - 3.0**-3) / (3.0**-3 - 3.0**-7)) / np.log(
        2
    )  # x_(2), x_(4) and x_(8) over 3^30
    np.testing.assert_allclose(pickands(values, 11).value, expected, rtol=1e-12)
    assert pickands(values, 11).num_points == 8


@given(seeds, st.sampled_from([1, 80]))
@settings(deadline=None, max_examples=20)
def test_hill_is_the_maximum_likelihood_of_a_pareto_law(seed, k):
    x = sample(seed)
    descending = np.sort(abs(x))[::-1]
    shape, _, _ = stats.pareto.fit(descending[:k], floc=0, fscale=descending[k])
    estimate = hill(x, k)
    np.testing.assert_allclose(estimate.value, shape, rtol=1e-9)
    np.testing.assert_allclose(estimate.error, shape / np.sqrt(k), rtol=1e-9)


@pytest.mark.parametrize("gamma", [-0.4, 0.0, 0.8])
def test_quantiles_of_the_generalized_pareto_law(gamma):
    n = 100_000
    x = stats.genpareto.ppf((np.arange(n) + 0.5) / n, gamma)  # the law without chance
    # On this law Pickands' estimator is exact at any k; the others have a bias that falls with k/n.
    np.testing.assert_allclose(pickands(x, n // 4, side="right").value, gamma, atol=1e-3)
    np.testing.assert_allclose(moment_estimator(x, 1000, side="right").value, gamma, atol=0.06)
    if gamma > 0:
        np.testing.assert_allclose(1 / float(hill(x, 1000, side="right").value), gamma, atol=0.06)


def test_errors_at_index_zero():
    # x_(1), x_(2), x_(4) equally far apart: gamma = 0, where the variance of Pickands' estimator is
    # 3 / (4 m ln(2)^4)
    x = np.concatenate([[10.0, 9.0, 8.5, 8.0], np.linspace(1, 2, 96)])
    estimate = pickands(x, 4)
    np.testing.assert_allclose(estimate.value, 0, atol=1e-12)
    np.testing.assert_allclose(estimate.error, np.sqrt(3 / 4) / np.log(2) ** 2, rtol=1e-9)
    # just beside it, where nothing is special
    x[0] += 1e-7
    np.testing.assert_allclose(pickands(x, 4).error, estimate.error, rtol=1e-6)


def test_error_of_the_moment_estimator_on_both_sides_of_zero():
    n, k = 100_000, 1000
    for gamma in (-1e-3, 1e-3, -0.5, 0.5):
        x = stats.genpareto.ppf((np.arange(n) + 0.5) / n, gamma)
        g, error = map(float, moment_estimator(x, k, side="right")[:2])
        if g >= 0:
            variance = 1 + g**2
        else:
            variance = (
                (1 - g) ** 2
                * (1 - 2 * g)
                * (
                    4
                    - 8 * (1 - 2 * g) / (1 - 3 * g)
                    + (5 - 11 * g) * (1 - 2 * g) / ((1 - 3 * g) * (1 - 4 * g))
                )
            )
        np.testing.assert_allclose(error, np.sqrt(variance / k), rtol=1e-9)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_the_curve_has_the_estimates_of_every_k(seed):
    x = sample(seed)
    curve = hill_curve(x, side="right")
    for k in (1, 50, 99):
        estimate = hill(x, k, side="right")
        np.testing.assert_array_equal(curve.alpha[k - 1], estimate.value)
        np.testing.assert_array_equal(curve.error[k - 1], estimate.error)
        assert np.isnan(estimate.value) == (np.count_nonzero(x > 0) <= k)


# The choice of k


@given(seeds, st.sampled_from(["t", "pareto", "stable"]))
@settings(deadline=None, max_examples=15)
def test_chosen_k_is_that_of_the_definition(seed, law):
    law = {"t": stats.t(2), "pareto": stats.pareto(1.5), "stable": stats.levy_stable(1.7, 0)}[law]
    x = law.rvs(size=100, random_state=seed)
    assert hill(x).num_points == drees_kaufmann(abs(x))
    if np.count_nonzero(x > 0) >= 20:
        assert hill(x, side="right").num_points == drees_kaufmann(x)


@pytest.mark.parametrize(
    ("law", "alpha", "error", "covered"),
    [
        # root mean square error and coverage that the docstring states, for n = 10,000
        pytest.param(stats.pareto(1.5), 1.5, 0.025, 0.96, marks=pytest.mark.slow),
        (stats.t(3), 3.0, 0.28, 0.69),
        pytest.param(stats.t(1.5), 1.5, 0.063, 0.90, marks=pytest.mark.slow),
        pytest.param(stats.cauchy, 1.0, 0.032, 0.90, marks=pytest.mark.slow),
    ],
)
def test_chosen_k_on_known_laws(law, alpha, error, covered):
    repeats = 100
    value, stated = map(np.asarray, hill(law.rvs(size=(repeats, 10_000), random_state=5))[:2])
    deviation = value - alpha
    # The stated figures are from 200 samples and these are 100: 4 standard errors of the difference
    # each
    both = np.sqrt(1 / repeats + 1 / 200)
    assert (
        abs(np.sqrt(np.mean(deviation**2)) / error - 1)
        < 4 * both * np.std(deviation**2) / np.mean(deviation**2) / 2
    )
    assert abs(np.mean(abs(deviation) < 1.96 * stated) - covered) < 4 * both * np.sqrt(
        covered * (1 - covered)
    )


FAR = [(1.5, 1.69), (1.95, 4.4), (2.0, 9.3)]


@pytest.mark.parametrize(
    ("alpha", "mean"), [(1.8, 2.63), *(pytest.param(*far, marks=pytest.mark.slow) for far in FAR)]
)
def test_hill_is_too_high_for_stable_laws_near_two(alpha, mean):
    value = np.asarray(
        hill(stats.levy_stable.rvs(alpha, 0, size=(100, 10_000), random_state=6)).value
    )
    # 4 standard errors of the difference to the stated mean of 200, which is rounded to 2 digits
    assert abs(value.mean() - mean) < 4 * value.std() * np.sqrt(1 / 100 + 1 / 200) + 0.05
    assert value.mean() > alpha + 0.1


# Invariances


@given(seeds, st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=20)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scale_order_and_sign_do_not_matter(estimator, seed, scale):
    x, random = sample(seed), np.random.default_rng(seed)
    if estimator is hill:
        scale = 2.0 ** round(np.log2(scale))  # exactly: rounding may move a choice
    assert_same(estimator(scale * x), estimator(x))
    assert_same(estimator(random.permutation(x)), estimator(x), rtol=0)
    assert_same(estimator(random.choice([-1, 1], len(x)) * x), estimator(x), rtol=0)
    assert_same(estimator(-x, side="left"), estimator(x, side="right"), rtol=0)


@given(seeds, st.floats(0.2, 5))
@settings(deadline=None, max_examples=20)
def test_powers_divide_the_index(seed, power):
    x = abs(sample(seed))
    np.testing.assert_allclose(
        hill(x**power, 30).value, np.asarray(hill(x, 30).value) / power, rtol=1e-9
    )


@given(seeds, st.floats(-100, 100))
@settings(deadline=None, max_examples=20)
def test_pickands_does_not_know_the_location(seed, location):
    x = sample(seed)
    assert_same(pickands(x + location, 80, side="right"), pickands(x, 80, side="right"), rtol=1e-7)
    assert_same(pickands(x + location, 80, side="left"), pickands(x, 80, side="left"), rtol=1e-7)


@pytest.mark.parametrize("estimator", [hill_20, moment_20])
def test_values_below_the_tail_do_not_matter(estimator):
    x = np.sort(abs(sample()))
    x[:50] *= 1e-3
    assert_same(estimator(x), estimator(np.sort(abs(sample()))))


def test_one_sided_tails():
    random = np.random.default_rng(0)
    x = np.concatenate([random.pareto(1.2, 5000) + 1, -random.pareto(3.5, 5000) - 1])
    right, left, both = (
        np.array(hill(x, 500, side=side)[:2]) for side in ("right", "left", "both")
    )
    assert abs(right[0] - 1.2) < 3 * right[1]
    assert abs(left[0] - 3.5) < 3 * left[1]
    assert abs(both[0] - 1.2) < 4 * both[1]  # the heavier one


# No estimate


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_bad_samples_have_no_estimate_and_leave_the_others_alone(estimator):
    good = sample(n=100)
    nan, infinite, few = good.copy(), good.copy(), np.zeros(100)
    nan[99], infinite[3] = np.nan, np.inf
    few[:15] = good[:15]
    values = np.stack([good, nan, infinite, np.full(100, 0.1), np.zeros(100), few]).reshape(
        2, 3, 100
    )
    estimate = estimator(values)
    logarithm = Status.CONSTANT if estimator is pickands_20 else Status.NOT_POSITIVE
    of_few = (
        Status.OK if estimator is pickands_20 else Status.NOT_POSITIVE
    )  # no logarithm of the zeros
    expected = [Status.OK, Status.NOT_FINITE, Status.NOT_FINITE, Status.CONSTANT, logarithm, of_few]
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
    assert np.isfinite(hill_curve(values).alpha).sum(axis=-1).ravel().tolist() == [
        99,
        0,
        0,
        0,
        0,
        14,
    ]


def test_one_sided_samples_without_a_tail_there():
    negative = -abs(sample())
    for estimator in (hill, hill_20, moment_20):
        assert estimator(negative, side="right").status == Status.NOT_POSITIVE
    assert np.all(np.isnan(hill_curve(negative, side="right").alpha))
    assert pickands_20(negative, side="right").status == Status.OK  # the bounded tail at 0
    assert (
        hill(np.append(sample(n=19) ** 2, -np.ones(81)), side="right").status == Status.NOT_POSITIVE
    )  # 19 to choose from


def test_ties():
    tied_top = np.append(np.full(25, 7.0), np.linspace(1, 2, 75))
    for estimator in (hill_20, moment_20, pickands_20):
        assert estimator(tied_top).status == Status.CONSTANT
    assert moment_estimator(tied_top, 25).status == Status.CONSTANT  # all 25 as far above the next
    assert hill(tied_top, 25).status == Status.OK
    integers = np.random.default_rng(0).zipf(2.5, 100).astype(float)
    for estimator in (hill, hill_20, moment_20):
        assert estimator(integers).status == Status.OK


@pytest.mark.parametrize("estimator", [*ESTIMATORS, hill_curve])
def test_samples_and_sides_that_are_none_are_refused(estimator):
    with pytest.raises(
        InputError, match=r"samples has shape \(3, 19\); expected at least 20 values along axis -1"
    ):
        estimator(np.ones((3, 19)))
    with pytest.raises(
        InputError, match="side is 'up'; expected 'both' for the tail of the absolute values"
    ):
        estimator(sample(), side="up")


@pytest.mark.parametrize(
    "estimator", [hill, lambda x: hill(x, 10), lambda x: moment_estimator(x, 10), hill_curve]
)
def test_gradients_are_finite_where_values_are(estimator):
    """Also of samples with zeros and ties, of which logarithms and reciprocals have none."""
    for x in (np.repeat(sample(n=50), 2), np.where(np.arange(100) % 2, sample(n=100), 0.0)):

        def total(x):
            values = estimator(x)
            return sum(
                jnp.where(jnp.isfinite(part), part, 0).sum()
                for part in values[int(estimator is hill_curve) :][:2]
            )

        assert np.isfinite(jax.grad(total)(jnp.asarray(x, jnp.float32))).all()


@pytest.mark.parametrize(
    ("estimator", "low", "high"), [(hill, 1, 99), (moment_estimator, 2, 99), (pickands, 4, 100)]
)
def test_numbers_of_tail_points_out_of_range_are_refused(estimator, low, high):
    for k in (low - 1, high + 1, 10.0):
        with pytest.raises(
            InputError,
            match=rf"k is {k}; expected an integer in {low}..{high} as the number of tail points",
        ):
            estimator(sample(n=100), k)
    for k in (low, high):
        assert estimator(sample(n=100), k).status == Status.OK
