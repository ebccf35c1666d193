"""Walkers on toy landscapes in numbers: when they come into the wide basin, how they move before and after, what they feel."""

import jax
import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.analysis.segments import segment_msd
from sgd_diffusion.analysis.stable import fits
from sgd_diffusion.analysis.stable.comparison import compare_with_normal
from sgd_diffusion.landscape.passages import final_entry, first_passage, stays

__all__ = ["GRADIENT_EDGES", "LAGS", "MIN_AFTER", "MIN_BEFORE", "PARTS", "toy_walks", "walk_statistics"]

LAGS = np.array([1, 2, 3, 4, 6, 8, 10, 14, 20, 28, 40, 60, 100, 200, 500])
# Parts of a path, with their largest lag and the lags of the fit.
PARTS = {"before": (20, (4, 20)), "after": (100, (10, 100)), "early": (60, (10, 60)), "whole": (500, (10, 100))}
MIN_BEFORE = 60  # steps before the final entry into the basin, three times the largest lag of that part
MIN_AFTER = 300  # steps after it, likewise
EARLY = 144  # steps of the early part, as in the published figure
GRADIENT_EDGES = np.linspace(-5, 5, 51)
SAMPLE = 2000  # gradient components kept of each landscape
POOLED = 10_000  # of all landscapes together, equally many of each
REPLICATES = 200
MIN_LANDSCAPES, BLOCKS = 3, 20  # of a bootstrap of pooled gradients


def walk_statistics(walks, *, seed=0):
    """What is measured of every walker and landscape, without the paths.

    The final basin is that of the data; a walker enters it for good at its final entry, the step from which on it stays
    until the end. Its path *before* counts if it took at least 60 steps, *after* if at least 300 are left (so that the
    largest lags are a third of both); *early* are the first 144 steps and *whole* is all of it. Walkers weigh the same.

    Args:
        walks: dataset with ``position`` (landscape, walker, step, axis), ``gradient`` (the same), ``inside`` (landscape,
            walker, step) whether in the basin, ``first_wall_step`` (landscape, walker), beyond the last step for never,
            and ``lowest_loss``; of the surfaces ``median_height`` and ``lowest_height`` (landscape).
        seed: of the choice of gradient components that are kept.

    Returns:
        Dataset with

        - ``msd`` (part, landscape, lag), mean over the walkers that have the part, and their number ``walkers`` (part,
          landscape);
        - (landscape, walker): ``first_passage``, ``final_entry``, ``first_wall_step``, times, beyond the last step for never;
          ``depth``, (median - lowest visited)/(median - lowest) of the surface; ``gradient_kurtosis``, excess, of both
          components;
        - (landscape): ``steps_inside`` and ``exits`` of the basin, whose ratio is the mean stay; ``path`` (landscape, step,
          axis) of one walker, the first that came into the basin after 60 steps or more without having met a wall, else the first
          of all, with its number ``path_walker``, its final entry ``path_entry``, and ``path_arrives``, whether there was one;
        - with ``visits`` in front, for ``all`` points and for those ``inner`` ones before any contact with a wall:
          ``gradient_std``, ``gradient_excess`` and ``gradient_alpha`` (of the stable law, landscape), ``gradient_counts`` (landscape, bin) between the
          ``GRADIENT_EDGES`` and ``gradient_sample`` (landscape, sample), 2000 components at random.
    """
    steps = walks.sizes["step"] - 1
    position, gradient = (walks[name].transpose("landscape", "walker", "step", "axis").values for name in ("position", "gradient"))
    inside = walks["inside"].transpose("landscape", "walker", "step").values
    first_wall = walks["first_wall_step"].transpose("landscape", "walker").values
    entry = final_entry(inside)
    found = {
        "first_passage": (("landscape", "walker"), first_passage(inside)),
        "final_entry": (("landscape", "walker"), entry),
        "first_wall_step": (("landscape", "walker"), first_wall),
        "depth": (walks["median_height"] - walks["lowest_loss"]) / (walks["median_height"] - walks["lowest_height"]),
    }
    there = [stays(one) for one in inside]
    found["steps_inside"] = ("landscape", [one.duration.sum() for one in there])
    found["exits"] = ("landscape", [one.left.sum() for one in there])
    found |= _displacements(position, entry, steps)
    found |= _example_paths(position, entry, first_wall, steps)
    found["gradient_kurtosis"] = (("landscape", "walker"), _excess(gradient.reshape(*gradient.shape[:2], -1)))
    inner = np.arange(steps + 1) < first_wall[..., None]
    visits = [_gradients(gradient, kept, np.random.default_rng(seed)) for kept in (np.ones_like(inner), inner)]
    found |= {name: (("visits", *dims), np.stack([visit[name] for visit in visits]))
              for name, dims in (("gradient_std", ("landscape",)), ("gradient_excess", ("landscape",)),
                                 ("gradient_alpha", ("landscape",)),
                                 ("gradient_counts", ("landscape", "bin")), ("gradient_sample", ("landscape", "sample")))}
    return xr.Dataset(found, coords={"lag": LAGS, "part": list(PARTS), "visits": ["all", "inner"]}, attrs={"steps": steps})


