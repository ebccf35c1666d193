"""What holds of the claims of Figs. 3 and 4, with numbers and their spread."""

import numpy as np
import xarray as xr

from experiments.summaries.cells import cells
from experiments.summaries.common import diverged, number, paragraph, what
from sgd_diffusion.tables import effect

QUANTITIES = {
    "first_exponent": "exponent of the first window",
    "last_exponent": "exponent of the last window",
    "decades_beyond_onset": "superdiffusive range, decades of lag beyond tau_0",
    "decades_beyond_crossing": "superdiffusive range, decades beyond the crossing",
    "test_accuracy": "test accuracy at the end",
}
EXPLAINED = paragraph("""
Changes per doubling, or by having shortcuts, all else being equal: mean ± standard error over
seeds, and in brackets the least and the largest of the combinations of other options. No drift: of
the same paths without their mean step. Exponents are those of long lags. The superdiffusive range
is that of the first window, from tau_0 or from the lag at which the local exponent rises through 1
on. A change is told from none beyond two standard errors.
""")
FIG3 = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588, Fig. 3; ResNets on CIFAR-10, single runs without error bars)
claim that the batch size does not matter for the exponents, that shortcuts lengthen the
superdiffusive range, and that depth shortens it.
""")
FIG4 = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588, Fig. 4; ResNet-14 on CIFAR-10, single runs without error bars)
claim that a small learning rate only delays, and that the exponent of its only regime is 2. A
smooth drift alone gives 2.
""")


def architecture_sweep(table: xr.Dataset, found: xr.Dataset) -> str:
    """Return what an architecture sweep measured, and which claims hold, as text.

    Args:
        table: over models and batch sizes (`tables.over_cells`).
        found: its `tables.regimes` over depth, shortcut and batch size.
    """
    found = found.isel(learning_rate=0)
    lines = [cells(table, ["model", "batch_size"]), "", EXPLAINED]
    for dim, label in (
        ("batch_size", "doubling the batch size"),
        ("shortcut", "having shortcuts"),
        ("depth", "doubling the depth"),
    ):
        if found.sizes[dim] > 1:
            lines += ["", f"{label}:", *_changes(found, dim)]
    return "\n".join([*lines, "", *_verdicts(found), "", FIG3, ""])


def _changes(found, dim):
    for name, label in QUANTITIES.items():
        if name not in found:
            continue
        values = found[name]
        if "motion" in values.dims:
            controls = [motion for motion in ("drift subtracted",) if motion in values.motion]
            beside = "".join(
                f"; no drift {change(effect(values.sel(motion=motion), dim))}"
                for motion in controls
            )
            values = values.sel(motion="SGD")
        else:
            beside = ""
        yield f"  {label}: {change(effect(values, dim))}{beside}"


def change(found: xr.Dataset) -> str:
    """Return a change with its error and its extremes."""
    if not np.isfinite(found.change):
        return "-"
    spread = f" [{found.low:+.2f} to {found.high:+.2f}]" if found["count"] > 1 else ""
    return f"{found.change:+.2f}±{number(found.error, '.2f')}{spread}"


def _verdicts(found):
    """Yield what the numbers say about each claim."""
    first, last = (found[f"{name}_exponent"].sel(motion="SGD") for name in ("first", "last"))
    onset, crossing = (found[f"decades_beyond_{name}"] for name in ("onset", "crossing"))
    for dim, values, expected, claim in (
        ("batch_size", first, 0, "batch size does not matter for the first exponent"),
        ("batch_size", last, 0, "batch size does not matter for the last exponent"),
        ("shortcut", onset, 1, "shortcuts lengthen the superdiffusive range, by tau_0"),
        ("shortcut", crossing, 1, "shortcuts lengthen the superdiffusive range, by the crossing"),
        ("depth", onset, -1, "depth shortens the superdiffusive range, by tau_0"),
        ("depth", crossing, -1, "depth shortens the superdiffusive range, by the crossing"),
    ):
        if found.sizes[dim] > 1:
            yield f"{claim}: {verdict(effect(values, dim), expected)}"


def verdict(found: xr.Dataset, expected: int) -> str:
    """Return whether a change has the sign that is expected, as far as its error tells.

    Args:
        found: of `tables.effect`.
        expected: 1, -1, or 0 for no change.
    """
    size, error = float(found.change), float(found.error)
    if not np.isfinite(error):
        return "cannot be told from these seeds"
    sign = 0 if abs(size) <= 2 * error else int(np.sign(size))
    said = f"({change(found)})"
    if sign == expected:
        return f"{'no change is seen' if expected == 0 else 'seen here'} {said}"
    if sign == 0:
        return f"not distinguishable from no change {said}"
    return f"not seen here: {'it changes' if expected == 0 else 'the opposite'} {said}"


def learning_rate_sweep(
    dataset: xr.Dataset, table: xr.Dataset, regimes: xr.Dataset, times: xr.Dataset
) -> str:
    """Return what a sweep over learning rates measured, and whether time is only rescaled.

    Args:
        dataset: of the run.
        table: its `tables.overview`.
        regimes: its `tables.regimes`.
        times: its `tables.training_times`.
    """
    lines = [what(dataset), cells(table, []), "", "first subdiffusive window, t_w and eta t_w:"]
    for rate in dataset.learning_rate.values:
        row = regimes.sel(learning_rate=rate)
        values = row.regime_boundary.values
        known = values[np.isfinite(values)]
        said = (
            f"t_w {np.median(known):.0f} ({known.min():.0f} to {known.max():.0f}), eta t_w "
            f"{rate * np.median(known):.3g}, {len(known)} of {len(values)} seeds"
            if len(known)
            else "none"
        )
        lines.append(f"  eta {rate:g}: {said}{diverged(dataset.sel(learning_rate=rate))}")
    lines += ["", "at equal eta t, the larger learning rate beside the smaller one:"]
    for pair in range(times.sizes["pair"]):
        row = times.isel(pair=pair)
        lines.append(
            f"  {row.higher_rate:g} / {row.lower_rate:g}: "
            + ", ".join(
                f"{label} x {number(row[name], '.2f')}±{number(row[f'{name}_error'], '.2f')}"
                for name, label in (("distance_ratio", "squared distance"), ("loss_ratio", "loss"))
            )
        )
    return "\n".join([*lines, "", *_rescaling(times), "", FIG4, ""])


def _rescaling(times):
    """Yield whether the learning rate only rescales time, as far as errors tell."""
    for name, label in (("distance", "squared distance from the start"), ("loss", "loss")):
        ratio, error = (times[f"{name}_ratio{suffix}"].values for suffix in ("", "_error"))
        told = np.isfinite(ratio) & np.isfinite(error)
        if told.any():
            apart = np.count_nonzero(np.abs(ratio[told] - 1) > 2 * error[told])
            yield (
                f"the learning rate only rescales time, by the {label}: {apart} of "
                f"{np.count_nonzero(told)} pairs differ by more than two standard errors; ratios "
                f"{ratio[told].min():.2f} to {ratio[told].max():.2f}"
            )
