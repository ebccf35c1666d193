"""Whether runs of different learning rates agree at equal training time eta t."""

import itertools

import numpy as np
import xarray as xr
from jaxtyping import Float

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.errors import invalid

__all__ = ["coarse_losses", "training_times"]

POINTS = 12  # training times at which two learning rates are compared
CHUNK = 50  # updates whose mini-batch losses are averaged


def training_times(dataset: xr.Dataset) -> xr.Dataset:
    """Return how far learning rates next to each other agree at equal training time eta t.

    Members of one seed begin at the same weights. If the learning rate eta only rescaled time,
    their loss, and their squared distance from these weights, would be the same at equal eta t.
    Both are compared at log-spaced times that the first window (distances) or all windows (losses)
    of both learning rates have.

    Args:
        dataset: of a run (`storage.load_run`), with `loss` and `displacement_from_start`, whose
            first window begins at its start.

    Returns:
        Dataset along `pair` (coordinates `lower_rate` and `higher_rate`): `distance_ratio` and
        `loss_ratio`, geometric means over times and seeds of the value at the higher rate over that
        at the lower one, and `..._error`, the standard errors over seeds. NaN with a single seed,
        and where two rates have no time in common.

    Raises:
        InputError: the run has a single learning rate.
    """
    rates = np.sort(dataset["learning_rate"].values)
    if len(rates) < 2:
        raise invalid("dataset", "has a single learning rate", "two or more")
    distances = dataset["displacement_from_start"].isel(window=0).sel(learning_rate=rates)
    measured: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "distance": (
            dataset["lag"].values,
            distances.transpose("learning_rate", "seed", "lag").values,
        ),
        "loss": coarse_losses(dataset.sel(learning_rate=rates)),
    }
    found = {}
    for name, (steps, values) in measured.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            logarithms = np.log(values)
        pairs = [
            ensemble_average(_difference(steps, rates[pair], logarithms[pair]))
            for pair in map(list, itertools.pairwise(range(len(rates))))
        ]
        ratio = np.exp([float(pair.mean) for pair in pairs])
        found[f"{name}_ratio"] = ("pair", ratio)
        found[f"{name}_ratio_error"] = (
            "pair",
            ratio * np.array([float(pair.standard_error) for pair in pairs]),
        )
    coords = {"lower_rate": ("pair", rates[:-1]), "higher_rate": ("pair", rates[1:])}
    return xr.Dataset(found, coords)


def coarse_losses(
    dataset: xr.Dataset,
) -> tuple[Float[np.ndarray, "chunk"], Float[np.ndarray, "member seed chunk"]]:
    """Return the losses of a run, averaged over 50 updates, or over a window that is shorter.

    Args:
        dataset: with `loss` (window, seed, learning_rate, point) and `waiting_time`.

    Returns:
        The middle of each chunk in updates, and the losses (learning_rate, seed, chunk).
    """
    recorded = dataset["loss"].isel(point=slice(1, None))
    losses = recorded.transpose("learning_rate", "seed", "window", "point").values
    window = losses.shape[-1]
    width = min(CHUNK, window)
    usable = window // width * width
    steps = dataset["waiting_time"].values[:, None] + np.arange(1, usable + 1)
    chunks = losses[..., :usable].reshape(*losses.shape[:2], -1, width).mean(axis=-1)
    return steps.reshape(-1, width).mean(axis=1), chunks


def _difference(steps: np.ndarray, rates: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean difference of two rates over common times, (seed,)."""
    times = rates[:, None] * steps
    begin, end = times[:, 0].max(), times[:, -1].min()
    if begin >= end:
        return np.full(values.shape[1], np.nan)
    common = np.log(np.geomspace(begin, end, POINTS))
    lower, higher = (
        np.array([np.interp(common, np.log(time), curve) for curve in curves])
        for time, curves in zip(times, values, strict=True)
    )
    return (higher - lower).mean(axis=-1)
