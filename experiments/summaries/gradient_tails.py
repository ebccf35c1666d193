"""Tails of gradients in words and numbers."""

import textwrap

import numpy as np
import xarray as xr

from experiments.summaries.common import (
    COLUMNS_OF_TEXT,
    diverged,
    mean,
    paragraph,
    what,
    with_error,
)
from sgd_diffusion.analysis.ensembles import ensemble_average

# Of every source: variable, rival, title.
COLUMNS = [
    ("log_likelihood_ratio", "normal", "LLR"),
    ("vuong_p", "normal", "p"),
    ("vuong_z", "student_t", "z t"),
    ("vuong_z", "exponential_power", "z exp."),
    ("ks_stable", None, "KS st."),
    ("ks_normal", None, "KS norm."),
    ("hill", None, "Hill"),
    ("mohammadi", None, "Moham."),
    ("excess_kurtosis", None, "kurtosis"),
]
CELL = 9
LEGEND = """
Index of stability alpha of symmetric stable laws fitted to {num_entries} entries of each source,
mean ± standard deviation over seeds (one seed: ± its error); in brackets the error within a
window, from a bootstrap of ten blocks. 2 is normal. Pooled: entries of all coordinates, uniform
over parameters. Per coordinate: each in units of its own scale. Frozen: at the weights where the
window ends; noise: these less the full gradient. Gaussian: normal numbers with the scales that
were measured, which show what pooling alone makes. LLR: log likelihood ratio of stable to normal
law, p: of so much from normal entries; z: Vuong's against Student's t and exponential power laws,
positive for stable, errors from ten blocks. KS: distances of stable and normal law. Hill,
Mohammadi: other tail indices. Kurtosis: in excess of the normal law's.
"""
PAPER = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588, Fig. 5; ResNet-14 on CIFAR-10, batch 1024, 5000 pooled entries,
no error bars) report that gradient entries are heavy-tailed and that alpha rises with training.
Data files of the authors (ResNet-14 without batch norm in its blocks, same data and batch) give
0.70, 0.96 and 1.21 in a first, a middle and a last window.
""")


def gradient_tails(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """Return what a run of experiments.gradient_tails measured, as text.

    Args:
        dataset: of the run (`run_directories.load_run`).
        table: its tails (`tables.gradient_tails`).
    """
    lines = [what(dataset), paragraph(LEGEND.format(num_entries=table.attrs["num_entries"])), ""]
    for rate in dataset.learning_rate.values:
        here = table.sel(learning_rate=rate)
        lines.append(f"learning rate {rate:g}{diverged(dataset.sel(learning_rate=rate))}")
        for window in sorted({0, here.sizes["window"] - 1}):
            lines += _rows(here.isel(window=window))
        wrapped = textwrap.TextWrapper(
            COLUMNS_OF_TEXT, initial_indent="  ", subsequent_indent="    "
        )
        lines += [*map(wrapped.fill, _verdicts(here)), ""]
    return "\n".join([*lines, PAPER, ""])


def _rows(window):
    """Yield what one window has of every source."""
    titles = "".join(f"{title:>{CELL}}" for *_, title in COLUMNS)
    yield f"  t_w = {int(window.waiting_time):<22}{'alpha':^16}{titles}"
    for source in window.source.values:
        row = window.sel(source=source)
        alpha = f"{with_error(row, 'alpha', None)} ({mean(row.alpha_error.values, '.2f')})"
        numbers = [
            row[name] if rival is None else row[name].sel(rival=rival) for name, rival, _ in COLUMNS
        ]
        cells = [
            "<1e-6"
            if number.name == "vuong_p" and number.max() < 1e-6
            else mean(number.values, ".2g")
            for number in numbers
        ]
        yield f"  {source:<28}{alpha:>16}" + "".join(f"{cell:>{CELL}}" for cell in cells)
    yield (
        f"  mean |change of the loss| {mean(window.mean_loss_change.values, '.2g')}, "
        f"variance of 100 losses {mean(window.mean_moving_variance.values, '.2g')}"
    )


def _verdicts(table):
    """Yield what happens to alpha with training, and what of it pooling alone explains."""
    first, last = table.isel(window=0), table.isel(window=-1)
    if table.sizes["window"] > 1:
        changes = {}
        for source in table.source.values:
            change = _change(
                *(_mean_and_error(window.sel(source=source)) for window in (first, last))
            )
            changes.setdefault(change, []).append(str(source))
        yield "alpha from the first to the last window " + "; ".join(
            f"{change} ({' / '.join(sources)})" for change, sources in changes.items()
        )
    for label, window in {"first": first, "last": last}.items():
        null, pooled, own = (
            _mean_and_error(window.sel(source=source))
            for source in ("Gaussian, coordinate scales", "pooled", "per coordinate")
        )
        if np.isfinite([null[0], pooled[0], own[0]]).all():
            yield (
                f"{label} window: {null[0]:.2f} from the scales of coordinates alone, "
                f"{pooled[0]:.2f} pooled, {own[0]:.2f} each in its own scale: "
                f"{_beyond_pooling(pooled, null, own)}; {_better_laws(window.sel(source='pooled'))}"
            )


def _better_laws(pooled):
    """Return which laws describe the pool better than the stable one."""
    tests = {
        name.replace("_", " "): ensemble_average(pooled.vuong_z.sel(rival=name).values).mean
        for name in pooled.rival.values
        if name != "normal"
    }
    better = [f"{name} (z = {z:.1f})" for name, z in tests.items() if z < -2]
    return (
        f"a better law of the pool than stable: {', '.join(better)}"
        if better
        else "no better law of the pool was found"
    )


def _mean_and_error(row):
    """Return the mean of alpha over seeds with its standard error, or one value with its own."""
    average = ensemble_average(row.alpha.values)
    return average.mean, average.standard_error if average.count > 1 else ensemble_average(
        row.alpha_error.values
    ).mean


def _change(first, last):
    if not np.isfinite([*first, *last]).all():
        return "has no estimate"
    difference, error = last[0] - first[0], np.hypot(first[1], last[1])
    return (
        "does not change"
        if abs(difference) <= 2 * error
        else "rises"
        if difference > 0
        else "falls"
    )


def _beyond_pooling(pooled, null, own):
    """Return whether the scales of the coordinates explain the pool.

    It also says whether coordinates are normal by themselves.
    """
    lower = null[0] - pooled[0] > 2 * np.hypot(pooled[1], null[1])
    if 2 - own[0] > 2 * own[1]:
        return "heavy-tailed by themselves" + (
            " too" if lower else ", but no more so pooled than normal entries"
        )
    return "normal by themselves; " + (
        "pooled more than a mixture of scales" if lower else "pooling explains all"
    )
