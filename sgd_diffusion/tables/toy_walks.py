"""Walkers on toy landscapes in numbers, of all landscapes and of the selected ones."""

from collections.abc import Sequence

import jax
import numpy as np
import xarray as xr

from sgd_diffusion._arrays import booleans, integer
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.least_squares import MIN_REPLICATES
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.analysis.stable import fits
from sgd_diffusion.analysis.stable.comparison import compare_with_normal
from sgd_diffusion.errors import invalid
from sgd_diffusion.tables.walk_statistics import LAGS, PARTS, SAMPLE

__all__ = ["toy_walks"]

POOLED = 5000  # gradient components of all landscapes together, as many of each
LAW = ("alpha", "location", "scale")  # of the stable law
REPLICATES, STABLE_REPLICATES = 200, 20  # resamplings of the landscapes, of pooled gradients
MIN_LANDSCAPES, BLOCKS = 3, 20  # of landscapes, for pooled gradients


def toy_walks(
    statistics: xr.Dataset,
    selected: ArrayLike,
    *,
    tails: Sequence[str] | None = None,
    seed: IntegerLike = 0,
) -> xr.Dataset:
    """Return exponents, passages, gradients and depth, of all landscapes and of the selected ones.

    The walkers of one landscape are not independent. So errors are standard deviations over 200
    resamplings of the landscapes with their walkers. Fewer than 10 landscapes have no errors.

    Args:
        statistics: dataset of `walk_statistics` of several kinds of surfaces, along `surface`.
        selected: (landscape,) booleans.
        tails: surfaces whose pooled gradients are compared with a stable law, which takes a second
            each; all when None.
        seed: of the resampling.

    Returns:
        Dataset along `surface` and `selection` ("all", "selected"), each number with its error as
        NAME_error:

        - `exponent` (..., part) and the mean `msd` (..., part, lag);
        - the shares of walkers `started`, `reached` and `ended` in the basin and `walls` that met a
          wall;
        - `passage`, the mean first passage of those that came, not from within;
        - `stay`, the mean stay in the basin in steps;
        - `depth`;
        - with `visits`: `excess` kurtosis and `alpha` of the stable law of pooled gradients, mean
          `landscape_excess` and `landscape_alpha` over landscapes, and `likelihood_ratio` and
          `p_value` against the normal law of the pooled ones. `location` and `scale` of the stable
          law, and `mean` and `std` of the normal one, have no errors;
        - `walker_excess`, the median over walkers.

        NaN where nothing is left.

    Raises:
        InputError: `selected` are not booleans, one for each landscape, or the seed is negative.
    """
    seed, selected = integer("seed", seed, 0), np.asarray(booleans("selected", selected))
    if selected.shape != (statistics.sizes["landscape"],):
        raise invalid(
            "selected",
            f"has shape {selected.shape}",
            f"({statistics.sizes['landscape']},), one boolean for each landscape",
        )
    random = np.random.default_rng(seed)
    rows = {}
    for number, selection in enumerate((np.ones_like(selected), selected)):
        chosen = np.flatnonzero(selection)
        enough = len(chosen) >= MIN_REPLICATES
        resampled = (
            chosen[random.integers(len(chosen), size=(REPLICATES, len(chosen)))] if enough else None
        )
        for kind in statistics["surface"].values:
            rows[kind, number] = _row(
                statistics.sel(surface=kind), chosen, resampled, tails is None or kind in tails
            )
    names = next(iter(rows.values()))
    data = {}
    for name, (dims, _) in names.items():
        values = [
            [rows[kind, number][name][1] for number in (0, 1)]
            for kind in statistics["surface"].values
        ]
        data[name] = (("surface", "selection", *dims), np.array(values))
    coords = {
        "surface": statistics["surface"].values,
        "selection": ["all", "selected"],
        "part": statistics["part"].values,
        "lag": statistics["lag"].values,
        "visits": statistics["visits"].values,
    }
    return xr.Dataset(data, coords=coords)