def toy_walks(statistics, selected, *, seed=0):
    """Exponents, passages, gradients and depth of all landscapes and of the selected ones, side by side.

    Errors are standard deviations over 200 resamplings of the landscapes (their walkers go with them): the walkers of one
    landscape are not independent.

    Args:
        statistics: dataset of :func:`walk_statistics` of several kinds of surfaces, along ``surface``.
        selected: (landscape,) booleans.
        seed: of the resampling.

    Returns:
        Dataset along ``surface`` and ``selection`` ("all", "selected"), each number with its error as NAME_error:
        ``exponent`` (..., part) and the mean ``msd`` (..., part, lag); the shares of walkers ``started``, ``reached`` and
        ``ended`` in the basin and ``walls`` that met a wall; ``passage``, the mean first passage of those that came, not
        from within; ``stay``, the mean stay in the basin in steps; ``depth``; with ``visits``: ``excess`` kurtosis and ``alpha``
        of the stable law of pooled gradients, mean ``landscape_excess`` and ``landscape_alpha`` over landscapes, and
        ``likelihood_ratio`` and ``p_value`` against the normal law of the pooled ones; ``walker_excess``, the median over
        walkers. NaN where nothing is left.
    """
    random = np.random.default_rng(seed)
    rows = {}
    for number, selection in enumerate((np.ones_like(selected), selected)):
        chosen = np.flatnonzero(selection)
        resampled = chosen[random.integers(len(chosen), size=(REPLICATES, len(chosen)))] if len(chosen) else None
        for kind in statistics["surface"].values:
            rows[kind, number] = _row(statistics.sel(surface=kind), chosen, resampled)
    names = next(iter(rows.values()))
    data = {}
    for name, (dims, _) in names.items():
        values = np.stack([np.stack([rows[kind, number][name][1] for number in (0, 1)]) for kind in statistics["surface"].values])
        data[name] = (("surface", "selection", *dims), values)
    coords = {"surface": statistics["surface"].values, "selection": ["all", "selected"], "part": statistics["part"].values,
              "lag": statistics["lag"].values, "visits": statistics["visits"].values}
    return xr.Dataset(data, coords=coords)


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
    return {"msd": (("part", "landscape", "lag"), np.stack(msd)), "walkers": (("part", "landscape"), np.stack(walkers))}


def _example_paths(position, entry, first_wall, steps):
    """Of each landscape the first walker that has a part before its final entry, which no wall has disturbed; else the first."""
    arrives = (entry >= MIN_BEFORE) & (entry <= steps) & (first_wall > entry)
    walker = arrives.argmax(axis=1)
    landscape = np.arange(len(position))
    return {"path": (("landscape", "step", "axis"), position[landscape, walker]), "path_walker": ("landscape", walker),
            "path_entry": ("landscape", entry[landscape, walker]), "path_arrives": ("landscape", arrives.any(axis=1))}


