"""Displacements: exponents and their errors, ensembles, crossovers, steps and surrogates."""

import math
from collections.abc import Callable, Iterator

import jax
import numpy as np

from experiments.self_test.laboratory import (
    LAGS,
    STEPS,
    Check,
    Laboratory,
    check,
    check_errors,
    each,
    exponents,
    grams,
    msd,
)
from sgd_diffusion._types import ArrayLike, Key
from sgd_diffusion.analysis import (
    aging,
    displacement,
    moments,
    pairs,
    processes,
    scaling,
    surrogates,
)

GROUPED = 20  # groups of paths that a jackknife leaves out one at a time


def exponent_checks(lab: Laboratory) -> Iterator[Check]:
    """Check exponents of the TAMSD, and whether their stated errors are their scatter."""
    name = "exponent of the TAMSD"
    yield check(name, "Brownian", 1, exponents(each(msd, lab.grams(processes.brownian))))
    yield check(
        name, "ballistic", 2, exponents(each(msd, lab.grams(processes.ballistic))), allowance=1e-9
    )
    for hurst in (0.2, 0.35, 0.5, 0.65, 0.8):
        all_grams = lab.grams(processes.fractional_brownian, hurst=hurst)
        fit = scaling.fit_power_law(
            LAGS,
            each(msd, all_grams),
            x_min=1,
            x_max=100,
            replicates=each(resampled_msd, all_grams),
        )
        yield check(name, f"fractional Brownian, H = {hurst}", 2 * hurst, fit.exponent)
        # Stated errors are 0.8 of the scatter. Above H = 0.65 memory is longer than blocks, and
        # they are two thirds of it.
        yield check_errors(
            f"fractional Brownian, H = {hurst}",
            fit.exponent_error,
            fit.exponent,
            allowance=0.25 if hurst <= 0.65 else 0.5,
        )
    yield check(
        name,
        "Levy flight, alpha = 1.5",
        1,
        exponents(each(msd, lab.grams(processes.levy_flight, alpha=1.5)), on=(1, 30)),
        allowance=0.03,
    )
    root = np.sqrt(np.arange(STEPS + 1.0))
    expected = [np.mean(root[lag:] - root[:-lag]) for lag in LAGS]  # 1 only for lags far below T
    yield check(
        name,
        "scaled Brownian, alpha = 0.5",
        exponents(expected, on=(1, 30)),
        exponents(each(msd, lab.grams(processes.scaled_brownian, alpha=0.5)), on=(1, 30)),
    )
    bouncing = lab.grams(processes.period_two_with_drift, amplitude=1.0, drift=0.01, step_std=0.0)
    yield check(
        "TAMSD at lag 7",
        "period 2 with drift",
        4 + 0.0049,
        each(msd, bouncing)[:, LAGS == 7][:, 0],
        allowance=1e-9,
    )


def resampled_msd(gram: jax.Array) -> jax.Array:
    """Return replicates of the TAMSD."""
    return pairs.block_bootstrap(jax.random.key(0), pairs.by_lag(gram, LAGS))