def _row(statistics, chosen, resampled, with_tails):
    """Return the numbers of one kind of surface and one selection, {name: (dims, values)}."""
    row = {}

    def of_landscapes(function):
        """A function of the landscapes, and of all resamplings."""
        value = np.asarray(function(chosen), float)
        replicates = [] if resampled is None else [function(some) for some in resampled]
        return value, np.reshape(replicates, (len(replicates), *value.shape)).astype(float)

    def keep(name, dims, value, replicates):
        """A value with its scatter over resamplings."""
        error = np.full(value.shape, np.nan)
        if len(replicates):
            present = np.isfinite(replicates).all(axis=0)
            error = np.where(present, replicates.std(axis=0), np.nan)
        row[name], row[f"{name}_error"] = (dims, value), (dims, error)

    steps = statistics.attrs["steps"]
    values = {name: statistics[name].values for name in statistics}
    samples = values["gradient_sample"].astype(np.float64)
    moments = np.stack([(samples**order).mean(axis=-1) for order in range(1, 5)])
    msds = of_landscapes(lambda chosen: _pooled_msd(values, chosen))
    keep("msd", ("part", "lag"), *msds)
    keep("exponent", ("part",), *(_exponents(msd) for msd in msds))
    for name, dims, function in (
        ("started", (), lambda chosen: _mean(values["first_passage"][chosen] == 0)),
        ("reached", (), lambda chosen: _mean(values["first_passage"][chosen] <= steps)),
        ("ended", (), lambda chosen: _mean(values["final_entry"][chosen] <= steps)),
        ("walls", (), lambda chosen: _mean(values["first_wall_step"][chosen] <= steps)),
        ("depth", (), lambda chosen: _mean(values["depth"][chosen])),
        ("passage", (), lambda chosen: _mean_passage(values["first_passage"][chosen], steps)),
        (
            "stay",
            (),
            lambda chosen: _ratio(
                values["steps_inside"][chosen].sum(), values["exits"][chosen].sum()
            ),
        ),
        ("walker_excess", (), lambda chosen: _median(values["gradient_kurtosis"][chosen])),
        (
            "landscape_excess",
            ("visits",),
            lambda chosen: _mean(values["gradient_excess"][:, chosen], axis=1),
        ),
        (
            "landscape_alpha",
            ("visits",),
            lambda chosen: _mean(values["gradient_alpha"][:, chosen], axis=1),
        ),
        (
            "excess",
            ("visits",),
            lambda chosen: _excess_of_moments(*_mean(moments[:, :, chosen], axis=2)),
        ),
    ):
        keep(name, dims, *of_landscapes(function))
    row |= _stable(samples, chosen if with_tails else chosen[:0])
    row["walkers"] = ("part",), values["walkers"][:, chosen].sum(axis=1)
    return row


def _pooled_msd(values, chosen):
    """Return the mean over the walkers of these landscapes, (part, lag)."""
    weights = values["walkers"][:, chosen, None]
    sums = np.where(
        weights > 0, weights * np.where(weights > 0, values["msd"][:, chosen], 0), 0
    ).sum(axis=1)
    return _ratio(sums, weights.sum(axis=1))


def _exponents(msd):
    """Return the exponents of curves (..., part, lag) on the lags where they are known."""
    exponents = np.full(msd.shape[:-1], np.nan)
    for part, (_, (low, high)) in enumerate(PARTS.values()):
        curves = msd[..., part, :]
        present = np.isfinite(curves) & (curves > 0) & (LAGS >= low) & (LAGS <= high)
        # Nearly all curves are known on the same lags, and are fitted at once.
        for known in np.unique(present.reshape(-1, len(LAGS)), axis=0):
            if known.sum() > 2:
                alike = (present == known).all(axis=-1)
                fit = fit_power_law(LAGS[known], curves[alike][:, known])
                exponents[..., part][alike] = fit.exponent
    return exponents


def _stable(samples, chosen):
    """Fit the stable law to pooled gradients.

    Errors and effective numbers are by blocks of landscapes.
    """
    numbers = {
        name: np.full(len(samples), np.nan)
        for name in (*LAW, "alpha_error", "mean", "std", "likelihood_ratio", "p_value")
    }
    for visit, each in enumerate(samples[:, chosen]):
        each = each[np.isfinite(each).all(axis=1)]
        if len(each) < MIN_LANDSCAPES or np.ptp(each) == 0:
            continue
        blocks = min(len(each), BLOCKS)
        share = -(-POOLED // len(each))
        pooled, landscape = (
            np.resize(values, POOLED)
            for values in (
                each[:, :share].ravel(),
                np.repeat(np.arange(len(each)) * blocks // len(each), min(share, SAMPLE)),
            )
        )
        fit = fits.fit(pooled)
        replicates = fits.bootstrap_fit(
            jax.random.key(0),
            pooled,
            fit,
            times=landscape,
            num_times=blocks,
            num_resamples=STABLE_REPLICATES,
            num_blocks=blocks,
        )
        test = compare_with_normal(pooled, fit, num_blocks=blocks)
        for name, value in (
            *((name, getattr(fit, name)) for name in LAW),
            ("mean", pooled.mean()),
            ("std", pooled.std()),
            ("alpha_error", np.std(np.asarray(replicates.alpha))),
            ("likelihood_ratio", test.log_likelihood_ratio),
            ("p_value", test.p_value),
        ):
            numbers[name][visit] = value
    return {name: (("visits",), values) for name, values in numbers.items()}


def _excess_of_moments(first, second, third, fourth):
    """Return the excess kurtosis from the moments about 0."""
    variance = second - first**2
    return (
        _ratio(fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4, variance**2) - 3
    )


def _mean(values, axis=None):
    return ensemble_average(
        np.asarray(values, float).reshape(-1) if axis is None else values, axis=axis or 0
    ).mean


def _median(values):
    values = values[np.isfinite(values)]
    return np.median(values) if values.size else np.nan


def _mean_passage(times, steps):
    came = (times > 0) & (times <= steps)
    return times[came].mean() if came.any() else np.nan


def _ratio(numerator, denominator):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(
            denominator > 0, np.divide(numerator, np.asarray(denominator, float)), np.nan
        )
