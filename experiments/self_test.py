"""What to trust: every estimator of a path, and of tails, on reference processes and laws whose truth is known.

Prints for each estimator and process the truth, the mean estimate over independent paths with its standard error, and
whether they agree: within Student's t quantile that covers as much as three standard errors of a normal law, since the
error is estimated from few paths itself, and, where the truth is an asymptote that no finite window reaches, an allowance
that is printed beside it. A sound estimator fails 0.3 % of its checks by chance, so that one seed in six shows one.
Exits with 1 if one fails. Run from the checkout: python -m experiments.self_test
"""

import dataclasses
import functools
import math
import sys
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from scipy import stats

from experiments.command_line import interruptibly
from sgd_diffusion.analysis import (
    aging,
    displacement,
    fluctuations,
    moments,
    pairs,
    paths,
    power_law_tail,
    processes,
    roughness,
    scaling,
    stability_index,
    surrogates,
    tails,
)
from sgd_diffusion.analysis.stable import fits, law, quick_fits
from sgd_diffusion.dynamics.window import step_gram

STEPS = 1000
LAGS = np.unique(np.rint(np.geomspace(1, STEPS, 80)).astype(int))
SHORT, WHOLE = (1, 100), (1, 500)  # ranges of lags
BEYOND = stats.norm.sf(3)  # probability that a sound estimator is too high, or too low, by chance
GROUPED = 20  # groups of paths that a jackknife leaves out one at a time
FAILED = 1  # exit code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the self-test."""

    seed: int = 0
    """Chooses all random numbers."""
    num_paths: int = 12
    """Independent paths of each process."""
    dim: int = 300
    """Coordinates of a path."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Five paths of 100 coordinates."""


class Check(NamedTuple):
    """An estimate against its truth."""

    estimator: str
    process: str
    truth: float
    estimate: float
    error: float  # standard error of the estimate
    allowance: float  # what finite windows may differ from the truth
    degrees_of_freedom: float = math.inf  # of the error

    @property
    def passed(self) -> bool:
        """Whether the estimate is where the truth is."""
        errors = stats.t.isf(BEYOND, self.degrees_of_freedom)
        return bool(abs(self.estimate - self.truth) <= errors * self.error + self.allowance)


class Laboratory:
    """Makes paths of the reference processes, and analyses of the same shape for all of them.

    Args:
      options: how many and how large.
    """

    def __init__(self, options: Options):
        self.num_paths, self.dim = (5, 100) if options.quick else (options.num_paths, options.dim)
        self._key = jax.random.key(options.seed)
        self._used = 0

    def key(self) -> jax.Array:
        """A key not used before."""
        self._used += 1
        return jax.random.fold_in(self._key, self._used)

    def keys(self) -> jax.Array:
        """A key for each path."""
        return jax.random.split(self.key(), self.num_paths)

    def paths(self, process, *, dim=None, **parameters) -> jax.Array:
        """Independent paths (N, T+1, dim) of a process, in float64."""
        dim = self.dim if dim is None else dim
        with jax.enable_x64(True):
            return jnp.stack([process(key, STEPS, dim, **parameters) for key in self.keys()])

    def grams(self, process, **parameters) -> np.ndarray:
        """Step Gram matrices (N, T, T) of independent paths of a process."""
        return grams(self.paths(process, **parameters))


def grams(positions) -> np.ndarray:
    """Step Gram matrices of several paths."""
    return np.stack([np.asarray(step_gram(path)) for path in positions])


def each(function, *arrays):
    """A function of one path, compiled and mapped over paths, in NumPy."""
    with jax.enable_x64(True):
        results = [compiled(function)(*values) for values in zip(*arrays, strict=True)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *results)


@functools.cache
def compiled(function):
    """The function, compiled once however often it is asked for."""
    return jax.jit(function)


def msd(gram):
    """TAMSD at the lags of the fits."""
    return displacement.time_averaged_msd(gram, LAGS)


def resampled_msd(gram):
    """Replicates of the TAMSD."""
    return pairs.block_bootstrap(jax.random.key(0), pairs.by_lag(gram, LAGS))


