"""Cells of trainings of one network: flatness, spread and freezing times, and their orderings."""

import warnings

import numpy as np
import scipy
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.freezing import freezing_index

__all__ = ["freezing_networks"]

SMALL_LOSS = 0.1  # the first checkpoint below it stands for freezing in the paper's first version
LATE = 0.95  # of the training; a valley that freezes later may not have frozen at all
SURE = 0.9  # share of clones in one valley
DRAWS = 1000  # of the bootstrap
CENTRAL = (0.16, 0.84)  # its quantiles, about one standard error to both sides
THRESHOLDS = (0.9, 0.95, 0.99)  # of the similarity within a valley; the first is the paper's
DEFINITIONS = {"last": (None, False), "strict": (None, True), "relaxed": (-1, False)}
QUARTILES = (0.25, 0.5, 0.75)
FEWEST = 3  # cells of a learning rate for an ordering
ORDERED = (
    "flatness",
    "flatness_of_outliers",
    "normalized_flatness",
    "radius",
    "freezing_time",
    "loss_time",
    "max_accuracy",
)


def freezing_networks(dataset: xr.Dataset) -> xr.Dataset:
    """Return flatness, spread and freezing times of cells, and how the noise orders them.

    Only repeats that have converged count: at the end they label all training examples correctly.
    Times are eta t. A freezing time after 95 percent of the training is censored, since what froze
    so late may not have frozen at all.

    Args:
        dataset: over cell and repeat `flatness`, `flatness_of_outliers`, `normalized_flatness`,
            `share`, `freezing_point`, `train_loss`, `train_accuracy` and `test_accuracy` (point),
            `squared_distance` (other_repeat), `similarity` (branch, other_branch); `barrier` and
            `pair_similarity` (cell, pair); `clone_share` (cell, clone_branch) where there are
            clones; and the coordinates `branch` (points), `learning_rate`, `batch_size`,
            `temperature`, `motion` and `time_of_point` (cell).

    Returns:
        Dataset over cell with

        - the means of `flatness`, `flatness_of_outliers`, `normalized_flatness`, `share`,
          `max_accuracy`, `loss_time` and `freezing_time`, with standard errors NAME_error;
        - `radius`, the root mean square distance of ends from their mean, and its error;
        - `freezing_quartiles` (quartile), and the medians `branch_freezing_time` (definition,
          threshold) of times among the branches: "last", like the last one, which is the training
          itself; "strict", any two alike; "relaxed", like the last one that descends;
        - `late`, the share of censored freezing times, and `converged`, that of repeats;
        - `barrier` and `similarity`, means over pairs;
        - `clone_freezing_time`, from which on 90 percent of clones reach one valley; NaN if never.

        Over quantity and scope it has `ordering`, Spearman's correlation with eta / B, with
        `ordering_low` and `ordering_high`, 16 and 84 percent of a bootstrap over repeats. Its cells
        are those of SGD with a converged repeat: all of them, or those of each learning rate, over
        which the correlations are averaged.
    """
    repeats = _of_repeats(dataset)
    converged = repeats.pop("converged")
    distances = dataset["squared_distance"].transpose("cell", "repeat", "other_repeat").values
    weights = _resampled(converged)
    radius = _radius(distances, weights)
    found = {name: _mean_and_error(values, converged) for name, values in repeats.items()}
    found["radius"] = _radius(distances, converged), radius.std(axis=0)
    names = ("learning_rate", "batch_size", "temperature", "motion", "time_of_point")
    table = xr.Dataset(
        {name: ("cell", mean) for name, (mean, _) in found.items()}
        | {f"{name}_error": ("cell", error) for name, (_, error) in found.items()}
        | _freezing(dataset, repeats["freezing_time"], converged)
        | {
            "converged": ("cell", converged.mean(axis=1)),
            "barrier": dataset["barrier"].mean("pair"),
            "similarity": dataset["pair_similarity"].mean("pair"),
        },
        coords={name: dataset[name] for name in names},
        attrs=dataset.attrs,
    )
    draws = {name: _mean(values, weights) for name, values in repeats.items()}
    return table.assign(_orderings(table, draws | {"radius": radius}))


