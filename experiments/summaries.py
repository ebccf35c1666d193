"""Results in words and numbers that fit on a screen."""

import json
import textwrap

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import EnsembleAverage, ensemble_average

DRIFT_SUBTRACTED, SIGNS_FLIPPED = "drift subtracted", "signs flipped"
COLUMNS = {"SGD": "SGD", DRIFT_SUBTRACTED: "no drift", "shuffled": "shuffled", "full-batch descent": "full batch"}
CELL = 11
LEGEND = """Exponents of the time-averaged MSD, least squares in ln-ln, mean ± standard deviation over seeds (one seed: ± its
error from a block bootstrap over the window). No drift: steps less their mean. Shuffled: steps in random order. Both
are 1 for independent steps, and 2 is what a smooth drift alone gives. tau_0, crossover: median lag."""
PAPER = """Chen, Qu & Gong (arXiv:2009.10588, Figs. 2-4; ResNets on CIFAR-10, learning rate 0.1): exponents 1.01 to 1.42 in the
first regime and 0.60 to 0.88 in the second, tau_0 45 to 400 steps (single runs, slopes taken by hand, no error bars)."""
PATH_COLUMNS = [("dimension", "SGD", "D_f"), ("dimension", DRIFT_SUBTRACTED, "no drift"), ("dimension", "shuffled", "shuffled"),
                ("dimension_below", "SGD", "below"), ("dimension_above", "SGD", "above"), ("self_affinity", "SGD", "chi"),
                ("self_affinity", DRIFT_SUBTRACTED, "no drift"), ("self_affinity", "shuffled", "shuffled"),
                ("probe_exponent", None, "2H probe"), ("batch_exponent", None, "2H batch")]
PATH_LEGEND = """Mean ± standard deviation over seeds (one seed: ± its error from a block bootstrap over the window). D_f: path
dimension of one power law, of SGD and its surrogates (steps less their mean, steps in random order), and below and
above a crossover where there is one; 1 straight on, 2 Brownian. chi: squared excursion ~ squared end-to-end
distance^chi; 1 self-similar. 2H: mean squared loss ~ distance^2H, of mini-batches above the floor that their noise
makes; 2 on a smooth slope."""
PAPER_PATHS = """Chen, Qu & Gong (arXiv:2009.10588, Fig. 6; ResNet-14 on CIFAR-10, batch 1024): mean squared loss of
mini-batches with exponent 1.8 at larger distances in the first regime, flat late; paths called self-affine (single run, no
error bars)."""

# Of every source: variable, rival, title.
TAIL_COLUMNS = [("log_likelihood_ratio", "normal", "LLR"), ("vuong_p", "normal", "p"), ("vuong_z", "student_t", "z t"),
                ("vuong_z", "exponential_power", "z exp."), ("ks_stable", None, "KS st."), ("ks_normal", None, "KS norm."),
                ("hill", None, "Hill"), ("mohammadi", None, "Moham."), ("excess_kurtosis", None, "kurtosis")]
TAIL_CELL = 9
TAIL_LEGEND = """Index of stability alpha of symmetric stable laws fitted to {num_entries} entries of each source, mean ±
standard deviation over seeds (one seed: ± its error); in brackets the error within a window, from a bootstrap of ten blocks.
2 is normal. Pooled: entries of all coordinates, uniform over parameters. Per coordinate: each in units of its own scale.
Frozen: at the weights where the window ends; noise: these less the full gradient. Gaussian: normal numbers with the scales
that were measured, what pooling alone makes. LLR: log likelihood ratio of stable to normal law, p: of so much from normal
entries; z: Vuong's against Student's t and exponential power laws, positive for stable, errors from ten blocks. KS: distances
of stable and normal law. Hill, Mohammadi: other tail indices. Kurtosis: in excess of the normal law's."""
PAPER_TAILS = """Chen, Qu & Gong (arXiv:2009.10588, Fig. 5; ResNet-14 on CIFAR-10, batch 1024, 5000 pooled entries, no error
bars): gradient entries are heavy-tailed and alpha rises with training. Data files of the authors (ResNet-14 without batch
norm in its blocks, same data and batch) give 0.70, 0.96 and 1.21 in a first, a middle and a last window."""


