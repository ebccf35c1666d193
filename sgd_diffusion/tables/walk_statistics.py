"""What is measured of walkers on landscapes: passages, displacements, gradients; not the paths."""

from typing import Any

import numpy as np
import xarray as xr

from sgd_diffusion._arrays import booleans, host_array, integer
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.segments import segment_msd
from sgd_diffusion.analysis.stable import fits
from sgd_diffusion.analysis.tails.fluctuations import kurtosis_of
from sgd_diffusion.walkers.passages import final_entry, first_passage, stays

__all__ = [
    "EARLY",
    "GRADIENT_EDGES",
    "LAGS",
    "MIN_AFTER",
    "MIN_BEFORE",
    "PARTS",
    "SAMPLE",
    "walk_statistics",
]

LAGS = np.array([1, 2, 3, 4, 6, 8, 10, 14, 20, 28, 40, 60, 100, 200, 500])
# Parts of a path, with their largest lag and the lags of the fit.
PARTS = {
    "before": (20, (4, 20)),
    "after": (100, (10, 100)),
    "early": (60, (10, 60)),
    "whole": (500, (10, 100)),
}
# Steps before and after the final entry into the basin: three times the largest lag of the part.
MIN_BEFORE, MIN_AFTER = 60, 300
EARLY = 144  # steps of the early part, as in the published figure
GRADIENT_EDGES = np.linspace(-5, 5, 51)
SAMPLE = 2000  # gradient components kept of each landscape


def walk_statistics(walks: xr.Dataset, *, seed: IntegerLike = 0) -> xr.Dataset:
    """Return what is measured of every walker and landscape, without the paths.

    The final basin is that of the data. A walker enters it for good at its final entry, the step
    from which on it stays until the end. Its path has these parts: *before* counts if it took at
    least 60 steps, *after* if at least 300 are left, so that the largest lags are a third of both;
    *early* are the first 144 steps; *whole* is all of it. All walkers have the same weight.

    Args:
        walks: dataset with `position` (landscape, walker, step, axis), `gradient` (the same),
            `inside` (landscape, walker, step) whether in the basin, `first_wall_step` (landscape,
            walker), beyond the last step for never, and `lowest_loss`; of the surfaces
            `median_height` and `lowest_height` (landscape).
        seed: of the choice of gradient components that are kept.

    Returns:
        Dataset with

        - `msd` (part, landscape, lag), mean over the walkers that have the part, and their number
          `walkers` (part, landscape);
        - (landscape, walker): `first_passage`, `final_entry`, `first_wall_step`, times, beyond the
          last step for never; `depth`, (median - lowest visited)/(median - lowest) of the surface;
          `gradient_kurtosis`, excess, of both components;
        - (landscape): `steps_inside` and `exits` of the basin, whose ratio is the mean stay; `path`
          (landscape, step, axis) of one walker, with its number `path_walker`, its final entry
          `path_entry`, and `path_arrives`, whether it came as follows. It is the first walker that
          came into the basin after 60 steps or more, is there in the end and had met no wall before
          its final entry; else the first without a wall; else the first of all;
        - with `visits` in front, for `all` points and for those `inner` ones before any contact
          with a wall: `gradient_std`, `gradient_excess` and `gradient_alpha` (of the stable law,
          landscape), `gradient_counts` (landscape, bin) between the `GRADIENT_EDGES`, and
          `gradient_sample` (landscape, sample), 2000 at random.

    Raises:
        InputError: numbers are not real, `inside` is not all true or false, or the seed is
            negative.
    """
    seed, steps = integer("seed", seed, 0), walks.sizes["step"] - 1
    dims = ("landscape", "walker", "step", "axis")
    position, gradient = (_numbers(walks, name, *dims) for name in ("position", "gradient"))
    inside = booleans("inside", walks["inside"].transpose("landscape", "walker", "step").values)
    first_wall = _numbers(walks, "first_wall_step", "landscape", "walker")
    lowest_loss = _numbers(walks, "lowest_loss", "landscape", "walker")
    median, lowest = (
        _numbers(walks, name, "landscape")[:, None] for name in ("median_height", "lowest_height")
    )
    entry = final_entry(inside)
    variables: dict[str, Any] = {
        "first_passage": (("landscape", "walker"), first_passage(inside)),
        "final_entry": (("landscape", "walker"), entry),
        "first_wall_step": (("landscape", "walker"), first_wall),
        "depth": (("landscape", "walker"), _depth(lowest_loss, median, lowest)),
    }
    there = [stays(one) for one in inside]
    variables["steps_inside"] = ("landscape", [one.duration.sum() for one in there])
    variables["exits"] = ("landscape", [one.left.sum() for one in there])
    variables |= _displacements(position, entry, steps)
    variables |= _example_paths(position, variables["first_passage"][1], entry, first_wall, steps)
    variables["gradient_kurtosis"] = (
        ("landscape", "walker"),
        _excess(gradient.reshape(*gradient.shape[:2], -1)),
    )
    inner = np.arange(steps + 1) < first_wall[..., None]
    visits = [
        _gradients(gradient, kept, np.random.default_rng(seed))
        for kept in (np.ones_like(inner), inner)
    ]
    variables |= {
        name: (("visits", *dims), np.stack([visit[name] for visit in visits]))
        for name, dims in (
            ("gradient_std", ("landscape",)),
            ("gradient_excess", ("landscape",)),
            ("gradient_alpha", ("landscape",)),
            ("gradient_counts", ("landscape", "bin")),
            ("gradient_sample", ("landscape", "sample")),
        )
    }
    return xr.Dataset(
        variables,
        coords={"lag": LAGS, "part": list(PARTS), "visits": ["all", "inner"]},
        attrs={"steps": steps},
    )