def ensemble_checks(lab: Laboratory) -> Iterator[Check]:
    """Check what only an ensemble shows: displacements from the start, aging, broken ergodicity."""
    positions = lab.paths(processes.scaled_brownian, alpha=0.5)
    from_start = each(displacement.displacement_from_start, grams(positions))
    yield check(
        "exponent from the start",
        "scaled Brownian, alpha = 0.5",
        0.5,
        exponents(from_start, np.arange(1, STEPS + 1), on=(1, 1000)),
    )
    times, lags = (
        np.array([1, 2, 4, 8, 16, 32, 64, 128]),
        np.unique(np.rint(np.geomspace(1, 800, 40)).astype(int)),
    )
    two_time = each(lambda gram: aging.two_time_displacements(gram, times, lags), grams(positions))
    fit = aging.fit_aging(times, lags, two_time.mean(axis=0))
    yield Check(
        "aging exponent mu",
        "scaled Brownian, alpha = 0.5",
        1,
        fit.aging_exponent,
        fit.aging_exponent_error,
        0.02,
        len(times) - 1,
    )
    yield Check(
        "amplitude exponent a",
        "scaled Brownian, alpha = 0.5",
        0.5,
        fit.amplitude_exponent,
        fit.amplitude_exponent_error,
        0.01,
        len(times) - 1,
    )

    with jax.enable_x64(True):  # of one coordinate each, thousands of paths cost nothing
        walk = jax.vmap(lambda key: processes.brownian(key, STEPS, 1))(
            jax.random.split(lab.key(), 100 * lab.num_paths)
        )
        relative = np.asarray(jax.vmap(lambda path: one_dimensional_msd(path, 30))(walk))
        renewing = jax.vmap(
            lambda key: processes.continuous_time_random_walk(key, STEPS, 10, alpha=0.6)
        )(jax.random.split(lab.key(), 100 * lab.num_paths))
        scattered = np.asarray(jax.vmap(lambda path: one_dimensional_msd(path, 3))(renewing))
    estimate, error = jackknife(lambda sample: sample.var(ddof=1) / sample.mean() ** 2, relative)
    truth = 2 / displacement.effective_pairs(STEPS, [30])[0]
    yield Check(
        "variance by effective pairs", "Brownian, lag 30", truth, estimate, error, 0, GROUPED - 1
    )
    estimate, error = jackknife(
        lambda sample: displacement.ergodicity_breaking(sample[:, None])[0], scattered
    )
    truth = 2 * math.gamma(1.6) ** 2 / math.gamma(2.2) - 1
    yield Check(
        "ergodicity breaking",
        "continuous-time random walk",
        truth,
        estimate,
        error,
        0.1,
        GROUPED - 1,
    )


def one_dimensional_msd(path: jax.Array, lag: int) -> jax.Array:
    """Return the TAMSD of a path at one lag, from its positions."""
    return ((path[lag:] - path[:-lag]) ** 2).sum(axis=-1).mean()


def jackknife(
    statistic: Callable[[np.ndarray], ArrayLike], sample: np.ndarray, groups: int = GROUPED
) -> tuple[float, float]:
    """Return a statistic of a sample and its standard error, leaving out one group at a time."""
    parts = np.array_split(sample, groups)
    left = np.array(
        [float(statistic(np.concatenate(parts[:i] + parts[i + 1 :]))) for i in range(groups)]
    )
    return float(statistic(sample)), math.sqrt((groups - 1) * left.var())


def local_checks(lab: Laboratory) -> Iterator[Check]:
    """Check local exponents, crossovers, onsets and regimes."""
    brownian = each(msd, lab.grams(processes.brownian))
    local = scaling.local_exponent(LAGS, brownian, stride=20)
    yield check(
        "local exponent at lag 10",
        "Brownian",
        1,
        [np.interp(10, local.lags, beta) for beta in local.exponent],
    )
    for time in (20, 50):
        relaxing = each(msd, lab.grams(processes.ornstein_uhlenbeck, relaxation_time=time))
        yield from crossover_checks(relaxing, f"Ornstein-Uhlenbeck, time {time}", time, 1, 0)
    for time in (10, 30):
        persistent = each(msd, lab.grams(processes.persistent_walk, persistence_time=time))
        yield from crossover_checks(
            persistent, f"persistent walk, time {time}", 1 / math.tanh(0.5 / time), 2, 1
        )
    exact, confined = confined_with_drift(lab)
    beta = scaling.local_exponent(np.arange(1, STEPS + 1), np.vstack([exact, confined]))
    crossing = scaling.normal_diffusion_crossing(*beta)
    yield check("local exponent rises through 1", "confined, with drift", crossing[0], crossing[1:])
    onset = scaling.superdiffusion_onset(np.arange(1, STEPS + 1), np.vstack([exact, confined])).lag
    yield check(
        "onset of superdiffusion",
        "confined, with drift",
        onset[0],
        onset[1:],
        allowance=0.1 * onset[0],
    )
    regimes = np.stack(
        [
            each(msd, lab.grams(processes.fractional_brownian, hurst=h))
            for h in (0.7, 0.55, 0.4, 0.3)
        ],
        axis=1,
    )
    boundary = scaling.regime_boundary(STEPS * np.arange(4), LAGS, regimes, x_min=1, x_max=100)
    yield check("first subdiffusive window", "fractional Brownian, H falling", 2 * STEPS, boundary)


