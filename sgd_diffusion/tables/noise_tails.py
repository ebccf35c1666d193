"""Tails of gradient noise, across the parameters of a mini-batch and across mini-batches."""

import math

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.tails import log_variance

__all__ = ["noise_tails"]

EDGES = np.logspace(-3, 2, 61)  # of sizes over the root mean square


def noise_tails(noise: xr.Dataset, *, seed: int = 0) -> xr.Dataset:
    r"""Return stability indices of gradient noise, and what its variances alone make of them.

    One mini-batch across the parameters mixes scales: normal noise whose variance differs between
    parameters has a smaller index than 2 there. One parameter across mini-batches does not. The
    control is independent normal noise with the variance of every parameter.

    Formula:
        Index of a mixture of scales. $\frac{1}{\alpha^2} = \frac{1}{4} + \frac{6}{\pi^2} \,
        \mathrm{Var}_j \ln \sigma_j$ (derived from the log-moment estimator, for normal noise of the
        standard deviations sigma_j)

    Args:
        noise: with `noise` (batch, parameter), gradients of at least 20 mini-batches at the same
            weights less their mean, of at least 20 parameters. Parameters without any noise are
            left out.
        seed: of the control.

    Returns:
        Dataset over `direction` ("across parameters" of a mini-batch and "across mini-batches" of a
        parameter) and `kind` ("measured" and "normal", the control):

        - `alpha`, the mean of `tails.log_variance` over the samples, with `alpha_error`, its
          standard error for independent samples, and `alpha_spread`, their standard deviation;
        - `alpha_predicted` (direction), that of normal noise: the formula, and 2;
        - `excess`, the median excess kurtosis;
        - `density` (size) of absolute values over the root mean square of their sample;

        and `parameters`, the number of those that have noise.
    """
    values = noise["noise"].transpose("batch", "parameter").values
    deviations = values.std(axis=0)
    values, deviations = values[:, deviations > 0], deviations[deviations > 0]
    normal = np.random.default_rng(seed).normal(size=values.shape) * deviations
    kinds = {"measured": values, "normal": normal.astype(values.dtype)}
    directions = {"across parameters": (1, 0), "across mini-batches": (0, 1)}
    table = xr.concat(
        [
            xr.concat([_of_samples(each, *axes) for each in kinds.values()], "kind")
            for axes in directions.values()
        ],
        "direction",
    )
    mixture = 1 / math.sqrt(1 / 4 + 6 / math.pi**2 * np.var(np.log(deviations)))
    return table.assign(
        alpha_predicted=("direction", [mixture, 2.0]), parameters=len(deviations)
    ).assign_coords(direction=list(directions), kind=list(kinds))


def _of_samples(values: np.ndarray, along: int, over: int) -> xr.Dataset:
    """Return what samples along one axis say, one for each place of the other."""
    samples = np.moveaxis(values, (over, along), (0, 1))
    alpha = np.asarray(log_variance(samples).value, np.float64)
    alpha = alpha[np.isfinite(alpha)]
    away = samples - samples.mean(axis=1, keepdims=True)
    squares = (away**2).mean(axis=1, keepdims=True)
    sizes = abs(samples) / np.sqrt((samples**2).mean(axis=1, keepdims=True))
    counts, _ = np.histogram(sizes, EDGES)
    return xr.Dataset(
        {
            "alpha": alpha.mean(),
            "alpha_error": alpha.std(ddof=1) / math.sqrt(len(alpha)),
            "alpha_spread": alpha.std(ddof=1),
            "excess": np.median(((away / np.sqrt(squares)) ** 4).mean(axis=1)) - 3,
            "density": ("size", counts / (sizes.size * np.diff(EDGES))),
        },
        coords={"size": np.sqrt(EDGES[1:] * EDGES[:-1])},
    )