def check(estimator, process, truth, estimates, *, allowance=0.0) -> Check:
    """A check of the mean over paths."""
    estimates = np.asarray(estimates, dtype=np.float64)
    error = estimates.std(ddof=1) / math.sqrt(len(estimates))
    return Check(estimator, process, truth, estimates.mean(), error, allowance, len(estimates) - 1)


def exponents(curves, lags=LAGS, on=SHORT):
    """Exponents of curves on a range of lags."""
    return scaling.fit_power_law(lags, curves, x_min=on[0], x_max=on[1]).exponent


def exponent_checks(lab: Laboratory) -> Iterator[Check]:
    """Exponents of the TAMSD, and whether their stated errors are their scatter."""
    name = "exponent of the TAMSD"
    yield check(name, "Brownian", 1, exponents(each(msd, lab.grams(processes.brownian))))
    yield check(name, "ballistic", 2, exponents(each(msd, lab.grams(processes.ballistic))), allowance=1e-9)
    for hurst in (0.2, 0.35, 0.5, 0.65, 0.8):
        all_grams = lab.grams(processes.fractional_brownian, hurst=hurst)
        fit = scaling.fit_power_law(LAGS, each(msd, all_grams), x_min=1, x_max=100,
                                    replicates=each(resampled_msd, all_grams))
        yield check(name, f"fractional Brownian, H = {hurst}", 2 * hurst, fit.exponent)
        scatter = fit.exponent.std(ddof=1)
        # The scatter of N estimates is itself known to 1 in sqrt(2 (N - 1)); above H = 0.65 memory is longer than blocks.
        yield Check("its stated error / scatter", f"fractional Brownian, H = {hurst}", 1,
                    np.median(fit.exponent_error) / scatter, 1 / math.sqrt(2 * (lab.num_paths - 1)),
                    0.5 if hurst <= 0.65 else 0.6)
    yield check(name, "Levy flight, alpha = 1.5", 1,
                exponents(each(msd, lab.grams(processes.levy_flight, alpha=1.5)), on=(1, 30)), allowance=0.03)
    root = np.sqrt(np.arange(STEPS + 1.0))
    expected = [np.mean(root[lag:] - root[:-lag]) for lag in LAGS]  # 1 only for lags far below T
    yield check(name, "scaled Brownian, alpha = 0.5", exponents(expected, on=(1, 30)),
                exponents(each(msd, lab.grams(processes.scaled_brownian, alpha=0.5)), on=(1, 30)))
    bouncing = lab.grams(processes.period_two_with_drift, amplitude=1.0, drift=0.01, step_std=0.0)
    yield check("TAMSD at lag 7", "period 2 with drift", 4 + 0.0049, each(msd, bouncing)[:, LAGS == 7][:, 0], allowance=1e-9)