def _numbers(walks, name, *dims):
    return host_array(name, walks[name].transpose(*dims).values)


def _depth(height, median, lowest):
    with np.errstate(invalid="ignore", divide="ignore"):
        return (median - height) / (median - lowest)


def _displacements(position, entry, steps):
    msd, walkers = [], []
    for part, (largest, _) in PARTS.items():
        first, last, kept = {
            "before": (0, entry, (entry >= MIN_BEFORE) & (entry <= steps)),
            "after": (entry, steps, entry <= steps - MIN_AFTER),
            "early": (0, min(EARLY, steps), np.ones_like(entry, bool)),
            "whole": (0, steps, np.ones_like(entry, bool)),
        }[part]
        lags = LAGS[LAGS <= min(largest, steps // 2)]
        curves = np.full((*entry.shape, len(LAGS)), np.nan)
        curves[..., : len(lags)], _ = segment_msd(position, lags, first=first, last=last)
        average = ensemble_average(np.where(kept[..., None], curves, np.nan), axis=1)
        msd.append(average.mean)
        walkers.append(kept.sum(axis=1))
    return {
        "msd": (("part", "landscape", "lag"), np.stack(msd)),
        "walkers": (("part", "landscape"), np.stack(walkers)),
    }


def _example_paths(position, passage, entry, first_wall, steps):
    """Choose a walker of each landscape to show.

    It is the first that came late, is there in the end and met no wall before; else the first that
    met no wall at all; else the first.
    """
    arrives = (passage >= MIN_BEFORE) & (entry <= steps) & (first_wall > entry)
    walker = (2 * arrives + (first_wall > steps)).argmax(axis=1)
    landscape = np.arange(len(position))
    return {
        "path": (("landscape", "step", "axis"), position[landscape, walker]),
        "path_walker": ("landscape", walker),
        "path_entry": ("landscape", entry[landscape, walker]),
        "path_arrives": ("landscape", arrives.any(axis=1)),
    }


def _excess(values):
    """Return the excess kurtosis along the last axis, NaN where nothing varies.

    Its errors are by landscapes, so those that follow from a path are not needed.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return kurtosis_of(values.astype(np.float64), np.ones(values.shape[-1]))


def _gradients(gradient, kept, random):
    variables = {
        "gradient_std": [],
        "gradient_excess": [],
        "gradient_counts": [],
        "gradient_sample": [],
    }
    for values, mask in zip(gradient, kept, strict=True):
        values = values[mask].ravel().astype(np.float64)
        variables["gradient_std"].append(values.std() if values.size else np.nan)
        variables["gradient_excess"].append(_excess(values) if values.size else np.nan)
        variables["gradient_counts"].append(np.histogram(values, GRADIENT_EDGES)[0])
        chosen = (
            random.choice(values, SAMPLE, replace=values.size < SAMPLE)
            if values.size
            else np.full(SAMPLE, np.nan)
        )
        variables["gradient_sample"].append(chosen)
    variables["gradient_alpha"] = np.asarray(fits.fit(np.array(variables["gradient_sample"])).alpha)
    return {name: np.array(values) for name, values in variables.items()}