def _of_repeats(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Numbers (cell, repeat)."""
    small = dataset["train_loss"] <= SMALL_LOSS
    first = small.argmax("point").where(small.any("point"))
    columns = {
        "converged": dataset["train_accuracy"].isel(point=-1) == 1,
        "max_accuracy": dataset["test_accuracy"].max("point"),
        "loss_time": first * dataset["time_of_point"],
        "freezing_time": dataset["freezing_point"] * dataset["time_of_point"],
    }
    columns |= {
        name: dataset[name]
        for name in ("flatness", "flatness_of_outliers", "normalized_flatness", "share")
    }
    return {name: column.transpose("cell", "repeat").values for name, column in columns.items()}


def _freezing(dataset, times, converged):
    """Quartiles of freezing times, and those that have another definition."""
    end = dataset["time_of_point"] * (dataset.sizes["point"] - 1)
    known = converged & np.isfinite(times)
    kept = np.where(known, times, np.nan)
    late = np.where(known, times > LATE * end.values[:, None], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells without a converged repeat
        found = {
            "freezing_quartiles": (("quartile", "cell"), np.nanquantile(kept, QUARTILES, axis=1)),
            "late": ("cell", np.nanmean(late, axis=1)),
        }
        found["branch_freezing_time"] = _among_branches(dataset, known)
    if "clone_share" in dataset:
        sure = dataset["clone_share"] >= SURE
        first = dataset["clone_branch"][sure.argmax("clone_branch")].where(sure.any("clone_branch"))
        found["clone_freezing_time"] = (first * dataset["time_of_point"]).drop_vars("clone_branch")
    return found


def _among_branches(dataset, known):
    """Medians (definition, threshold, cell) by all definitions and thresholds."""
    dims = ("cell", "repeat", "branch", "other_branch")
    similarity = dataset["similarity"].transpose(*dims).values
    times = []
    for last, strict in DEFINITIONS.values():
        part = similarity[..., :last, :last]
        points = [
            dataset["branch"].values[freezing_index(part, threshold=threshold, strict=strict)]
            for threshold in THRESHOLDS
        ]
        times.append(np.nanmedian(np.where(known, points, np.nan), axis=-1))
    return xr.DataArray(
        np.array(times) * dataset["time_of_point"].values,
        dims=("definition", "threshold", "cell"),
        coords={"definition": list(DEFINITIONS), "threshold": list(THRESHOLDS)},
    )


def _resampled(converged: np.ndarray) -> np.ndarray:
    """How often (draw, cell, repeat) each repeat is drawn, from those that have converged."""
    random = np.random.default_rng(0)
    chances = converged / np.maximum(converged.sum(axis=1, keepdims=True), 1)
    return np.stack(
        [
            random.multinomial(count, chance, DRAWS) if count else np.zeros((DRAWS, len(chance)))
            for count, chance in zip(converged.sum(axis=1), chances, strict=True)
        ],
        axis=1,
    )


def _mean_and_error(values, converged):
    average = ensemble_average(np.where(converged, values, np.nan), axis=1)
    return average.mean, average.standard_error


def _mean(values, weights):
    """Weighted means over the last axis, without values that are NaN; NaN without any."""
    own = weights * np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return (own * np.nan_to_num(values)).sum(axis=-1) / own.sum(axis=-1)


def _radius(distances, weights):
    """Root mean square distance from the weighted mean, from squared distances of all pairs."""
    weights = np.asarray(weights, float)
    pairs = np.einsum("...cr,crs,...cs->...c", weights, distances, weights)
    with np.errstate(invalid="ignore"):
        return np.sqrt(pairs / 2) / weights.sum(axis=-1)


def _orderings(table, draws):
    """Spearman's correlations with the noise, and their spread over draws."""
    used = (table["motion"].values == "sgd") & (table["converged"].values > 0)
    rates = table["learning_rate"].values
    groups = [used & (rates == rate) for rate in np.unique(rates)]
    scopes = {
        "all cells": [used],
        "fixed learning rate": [group for group in groups if group.sum() >= FEWEST],
    }
    noise = table["temperature"].values

    def correlation(values):
        return [
            np.mean([_spearman(values[..., own], noise[own]) for own in cells], axis=0)
            if cells and min(own.sum() for own in cells) >= FEWEST
            else np.full(values.shape[:-1], np.nan)
            for cells in scopes.values()
        ]

    found = np.array([correlation(table[name].values) for name in ORDERED])
    spread = np.array([correlation(draws[name]) for name in ORDERED])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # quantities without an ordering
        low, high = np.nanquantile(spread, CENTRAL, axis=-1)
    dims = ("quantity", "scope")
    return {
        "ordering": (dims, found),
        "ordering_low": (dims, low),
        "ordering_high": (dims, high),
        "quantity": list(ORDERED),
        "scope": list(scopes),
    }


def _spearman(values, noise):
    """Correlation of the ranks along the last axis; NaN where all values are alike."""
    ranks, others = (
        rank - rank.mean(axis=-1, keepdims=True)
        # Quotients that should be one number may differ in the last place.
        for rank in (
            scipy.stats.rankdata(values, axis=-1),
            scipy.stats.rankdata(noise.astype(np.float32)),
        )
    )
    with np.errstate(invalid="ignore"):
        return (ranks * others).sum(axis=-1) / np.sqrt(
            (ranks**2).sum(axis=-1) * (others**2).sum(axis=-1)
        )