def ensemble_checks(lab: Laboratory) -> Iterator[Check]:
    """What only an ensemble shows: displacements from the start, ageing, broken ergodicity."""
    positions = lab.paths(processes.scaled_brownian, alpha=0.5)
    from_start = each(displacement.displacement_from_start, grams(positions))
    yield check("exponent from the start", "scaled Brownian, alpha = 0.5", 0.5,
                exponents(from_start, np.arange(1, STEPS + 1), on=(1, 1000)))
    times, lags = np.array([1, 2, 4, 8, 16, 32, 64, 128]), np.unique(np.rint(np.geomspace(1, 800, 40)).astype(int))
    two_time = each(lambda gram: aging.two_time_displacements(gram, times, lags), grams(positions))
    fit = aging.fit_aging(times, lags, two_time.mean(axis=0))
    yield Check("ageing exponent mu", "scaled Brownian, alpha = 0.5", 1, fit.aging_exponent, fit.aging_exponent_error, 0.02,
                len(times) - 1)
    yield Check("amplitude exponent a", "scaled Brownian, alpha = 0.5", 0.5, fit.amplitude_exponent,
                fit.amplitude_exponent_error, 0.01, len(times) - 1)

    with jax.enable_x64(True):  # one coordinate each: thousands of paths cost nothing
        walk = jax.vmap(lambda key: processes.brownian(key, STEPS, 1))(jax.random.split(lab.key(), 100 * lab.num_paths))
        relative = np.asarray(jax.vmap(lambda path: one_dimensional_msd(path, 30))(walk))
        renewing = jax.vmap(lambda key: processes.continuous_time_random_walk(key, STEPS, 10, alpha=0.6))(
            jax.random.split(lab.key(), 100 * lab.num_paths))
        scattered = np.asarray(jax.vmap(lambda path: one_dimensional_msd(path, 3))(renewing))
    estimate, error = jackknife(lambda sample: sample.var(ddof=1) / sample.mean() ** 2, relative)
    truth = 2 / displacement.effective_pairs(STEPS, [30])[0]
    yield Check("variance by effective pairs", "Brownian, lag 30", truth, estimate, error, 0, GROUPED - 1)
    estimate, error = jackknife(lambda sample: displacement.ergodicity_breaking(sample[:, None])[0], scattered)
    truth = 2 * math.gamma(1.6) ** 2 / math.gamma(2.2) - 1
    yield Check("ergodicity breaking", "continuous-time random walk", truth, estimate, error, 0.1, GROUPED - 1)


def one_dimensional_msd(path, lag):
    """TAMSD of a path at one lag, from its positions."""
    return ((path[lag:] - path[:-lag]) ** 2).sum(axis=-1).mean()


def jackknife(statistic, sample, groups=GROUPED):
    """A statistic of a sample and its standard error, leaving out one group at a time."""
    parts = np.array_split(sample, groups)
    left = np.array([float(statistic(np.concatenate(parts[:i] + parts[i + 1:]))) for i in range(groups)])
    return float(statistic(sample)), math.sqrt((groups - 1) * left.var())


def local_checks(lab: Laboratory) -> Iterator[Check]:
    """Local exponents, crossovers, onsets and regimes."""
    brownian = each(msd, lab.grams(processes.brownian))
    local = scaling.local_exponent(LAGS, brownian, stride=20)
    yield check("local exponent at lag 10", "Brownian", 1, [np.interp(10, local.lags, beta) for beta in local.exponent])
    for time in (20, 50):
        relaxing = each(msd, lab.grams(processes.ornstein_uhlenbeck, relaxation_time=time))
        yield from crossover_checks(relaxing, f"Ornstein-Uhlenbeck, time {time}", time, 1, 0)
    for time in (10, 30):
        persistent = each(msd, lab.grams(processes.persistent_walk, persistence_time=time))
        yield from crossover_checks(persistent, f"persistent walk, time {time}", 1 / math.tanh(0.5 / time), 2, 1)
    exact, confined = confined_with_drift(lab)
    beta = scaling.local_exponent(np.arange(1, STEPS + 1), np.vstack([exact, confined]))
    crossing = scaling.normal_diffusion_crossing(*beta)
    yield check("local exponent rises through 1", "confined, with drift", crossing[0], crossing[1:])
    onset = scaling.superdiffusion_onset(np.arange(1, STEPS + 1), np.vstack([exact, confined])).lag
    yield check("onset of superdiffusion", "confined, with drift", onset[0], onset[1:], allowance=0.1 * onset[0])
    regimes = np.stack([each(msd, lab.grams(processes.fractional_brownian, hurst=h)) for h in (0.7, 0.55, 0.4, 0.3)], axis=1)
    boundary = scaling.regime_boundary(STEPS * np.arange(4), LAGS, regimes, x_min=1, x_max=100)
    yield check("first subdiffusive window", "fractional Brownian, H falling", 2 * STEPS, boundary)


