"""Labeled tables of one run, and of several side by side, as tables of a page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from experiments.reports import markup
from experiments.reports.curves import rate_label
from experiments.reports.runs import Run
from experiments.summaries.common import with_error
from sgd_diffusion import tables
from sgd_diffusion._json_values import same_values
from sgd_diffusion.analysis.lags import standard_ranges
from sgd_diffusion.errors import InputError

MOST_ROWS = 2000  # of a table on a page


def of_run(run: Run) -> str:
    """Return the tables of a run; variables that have the same dimensions share one."""
    found = []
    for name, table in run.tables.items():
        for names in _alike(table):
            sizes = table[names].sizes
            over = f"over {', '.join(sizes)}" if sizes else "of the run"
            caption = f"{name}: {', '.join(names)}, {over}"
            rows = int(np.prod(list(sizes.values())))
            if rows > MOST_ROWS:
                found.append(
                    markup.text("p", f"{caption}: {rows} rows, which are in {name}.nc alone.")
                )
                continue
            frame = tables.to_dataframe(table[names])
            columns = [frame[column].to_numpy() for column in frame]
            found.append(
                markup.table(caption, [str(each) for each in frame], zip(*columns, strict=True))
            )
    return "".join(found) or markup.text("p", "The run has no tables yet.")


def _alike(table: xr.Dataset) -> list[list[str]]:
    """Return names of variables by their dimensions, those with the most dimensions first."""
    groups: dict[frozenset, list[str]] = {}
    for name, values in table.data_vars.items():
        groups.setdefault(frozenset(values.dims), []).append(str(name))
    return [names for _, names in sorted(groups.items(), key=lambda group: -len(group[0]))]


def differences(runs: Sequence[Run]) -> str:
    """Return a table of what was chosen differently, with a column for each run."""
    said = [
        markup.flat(
            {
                "experiment": run.metadata.get("experiment"),
                "options": run.metadata.get("options", {}),
                "configuration": run.configuration,
                "environment": run.environment,
            }
        )
        for run in runs
    ]
    names = dict.fromkeys(name for values in said for name in values)
    rows = [
        (
            name,
            *(markup.said(values[name]) if name in values else markup.MISSING for values in said),
        )
        for name in names
        if not all(name in values and same_values(values[name], said[0][name]) for values in said)
    ]
    if not rows:
        return markup.text("p", "The runs have the same configuration, versions and device.")
    return markup.table("What differs", ["name", *(run.name for run in runs)], rows)


def exponents(runs: Sequence[Run]) -> str:
    """Return a table of exponents with a column for each run, all fitted on the same lags."""
    datasets = {run.name: run.members for run in runs if run.has_curves}
    cells: dict[tuple, dict[str, Any]] = {}
    try:
        ranges = standard_ranges(min(int(run["lag"][-1]) for run in datasets.values()))
        for name, dataset in datasets.items():
            for place, row in _places(tables.exponents(dataset, ranges)):
                cells.setdefault(place, {})[name] = with_error(row, "exponent")
    except InputError as error:  # too few lags that all runs have
        return markup.text("p", f"The runs have no exponents on the same lags: {error}.")
    rows = [
        (*place, *(found.get(name, markup.MISSING) for name in datasets))
        for place, found in cells.items()
    ]
    columns = ["learning rate", "range", "lags", "motion", "t_w", *datasets]
    caption = (
        "Exponents of the MSD on lags that all runs have: mean ± standard deviation over seeds "
        "(one seed: ± its own error)"
    )
    return markup.table(caption, columns, rows)


def _places(fitted: xr.Dataset):
    """Yield each learning rate, range, motion and window with its exponents over seeds."""
    for rate in range(fitted.sizes["learning_rate"]):
        for number in range(fitted.sizes["range"]):
            for motion in fitted["motion"].values:
                for window in range(fitted.sizes["window"]):
                    row = fitted.isel(learning_rate=rate, range=number, window=window)
                    row = row.sel(motion=motion)
                    low, high = int(row["lag_min"]), int(row["lag_max"])
                    place = (rate_label(row["learning_rate"]), str(row["range"].item()))
                    yield (*place, f"{low}-{high}", str(motion), int(row["waiting_time"])), row


def diverged(run: Run) -> str:
    """Return a table of the members that diverged, or say that none did."""
    if run.members is None:
        return markup.text("p", "This experiment keeps no record of members that diverge.")
    steps = run.members["diverged_at"].transpose("learning_rate", "seed")
    rows = [
        (rate_label(rate), int(seed), int(step))
        for rate, of_rate in zip(steps["learning_rate"].values, steps.values, strict=True)
        for seed, step in zip(steps["seed"].values, of_rate, strict=True)
        if step >= 0
    ]
    if not rows:
        members = steps.size
        return markup.text("p", f"No member diverged ({members} member{'s' * (members != 1)}).")
    return markup.table(
        f"{len(rows)} of {steps.size} members diverged. They are left out from there on.",
        ["learning rate", "seed", "diverged at step"],
        rows,
    )
