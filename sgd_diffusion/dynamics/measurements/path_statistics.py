"""What is kept of a path beyond its MSD: resampled curves, surrogates, shape, and roughness.

Fits are left to the readers of the results. The curves are kept, binned where they are long. With
them are replicates from a block bootstrap over the window, in the dimension `replicate`; any fit
gets its error from them. Resampling and surrogates use fixed keys, the same for all members and
windows. What they draw is a constant of the program of a window. To draw it there would take longer
to compile than the training step of a small network.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._platforms import run_once
from sgd_diffusion.analysis import paths, surrogates
from sgd_diffusion.analysis.displacement import squared_displacements, time_averaged_msd
from sgd_diffusion.analysis.guarded import ratio
from sgd_diffusion.analysis.lags import standard_lags
from sgd_diffusion.analysis.pairs import (
    NUM_BLOCKS,
    PairAverages,
    average,
    block_weights,
    by_lag,
    reweighted,
)
from sgd_diffusion.analysis.paths.excursions import slope_with
from sgd_diffusion.analysis.roughness import loss_by_contour, loss_by_distance
from sgd_diffusion.dynamics.measurements.schema import PathMeasurement

__all__ = ["controls", "loss_roughness", "path_shape"]

NUM_REPLICATES = 100  # the standard deviation over replicates is then known to 7 %
NUM_DRAWS = 10
NUM_FRAGMENTS = 50  # as many as Chen, Qu & Gong show
NUM_PAIRS = 2000
MOTIONS = ["SGD", "drift subtracted", "shuffled"]
DRIFT_SUBTRACTED = 1  # its position among them
# Bins of distances and contour lengths, ten a decade. They are the same for all windows and
# members, so that these can be averaged.
EDGES = 10 ** (np.arange(-60, 41) / 10)
CENTERS = np.sqrt(EDGES[:-1] * EDGES[1:])


def controls(window: int) -> PathMeasurement:
    """Measure what an exponent of the MSD is compared with: replicates and surrogates of the path.

    On the lags of `standard_lags`, in the dimension `fit_lag`:

    - `msd_replicates(replicate, fit_lag)`;
    - `drift_subtracted_msd(fit_lag)`, corrected for the bridge, and
      `drift_subtracted_msd_replicates`;
    - `shuffled_msd(draw, fit_lag)` and `sign_flipped_msd(draw, fit_lag)` of 10 random surrogates
      each.

    Args:
        window: T, updates in a window.
    """
    lags = standard_lags(window)
    weights, orders, signs = _drawn(_draws_of_controls, window)

    def measure(record):
        gram = record.step_gram
        with jax.enable_x64(gram.dtype == jnp.float64):
            drift_subtracted = by_lag(surrogates.drift_subtracted(gram), lags)
            factor = surrogates.bridge_factor(window, lags)
            factor = jnp.asarray(factor, gram.dtype)

            def of_all(draws, surrogate):
                # One at a time, because each takes several (T, T) matrices.
                return jax.lax.map(
                    lambda draw: time_averaged_msd(surrogate(draw, gram), lags), draws
                )

            of_sgd, of_drift_subtracted = _replicates(weights, by_lag(gram, lags), drift_subtracted)
            return {
                "msd_replicates": of_sgd,
                "drift_subtracted_msd": ratio(average(drift_subtracted), factor),
                "drift_subtracted_msd_replicates": ratio(of_drift_subtracted, factor),
                "shuffled_msd": of_all(orders, surrogates.reordered),
                "sign_flipped_msd": of_all(signs, surrogates.with_signs),
            }

    resampled, drawn = ("replicate", "fit_lag"), ("draw", "fit_lag")
    return PathMeasurement(
        measure,
        {
            "msd_replicates": resampled,
            "drift_subtracted_msd": ("fit_lag",),
            "drift_subtracted_msd_replicates": resampled,
            "shuffled_msd": drawn,
            "sign_flipped_msd": drawn,
        },
        {"fit_lag": lags},
    )


def path_shape(window: int) -> PathMeasurement:
    """Measure how crooked and how wide the path is and in how many directions, with two surrogates.

    For each `motion` (SGD, drift subtracted, and shuffled; see `analysis.surrogates`; one shuffle):

    - in bins of contour length (`contour_bin`): `contour_length`, `squared_end_to_end` with
      replicates, and `fragments`, how many there are;
    - by `fragment_length`: `squared_end_to_end_by_length` and `squared_excursion_by_length` with
      replicates.

    End-to-end distances without the drift are corrected for the bridge, as those of steps in random
    order.

    Of SGD alone:

    - single fragments of T/10 steps (`fragment`): `fragment_squared_end_to_end` and
      `fragment_squared_excursion`, and over all of these fragments `excursion_slope` with its
      error;
    - `explained_variance_ratio(component)` of 10 principal components, and the `scores(point,
      score)` of the first 3.

    Args:
        window: T, updates in a window.
    """
    lengths = standard_lags(window)
    lengths = lengths[(lengths >= 2) & (lengths <= window // 2)]
    length = max(2, window // 10)
    shown = np.linspace(0, window - length, min(NUM_FRAGMENTS, window - length + 1)).astype(int)
    components = min(10, window)
    weights, fragment_weights, order = _drawn(_draws_of_shapes, window, length)

    def of_motion(gram):
        end_to_end, by_length = (
            paths.end_to_end(gram, bins=EDGES),
            paths.excursions_by_length(gram, lengths),
        )
        curves = _with_replicates(
            weights,
            squared_end_to_end=end_to_end,
            squared_end_to_end_by_length=by_length.squared_end_to_end,
            squared_excursion_by_length=by_length.squared_excursion,
        )
        share = end_to_end.x / paths.contour_length(gram)[-1]  # of the whole length
        return curves | {
            "contour_length": end_to_end.x,
            "fragments": end_to_end.counts.sum(axis=0),
        }, share

    def measure(record):
        gram = record.step_gram
        with jax.enable_x64(gram.dtype == jnp.float64):
            motions = [
                gram,
                surrogates.drift_subtracted(gram),
                surrogates.reordered(order, gram),
            ]
            curves, share = jax.lax.map(of_motion, jnp.stack(motions))
            for name, bridge in (
                ("squared_end_to_end", 1 - share[DRIFT_SUBTRACTED]),
                ("squared_end_to_end_by_length", surrogates.bridge_factor(window, lengths)),
            ):
                for curve in (name, f"{name}_replicates"):
                    curves[curve] = (
                        curves[curve].at[DRIFT_SUBTRACTED].divide(jnp.asarray(bridge, gram.dtype))
                    )
            fragments = paths.transverse_excursions(gram, length)
            slope = slope_with(fragment_weights, fragments)
            principal = paths.principal_components(gram, components)
            return curves | {
                "fragment_squared_end_to_end": fragments.squared_end_to_end[shown],
                "fragment_squared_excursion": fragments.squared_excursion[shown],
                "excursion_slope": slope.slope,
                "excursion_slope_error": slope.slope_error,
                "explained_variance_ratio": principal.explained_variance_ratio,
                "scores": principal.scores[:, :3],
            }

    of_motions = {
        "contour_length": ("contour_bin",),
        "fragments": ("contour_bin",),
        **_dims_with_replicates("contour_bin", "squared_end_to_end"),
        **_dims_with_replicates(
            "fragment_length", "squared_end_to_end_by_length", "squared_excursion_by_length"
        ),
    }
    return PathMeasurement(
        measure,
        {name: ("motion", *dims) for name, dims in of_motions.items()}
        | {
            "fragment_squared_end_to_end": ("fragment",),
            "fragment_squared_excursion": ("fragment",),
            "excursion_slope": (),
            "excursion_slope_error": (),
            "explained_variance_ratio": ("component",),
            "scores": ("point", "score"),
        },
        {
            "motion": MOTIONS,
            "contour_bin": CENTERS,
            "fragment_length": lengths,
            "fragment": shown,
            "component": np.arange(1, components + 1),
        },
    )


def loss_roughness(window: int, *, probe: bool) -> PathMeasurement:
    """Measure how much losses differ between points of the path.

    - In bins of distance (`distance_bin`): `distance`, `batch_msl` of mini-batch losses with
      replicates, and `pairs`, how many there are.
    - In bins of contour length: `batch_msl_by_contour`.
    - With a probe the same as `probe_msl` and `probe_msl_by_contour`.
    - Of single pairs (`pair`), at random with lags at equal ratios: `pair_distance`,
      `pair_contour_length`, and `pair_batch_difference` and `pair_probe_difference`, squared.

    Args:
        window: T, updates in a window.
        probe: whether the problem has a probe.
    """
    kinds = ("batch", "probe") if probe else ("batch",)
    first, second = _random_pairs(window)
    (weights,) = _drawn(_draws_of_roughness, window)

    def measure(record):
        gram = record.step_gram
        with jax.enable_x64(gram.dtype == jnp.float64):
            contour = paths.contour_length(gram)
            series = dict(zip(kinds, (record.losses, record.probe_losses), strict=False))
            series = {kind: losses.astype(gram.dtype) for kind, losses in series.items()}
            by_distance = {
                f"{kind}_msl": loss_by_distance(gram, losses, bins=EDGES)
                for kind, losses in series.items()
            }
            values = {
                "pair_distance": jnp.sqrt(squared_displacements(gram)[first, second]),
                "pair_contour_length": contour[second] - contour[first],
                "distance": by_distance["batch_msl"].x,
                "pairs": by_distance["batch_msl"].counts.sum(axis=0),
                **_with_replicates(weights, **by_distance),
            }
            for kind, losses in series.items():
                values[f"{kind}_msl_by_contour"] = average(
                    loss_by_contour(gram, losses, bins=EDGES)
                )
                values[f"pair_{kind}_difference"] = (losses[second] - losses[first]) ** 2
            return values

    dims: dict[str, tuple[str, ...]] = {
        "pair_distance": ("pair",),
        "pair_contour_length": ("pair",),
        "distance": ("distance_bin",),
        "pairs": ("distance_bin",),
    }
    for kind in kinds:
        dims |= _dims_with_replicates("distance_bin", f"{kind}_msl")
        dims |= {f"{kind}_msl_by_contour": ("contour_bin",), f"pair_{kind}_difference": ("pair",)}
    return PathMeasurement(measure, dims, {"distance_bin": CENTERS, "contour_bin": CENTERS})


@functools.lru_cache(maxsize=8)  # as many as the windows of few runs
def _drawn(draws: Callable[..., tuple[jax.Array, ...]], *sizes: int) -> tuple[np.ndarray, ...]:
    """Return what is drawn for windows of a size, in one program that runs once."""
    with jax.disable_jit(False):
        drawn = run_once(jax.jit(lambda: draws(*sizes)), platform=jax.default_backend())
        return tuple(map(np.asarray, drawn))


def _draws_of_controls(window):
    bootstrap_key, shuffle_key, sign_key = jax.random.split(jax.random.key(0), 3)

    def many(draw, key):
        return jax.vmap(lambda key: draw(key, window))(jax.random.split(key, NUM_DRAWS))

    return (
        _weights(bootstrap_key, window + 1),
        many(surrogates.random_order, shuffle_key),
        many(surrogates.random_signs, sign_key),
    )


def _draws_of_shapes(window, length):
    bootstrap_key, shuffle_key = jax.random.split(jax.random.key(0))
    return (
        _weights(bootstrap_key, window + 1),
        _weights(bootstrap_key, window + 1 - length),
        surrogates.random_order(shuffle_key, window),
    )


def _draws_of_roughness(window):
    return (_weights(jax.random.key(0), window + 1),)


def _weights(key, points):
    """Return weights of the points of a window in all replicates, see `pairs.block_bootstrap`."""
    blocks = min(NUM_BLOCKS, points)
    return block_weights(key, points, num_resamples=NUM_REPLICATES, num_blocks=blocks)


def _replicates(weights: np.ndarray, *curves: PairAverages) -> list[jax.Array]:
    """Return replicates of several curves of one path."""
    sums = jnp.concatenate([curve.sums for curve in curves], axis=1)
    counts = jnp.concatenate([curve.counts for curve in curves], axis=1)
    sizes = [curve.sums.shape[1] for curve in curves]
    return jnp.split(reweighted(weights, sums, counts), np.cumsum(sizes)[:-1], axis=1)


def _with_replicates(weights: np.ndarray, **curves: PairAverages) -> dict[str, jax.Array]:
    values = {name: average(pairs) for name, pairs in curves.items()}
    names = [f"{name}_replicates" for name in curves]
    return values | dict(zip(names, _replicates(weights, *curves.values()), strict=True))


def _dims_with_replicates(dim: str, *names: str) -> dict[str, tuple[str, ...]]:
    return {name: (dim,) for name in names} | {
        f"{name}_replicates": ("replicate", dim) for name in names
    }


def _random_pairs(window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return first and second points of pairs with lags at equal ratios, always the same ones."""
    random = np.random.default_rng(0)
    lags = np.exp(random.uniform(0, np.log(window), NUM_PAIRS)).astype(int)
    first = random.integers(0, window + 1 - lags)
    return first, first + lags
