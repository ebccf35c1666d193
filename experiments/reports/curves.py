"""Curves of runs for interactive figures: the MSD and the local exponent of every member."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from experiments.reports.runs import Run
from sgd_diffusion.analysis.lags import MIN_WINDOW, standard_lags
from sgd_diffusion.tables.exponents import local_exponents

MOST = 1000  # curves on a page
FIRST = 24  # curves that are shown at first
UNKNOWN = "not given"
KINDS = {"run": "Runs", "rate": "Learning rates", "window": "Waiting times", "seed": "Seeds"}
"""What tells curves apart, in the order in which they are shown, and what controls are called."""


class Curve(NamedTuple):
    """The curves of a member in a window.

    Attributes:
        run, rate, window, seed: labels.
        lags: (L,)
        msd: (L,), NaN where it is not positive.
        local_lags: (M,), up to half of the window.
        local: (M,), local exponents.
    """

    run: str
    rate: str
    window: str
    seed: str
    lags: np.ndarray
    msd: np.ndarray
    local_lags: np.ndarray
    local: np.ndarray


def curves_of(runs: Sequence[Run]) -> list[Curve]:
    """Return the curves of runs at log-spaced lags, of windows that are evenly spaced."""
    with_curves = [run for run in runs if run.has_curves]
    return [
        curve
        for run in with_curves
        for curve in _curves(run.name, run.members, MOST // len(with_curves))
    ]


def rate_label(rate: Any) -> str:
    """Return what a learning rate is called, which may not be known (NaN)."""
    return f"{float(rate):g}" if np.isfinite(float(rate)) else UNKNOWN


def _rate(label: str) -> float:
    return np.inf if label == UNKNOWN else float(label)


def values(curves: Sequence[Curve]) -> dict[str, list[str]]:
    """Return the labels that the curves have of each kind, in their order."""
    found = {kind: list(dict.fromkeys(getattr(curve, kind) for curve in curves)) for kind in KINDS}
    orders = {"rate": _rate, "window": int, "seed": int}
    return found | {kind: sorted(found[kind], key=order) for kind, order in orders.items()}


def shown_first(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the labels whose curves are shown at first, so that these are few.

    All runs and learning rates are shown if there is room, then as many windows, and then as many
    seeds as fit. Of each kind they are evenly spaced, the first and the last among them.
    """
    room, shown = FIRST, {}
    for kind in KINDS:
        shown[kind] = [found[kind][place] for place in spread(len(found[kind]), max(1, room))]
        room //= max(1, len(shown[kind]))
    return shown


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of the first integers, evenly spaced, with the first and the last.

    >>> spread(10, 4)
    [0, 3, 6, 9]
    """
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, most))).astype(int)).tolist()


def _curves(name: str, dataset: xr.Dataset, most: int) -> list[Curve]:
    members = dataset.sizes["seed"] * dataset.sizes["learning_rate"]
    windows = spread(dataset.sizes["window"], max(1, most // members))
    dataset, found = dataset.isel(window=windows), []
    lags = dataset["lag"].values.astype(float)
    places = _log_spaced(dataset)
    for rate in range(dataset.sizes["learning_rate"]):
        of_rate = dataset.isel(learning_rate=rate)
        msd = of_rate["msd"].transpose("window", "seed", "lag").values[..., places]
        msd = np.where(msd > 0, msd, np.nan).astype(float)
        local = local_exponents(of_rate)
        near = np.flatnonzero(local.lags <= lags[-1] / 2)  # beyond are few pairs of points
        near = near[_log_places(len(near))] if "fit_lag" not in dataset.coords else near
        for window, seed in np.ndindex(msd.shape[:2]):
            if np.isfinite(msd[window, seed]).any():
                found.append(
                    Curve(
                        name,
                        rate_label(of_rate["learning_rate"]),
                        f"{int(of_rate['waiting_time'][window])}",
                        f"{int(of_rate['seed'][seed])}",
                        lags[places],
                        msd[window, seed],
                        local.lags[near],
                        local.exponent[window, seed, near],
                    )
                )
    return found


def _log_spaced(dataset: xr.Dataset) -> np.ndarray:
    """Return the places of the lags that are drawn, those of fits."""
    lags = dataset["lag"].values
    if "fit_lag" in dataset.coords:
        return np.searchsorted(lags, dataset["fit_lag"].values)
    return standard_lags(len(lags)) - 1 if len(lags) >= MIN_WINDOW else np.arange(len(lags))


def _log_places(count: int) -> np.ndarray:
    return np.unique(np.rint(np.geomspace(1, max(count, 1), 100)).astype(int))[:count] - 1
