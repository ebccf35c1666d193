"""Variances, flatnesses and times of the components of a late path, as exponents and numbers."""

from typing import Any

import numpy as np
import xarray as xr

from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.flatness import (
    ComponentFit,
    components_for_share,
    quadratic_flatness,
    random_walk_variance,
    rank_exponent,
    variance_flatness_exponent,
)
from sgd_diffusion.theory.limiting import Hyperparameters, stationary_covariance

__all__ = ["variance_flatness"]

RANGES = ((1, 100), (1, 200), (10, 200), (1, 500))
GAMMA = ((20, 200), (20, 500))  # ranks
MODES = (1, 300)  # ranks of eigenvectors of the Hessian
LEAST = 1e-12  # of the largest eigenvalue; below it is rounding
PARTS = ("seed", "sampling", "motion")


def variance_flatness(dataset: xr.Dataset, *, ranges: ArrayLike = RANGES) -> xr.Dataset:
    """Return the exponents of variances and times by flatness, and what else the relation is about.

    All of it is found for every motion in the same way. Errors are those of the fits alone
    (`theory.flatness.variance_flatness_exponent`). Seeds say more.

    Args:
        dataset: with `variance` (..., rank), `flatness`, `curvature`, `noise`, `position_time` and
            `velocity_time` (..., component), `mode_variance` (..., mode) and `alignment` (...) over
            seed, sampling and motion; `base_loss` (seed, sampling) and `eigenvalue` (seed,
            sampling, mode) of the Hessian, falling; the coordinates `component` (ranks) and
            `steps`, the length of the window; and the attributes `learning_rate` and `batch_size`.
        ranges: (R, 2) first and last rank of the ranges of psi; ranks from 0. Those that go beyond
            the components are left out.

    Returns:
        Dataset over seed, sampling and motion with

        - `psi`, `psi_error`, `pearson`, `num_components` and `dropped` (range);
        - `gamma`, `gamma_error` (gamma_range): of variances by rank;
        - `n90`, the components that have 90 percent of the variance without the first, and
          `n90_with_first` with it; `first_over_second`, of variances, and `alignment`;
        - `mode_exponent`, `mode_exponent_error`: x in variance ~ curvature^x along eigenvectors of
          the Hessian, ranks 1 to 300. With the flatness of a quadratic loss, psi is 2 x there;
        - `position_time_exponent`, `velocity_time_exponent` and `noise_exponent`, with errors: how
          correlation times and the temperature fall with the flatness, on the last range;
        - `over_stationary` and `over_random_walk` (component): variance over that of a stationary
          quadratic valley, and of a random walk drawn with replacement, for the noise and the
          curvature along the component; `flatness_over_quadratic` (component).

        Exponents are NaN where fewer than three components are left.
    """
    ranks = dataset["component"].values
    spacing = np.diff(ranks).max(initial=1)
    reached = [(int(low), int(high)) for low, high in ranges if high <= ranks[-1] + spacing]
    reached = reached or [(1, int(ranks[-1]))]
    seeds, samplings, motions = (range(dataset.sizes[name]) for name in PARTS)
    rows = [
        [
            [_row(dataset.isel(seed=i, sampling=j, motion=k), reached) for k in motions]
            for j in samplings
        ]
        for i in seeds
    ]
    names = {"range": reached, "gamma_range": GAMMA}
    return (
        xr.combine_nested(rows, concat_dim=list(PARTS))
        .transpose(*PARTS, ...)
        .assign_coords({name: dataset[name] for name in (*PARTS, "component")})
        .assign_coords({key: [f"{a}-{b}" for a, b in value] for key, value in names.items()})
        .assign_attrs(dataset.attrs)
    )


def _row(run: xr.Dataset, ranges: list[tuple[int, int]]) -> xr.Dataset:
    variances, ranks = run["variance"].values, run["component"].values
    at_ranks, flat = variances[ranks], run["flatness"].values
    fits = [_fitted(at_ranks, flat, ranks, *each) for each in ranges]
    found: dict[str, Any] = {
        "psi": ("range", [fit.exponent for fit in fits]),
        "psi_error": ("range", [fit.exponent_error for fit in fits]),
        "pearson": ("range", [fit.pearson for fit in fits]),
        "num_components": ("range", [fit.num_components for fit in fits]),
        "dropped": ("range", [fit.dropped for fit in fits]),
    }
    spectrum = [_or_none(rank_exponent, variances, first=a, last=b) for a, b in GAMMA]
    found |= {
        "gamma": ("gamma_range", [fit.exponent for fit in spectrum]),
        "gamma_error": ("gamma_range", [fit.exponent_error for fit in spectrum]),
        "n90": components_for_share(variances, skip=1),
        "n90_with_first": components_for_share(variances),
        "first_over_second": variances[0] / variances[1],
        "alignment": run["alignment"].values,
    }
    loss, eigenvalues = float(run["base_loss"]), run["eigenvalue"].values
    bent = np.where(eigenvalues > LEAST * eigenvalues[0], eigenvalues, 0)
    along_modes = _fitted(
        run["mode_variance"].values,
        np.asarray(quadratic_flatness(loss, bent)),
        np.arange(len(bent)),
        *MODES,
    )
    # The flatness of a mode is its curvature^(-1/2).
    x = along_modes._replace(
        exponent=along_modes.exponent / 2, exponent_error=along_modes.exponent_error / 2
    )
    found |= _exponent("mode_exponent", x)
    for name in ("position_time", "velocity_time", "noise"):
        fit = _fitted(run[name].values, flat, ranks, *ranges[-1])
        found |= _exponent(f"{name}_exponent", fit)
    return xr.Dataset(found | _predictions(run, at_ranks, flat, loss))


def _predictions(run, variances, flat, loss):
    """Variances and flatnesses over those of closed forms, component by component."""
    curvature, noise = run["curvature"].values, run["noise"].values
    rate, size = (float(run.attrs[name]) for name in ("learning_rate", "batch_size"))
    curvature, noise = np.maximum(curvature, 0), np.maximum(noise, 0)
    hyper = Hyperparameters(rate, batch_size=size)
    stationary = stationary_covariance(curvature, noise, hyper, discrete=False).position
    walk = random_walk_variance(noise, rate, size, int(run["steps"]))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "over_stationary": ("component", variances / np.asarray(stationary)),
            "over_random_walk": ("component", variances / np.asarray(walk)),
            "flatness_over_quadratic": (
                "component",
                flat / np.asarray(quadratic_flatness(loss, curvature)),
            ),
        }


def _exponent(name, fit: ComponentFit):
    return {name: fit.exponent, f"{name}_error": fit.exponent_error}


def _fitted(values, flat, ranks, first, last) -> ComponentFit:
    return _or_none(
        variance_flatness_exponent, values, flat, ranks=ranks, first=int(first), last=int(last)
    )


def _or_none(fit, *arguments, first, last, **others) -> ComponentFit:
    """A fit, or NaN where the range has too few components."""
    try:
        return fit(*arguments, first=first, last=last, **others)
    except InputError:
        return ComponentFit(np.nan, np.nan, np.nan, first, last, 0, 0)
