"""All kinds of inputs and all debugging modes, for every public function of the stable law."""

import functools

import jax
import numpy as np
from input_table import Argument, Integers, Number, Option, input_tests, mode_tests

from sgd_diffusion.analysis import stable
from sgd_diffusion.analysis.stable import fits, quick_fits, rivals

KEY = jax.random.key(0)
POINTS = np.array([0.0, 1.0, 3.0, 7.0, 2.0])
# Whole numbers, as many as the other tests of these functions take, so that all share programs.
RANDOM = np.random.default_rng(0)
SAMPLES = np.clip(np.round(50 + 4 * RANDOM.standard_t(3, 500)), 0, 100)
SKEWED = np.clip(np.round(20 + 4 * RANDOM.standard_exponential(1000)), 0, 100)
FEWEST = SAMPLES[:20]
SIZES = np.array([1.0, 2.0, 3.0, 1.0, 2.0])
TIMES = np.arange(500) // 10


@functools.cache
def found(fit=fits.fit):
    """A fit, when a test first asks for it; collecting the tests should not take so long."""
    with jax.disable_jit(False):
        return fit(SAMPLES)


def bootstrap(x=SAMPLES, **options):
    return fits.bootstrap_fit(KEY, x, found(), **({"num_resamples": 2, "num_blocks": 4} | options))


ARGUMENTS = [
    Argument("logpdf(x)", lambda x: stable.logpdf(x, 1.5, 0.5), POINTS, eager=False),
    Argument("pdf(x)", lambda x: stable.pdf(x, 1.5, 0.5), POINTS, eager=False),
    Argument("cdf(x)", lambda x: stable.cdf(x, 1.5, 0.5), POINTS, eager=False),
    Argument(
        "logpdf(alpha)",
        lambda alpha: stable.logpdf(0.5, alpha),
        np.array([1.0, 2.0, 1.0]),
        eager=False,
    ),
    Argument(
        "logpdf(beta)",
        lambda beta: stable.logpdf(0.5, 1.5, beta),
        np.array([1.0, 0.0, 1.0]),
        eager=False,
    ),
    Argument(
        "logpdf(location)",
        lambda location: stable.logpdf(0.5, 1.5, location=location),
        POINTS,
        eager=False,
    ),
    Argument(
        "logpdf(scale)", lambda scale: stable.logpdf(0.5, 1.5, scale=scale), SIZES, eager=False
    ),
    Argument(
        "sample(alpha)",
        lambda alpha: stable.sample(KEY, alpha, shape=(3,)),
        np.array([1.0, 2.0, 1.0]),
        eager=False,
    ),
    Argument(
        "sample(location)",
        lambda location: stable.sample(KEY, 1.5, location=location, shape=(5,)),
        POINTS,
        eager=False,
    ),
    Option("sample(shape)", lambda size: stable.sample(KEY, 1.5, shape=(size,)), 3, eager=False),
    Argument("fit(x)", stable.fit, SAMPLES, eager=False),
    Number("fit(alpha)", lambda alpha: stable.fit(SAMPLES, alpha=alpha), 1.5, eager=False),
    Number(
        "fit(beta)", lambda beta: stable.fit(SKEWED, beta=beta, symmetric=False), 0.5, eager=False
    ),
    Number(
        "fit(location)", lambda location: stable.fit(SAMPLES, location=location), 50.0, eager=False
    ),
    Number("fit(scale)", lambda scale: stable.fit(SAMPLES, scale=scale), 4.0, eager=False),
    Argument("log_density(x)", lambda x: fits.log_density(x, found()), SAMPLES, eager=False),
    Argument("bootstrap_fit(x)", bootstrap, SAMPLES, eager=False),
    Integers(
        "bootstrap_fit(times)",
        lambda times: bootstrap(times=times, num_times=50),
        TIMES,
        takes_none=True,
        eager=False,
    ),
    Option(
        "bootstrap_fit(num_resamples)", lambda count: bootstrap(num_resamples=count), 2, eager=False
    ),
    Option("bootstrap_fit(num_blocks)", lambda count: bootstrap(num_blocks=count), 4, eager=False),
    Option(
        "bootstrap_fit(num_times)",
        lambda count: bootstrap(times=TIMES, num_times=count),
        50,
        eager=False,
    ),
    Argument("vuong(differences)", stable.vuong, SAMPLES),
    Option("vuong(num_blocks)", lambda count: stable.vuong(SAMPLES, num_blocks=count), 4),
    Argument("compare(x)", lambda x: stable.compare(x, found(), "student_t"), SAMPLES, eager=False),
    Option(
        "compare(num_blocks)",
        lambda count: stable.compare(SAMPLES, found(), "exponential_power", num_blocks=count),
        4,
        eager=False,
    ),
    Argument(
        "compare_with_normal(x)",
        lambda x: stable.compare_with_normal(x, found()),
        SAMPLES,
        eager=False,
    ),
    Option(
        "compare_with_normal(num_blocks)",
        lambda count: stable.compare_with_normal(SAMPLES, found(), num_blocks=count),
        4,
        eager=False,
    ),
    Argument("ks_distance(x)", lambda x: stable.ks_distance(x, np.linspace(0, 1, 500)), SAMPLES),
    Argument(
        "ks_distance(cdf)",
        lambda values: stable.ks_distance(np.arange(3.0), values),
        np.array([0.0, 1.0, 1.0]),
    ),
    Argument(
        "quick_fits.quantiles(x)",
        lambda x: quick_fits.quantiles(x, symmetric=False),
        FEWEST,
        eager=False,
    ),
    Argument(
        "quick_fits.characteristic_function(x)",
        lambda x: quick_fits.characteristic_function(x, symmetric=False),
        FEWEST,
        single=1e-3,
        eager=False,
    ),
    Argument(
        "quick_fits.from_quantiles(values)",
        quick_fits.from_quantiles,
        np.array([1.0, 8.0, 10.0, 12.0, 20.0]),
        eager=False,
    ),
    Argument("fit_normal(x)", rivals.fit_normal, SAMPLES),
    Argument("fit_student_t(x)", rivals.fit_student_t, SAMPLES, eager=False),
    Argument("fit_exponential_power(x)", rivals.fit_exponential_power, SAMPLES, eager=False),
    Argument(
        "normal_log_density(x)",
        lambda x: rivals.normal_log_density(x, found(rivals.fit_normal)),
        POINTS,
    ),
    Argument(
        "student_t_log_density(x)",
        lambda x: rivals.student_t_log_density(x, found(rivals.fit_student_t)),
        POINTS,
    ),
    Argument(
        "exponential_power_log_density(x)",
        lambda x: rivals.exponential_power_log_density(x, found(rivals.fit_exponential_power)),
        POINTS,
    ),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
