"""Results in words and numbers that fit on a screen."""

import json

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import EnsembleAverage, ensemble_average

PAPER = """Chen, Qu & Gong (arXiv:2009.10588, Figs. 2-4; ResNets on CIFAR-10, learning rate 0.1): exponents 1.01 to 1.42 in the
first regime and 0.60 to 0.88 in the second, tau_0 45 to 400 steps (single runs, slopes taken by hand, no error bars)."""


def anomalous_diffusion(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """What a run of experiments.anomalous_diffusion measured.

    Args:
      dataset: of the run (`results.load_run`).
      table: its exponents (`tables.exponents`).
    """
    lines = [*_heading(dataset), ""]
    for rate in dataset.learning_rate.values:
        lines += [*_rows(dataset.sel(learning_rate=rate), table.sel(learning_rate=rate)), ""]
    return "\n".join([*lines, PAPER, ""])


def _heading(dataset):
    configuration, environment = (json.loads(dataset.attrs[name]) for name in ("configuration", "environment"))
    problem, plan = configuration["problem"], configuration["plan"]
    options = json.loads(dataset.attrs["metadata"]).get("options", {})
    device = environment["device"]
    return [
        f"{options.get('model', '')} on {problem['dataset']}, batch {plan['batch_size']}, "
        f"{_count(len(plan['seeds']), 'seed')}, {_count(dataset.sizes['window'], 'window')} of {plan['window']} updates; momentum {plan['momentum']:g}, weight decay "
        f"{plan['weight_decay']:g}, loss {problem['loss']}; {device['platform']} ({device['kind']}), JAX "
        f"{environment['packages']['jax']}",
        "Exponents of the time-averaged MSD, least squares in ln-ln; mean and standard deviation over seeds.",
    ]


def _count(number, noun):
    return f"{number} {noun}" + ("s" if number != 1 else "")


def _rows(dataset, table):
    """A table of windows for one learning rate, and what it says."""
    ranges = [f"lags {int(low)}-{int(high)}" for low, high in zip(table.lag_min.values, table.lag_max.values, strict=True)]
    lines = [f"learning rate {float(dataset.learning_rate):g}{_diverged(dataset)}",
             "     t_w  " + "".join(f"{name:>15}" for name in [*ranges, "tau_0", "loss"]) + f"{'test accuracy':>17}"]
    for window in range(dataset.sizes["window"]):
        fits, here = table.isel(window=window), dataset.isel(window=window)
        cells = [_spread(fits.exponent.isel(range=number).values) for number in range(len(ranges))]
        cells += [_median(fits.onset.values), _spread(here.loss.mean("point").values, ".3f")]
        cells.append(_spread(here.test_accuracy.values, ".3f"))
        lines.append(f"{int(here.waiting_time):8d}  " + "".join(f"{cell:>15}" for cell in cells[:-1]) + f"{cells[-1]:>17}")
    verdicts = [f"{label} window: " + ", ".join(
        f"{_verdict(ensemble_average(table.exponent.isel(window=window, range=number).values))} on {name}"
        for number, name in enumerate(ranges)) for label, window in (("first", 0), ("last", -1))]
    return lines + [f"  {verdict}" for verdict in verdicts]


def _diverged(dataset):
    steps = zip(dataset.seed.values, dataset.diverged_at.values, strict=True)
    gone = [f"seed {seed} at step {step}" for seed, step in steps if step >= 0]
    return f"   (diverged and left out from there on: {', '.join(gone)})" if gone else ""


def _spread(values, spec=".2f"):
    average: EnsembleAverage = ensemble_average(values)
    if average.count == 0:
        return "-"
    return f"{average.mean:{spec}}" + (f" ± {average.std:{spec}}" if average.count > 1 else "")


def _median(values):
    """The onset's median over seeds, in which a seed without one counts as one beyond the window."""
    present = np.where(np.isnan(values), np.inf, values)
    middle = np.median(present)
    return f"{middle:.0f}" if np.isfinite(middle) else "-"


def _verdict(average):
    """Super- or subdiffusive if the mean over seeds is more than two standard errors away from 1."""
    if average.count == 0:
        return "no member left"
    if average.count == 1:
        return f"exponent {average.mean:.2f} of a single seed"
    if abs(average.mean - 1) <= 2 * average.standard_error:
        return "not distinguishable from normal diffusion"
    return "superdiffusive" if average.mean > 1 else "subdiffusive"