def _excess(values):
    """Excess kurtosis along the last axis, NaN where nothing varies."""
    deviations = values - values.mean(axis=-1, keepdims=True, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (deviations**4).mean(axis=-1) / (deviations**2).mean(axis=-1) ** 2 - 3


def _gradients(gradient, kept, random):
    found = {"gradient_std": [], "gradient_excess": [], "gradient_counts": [], "gradient_sample": []}
    for values, mask in zip(gradient, kept, strict=True):
        values = values[mask].ravel().astype(np.float64)
        found["gradient_std"].append(values.std() if values.size else np.nan)
        found["gradient_excess"].append(_excess(values) if values.size else np.nan)
        found["gradient_counts"].append(np.histogram(values, GRADIENT_EDGES)[0])
        chosen = random.choice(values, SAMPLE, replace=values.size < SAMPLE) if values.size else np.full(SAMPLE, np.nan)
        found["gradient_sample"].append(chosen)
    found["gradient_alpha"] = np.asarray(fits.fit(np.array(found["gradient_sample"])).alpha)
    return {name: np.array(values) for name, values in found.items()}


def _row(statistics, chosen, resampled):
    """Numbers of one kind of surface and one selection, {name: (dims, values)}."""
    row = {}

    def keep(name, dims, function):
        """A function of the landscapes, with its scatter over resamplings."""
        value = np.asarray(function(chosen), float)
        error = np.full(value.shape, np.nan)
        if resampled is not None:
            replicates = np.array([function(landscapes) for landscapes in resampled], float)
            present = np.isfinite(replicates).all(axis=0)
            error = np.where(present, replicates.std(axis=0), np.nan)
        row[name], row[f"{name}_error"] = (dims, value), (dims, error)

    steps, values = statistics.attrs["steps"], {name: statistics[name].values for name in statistics}
    keep("msd", ("part", "lag"), lambda chosen: _pooled_msd(values, chosen))
    keep("exponent", ("part",), lambda chosen: _exponents(_pooled_msd(values, chosen)))
    keep("started", (), lambda chosen: _mean(values["first_passage"][chosen] == 0))
    keep("reached", (), lambda chosen: _mean(values["first_passage"][chosen] <= steps))
    keep("ended", (), lambda chosen: _mean(values["final_entry"][chosen] <= steps))
    keep("walls", (), lambda chosen: _mean(values["first_wall_step"][chosen] <= steps))
    keep("depth", (), lambda chosen: _mean(values["depth"][chosen]))
    keep("passage", (), lambda chosen: _mean_passage(values["first_passage"][chosen], steps))
    keep("stay", (), lambda chosen: _ratio(values["steps_inside"][chosen].sum(), values["exits"][chosen].sum()))
    keep("walker_excess", (), lambda chosen: _median(values["gradient_kurtosis"][chosen]))
    keep("landscape_excess", ("visits",), lambda chosen: _mean(values["gradient_excess"][:, chosen], axis=1))
    keep("landscape_alpha", ("visits",), lambda chosen: _mean(values["gradient_alpha"][:, chosen], axis=1))
    samples = values["gradient_sample"].astype(np.float64)
    moments = np.stack([(samples**order).mean(axis=-1) for order in range(1, 5)])
    keep("excess", ("visits",), lambda chosen: _excess_of_moments(*_mean(moments[:, :, chosen], axis=2)))
    row |= _stable(samples, chosen)
    row["walkers"] = ("part",), values["walkers"][:, chosen].sum(axis=1)
    return row


def _pooled_msd(values, chosen):
    """Mean over the walkers of these landscapes, (part, lag)."""
    weights = values["walkers"][:, chosen, None]
    sums = np.where(weights > 0, weights * np.where(weights > 0, values["msd"][:, chosen], 0), 0).sum(axis=1)
    return _ratio(sums, weights.sum(axis=1))


def _exponents(msd):
    found = []
    for curve, (_, (low, high)) in zip(msd, PARTS.values(), strict=True):
        present = np.isfinite(curve) & (curve > 0) & (LAGS >= low) & (LAGS <= high)
        found.append(fit_power_law(LAGS[present], curve[present]).exponent if present.sum() > 2 else np.nan)
    return np.array(found, float)


def _stable(samples, chosen):
    """Stable fits of pooled gradients; errors and effective numbers by blocks of landscapes."""
    found = {name: np.full(len(samples), np.nan) for name in ("alpha", "alpha_error", "likelihood_ratio", "p_value")}
    for visit, each in enumerate(samples[:, chosen]):
        each = each[np.isfinite(each).all(axis=1)]
        if len(each) < MIN_LANDSCAPES or np.ptp(each) == 0:
            continue
        blocks = min(len(each), BLOCKS)
        share = -(-POOLED // len(each))
        pooled, landscape = (np.resize(values, POOLED) for values in (
            each[:, :share].ravel(), np.repeat(np.arange(len(each)) * blocks // len(each), min(share, SAMPLE))))
        fit = fits.fit(pooled)
        replicates = fits.block_bootstrap(jax.random.key(0), pooled, fit, times=landscape, num_times=blocks, num_blocks=blocks)
        test = compare_with_normal(pooled, fit, num_blocks=blocks)
        for name, value in (("alpha", fit.alpha), ("alpha_error", np.std(np.asarray(replicates.alpha))),
                            ("likelihood_ratio", test.log_likelihood_ratio), ("p_value", test.p_value)):
            found[name][visit] = value
    return {name: (("visits",), values) for name, values in found.items()}


def _excess_of_moments(first, second, third, fourth):
    """Excess kurtosis from the moments about 0."""
    variance = second - first**2
    return _ratio(fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4, variance**2) - 3


def _mean(values, axis=None):
    return ensemble_average(np.asarray(values, float).reshape(-1) if axis is None else values, axis=axis or 0).mean


def _median(values):
    values = values[np.isfinite(values)]
    return np.median(values) if values.size else np.nan


def _mean_passage(times, steps):
    came = (times > 0) & (times <= steps)
    return times[came].mean() if came.any() else np.nan


def _ratio(numerator, denominator):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, np.divide(numerator, np.asarray(denominator, float)), np.nan)