def crossover_checks(curves, process, place, below, above) -> Iterator[Check]:
    """A crossover and both of its exponents, fitted to the mean curve of all paths with the paths as replicates."""
    count = len(curves)
    left_out = np.stack([np.delete(curves, index, axis=0).mean(axis=0) for index in range(count)])
    fits = scaling.fit_crossover(LAGS, np.vstack([curves.mean(axis=0), left_out]), x_max=STEPS / 2)

    def error(values):
        return math.sqrt((count - 1) * np.var(values[1:]))

    yield Check("crossover", process, place, fits.crossover[0], error(fits.crossover), 0.2 * place, count - 1)
    yield Check("exponent below", process, below, fits.exponent_below[0], error(fits.exponent_below), 0.05,
                count - 1)
    yield Check("exponent above", process, above, fits.exponent_above[0], error(fits.exponent_above), 0.1,
                count - 1)


def confined_with_drift(lab: Laboratory):
    """Exact and measured MSD of an Ornstein-Uhlenbeck process that drifts."""
    relaxation_time, speed = 5.0, 0.1 * math.sqrt(lab.dim)
    confined = lab.paths(processes.ornstein_uhlenbeck, relaxation_time=relaxation_time)
    drifting = lab.paths(processes.ballistic, speed=speed)
    lags = np.arange(1, STEPS + 1)
    exact = 2 * lab.dim * (1 - np.exp(-lags / relaxation_time)) + (speed * lags) ** 2
    with jax.enable_x64(True):
        return exact, each(displacement.time_averaged_msd, grams(confined + drifting))


def step_checks(lab: Laboratory) -> Iterator[Check]:
    """Steps among themselves, higher moments, and the surrogates."""
    persistent = lab.grams(processes.fractional_brownian, hurst=0.7)
    autocorrelation = each(displacement.step_autocorrelation, persistent)
    yield check("step autocorrelation at lag 1", "fractional Brownian, H = 0.7", 2**0.4 - 1, autocorrelation[:, 1])
    angles = each(displacement.step_angles, lab.grams(processes.brownian))
    yield check("angle between steps", "Brownian", math.pi / 2, angles.mean(axis=1))
    orders = np.arange(1.0, 5.0)
    spectrum = each(lambda gram: displacement_moments(gram, orders), persistent)
    nu = scaling.fit_power_law(LAGS, spectrum, x_min=1, x_max=100).exponent
    yield check("moment scaling exponent, q = 4", "fractional Brownian, H = 0.7", 2.8, nu[:, -1])
    with jax.enable_x64(True):
        gaussian = np.asarray(moments.non_gaussian_parameter(lab.paths(processes.brownian)[0], [1]))[0]
    yield check("non-Gaussian parameter", "Brownian", 0, gaussian, allowance=2 / STEPS)

    drifting = lab.grams(processes.brownian, drift=0.3 * math.sqrt(lab.dim))
    yield check("exponent of the TAMSD", "Brownian with drift, long lags", 2, exponents(each(msd, drifting), on=(100, 500)),
                allowance=0.1)
    without = each(lambda gram: surrogates.drift_subtracted_msd(gram, LAGS), drifting)
    yield check("drift-subtracted exponent", "Brownian with drift", 1, exponents(without))
    yield check("sign-flipped exponent", "fractional Brownian, H = 0.7", 1,
                exponents(each(sign_flipped_msd, lab.keys(), persistent)))
    yield check("shuffled, drift-subtracted", "fractional Brownian, H = 0.7", 1,
                exponents(each(shuffled_msd, lab.keys(), persistent)))


def sign_flipped_msd(key, gram):
    """TAMSD with random signs."""
    return msd(surrogates.sign_flipped_steps(key, gram))


def shuffled_msd(key, gram):
    """TAMSD of the steps less their mean in random order; below T, since nothing is left at lag T."""
    factor = surrogates.bridge_factor(STEPS, LAGS)
    return msd(surrogates.shuffled_steps(key, surrogates.drift_subtracted(gram))) / np.where(factor > 0, factor, np.nan)


def displacement_moments(gram, orders):
    """Moments at the lags of the fits."""
    return moments.displacement_moments(gram, orders, LAGS)


