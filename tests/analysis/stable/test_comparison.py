"""Comparison of laws: Vuong's test on planted differences, its level, the nested normal law,
Kolmogorov and Smirnov.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.stable import comparison, fits, law
from sgd_diffusion.errors import InputError

seeds = st.integers(0, 2**31)


def on_host(function):
    """The function with results in NumPy, where comparing float64 numbers needs no 64-bit mode."""
    return lambda *arguments, **options: jax.tree.map(np.asarray, function(*arguments, **options))


vuong = on_host(comparison.vuong)
compare = on_host(comparison.compare)
compare_with_normal = on_host(comparison.compare_with_normal)
ks_distance = on_host(comparison.ks_distance)


# Of the tests that fit samples, so that they share their programs.
SIZE, LARGE = 500, 10_000


def stable_sample(alpha, seed=0, *, size=SIZE):
    return stats.levy_stable.rvs(alpha, 0, size=size, random_state=np.random.default_rng(seed))


def mapped(function, samples):
    """A function of each sample (R, n), one after the other."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(lambda x: jax.lax.map(function, x))(samples))


def transformed(function, *samples):
    """A function of each of the samples (R, ...), by jit and vmap without 64-bit mode."""
    with jax.enable_x64(True):
        samples = jax.tree.map(jnp.asarray, samples)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(function))(*samples))


def level_bound(level, repeats):
    """Four standard errors of a rejection rate."""
    return 4 * np.sqrt(level * (1 - level) / repeats)


# Vuong's test


def test_against_student_test_of_the_mean():
    d = np.random.default_rng(0).normal(0.1, 1.0, 300)
    test, expected = vuong(d), stats.ttest_1samp(d, 0)
    np.testing.assert_allclose(test.z, expected.statistic)
    np.testing.assert_allclose(test.p_value, 2 * stats.norm.sf(abs(expected.statistic)))
    np.testing.assert_allclose(test.log_likelihood_ratio, d.sum())
    assert test.effective_sample_size == 300


def test_blocks_against_student_test_of_their_means():
    d = np.random.default_rng(1).normal(0.1, 1.0, 307)
    means = d[:300].reshape(10, 30).mean(axis=1)
    test = vuong(d, num_blocks=10)
    np.testing.assert_allclose(test.z, d.mean() / stats.sem(means))
    np.testing.assert_allclose(test.p_value, 2 * stats.t.sf(abs(test.z), 9))
    np.testing.assert_allclose(
        test.effective_sample_size, 307 * (stats.sem(d) / stats.sem(means)) ** 2
    )


@pytest.mark.parametrize("count", [2, 3, 10, 50, 1000])
def test_tails_of_student_t(count):
    with jax.enable_x64(True):
        for t in (0.0, 0.1, 1.0, 3.0, 10.0):
            found = np.asarray(comparison._student_t_tails(jnp.asarray(t), count - 1))
            np.testing.assert_allclose(found, 2 * stats.t.sf(t, count - 1), rtol=1e-8)


def test_copies_of_a_sample_count_once():
    # Blocks of gradients (T, S) whose S coordinates are all the same.
    d = np.random.default_rng(2).normal(0.1, 1.0, 200)
    copies = np.repeat(d[:, None], 5, axis=1).ravel()
    once, five_times = vuong(d, num_blocks=20), vuong(copies, num_blocks=20)
    np.testing.assert_allclose(five_times.z, once.z)
    np.testing.assert_allclose(five_times.p_value, once.p_value)
    assert five_times.effective_sample_size < 1.01 * once.effective_sample_size


def test_level_of_two_laws_equally_wrong():
    # Normal samples and normal laws that are wrong by the same shift to both sides.
    samples = np.random.default_rng(3).normal(size=(4000, 200))
    differences = stats.norm.logpdf(samples, 0.5) - stats.norm.logpdf(samples, -0.5)
    p_values = mapped(comparison.vuong, differences).p_value
    for level in (0.05, 0.3):
        assert (
            abs((p_values < level).mean() - level) < level_bound(level, 4000) + 0.003
        )  # z has Student's t law


def test_level_of_samples_that_depend_on_each_other():
    noise = np.random.default_rng(4).normal(size=(2000, 2200))
    differences = signal.lfilter([1], [1, -0.8], noise)[:, 200:]
    naive, blocks = (
        mapped(lambda d, count=count: comparison.vuong(d, num_blocks=count), differences)
        for count in (None, 20)
    )
    # The mean has a variance (1 + 0.8)/(1 - 0.8) = 9 times that of independent samples: z/3 is
    # normal.
    expected = 2 * stats.norm.sf(1.96 / 3)
    assert abs((naive.p_value < 0.05).mean() - expected) < level_bound(expected, 2000)
    # Blocks of 100 underestimate it by 2 r/((1 - r^2) 100) = 4 percent, which adds 0.5 percent to
    # the level.
    assert abs((blocks.p_value < 0.05).mean() - 0.05) < level_bound(0.05, 2000) + 0.005
    # The median of chi squared with 19 degrees of freedom is 3 percent below its mean.
    np.testing.assert_allclose(np.median(blocks.effective_sample_size), 2000 / 9, rtol=0.15)