def anomalous_diffusion(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """What a run of experiments.anomalous_diffusion measured.

    Args:
      dataset: of the run (`results.load_run`).
      table: its exponents (`tables.exponents`).
    """
    lines = [_what(dataset), LEGEND, ""]
    for rate in dataset.learning_rate.values:
        lines += [*_rows(dataset.sel(learning_rate=rate), table.sel(learning_rate=rate)), ""]
    return "\n".join([*lines, PAPER, ""])


def _what(dataset):
    """What was trained and where, in a line."""
    configuration, environment = (json.loads(dataset.attrs[name]) for name in ("configuration", "environment"))
    problem, plan = configuration["problem"], configuration["plan"]
    options = json.loads(dataset.attrs["metadata"]).get("options", {})
    device = environment["device"]
    return (
        f"{options.get('model', '')} on {problem['dataset']}, batch {plan['batch_size']}, "
        f"{_count(len(plan['seeds']), 'seed')}, {_count(dataset.sizes['window'], 'window')} of {plan['window']} updates; "
        f"momentum {plan['momentum']:g}, weight decay {plan['weight_decay']:g}, loss {problem['loss']}; "
        f"{device['platform']} ({device['kind']}), JAX {environment['packages']['jax']}")


def _count(number, noun):
    return f"{number} {noun}" + ("s" if number != 1 else "")


def _rows(dataset, table):
    """A table of windows for one learning rate, and what it says."""
    ranges = [f"lags {int(low)}-{int(high)}" for low, high in zip(table.lag_min.values, table.lag_max.values, strict=True)]
    motions = [motion for motion in table.motion.values if motion in COLUMNS]
    block = CELL * len(motions)
    lines = [
        f"learning rate {float(dataset.learning_rate):g}{_diverged(dataset)}",
        " " * 8 + "".join(f"{f'{name}:':^{block}}" for name in ranges),
        "     t_w" + "".join(f"{COLUMNS[motion]:>{CELL}}" for motion in motions) * len(ranges)
        + f"{'tau_0':>7}{'crossover':>11}{'loss':>8}{'accuracy':>10}"]
    for window in range(dataset.sizes["window"]):
        fits, here = table.isel(window=window), dataset.isel(window=window)
        cells = [_exponent(fits.isel(range=number).sel(motion=motion)) for number in range(len(ranges)) for motion in motions]
        lines.append(f"{int(here.waiting_time):8d}" + "".join(f"{cell:>{CELL}}" for cell in cells)
                     + f"{_median(fits.onset.values):>7}{_crossover(fits):>11}"
                     + f"{_mean(here.loss.mean('point').values):>8}{_mean(here.test_accuracy.values):>10}")
    return lines + [f"  {verdict}" for verdict in _verdicts(table, ranges)]


def _exponent(fit):
    """Mean and standard deviation over seeds, or the value of a single seed with its own error."""
    average: EnsembleAverage = ensemble_average(fit.exponent.values)
    if average.count == 0:
        return "-"
    error = average.std if average.count > 1 else np.nanmax(fit.exponent_error.values)
    return f"{average.mean:.2f}±{error:.2f}"


def _verdicts(table, ranges):
    """What the first and the last window say, and what holds for all of them."""
    for label, window in (("first", 0), ("last", -1)):
        said = [f"{_verdict(table.isel(window=window, range=number))} on {name}" for number, name in enumerate(ranges)]
        yield f"{label} window: " + ", ".join(said)
    if SIGNS_FLIPPED in table.motion:
        flipped = table.exponent.sel(motion=SIGNS_FLIPPED).values
        flipped = flipped[np.isfinite(flipped)]
        if flipped.size:
            yield f"signs flipped: {flipped.min():.2f} to {flipped.max():.2f} in all windows and ranges"
    if "regime_boundary" in table:
        yield f"first window that is one subdiffusive power law: t_w = {_median(table.regime_boundary.values)}"


def _diverged(dataset):
    steps = zip(dataset.seed.values, dataset.diverged_at.values, strict=True)
    gone = [f"seed {seed} at step {step}" for seed, step in steps if step >= 0]
    return f"   (diverged and left out from there on: {', '.join(gone)})" if gone else ""


def _spread(values, spec=".2f"):
    average: EnsembleAverage = ensemble_average(values)
    if average.count == 0:
        return "-"
    return f"{average.mean:{spec}}" + (f" ± {average.std:{spec}}" if average.count > 1 else "")


def _mean(values):
    average = ensemble_average(values)
    return "-" if average.count == 0 else f"{average.mean:.3f}"


def _median(values):
    """The median over seeds, in which a seed without a value counts as one beyond the window."""
    present = np.where(np.isnan(values), np.inf, values)
    middle = np.median(present)
    return f"{middle:.0f}" if np.isfinite(middle) else "-"


def _crossover(fits):
    return _median(fits.crossover.values) if "crossover" in fits else "-"


def _verdict(fits):
    """Super- or subdiffusive where the exponent is more than two standard errors away from 1, and what the drift does."""
    average = ensemble_average(fits.exponent.sel(motion="SGD").values)
    if average.count == 0:
        return "no member left"
    error = average.standard_error if average.count > 1 else np.nanmax(fits.exponent_error.sel(motion="SGD").values)
    if abs(average.mean - 1) <= 2 * error:
        return "not distinguishable from normal diffusion"
    if average.mean < 1:
        return "subdiffusive"
    if DRIFT_SUBTRACTED in fits.motion:
        without = ensemble_average(fits.exponent.sel(motion=DRIFT_SUBTRACTED).values).mean
        return f"superdiffusive ({average.mean:.2f}; {without:.2f} without the mean drift)"
    return "superdiffusive"


def fractal_path(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """What a run of experiments.fractal_path measured.

    Args:
      dataset: of the run (`results.load_run`).
      table: its scaling (`tables.fractal_path`).
    """
    columns = [column for column in PATH_COLUMNS if column[0] in table]
    lines = [_what(dataset), PATH_LEGEND, ""]
    for rate in dataset.learning_rate.values:
        here = table.sel(learning_rate=rate)
        lines += [f"learning rate {rate:g}{_diverged(dataset.sel(learning_rate=rate))}",
                  "     t_w" + "".join(f"{title:>{CELL}}" for _, _, title in columns) + f"{'floor':>9}"]
        for window in range(dataset.sizes["window"]):
            row = here.isel(window=window)
            cells = [_with_error(row, name, motion) for name, motion, _ in columns]
            lines.append(f"{int(row.waiting_time):8d}" + "".join(f"{cell:>{CELL}}" for cell in cells)
                         + f"{_mean_short(row.noise_floor.values):>9}")
        lines += [f"  {label} window: {_commonest(here.sel(motion='SGD').isel(window=window))}"
                  for label, window in (("first", 0), ("last", -1))] + [""]
    return "\n".join([*lines, PAPER_PATHS, ""])


def _with_error(row, name, motion):
    value, error = (row[key] if motion is None else row[key].sel(motion=motion) for key in (name, f"{name}_error"))
    average = ensemble_average(value.values)
    if average.count == 0:
        return "-"
    return f"{average.mean:.2f}±{average.std if average.count > 1 else np.nanmax(error.values):.2f}"


def _mean_short(values, spec=".2g"):
    average = ensemble_average(values)
    return "-" if average.count == 0 else f"{average.mean:{spec}}"


def _commonest(row):
    verdicts, counts = np.unique(row.verdict.values[np.isfinite(row.self_affinity.values)], return_counts=True)
    found = ", ".join(f"{verdict} ({count})" for verdict, count in zip(verdicts, counts, strict=True))
    return found or "no member left"


def gradient_tails(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """What a run of experiments.gradient_tails measured.

    Args:
      dataset: of the run (`results.load_run`).
      table: its tails (`tables.gradient_tails`).
    """
    lines = [_what(dataset), TAIL_LEGEND.format(num_entries=table.attrs["num_entries"]), ""]
    for rate in dataset.learning_rate.values:
        here = table.sel(learning_rate=rate)
        lines.append(f"learning rate {rate:g}{_diverged(dataset.sel(learning_rate=rate))}")
        for window in sorted({0, here.sizes["window"] - 1}):
            lines += _tail_rows(here.isel(window=window))
        wrapped = textwrap.TextWrapper(126, initial_indent="  ", subsequent_indent="    ")
        lines += [*map(wrapped.fill, _tail_verdicts(here)), ""]
    return "\n".join([*lines, PAPER_TAILS, ""])


def _tail_rows(window):
    """What one window has of every source."""
    titles = "".join(f"{title:>{TAIL_CELL}}" for *_, title in TAIL_COLUMNS)
    yield f"  t_w = {int(window.waiting_time):<22}{'alpha':^16}{titles}"
    for source in window.source.values:
        row = window.sel(source=source)
        alpha = f"{_with_error(row, 'alpha', None)} ({_mean_short(row.alpha_error.values, '.2f')})"
        numbers = [row[name] if rival is None else row[name].sel(rival=rival) for name, rival, _ in TAIL_COLUMNS]
        cells = ["<1e-6" if number.name == "vuong_p" and number.max() < 1e-6 else _mean_short(number.values)
                 for number in numbers]
        yield f"  {source:<28}{alpha:>16}" + "".join(f"{cell:>{TAIL_CELL}}" for cell in cells)
    yield f"  mean |change of the loss| {_mean_short(window.mean_loss_change.values)}, " \
          f"variance of 100 losses {_mean_short(window.mean_moving_variance.values)}"


def _tail_verdicts(table):
    """What happens to alpha with training, and what of it pooling alone explains."""
    first, last = table.isel(window=0), table.isel(window=-1)
    if table.sizes["window"] > 1:
        changes = {}
        for source in table.source.values:
            change = _change(*(_mean_and_error(window.sel(source=source)) for window in (first, last)))
            changes.setdefault(change, []).append(str(source))
        yield "alpha from the first to the last window " + "; ".join(
            f"{change} ({' / '.join(sources)})" for change, sources in changes.items())
    for label, window in {"first": first, "last": last}.items():
        null, pooled, own = (_mean_and_error(window.sel(source=source))
                             for source in ("Gaussian, coordinate scales", "pooled", "per coordinate"))
        if np.isfinite([null[0], pooled[0], own[0]]).all():
            yield (f"{label} window: {null[0]:.2f} from the scales of coordinates alone, {pooled[0]:.2f} pooled, {own[0]:.2f} "
                   f"each in its own scale: {_beyond_pooling(pooled, null, own)}; {_better_laws(window.sel(source='pooled'))}")


def _better_laws(pooled):
    """Which laws describe the pool better than the stable one."""
    tests = {name.replace("_", " "): ensemble_average(pooled.vuong_z.sel(rival=name).values).mean
             for name in pooled.rival.values if name != "normal"}
    better = [f"{name} (z = {z:.1f})" for name, z in tests.items() if z < -2]
    return f"a better law of the pool than stable: {', '.join(better)}" if better else "no better law of the pool was found"


def _mean_and_error(row):
    """Mean of alpha over seeds with its standard error, or the value of a single seed with its own."""
    average = ensemble_average(row.alpha.values)
    return average.mean, average.standard_error if average.count > 1 else ensemble_average(row.alpha_error.values).mean


def _change(first, last):
    if not np.isfinite([*first, *last]).all():
        return "has no estimate"
    difference, error = last[0] - first[0], np.hypot(first[1], last[1])
    return "does not change" if abs(difference) <= 2 * error else "rises" if difference > 0 else "falls"


def _beyond_pooling(pooled, null, own):
    """Whether the different scales of the coordinates explain the pool, and whether coordinates are normal by themselves."""
    lower = null[0] - pooled[0] > 2 * np.hypot(pooled[1], null[1])
    if 2 - own[0] > 2 * own[1]:
        return "heavy-tailed by themselves" + (" too" if lower else ", but no more so pooled than normal entries")
    return "normal by themselves; " + ("pooled more than a mixture of scales" if lower else "pooling explains all")