def shape_checks(lab: Laboratory) -> Iterator[Check]:
    """Length, dimension, width and directions of paths."""
    for process, truth, name, parameters in (
            (processes.ballistic, 1, "ballistic", {}), (processes.brownian, 2, "Brownian", {}),
            (processes.fractional_brownian, 1 / 0.7, "fractional Brownian, H = 0.7", {"hurst": 0.7})):
        curve = each(end_to_end, lab.grams(process, **parameters))
        fits = [paths.path_dimension(x, y, x_max=x[np.isfinite(x)].max() / 5) for x, y in zip(*curve, strict=True)]
        yield check("path dimension", name, truth, [fit.dimension for fit in fits], allowance=0.01)
    brownian = lab.grams(processes.brownian)
    mean_step = math.sqrt(2) * math.exp(math.lgamma((lab.dim + 1) / 2) - math.lgamma(lab.dim / 2))
    yield check("contour length", "Brownian", STEPS * mean_step, each(paths.contour_length, brownian)[:, -1])
    yield check("self-affinity chi", "Brownian", 1, self_affinity(brownian), allowance=0.01)
    across = lab.grams(processes.brownian, drift=2 * math.sqrt(lab.dim))
    yield check("self-affinity chi", "straight, Brownian across", 0.5, self_affinity(across), allowance=0.05)
    ratios = each(lambda gram: paths.principal_components(gram, 2), brownian).explained_variance_ratio
    yield check("variance share of PC 1", "Brownian", 6 / math.pi**2, ratios[:, 0], allowance=0.03)


def end_to_end(gram):
    """Contour lengths and squared end-to-end distances in 40 bins."""
    averages = paths.end_to_end(gram, bins=40)
    return averages.x, pairs.average(averages)


def self_affinity(all_grams):
    """Self-affinity chi of each path, over lengths of 10 to 200 steps."""
    lengths = np.unique(np.rint(np.geomspace(10, 200, 12)).astype(int))
    def curves(gram):
        found = paths.excursions_by_length(gram, lengths)
        return [(pairs.average(curve), pairs.block_bootstrap(jax.random.key(0), curve)) for curve in found]

    (ends, *end_replicates), (excursions, *excursion_replicates) = each(curves, all_grams)
    return paths.self_affinity(lengths, ends, excursions, replicates=[*end_replicates, *excursion_replicates]).exponent


def loss_checks(lab: Laboratory) -> Iterator[Check]:
    """Roughness of losses along a path."""
    brownian = lab.grams(processes.brownian)
    for hurst in (0.3, 0.5, 0.8):
        # A field is one random landscape: its exponent scatters however long the path, so several are averaged.
        fields = each(lambda key, gram, hurst=hurst: processes.fractional_brownian_field(
            key, displacement.squared_displacements(gram), hurst=hurst), lab.keys(), brownian)
        x, y = each(mean_squared_loss, brownian, fields)
        yield Check("mean squared loss", f"fractional field, H = {hurst}", 2 * hurst, *mean_exponent(x, y), 0.02, len(y) - 1)
    time = np.arange(STEPS + 1.0)
    yield Check("mean squared loss", "slope", 2, exponent_of_losses(time, 3 * time, on=(1, 300)), 0, 0.01)
    descent = 0.9 ** np.arange(201.0)  # the same at every scale between its ends
    yield Check("mean squared loss", "descent into a quadratic bowl", 4,
                exponent_of_losses(descent, descent**2, on=(1e-7, 1e-2)), 0, 0.1)
    noise = np.random.default_rng(lab.num_paths).normal(0, 0.3, (lab.num_paths, STEPS + 1))
    yield check("batch noise floor", "flat loss, noise of std 0.3", 2 * 0.09, roughness.batch_noise_floor(noise).floor)


def mean_squared_loss(gram, losses):
    """Distances and mean squared losses in 30 bins."""
    found = roughness.mean_squared_loss(gram, losses, bins=30)
    return found.distances, found.msl


def exponent_of_losses(positions, losses, on):
    """Exponent of the mean squared loss along a straight path."""
    with jax.enable_x64(True):
        x, y = map(np.asarray, mean_squared_loss(step_gram(positions[:, None]), losses))
    filled = np.isfinite(x)
    return float(exponents(y[filled], x[filled], on=on))