def test_no_difference():
    for count in (None, 5):
        test = vuong(np.zeros(50), num_blocks=count)
        assert tuple(test) == (0, 0, 1, 50, Status.OK)
    constant = vuong(np.ones(64))
    assert (constant.z, constant.p_value) == (np.inf, 0)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_exchange_of_the_laws(seed):
    d = np.random.default_rng(seed).standard_t(3, size=100)
    for count in (None, 10):
        one, other = vuong(d, num_blocks=count), vuong(-d, num_blocks=count)
        np.testing.assert_allclose(np.array(other), np.array(one) * [-1, -1, 1, 1, 1])


def test_jit_vmap_and_nan():
    differences = np.random.default_rng(5).normal(size=(3, 100))
    differences[1, 3] = np.nan
    for count in (None, 10):
        singles = np.array([vuong(d, num_blocks=count) for d in differences])
        together = transformed(
            lambda d, count=count: comparison.vuong(d, num_blocks=count), differences
        )
        np.testing.assert_allclose(np.stack(together, axis=1), singles, rtol=1e-12)
        assert np.isnan(singles[:, :4]).all(axis=1).tolist() == [False, True, False]
        assert singles[:, 4].tolist() == [Status.OK, Status.NOT_FINITE, Status.OK]
        single = vuong(differences[0].astype(np.float32), num_blocks=count)
        assert single.z.dtype == np.float64


def test_vuong_refuses():
    for shape in ((), (1,), (3, 4)):
        with pytest.raises(InputError, match=r"expected \(n,\) with n >= 2"):
            vuong(np.zeros(shape))
    for count in (1, 11, 2.5):
        with pytest.raises(
            InputError, match=r"expected an integer in 2..10 .at most the 10 differences., or None"
        ):
            vuong(np.zeros(10), num_blocks=count)


# The normal law


def test_log_likelihood_ratio_is_that_of_the_fits():
    x = stable_sample(1.9)
    found = fits.fit(x)
    test = compare_with_normal(x, found)
    expected = float(found.log_likelihood) - stats.norm.logpdf(x, *stats.norm.fit(x)).sum()
    np.testing.assert_allclose(test.log_likelihood_ratio, expected, rtol=1e-6)


