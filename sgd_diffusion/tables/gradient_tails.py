"""Tails of gradients, what pooling makes of them, and fluctuations of the loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgd_diffusion._arrays import in_double, integer
from sgd_diffusion._types import IntegerLike, Key
from sgd_diffusion.analysis import pooling, tails
from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.pairs import NUM_BLOCKS
from sgd_diffusion.analysis.stable import comparison, fits, law
from sgd_diffusion.errors import invalid
from sgd_diffusion.tables.members import MEMBERS, member_coordinates, rows

__all__ = ["gradient_tails"]

INTERVAL = (0.05, 0.95)
LAYER_RESAMPLES = 20  # a standard error from so many is known to 16 percent
# Steps, or batches, are counted in so many places for the bootstrap. So series of any length have
# one program.
PLACES = 100
RIVALS = ["normal", "student_t", "exponential_power"]
MOVING = 100  # losses of a moving variance


def gradient_tails(
    dataset: xr.Dataset,
    *,
    key: Key | None = None,
    num_entries: IntegerLike = 5000,
    num_resamples: IntegerLike = 50,
) -> xr.Dataset:
    """Return symmetric alpha-stable laws of the gradients, and what pooling alone makes of them.

    A sample is drawn from each `source` of entries, uniform over parameters and steps
    (`pooling.draw_entries`):

    - "pooled": mini-batch gradients along the window, as Chen, Qu & Gong (arXiv:2009.10588, Fig. 5)
      take them;
    - "per coordinate": the same, every coordinate in units of its own scale
      (`pooling.standardized`). It is no mixture of the scales of coordinates, but for the error of
      a scale, 1.2/sqrt(T) of it;
    - "frozen": mini-batch gradients at the weights where the window ends;
    - "noise": these less the gradient of all examples. "noise per coordinate" has every coordinate
      in units of its own scale, and shows the tail across mini-batches;
    - "Gaussian, layer scales" and "Gaussian, coordinate scales": the null hypotheses, Gaussian
      numbers with the root mean square that layers, or coordinates, have in "pooled"
      (`pooling.gaussian_surrogate`).

    Args:
        dataset: with `gradient_sample` and, for the sources that are called frozen and noise,
            `frozen_gradient` and `full_gradient` (`standard.default_measurements` of a plan with
            `gradient_samples` and `frozen_passes`), and the series `loss`.
        key: PRNG key; `jax.random.key(0)` when None.
        num_entries: entries in each sample, at least 20. A layer with fewer gives some of them
            twice.
        num_resamples: replicates of the block bootstrap, at least 2; layers get 20 at most.

    Returns:
        Dataset with dimensions (window, seed, learning_rate), NaN for members that diverged. With
        `source` in front:

        - `alpha`, `scale`, `location` of the fit and its `status`, an `estimates.Status`
          (`fits.fit`);
        - `alpha_error`, `alpha_low` and `alpha_high`: standard deviation and 5 and 95 % quantiles
          of replicates that are resampled in ten blocks of time, or of batches
          (`fits.bootstrap_fit`). `alpha_information_error` would be right for independent entries,
          and is too small for those of steps that have anything in common;
        - `log_likelihood_ratio`, `vuong_z`, `vuong_p` (source, rival, ..) of the stable law against
          the normal law, Student's t and the exponential power law, positive where the stable law
          is better (`analysis.stable.comparison`). Their errors are from ten blocks of time or
          batches; `effective_entries` is how many independent entries they are worth for that;
        - `ks_stable` and `ks_normal`: Kolmogorov-Smirnov distances of the fitted laws;
        - `hill` (both tails, number of tail points chosen), `mohammadi` (by the median, as some
          entries are zero) and `excess_kurtosis`, with errors;
        - `num_coordinates`: how many coordinates the entries come from. Sources in units of scales
          leave out coordinates that have no scale.

        With `layer` in front: `layer_alpha`, `layer_alpha_error` and `layer_status` of the
        gradients of each layer along the window. Of the mini-batch loss:

        - `loss_change` (.., update): |L_{t+1} - L_t|, and `mean_loss_change`;
        - `moving_variance` (.., first_point): variance of 100 consecutive losses, and
          `mean_moving_variance`.

    Raises:
        InputError: the dataset has no gradients or windows of fewer than 100 updates, or there are
            fewer than 20 entries or 2 replicates.
    """
    if "gradient_sample" not in dataset:
        raise invalid(
            "dataset",
            "has no variable 'gradient_sample'",
            "that of a run whose plan has gradient_samples > 0",
        )
    if dataset.sizes["point"] <= MOVING:
        raise invalid(
            "dataset",
            f"has windows of {dataset.sizes['point'] - 1} updates",
            f"at least {MOVING} for the moving variance of the loss",
        )
    num_entries, num_resamples = (
        integer("num_entries", num_entries, 20),
        integer("num_resamples", num_resamples, 2),
    )
    key = jax.random.key(0) if key is None else key
    sizes = {dim: dataset.sizes[dim] for dim in MEMBERS}
    layers = list(dict.fromkeys(dataset["coordinate_layer"].values.tolist()))
    names = list(_sources(key, dataset.isel(dict.fromkeys(MEMBERS, 0))))
    keys = jax.random.split(key, tuple(sizes.values()))

    def of_sources(member, index):
        surrogate_key, *own = jax.random.split(keys[index], 1 + len(names))
        sources = _sources(surrogate_key, member).values()
        return _side_by_side(
            _tail(key, *source, num_entries, num_resamples)
            for key, source in zip(own, sources, strict=True)
        )

    def of_layers(member, index):
        gradients, place = (
            _series(member["gradient_sample"], "update"),
            member["coordinate_layer"].values,
        )
        own = jax.random.split(jax.random.fold_in(keys[index], 1), len(layers))
        return _side_by_side(
            _layer_tail(
                key, gradients, place == layer, num_entries, min(num_resamples, LAYER_RESAMPLES)
            )
            for key, layer in zip(own, layers, strict=True)
        )

    table = member_coordinates(dataset).assign(rows(dataset, sizes, of_sources, "source", "rival"))
    table = table.assign(rows(dataset, sizes, of_layers, "layer")).assign(
        _loss_fluctuations(dataset)
    )
    flags = {
        "flag_values": [int(status) for status in Status],
        "flag_meanings": " ".join(status.name for status in Status),
    }
    for name in ("status", "layer_status"):
        table[name].attrs.update(flags)
    return table.assign_coords(source=names, rival=RIVALS, layer=layers).assign_attrs(
        num_entries=num_entries
    )


def _sources(key, member):
    """Return the series (T, S) by source, with the weight of each coordinate."""
    layers, weights = member["coordinate_layer"].values, member["coordinate_weight"].values
    gradients = _series(member["gradient_sample"], "update")
    sources = {"pooled": (gradients, weights), "per coordinate": _standardized(gradients, weights)}
    if "frozen_gradient" in member:
        batches = ("frozen_pass", "frozen_batch")
        noise = _series(member["frozen_gradient"] - member["full_gradient"], *batches)
        sources |= {
            "frozen": (_series(member["frozen_gradient"], *batches), weights),
            "noise": (noise, weights),
            "noise per coordinate": _standardized(noise, weights),
        }
    for name, groups in (("layer", layers), ("coordinate", None)):
        key, surrogate_key = jax.random.split(key)
        sources[f"Gaussian, {name} scales"] = (
            pooling.gaussian_surrogate(surrogate_key, gradients, groups),
            weights,
        )
    return sources


def _series(samples, *time):
    """Return samples as (T, S)."""
    samples = samples.transpose(*time, "coordinate").values
    return samples.reshape(-1, samples.shape[-1])


def _standardized(samples, weights):
    scaled = pooling.standardized(samples)
    return scaled.values, weights * np.asarray(scaled.usable)


def _tail(key, samples, weights, num_entries, num_resamples):
    """Return all that is said about a sample of entries, as arrays of the device."""
    with in_double():
        values, places, fit, numbers = _stable(key, samples, weights, num_entries, num_resamples)
        return (
            numbers
            | _without_law(values, places)
            | _against_other_laws(values, places, fit)
            | {"num_coordinates": np.count_nonzero(weights)}
        )


def _layer_tail(key, samples, inside, num_entries, num_resamples):
    with in_double():
        *_, numbers = _stable(key, samples, inside, num_entries, num_resamples)
        return {f"layer_{name}": numbers[name] for name in ("alpha", "alpha_error", "status")}


def _side_by_side(rows):
    started = list(rows)  # all are on their way before the first is waited for
    return {name: np.stack([row[name] for row in started]) for name in started[0]}


def _stable(key, samples, weights, num_entries, num_resamples):
    """Draw entries, and fit the stable law to them.

    Returns:
        The entries in random order, their places in time, the fit, and its numbers by name.
    """
    draw_key, bootstrap_key = jax.random.split(key)
    entries = pooling.draw_entries(draw_key, samples, weights, num_entries)
    values, places = entries.values.astype(jnp.float64), entries.times * PLACES // len(samples)
    fit = fits.fit(values)
    replicates = _replicates(bootstrap_key, values, fit, places, num_resamples=num_resamples)
    return (
        values,
        places,
        fit,
        replicates
        | {
            "alpha": fit.alpha,
            "alpha_information_error": fit.alpha_error,
            "scale": fit.scale,
            "location": fit.location,
            "status": fit.status,
        },
    )


@functools.partial(jax.jit, static_argnames="num_resamples")
def _replicates(key, values, fit, places, *, num_resamples):
    alpha = fits.bootstrap_fit(
        key, values, fit, times=places, num_times=PLACES, num_resamples=num_resamples
    ).alpha
    low, high = jnp.quantile(alpha, jnp.array(INTERVAL))
    return {"alpha_error": alpha.std(ddof=1), "alpha_low": low, "alpha_high": high}


@jax.jit
def _without_law(values, places):
    hill, mohammadi = tails.hill(values), tails.mohammadi_quantile(values)
    kurtosis = tails.excess_kurtosis(values[jnp.argsort(places)])  # errors by blocks of time
    return {
        "hill": hill.value,
        "hill_error": hill.error,
        "mohammadi": mohammadi.value,
        "mohammadi_error": mohammadi.error,
        "excess_kurtosis": kurtosis.value,
        "excess_kurtosis_error": kurtosis.error,
    }


@jax.jit
def _against_other_laws(values, places, fit):
    in_time = values[jnp.argsort(places)]
    tests = [
        comparison.compare_with_normal(in_time, fit, num_blocks=NUM_BLOCKS),
        *(comparison.compare(in_time, fit, rival, num_blocks=NUM_BLOCKS) for rival in RIVALS[1:]),
    ]
    ratio, z, p_value, effective, _ = (jnp.stack(numbers) for numbers in zip(*tests, strict=True))
    ks_stable = comparison.ks_distance(
        values, lambda x: law.cdf(x, fit.alpha, location=fit.location, scale=fit.scale)
    )
    ks_normal = comparison.ks_distance(
        values, lambda x: jax.scipy.stats.norm.cdf((x - x.mean()) / x.std())
    )
    return {
        "log_likelihood_ratio": ratio,
        "vuong_z": z,
        "vuong_p": p_value,
        "effective_entries": effective,
        "ks_stable": ks_stable,
        "ks_normal": ks_normal,
    }


def _loss_fluctuations(dataset):
    losses = dataset["loss"].transpose(*MEMBERS, "point").values
    change, variance = (
        np.asarray(series)
        for series in (tails.loss_changes(losses), tails.moving_variance(losses, MOVING))
    )
    return {
        "loss_change": ((*MEMBERS, "update"), change),
        "mean_loss_change": (MEMBERS, change.mean(axis=-1)),
        "moving_variance": ((*MEMBERS, "first_point"), variance),
        "mean_moving_variance": (MEMBERS, variance.mean(axis=-1)),
    }
