"""Shapes of paths, and roughness of losses along them."""

import math
from collections.abc import Iterator

import jax
import numpy as np

from experiments.self_test.laboratory import STEPS, Check, Laboratory, check, each, exponents
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis import displacement, pairs, paths, processes, roughness
from sgd_diffusion.analysis.gram import step_gram


def shape_checks(lab: Laboratory) -> Iterator[Check]:
    """Check length, dimension, width and directions of paths."""
    for process, truth, name, parameters in (
        (processes.ballistic, 1, "ballistic", {}),
        (processes.brownian, 2, "Brownian", {}),
        (processes.fractional_brownian, 1 / 0.7, "fractional Brownian, H = 0.7", {"hurst": 0.7}),
    ):
        curve = each(end_to_end, lab.grams(process, **parameters))
        fits = [
            paths.path_dimension(x, y, x_max=x[np.isfinite(x)].max() / 5)
            for x, y in zip(*curve, strict=True)
        ]
        yield check("path dimension", name, truth, [fit.dimension for fit in fits], allowance=0.01)
    brownian = lab.grams(processes.brownian)
    mean_step = math.sqrt(2) * math.exp(math.lgamma((lab.dim + 1) / 2) - math.lgamma(lab.dim / 2))
    yield check(
        "contour length", "Brownian", STEPS * mean_step, each(paths.contour_length, brownian)[:, -1]
    )
    yield check("self-affinity chi", "Brownian", 1, self_affinity(brownian), allowance=0.01)
    across = lab.grams(processes.brownian, drift=2 * math.sqrt(lab.dim))
    yield check(
        "self-affinity chi", "straight, Brownian across", 0.5, self_affinity(across), allowance=0.05
    )
    ratios = each(
        lambda gram: paths.principal_components(gram, 2), brownian
    ).explained_variance_ratio
    yield check("variance share of PC 1", "Brownian", 6 / math.pi**2, ratios[:, 0], allowance=0.03)


def end_to_end(gram: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return contour lengths and squared end-to-end distances in 40 bins."""
    averages = paths.end_to_end(gram, bins=40)
    return averages.x, pairs.average(averages)


def self_affinity(all_grams: np.ndarray) -> np.ndarray:
    """Return the self-affinity chi of each path, over lengths of 10 to 200 steps."""
    lengths = np.unique(np.rint(np.geomspace(10, 200, 12)).astype(int))

    def curves(gram):
        by_length = paths.excursions_by_length(gram, lengths)
        return [
            (pairs.average(curve), pairs.block_bootstrap(jax.random.key(0), curve))
            for curve in by_length
        ]

    (ends, *end_replicates), (excursions, *excursion_replicates) = each(curves, all_grams)
    return paths.self_affinity(
        lengths, ends, excursions, replicates=[*end_replicates, *excursion_replicates]
    ).exponent


def loss_checks(lab: Laboratory) -> Iterator[Check]:
    """Check the roughness of losses along a path."""
    brownian = lab.grams(processes.brownian)
    for hurst in (0.3, 0.5, 0.8):
        # A field is one random landscape. Its exponent scatters however long the path is, so
        # several are averaged.
        fields = each(
            lambda key, gram, hurst=hurst: processes.fractional_brownian_field(
                key, displacement.squared_displacements(gram), hurst=hurst
            ),
            lab.keys(),
            brownian,
        )
        x, y = each(mean_squared_loss, brownian, fields)
        yield Check(
            "mean squared loss",
            f"fractional field, H = {hurst}",
            2 * hurst,
            *mean_exponent(x, y),
            0.02,
            len(y) - 1,
        )
    time = np.arange(STEPS + 1.0)
    yield Check(
        "mean squared loss", "slope", 2, exponent_of_losses(time, 3 * time, on=(1, 300)), 0, 0.01
    )
    descent = 0.9 ** np.arange(201.0)  # the same at every scale between its ends
    yield Check(
        "mean squared loss",
        "descent into a quadratic bowl",
        4,
        exponent_of_losses(descent, descent**2, on=(1e-7, 1e-2)),
        0,
        0.1,
    )
    noise = lab.generator().normal(0, 0.3, (lab.num_paths, STEPS + 1))
    yield check(
        "batch noise floor",
        "flat loss, noise of std 0.3",
        2 * 0.09,
        roughness.batch_noise_floor(noise).floor,
    )


def mean_squared_loss(gram: jax.Array, losses: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return distances and mean squared losses in 30 bins."""
    curve = roughness.mean_squared_loss(gram, losses, bins=30)
    return curve.distances, curve.msl


def exponent_of_losses(positions: np.ndarray, losses: ArrayLike, on: tuple[float, float]) -> float:
    """Return the exponent of the mean squared loss along a straight path."""
    with jax.enable_x64(True):
        x, y = map(np.asarray, mean_squared_loss(step_gram(positions[:, None]), losses))
    filled = np.isfinite(x)
    return float(exponents(y[filled], x[filled], on=on))


def mean_exponent(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the exponent of the mean curve of several paths, and its jackknife error."""

    def fit(curves):
        return float(
            exponents(curves.mean(axis=0), x.mean(axis=0), on=(x[:, 3].max(), x[:, -8].min()))
        )

    left = [fit(np.delete(y, index, axis=0)) for index in range(len(y))]
    return fit(y), math.sqrt((len(y) - 1) * np.var(left))
