"""All kinds of arrays and options, in all modes of JAX, into every function of a path and every fit
of a curve.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from input_table import Argument, Integers, Number, Option, input_tests, mode_tests

from sgd_diffusion.analysis.aging import fit_aging, two_time_displacements
from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.freezing import freezing_index, jaccard_similarity
from sgd_diffusion.analysis.lags import standard_lags, standard_ranges
from sgd_diffusion.analysis.moments import (
    displacement_distribution,
    displacement_moments,
    moment_scaling_spectrum,
    non_gaussian_parameter,
)
from sgd_diffusion.analysis.pairs import average, block_bootstrap, block_weights, by_lag, in_bins
from sgd_diffusion.analysis.paths import (
    Excursions,
    components_of_weights,
    contour_length,
    end_to_end,
    excursion_slope,
    excursions_by_length,
    path_dimension,
    principal_components,
    self_affinity,
    transverse_excursions,
)
from sgd_diffusion.analysis.roughness import (
    batch_noise_floor,
    hurst_exponent,
    loss_by_contour,
    loss_by_distance,
    mean_squared_loss,
)
from sgd_diffusion.analysis.scaling import (
    fit_crossover,
    fit_power_law,
    local_exponent,
    normal_diffusion_crossing,
    regime_boundary,
    superdiffusion_onset,
)
from sgd_diffusion.analysis.segments import segment_msd
from sgd_diffusion.analysis.surrogates import (
    bridge_factor,
    drift_subtracted,
    drift_subtracted_msd,
    shuffled_msd,
    shuffled_steps,
    sign_flipped_steps,
)

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
STEPS = RANDOM.integers(0, 4, size=(12, 4)).astype(
    float
)  # never back, so that all inner products are whole and positive
POSITIONS = np.pad(STEPS.cumsum(axis=0), ((1, 0), (0, 0)))  # (13, 4)
GRAM = STEPS @ STEPS.T
LOSSES = RANDOM.integers(1, 50, size=13).astype(float)
KEYS, VALUES = RANDOM.integers(1, 50, size=(2, 13, 13)).astype(float)
EDGES = np.array([1.0, 10.0, 100.0])
LAGS = np.array([1, 2, 4, 6])
PAIRS = by_lag(GRAM, LAGS)
EXCURSIONS = Excursions(*RANDOM.integers(1, 50, size=(2, 13)).astype(float))
X = np.arange(1.0, 41.0)
CURVE = np.rint(2 * X**0.5 + 40 * (X / 40) ** 2)  # bends up, as the MSD of persistent motion
REPLICATES = CURVE + RANDOM.integers(0, 5, size=(40, 40))
SETS = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
TIMES = np.array([1.0, 2.0, 4.0, 8.0])
AGING = np.rint(20 * np.log1p(X[:12] / TIMES[:, None]))

OF_A_PATH = {
    "by_lag": lambda gram: by_lag(gram, LAGS),
    "displacement_moments": lambda gram: displacement_moments(gram, [1, 2, 3]),
    "contour_length": contour_length,
    "end_to_end": lambda gram: end_to_end(gram, bins=EDGES),
    "transverse_excursions": lambda gram: transverse_excursions(gram, 4),
    "excursions_by_length": lambda gram: excursions_by_length(gram, LAGS),
    "principal_components": lambda gram: principal_components(gram, 2),
    "loss_by_distance": lambda gram: loss_by_distance(gram, LOSSES, bins=EDGES),
    "loss_by_contour": lambda gram: loss_by_contour(gram, LOSSES, bins=EDGES),
    "mean_squared_loss": lambda gram: mean_squared_loss(gram, LOSSES, bins=3),
    "two_time_displacements": lambda gram: two_time_displacements(gram, LAGS, LAGS + 4),
    "drift_subtracted": drift_subtracted,
    "drift_subtracted_msd": drift_subtracted_msd,
    "shuffled_msd": shuffled_msd,
    "shuffled_steps": lambda gram: shuffled_steps(KEY, gram),
    "sign_flipped_steps": lambda gram: sign_flipped_steps(KEY, gram),
}

ON_THE_DEVICE = [
    *(Argument(f"{name}(step_gram)", call, GRAM, single=1e-3) for name, call in OF_A_PATH.items()),
    Argument(
        "non_gaussian_parameter(positions)",
        lambda positions: non_gaussian_parameter(positions, LAGS),
        POSITIONS,
    ),
    Argument(
        "displacement_distribution(positions)",
        lambda positions: displacement_distribution(positions, 2, bins=EDGES - 5),
        POSITIONS,
    ),
    Argument(
        "displacement_distribution(bins)",
        lambda bins: displacement_distribution(POSITIONS, 2, bins=bins),
        EDGES,
    ),
    Argument(
        "displacement_moments(orders)",
        lambda orders: displacement_moments(GRAM, orders),
        np.array([1.0, 2.0]),
    ),
    Argument("in_bins(keys)", lambda keys: in_bins(keys, VALUES, EDGES), KEYS),
    Argument("in_bins(values)", lambda values: in_bins(KEYS, values, EDGES), VALUES),
    Argument("in_bins(bins)", lambda bins: in_bins(KEYS, VALUES, bins), EDGES),
    Argument("average(sums)", lambda sums: average(PAIRS._replace(sums=sums)), VALUES[:, :4]),
    Argument(
        "average(counts)", lambda counts: average(PAIRS._replace(counts=counts)), VALUES[:, :4]
    ),
    Argument(
        "mean_squared_loss(losses)", lambda losses: mean_squared_loss(GRAM, losses, bins=3), LOSSES
    ),
    Argument(
        "block_bootstrap(sums)",
        lambda sums: block_bootstrap(KEY, PAIRS._replace(sums=sums), num_resamples=4),
        VALUES[:, :4],
        eager=False,
    ),
    Argument(
        "block_bootstrap(counts)",
        lambda counts: block_bootstrap(KEY, PAIRS._replace(counts=counts), num_resamples=4),
        VALUES[:, :4],
        eager=False,
    ),
    Argument(
        "excursion_slope(squared_end_to_end)",
        eager=False,
        value=EXCURSIONS[0],
        call=lambda ends: excursion_slope(
            KEY, EXCURSIONS._replace(squared_end_to_end=ends), num_resamples=4
        ),
    ),
    Argument(
        "excursion_slope(squared_excursion)",
        eager=False,
        value=EXCURSIONS[1],
        call=lambda squares: excursion_slope(
            KEY, EXCURSIONS._replace(squared_excursion=squares), num_resamples=4
        ),
    ),
    Integers("by_lag(lags)", lambda lags: by_lag(GRAM, lags), LAGS),
    Integers(
        "displacement_moments(lags)",
        lambda lags: displacement_moments(GRAM, [1.0], lags),
        LAGS,
        takes_none=True,
    ),
    Integers(
        "excursions_by_length(lengths)", lambda lengths: excursions_by_length(GRAM, lengths), LAGS
    ),
    Integers(
        "two_time_displacements(waiting_times)",
        lambda times: two_time_displacements(GRAM, times, LAGS),
        LAGS,
    ),
    Integers(
        "two_time_displacements(lags)", lambda lags: two_time_displacements(GRAM, LAGS, lags), LAGS
    ),
    Integers(
        "non_gaussian_parameter(lags)", lambda lags: non_gaussian_parameter(POSITIONS, lags), LAGS
    ),
    Integers(
        "drift_subtracted_msd(lags)",
        lambda lags: drift_subtracted_msd(GRAM, lags),
        LAGS,
        takes_none=True,
    ),
    Integers("shuffled_msd(lags)", lambda lags: shuffled_msd(GRAM, lags), LAGS, takes_none=True),
    Option("in_bins(number of bins)", lambda bins: in_bins(KEYS, VALUES, bins), 3),
    Option(
        "transverse_excursions(fragment_length)",
        lambda length: transverse_excursions(GRAM, length),
        4,
    ),
    Argument(
        "components_of_weights(weights)",
        lambda weights: components_of_weights(weights, 2).variances,
        POSITIONS,
    ),
    Option("components_of_weights(k)", lambda k: components_of_weights(POSITIONS, k), 2),
    Option("principal_components(k)", lambda k: principal_components(GRAM, k), 2),
    Option(
        "displacement_distribution(lag)",
        lambda lag: displacement_distribution(POSITIONS, lag, bins=EDGES),
        2,
    ),
    Option(
        "block_weights(num_resamples)",
        lambda number: block_weights(KEY, 13, num_resamples=number),
        4,
        eager=False,
    ),
    Option(
        "block_weights(num_blocks)",
        lambda number: block_weights(KEY, 13, num_resamples=4, num_blocks=number),
        5,
        eager=False,
    ),
    Option(
        "excursion_slope(num_resamples)",
        lambda number: excursion_slope(KEY, EXCURSIONS, num_resamples=number),
        4,
        eager=False,
    ),
]

ON_THE_HOST = [
    Argument("jaccard_similarity(sets)", jaccard_similarity, SETS),
    Argument(
        "freezing_index(similarity)",
        lambda similarity: freezing_index(similarity, threshold=1, strict=True),
        SETS,
    ),
    Number("freezing_index(threshold)", lambda value: freezing_index(SETS, threshold=value), 0.5),
    Argument("local_exponent(lags)", lambda lags: local_exponent(lags, CURVE), X),
    Argument("local_exponent(msd)", lambda msd: local_exponent(X, msd), CURVE),
    Argument(
        "local_exponent(replicates)",
        lambda curves: local_exponent(X, CURVE, replicates=curves),
        REPLICATES,
        takes_none=True,
    ),
    Argument(
        "normal_diffusion_crossing(lags)",
        lambda lags: normal_diffusion_crossing(lags, CURVE - 10),
        X,
    ),
    Argument(
        "normal_diffusion_crossing(exponent)",
        lambda exponent: normal_diffusion_crossing(X, exponent),
        CURVE - 2,
    ),
    Argument("fit_power_law(x)", lambda x: fit_power_law(x, CURVE), X),
    Argument("fit_power_law(y)", lambda y: fit_power_law(X, y), REPLICATES),
    Argument(
        "fit_power_law(replicates)",
        lambda curves: fit_power_law(X, CURVE, replicates=curves),
        REPLICATES,
        takes_none=True,
    ),
    Argument("fit_crossover(x)", lambda x: fit_crossover(x, CURVE), X),
    Argument("fit_crossover(y)", lambda y: fit_crossover(X, y), CURVE),
    Argument(
        "fit_crossover(replicates)",
        lambda curves: fit_crossover(X, CURVE, replicates=curves),
        REPLICATES,
        takes_none=True,
    ),
    Argument("superdiffusion_onset(lags)", lambda lags: superdiffusion_onset(lags, CURVE), X),
    Argument("superdiffusion_onset(msd)", lambda msd: superdiffusion_onset(X, msd), CURVE),
    Argument(
        "regime_boundary(waiting_times)",
        lambda times: regime_boundary(times, X, REPLICATES[:4]),
        TIMES,
    ),
    Argument("regime_boundary(msd)", lambda msd: regime_boundary(TIMES, X, msd), REPLICATES[:4]),
    Argument(
        "moment_scaling_spectrum(orders)",
        lambda orders: moment_scaling_spectrum(orders, X, REPLICATES[:4]),
        TIMES,
    ),
    Argument(
        "moment_scaling_spectrum(moments)",
        lambda moments: moment_scaling_spectrum(TIMES, X, moments),
        REPLICATES[:4],
    ),
    Argument("fit_aging(waiting_times)", lambda times: fit_aging(times, X[:12], AGING), TIMES),
    Argument("fit_aging(lags)", lambda lags: fit_aging(TIMES, lags, AGING), X[:12]),
    Argument("fit_aging(displacements)", lambda squares: fit_aging(TIMES, X[:12], squares), AGING),
    Argument("path_dimension(contour)", lambda contour: path_dimension(contour, CURVE), X),
    Argument("path_dimension(squared_end_to_end)", lambda ends: path_dimension(X, ends), CURVE),
    Argument(
        "path_dimension(replicates)",
        lambda curves: path_dimension(X, CURVE, replicates=curves),
        REPLICATES,
        takes_none=True,
    ),
    Argument(
        "self_affinity(lengths)",
        lambda x: self_affinity(x, CURVE, CURVE, replicates=(REPLICATES, REPLICATES)),
        X,
    ),
    Argument(
        "self_affinity(squared_end_to_end)",
        lambda ends: self_affinity(X, ends, X, replicates=(REPLICATES, REPLICATES)),
        CURVE,
    ),
    Argument(
        "self_affinity(squared_excursion)",
        lambda squares: self_affinity(X, X, squares, replicates=(REPLICATES, REPLICATES)),
        CURVE,
    ),
    Argument(
        "self_affinity(replicates)",
        lambda curves: self_affinity(X, CURVE, CURVE, replicates=(REPLICATES, curves)),
        REPLICATES,
    ),
    Argument(
        "batch_noise_floor(losses)", lambda losses: batch_noise_floor(losses, LOSSES), LOSSES[::-1]
    ),
    Argument(
        "batch_noise_floor(probe_losses)",
        lambda losses: batch_noise_floor(LOSSES, losses),
        LOSSES[::-1],
        takes_none=True,
    ),
    Argument(
        "hurst_exponent(distances)", lambda distances: hurst_exponent(distances, CURVE, 50 + X), X
    ),
    Argument("hurst_exponent(msl)", lambda msl: hurst_exponent(X, msl, 50 + X), CURVE),
    Argument("hurst_exponent(counts)", lambda counts: hurst_exponent(X, CURVE, counts), 50 + X),
    Argument(
        "hurst_exponent(replicates)",
        lambda curves: hurst_exponent(X, CURVE, 50 + X, replicates=curves),
        REPLICATES,
        takes_none=True,
    ),
    Argument(
        "segment_msd(positions)", lambda positions: segment_msd(positions, LAGS, last=9), POSITIONS
    ),
    Argument(
        "segment_msd(first)",
        lambda first: segment_msd(np.stack([POSITIONS] * 3), LAGS, first=first),
        TIMES[:3],
    ),
    Argument(
        "segment_msd(last)",
        lambda last: segment_msd(np.stack([POSITIONS] * 3), LAGS, last=last),
        TIMES[:3],
        takes_none=True,
    ),
    Argument("ensemble_average(values)", ensemble_average, REPLICATES),
    Integers("segment_msd(lags)", lambda lags: segment_msd(POSITIONS, lags), LAGS),
    Integers("bridge_factor(lags)", lambda lags: bridge_factor(12, lags), LAGS),
    Option("bridge_factor(steps)", lambda steps: bridge_factor(steps, LAGS), 12),
    Option("standard_lags(window)", standard_lags, 60),
    Option("standard_ranges(window)", standard_ranges, 60),
    Option("ensemble_average(axis)", lambda axis: ensemble_average(REPLICATES, axis=axis), 1),
    Option("local_exponent(stride)", lambda stride: local_exponent(X, CURVE, stride), 3),
    Option(
        "fit_power_law(num_points)", lambda number: fit_power_law(X, CURVE, num_points=number), 20
    ),
    Option(
        "fit_crossover(num_points)", lambda number: fit_crossover(X, CURVE, num_points=number), 20
    ),
    Option(
        "regime_boundary(num_points)",
        lambda number: regime_boundary([0], X, CURVE[None], num_points=number),
        20,
    ),
    Number("fit_power_law(x_min)", lambda low: fit_power_law(X, CURVE, x_min=low), 2.0),
    Number("fit_power_law(x_max)", lambda high: fit_power_law(X, CURVE, x_max=high), 20.0),
    Number(
        "fit_crossover(confidence)",
        lambda confidence: fit_crossover(X, CURVE, confidence=confidence),
        0.5,
    ),
    Number(
        "superdiffusion_onset(max_rmse)",
        lambda bound: superdiffusion_onset(X, CURVE, max_rmse=bound),
        0.25,
    ),
    Number(
        "regime_boundary(max_rmse)",
        lambda bound: regime_boundary([0], X, CURVE[None], max_rmse=bound),
        0.25,
    ),
    Number("hurst_exponent(x_min)", lambda low: hurst_exponent(X, CURVE, 50 + X, x_min=low), 2.0),
    Number(
        "hurst_exponent(x_max)", lambda high: hurst_exponent(X, CURVE, 50 + X, x_max=high), 20.0
    ),
]

# Functions of integers, or of other numbers, that are known before tracing
OF_KNOWN = {
    "time_averaged_msd": (lambda gram: time_averaged_msd(gram, LAGS), GRAM),
    "by_lag": (lambda gram: by_lag(gram, LAGS), GRAM),
    "displacement_moments": (lambda gram: displacement_moments(gram, EDGES, LAGS), GRAM),
    "excursions_by_length": (lambda gram: excursions_by_length(gram, LAGS), GRAM),
    "loss_by_distance": (lambda gram: loss_by_distance(gram, LOSSES, bins=EDGES), GRAM),
    "two_time_displacements": (lambda gram: two_time_displacements(gram, LAGS, LAGS), GRAM),
    "drift_subtracted_msd": (lambda gram: drift_subtracted_msd(gram, LAGS), GRAM),
    "shuffled_msd": (lambda gram: shuffled_msd(gram, LAGS), GRAM),
    "non_gaussian_parameter": (
        lambda positions: non_gaussian_parameter(positions, LAGS),
        POSITIONS,
    ),
    "displacement_distribution": (
        lambda positions: displacement_distribution(positions, 2, bins=EDGES),
        POSITIONS,
    ),
}


@pytest.mark.parametrize("name", OF_KNOWN)
def test_one_program_in_and_out_of_64_bit_mode(name):
    function, values = OF_KNOWN[name]
    program = jax.jit(function)
    for wide in (False, True, False):
        with jax.enable_x64(wide):
            found = jax.tree.leaves(
                program.eval_shape(jnp.asarray(values, jnp.float64 if wide else jnp.float32))
            )
            assert {leaf.dtype for leaf in found} == {np.dtype("float64" if wide else "float32")}


test_inputs = input_tests(ON_THE_DEVICE + ON_THE_HOST)
test_modes = mode_tests(ON_THE_DEVICE)
test_modes_on_the_host = pytest.mark.slow(
    mode_tests(ON_THE_HOST)
)  # that switches of JAX hardly reach