def test_level_and_power_against_the_normal_law():
    samples = np.concatenate(
        [np.random.default_rng(6).normal(size=(400, SIZE)), stable_sample(1.7, size=(20, SIZE))]
    )
    parts = [fits.fit(part) for part in np.split(samples, 7)]
    found = jax.tree.map(lambda *fields: np.concatenate(fields), *parts)
    tests = transformed(comparison.compare_with_normal, samples, found)
    normal, stable = (
        comparison.VuongTest(*fields)
        for fields in zip(*(np.split(field, [400]) for field in tests), strict=True)
    )
    rate = (normal.p_value < 0.05).mean()
    assert abs(rate - 0.05) < level_bound(0.05, 400)
    assert np.all(normal.log_likelihood_ratio > -1e-6)
    assert np.all(normal.z < 1)  # Vuong's test would never reject
    assert np.all(stable.p_value < 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("symmetric", [True, False])
def test_level_and_power_at_the_usual_size(symmetric):
    def tested(x):
        return comparison.compare_with_normal(
            x, fits.fit(x, symmetric=symmetric), symmetric=symmetric
        )

    normal = mapped(tested, np.random.default_rng(7).normal(size=(1000, 5000)))
    for level in (0.02, 0.05, 0.1):
        rate = (normal.p_value < level).mean()
        assert abs(rate - level) < level_bound(level, 1000) + 0.1 * level  # of the fitted numbers
    stable = mapped(tested, stable_sample(1.7, size=(100, 5000)))
    assert np.all(stable.p_value < 1e-10)


def test_dependent_samples_count_for_fewer():
    x = stable_sample(1.9, 2)
    copies = np.repeat(x, LARGE // SIZE)
    once, often = (compare_with_normal(y, fits.fit(y), num_blocks=25) for y in (x, copies))
    np.testing.assert_allclose(often.effective_sample_size, once.effective_sample_size, rtol=1e-2)
    np.testing.assert_allclose(often.p_value, once.p_value, rtol=0.1)
    assert compare_with_normal(copies, fits.fit(copies)).p_value < 0.1 * once.p_value


def test_jit_and_vmap_of_comparisons():
    x = [stable_sample(1.8, seed) for seed in range(2)]
    found = [fits.fit(row) for row in x]
    for function in (
        comparison.compare_with_normal,
        lambda *given: comparison.compare(*given, "exponential_power"),
    ):
        singles = np.array([on_host(function)(*given) for given in zip(x, found, strict=True)])
        together = transformed(
            function, np.stack(x), jax.tree.map(lambda *fields: np.stack(fields), *found)
        )
        np.testing.assert_allclose(np.stack(together, axis=1), singles, rtol=1e-6)


def test_unusable_samples_have_no_comparison():
    x = np.full(SIZE, 2.0)
    for test in (compare_with_normal(x, fits.fit(x)), compare(x, fits.fit(x), "student_t")):
        assert np.isnan(np.array(test)[:4]).all() and test.status == Status.CONSTANT


@pytest.mark.parametrize(
    ("of_stable", "of_rival", "expected"),
    [
        ("OK", "OK", "OK"),
        ("AT_BOUND", "OK", "AT_BOUND"),
        ("OK", "AT_BOUND", "AT_BOUND"),
        ("OK", "NOT_CONVERGED", "NOT_CONVERGED"),
        ("NOT_CONVERGED", "OK", "NOT_CONVERGED"),
        ("AT_BOUND", "NOT_CONVERGED", "NOT_CONVERGED"),
    ],
)
def test_a_comparison_has_the_status_of_both_fits(monkeypatch, of_stable, of_rival, expected):
    x = stable_sample(1.5)
    fit, log_density = comparison._RIVALS["student_t"]
    monkeypatch.setitem(
        comparison._RIVALS,
        "student_t",
        (lambda x: fit(x)._replace(status=int(Status[of_rival])), log_density),
    )
    test = comparison.compare(x, fits.fit(x)._replace(status=int(Status[of_stable])), "student_t")
    assert test.status == Status[expected]
    assert np.isfinite(test.p_value) == (expected != "NOT_CONVERGED")


def test_heavy_tails_are_compared_with_the_best_exponential_power_law():
    x = np.asarray(law.sample(jax.random.key(1), 0.4, shape=(LARGE,)))
    test = compare(x, fits.fit(x), "exponential_power")
    assert test.status == Status.OK and 0 < test.log_likelihood_ratio < 0.6 * LARGE


# Other rivals


def test_each_law_wins_on_its_own_samples():
    stable = stable_sample(1.5, size=LARGE)
    laplace = np.random.default_rng(8).laplace(size=LARGE)
    student = np.random.default_rng(9).standard_t(3, size=LARGE)
    for x, rival, sign in (
        (stable, "student_t", 1),
        (stable, "exponential_power", 1),
        (student, "student_t", -1),
        (laplace, "exponential_power", -1),
    ):
        test = compare(x, fits.fit(x), rival)
        assert sign * test.z > 3, (rival, sign)
        assert test.p_value < 0.01


def test_unknown_rival():
    with pytest.raises(
        InputError, match="rival is 'normal'; expected one of student_t, exponential_power"
    ):
        compare(np.arange(30.0), None, "normal")


# Kolmogorov-Smirnov distance


@given(seeds, st.sampled_from([1, 2, 100]))
@settings(deadline=None, max_examples=20)
def test_distance_against_scipy(seed, n):
    x = np.random.default_rng(seed).normal(size=n)
    expected = stats.kstest(x, stats.norm(0.3, 1.2).cdf).statistic
    np.testing.assert_allclose(ks_distance(x, stats.norm.cdf(x, 0.3, 1.2)), expected, rtol=1e-12)


def test_distance_from_a_function():
    x = np.random.default_rng(4).standard_cauchy(500)
    assert ks_distance(x, lambda points: law.cdf(points, 1.0)) < stats.kstwo.isf(
        0.001, 500
    )  # the law is known here
    assert ks_distance(x, lambda points: law.cdf(points, 2.0)) > stats.kstwo.isf(0.001, 500)


def test_jit_and_vmap_of_the_distance():
    x = np.random.default_rng(0).normal(size=(3, 50))
    together = transformed(comparison.ks_distance, x, stats.norm.cdf(x))
    np.testing.assert_allclose(
        together, [ks_distance(row, stats.norm.cdf(row)) for row in x], rtol=1e-12
    )


def test_distance_at_the_edges():
    assert ks_distance([0.3], [0.5]) == 0.5
    assert np.isnan(ks_distance([0.3, np.nan], [0.5, 0.6]))
    assert np.isnan(ks_distance([0.3, 0.4], [0.5, np.nan]))
    for x, values in (([0.1, 0.2], [0.1]), ([[0.1]], [[0.1]]), ([], [])):
        with pytest.raises(InputError, match=r"expected \(n,\) for both"):
            ks_distance(x, values)