def mean_exponent(x, y):
    """Exponent of the mean curve of several paths, and its standard error by leaving out one at a time."""
    def fit(curves):
        return float(exponents(curves.mean(axis=0), x.mean(axis=0), on=(x[:, 3].max(), x[:, -8].min())))

    left = [fit(np.delete(y, index, axis=0)) for index in range(len(y))]
    return fit(y), math.sqrt((len(y) - 1) * np.var(left))


def tail_checks(lab: Laboratory) -> Iterator[Check]:
    """Indices of heavy tails, and what tells samples of a law from a series."""
    for alpha in (0.8, 1.5, 1.9):
        samples = np.asarray(law.sample(lab.key(), alpha, shape=(lab.num_paths, 5000)))
        process = f"alpha-stable, {alpha}"
        fit = fits.fit(samples)
        yield check("stability, maximum likelihood", process, alpha, fit.alpha)
        yield Check("its stated error / scatter", process, 1, np.median(fit.alpha_error) / np.std(fit.alpha, ddof=1),
                    1 / math.sqrt(2 * (lab.num_paths - 1)), 0.3)
        yield check("stability, quantiles", process, alpha, [quick_fits.quantiles(row).alpha for row in samples])
        yield check("stability, characteristic function", process, alpha,
                    [quick_fits.characteristic_function(row).alpha for row in samples])
        yield check("stability, Mohammadi", process, alpha, stability_index.mohammadi(samples).value, allowance=0.02)
    skewed = np.asarray(law.sample(lab.key(), 1.2, -0.5, shape=(lab.num_paths, 5000)))
    yield check("skewness, maximum likelihood", "alpha-stable, 1.2", -0.5, fits.fit(skewed, symmetric=False).beta)
    pareto = np.exp(np.random.default_rng(lab.num_paths).exponential(1 / 1.5, (lab.num_paths, 5000)))
    yield check("tail index, Hill", "Pareto, 1.5", 1.5, tails.hill(pareto, 500).value, allowance=0.01)
    yield check("tail index, Clauset", "Pareto, 1.5", 1.5,
                [power_law_tail.fit_power_law_tail(row).alpha for row in pareto], allowance=0.02)
    with jax.enable_x64(True):
        series = jax.vmap(lambda key: processes.ornstein_uhlenbeck(key, 9999, 1, relaxation_time=10))(lab.keys())[..., 0]
    correlation = math.exp(-1 / 10)
    yield check("effective sample size / size", "autoregressive", (1 - correlation) / (1 + correlation),
                np.asarray(fluctuations.effective_sample_size(series, block_size=500).value) / 10_000, allowance=0.02)
    yield check("excess kurtosis", "normal", 0, fluctuations.excess_kurtosis(np.random.default_rng(lab.num_paths).normal(
        size=(lab.num_paths, 5000))).value, allowance=0.01)


GROUPS = (exponent_checks, ensemble_checks, local_checks, step_checks, shape_checks, loss_checks, tail_checks)


def self_test(options: Options) -> bool:
    """Print all checks; whether all have passed."""
    lab = Laboratory(options)
    print(f"{lab.num_paths} paths of {STEPS} steps in {lab.dim} dimensions for each process")
    print(f"{'estimator':32s}{'process':34s}{'truth':>10s}{'estimate':>20s}{'allowance':>11s}")
    results = []
    for group in GROUPS:
        for result in group(lab):
            results.append(result)
            estimate = f"{result.estimate:.4g} ± {result.error:.2g}"
            print(f"{result.estimator:32s}{result.process:34s}{result.truth:10.4g}{estimate:>20s}{result.allowance:11.2g}"
                  f"  {'pass' if result.passed else 'FAIL'}", flush=True)
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} of {len(results)} passed")
    return failed == 0


def main() -> None:
    """Run from the command line; exit code 1 if a check fails."""
    options = tyro.cli(Options, description=__doc__)
    passed = []
    interruptibly(lambda: passed.append(self_test(options)))
    sys.exit(0 if passed[0] else FAILED)


if __name__ == "__main__":
    main()
