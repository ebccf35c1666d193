"""Every public function of the tails with every kind of input, in every mode of JAX."""

import jax
import numpy as np
from input_table import Argument, Number, Option, input_tests, mode_tests

from sgd_diffusion.analysis import tails

KEY = jax.random.key(0)
# As many as the other tests of these functions take, so that all share programs.
SAMPLES = np.random.default_rng(0).permuted(np.tile(np.arange(1.0, 101), (2, 3, 1)), axis=-1)
ONE = SAMPLES[0, 0]
HEAVY = np.floor(
    100 / (1 + np.arange(100.0))
)  # ties and whole numbers, which the law of counts takes

ARGUMENTS = [
    Argument("effective_sample_size(series)", tails.effective_sample_size, SAMPLES),
    Argument("excess_kurtosis(samples)", tails.excess_kurtosis, SAMPLES),
    Argument(
        "fit_power_law_tail(samples)",
        lambda x: tails.fit_power_law_tail(x, num_candidates=5),
        HEAVY,
    ),
    Argument(
        "goodness_of_fit(samples)",
        lambda x: tails.goodness_of_fit(KEY, x, num_candidates=3, num_draws=2),
        HEAVY,
    ),
    Argument("hill(samples)", tails.hill, SAMPLES),
    Argument("hill(samples) with k", lambda x: tails.hill(x, 20), SAMPLES),
    Argument("hill_curve(samples)", tails.hill_curve, SAMPLES),
    Argument("log_variance(samples)", tails.log_variance, SAMPLES),
    Argument("loss_changes(losses)", tails.loss_changes, SAMPLES),
    Argument("mohammadi(samples)", tails.mohammadi, SAMPLES, single=1e-3),
    Argument("mohammadi_quantile(samples)", tails.mohammadi_quantile, SAMPLES, single=1e-3),
    Argument("moment_estimator(samples)", lambda x: tails.moment_estimator(x, 20), SAMPLES),
    Argument("moving_variance(losses)", lambda x: tails.moving_variance(x, 5), SAMPLES),
    Argument("paired_differences(samples)", tails.paired_differences, SAMPLES),
    Argument("pickands(samples)", lambda x: tails.pickands(x, 20), SAMPLES),
    Option(
        "effective_sample_size(block_size)",
        lambda m: tails.effective_sample_size(ONE, block_size=m),
        7,
    ),
    Option("excess_kurtosis(axis)", lambda axis: tails.excess_kurtosis(SAMPLES, axis=axis), 2),
    Option(
        "excess_kurtosis(num_blocks)",
        lambda blocks: tails.excess_kurtosis(ONE, num_blocks=blocks),
        5,
    ),
    Option(
        "fit_power_law_tail(num_candidates)",
        lambda many: tails.fit_power_law_tail(ONE + 0.5, num_candidates=many),
        5,
    ),
    Option(
        "goodness_of_fit(num_candidates)",
        lambda many: tails.goodness_of_fit(KEY, ONE + 0.5, num_draws=2, num_candidates=many),
        5,
    ),
    Option(
        "goodness_of_fit(num_draws)",
        lambda many: tails.goodness_of_fit(KEY, ONE + 0.5, num_draws=many, num_candidates=2),
        3,
    ),
    Option("hill(k)", lambda k: tails.hill(ONE, k), 10),
    Option("mohammadi(block_size)", lambda m: tails.mohammadi(ONE, block_size=m), 7),
    Option(
        "mohammadi_quantile(block_size)", lambda m: tails.mohammadi_quantile(ONE, block_size=m), 7
    ),
    Number(
        "mohammadi_quantile(quantile)",
        lambda share: tails.mohammadi_quantile(ONE, quantile=share),
        0.25,
    ),
    Option("moment_estimator(k)", lambda k: tails.moment_estimator(ONE, k), 20),
    Option("moving_variance(window)", lambda window: tails.moving_variance(ONE, window), 5),
    Option("pickands(k)", lambda k: tails.pickands(ONE, k), 20),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