def crossover_checks(
    curves: np.ndarray, process: str, place: float, below: float, above: float
) -> Iterator[Check]:
    """Check a crossover and both of its exponents.

    They are fitted to the mean curve of all paths, with the paths as replicates.
    """
    count = len(curves)
    left_out = np.stack([np.delete(curves, index, axis=0).mean(axis=0) for index in range(count)])
    fits = scaling.fit_crossover(LAGS, np.vstack([curves.mean(axis=0), left_out]), x_max=STEPS / 2)

    def error(values):
        return math.sqrt((count - 1) * np.var(values[1:]))

    yield Check(
        "crossover",
        process,
        place,
        fits.crossover[0],
        error(fits.crossover),
        0.2 * place,
        count - 1,
    )
    yield Check(
        "exponent below",
        process,
        below,
        fits.exponent_below[0],
        error(fits.exponent_below),
        0.05,
        count - 1,
    )
    yield Check(
        "exponent above",
        process,
        above,
        fits.exponent_above[0],
        error(fits.exponent_above),
        0.1,
        count - 1,
    )


def confined_with_drift(lab: Laboratory) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact and the measured MSD of an Ornstein-Uhlenbeck process that drifts."""
    relaxation_time, speed = 5.0, 0.1 * math.sqrt(lab.dim)
    confined = lab.paths(processes.ornstein_uhlenbeck, relaxation_time=relaxation_time)
    drifting = lab.paths(processes.ballistic, speed=speed)
    lags = np.arange(1, STEPS + 1)
    exact = 2 * lab.dim * (1 - np.exp(-lags / relaxation_time)) + (speed * lags) ** 2
    with jax.enable_x64(True):
        return exact, each(displacement.time_averaged_msd, grams(confined + drifting))


def step_checks(lab: Laboratory) -> Iterator[Check]:
    """Check steps among themselves, higher moments, and the surrogates."""
    persistent = lab.grams(processes.fractional_brownian, hurst=0.7)
    autocorrelation = each(displacement.step_autocorrelation, persistent)
    yield check(
        "step autocorrelation at lag 1",
        "fractional Brownian, H = 0.7",
        2**0.4 - 1,
        autocorrelation[:, 1],
    )
    angles = each(displacement.step_angles, lab.grams(processes.brownian))
    yield check("angle between steps", "Brownian", math.pi / 2, angles.mean(axis=1))
    orders = np.arange(1.0, 5.0)
    spectrum = each(lambda gram: displacement_moments(gram, orders), persistent)
    nu = scaling.fit_power_law(LAGS, spectrum, x_min=1, x_max=100).exponent
    yield check("moment scaling exponent, q = 4", "fractional Brownian, H = 0.7", 2.8, nu[:, -1])
    with jax.enable_x64(True):
        gaussian = np.asarray(
            moments.non_gaussian_parameter(lab.paths(processes.brownian)[0], [1])
        )[0]
    yield check("non-Gaussian parameter", "Brownian", 0, gaussian, allowance=2 / STEPS)

    drifting = lab.grams(processes.brownian, drift=0.3 * math.sqrt(lab.dim))
    yield check(
        "exponent of the TAMSD",
        "Brownian with drift, long lags",
        2,
        exponents(each(msd, drifting), on=(100, 500)),
        allowance=0.1,
    )
    without = each(lambda gram: surrogates.drift_subtracted_msd(gram, LAGS), drifting)
    yield check("drift-subtracted exponent", "Brownian with drift", 1, exponents(without))
    yield check(
        "sign-flipped exponent",
        "fractional Brownian, H = 0.7",
        1,
        exponents(each(sign_flipped_msd, lab.keys(), persistent)),
    )
    yield check(
        "shuffled, drift-subtracted",
        "fractional Brownian, H = 0.7",
        1,
        exponents(each(shuffled_msd, lab.keys(), persistent)),
    )


def sign_flipped_msd(key: Key, gram: jax.Array) -> jax.Array:
    """Return the TAMSD with random signs."""
    return msd(surrogates.sign_flipped_steps(key, gram))


def shuffled_msd(key: Key, gram: jax.Array) -> jax.Array:
    """Return the TAMSD of the steps less their mean in random order.

    It is for lags below T, since nothing is left at lag T.
    """
    factor = surrogates.bridge_factor(STEPS, LAGS)
    return msd(surrogates.shuffled_steps(key, surrogates.drift_subtracted(gram))) / np.where(
        factor > 0, factor, np.nan
    )


def displacement_moments(gram: jax.Array, orders: np.ndarray) -> jax.Array:
    """Return moments at the lags of the fits."""
    return moments.displacement_moments(gram, orders, LAGS)
