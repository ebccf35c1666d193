"""What experiments.analyze_path makes of paths that were made elsewhere."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from experiments import command_line, summaries
from experiments.progress import STYLE, phase
from experiments.results import leave
from sgd_diffusion import plots, tables
from sgd_diffusion.analysis.lags import standard_ranges
from sgd_diffusion.dynamics.stored_paths import PathWindows, measure_paths, reading_plan
from sgd_diffusion.storage.paths import StoredPath
from sgd_diffusion.storage.run_directories import RunDirectory


def measured(
    options: Any,
    paths: Sequence[StoredPath],
    plan: PathWindows,
    losses: list[np.ndarray] | None,
) -> xr.Dataset:
    """Return what the paths come to, read under a progress bar."""
    memory = int(options.memory * 2**30)
    how = reading_plan(paths[0], plan, memory)
    windows = len(plan.first_points)
    opened = f"{how.passes} time{'s' * (how.passes > 1)}"
    print(
        f"{len(paths)} path{'s' * (len(paths) > 1)} of {paths[0].num_points} points and "
        f"{paths[0].size} parameters, {windows} window{'s' * (windows > 1)} of {plan.window}: read "
        f"by blocks of {how.by}, every point {opened} a window at most"
        + (" in parts" if how.by == "coordinates" and how.passes > 1 else ""),
        flush=True,
    )
    total = len(paths) * windows * how.bytes_read
    with tqdm(total=total, unit="B", unit_scale=True, desc="reading", **STYLE) as bar:
        return measure_paths(
            paths,
            window=options.window,
            stride=options.stride,
            losses=losses,
            learning_rate=plan.learning_rates[0],
            memory=memory,
            metadata={
                "experiment": "analyze_path",
                "options": command_line.options_as_json(options),
            },
            report=bar.update,
        )


def save(dataset: xr.Dataset, directory: pathlib.Path) -> None:
    """Write the windows as those of a run, which `load_run` reads."""
    run = RunDirectory(directory)
    configuration = json.loads(dataset.attrs["configuration"])
    metadata = json.loads(dataset.attrs["metadata"])
    with run.claim(configuration, resume=False, metadata=metadata):
        for index in range(dataset.sizes["window"]):
            run.save_window(index, dataset.isel(window=[index]))


def leave_all(
    options: Any,
    dataset: xr.Dataset,
    plan: PathWindows,
    spacing: int,
    directory: pathlib.Path,
) -> None:
    """Leave tables, figures and a summary of what was measured."""
    ranges = {
        name: (low * spacing, high * spacing)
        for name, (low, high) in standard_ranges(plan.window).items()
    }
    with phase("exponents, of surrogates too"):
        table = tables.overview(dataset, ranges)
        texts = [summaries.anomalous_diffusion(dataset, table)]
    found = {"exponents": table}
    figures = {"anomalous_diffusion": lambda: plots.anomalous_diffusion(dataset, table)}
    if "squared_end_to_end" in dataset:
        with phase("power laws of the path"):
            shape = tables.fractal_path(dataset).assign_attrs(dataset.attrs)
            texts.append(summaries.fractal_path(dataset, shape))
        found["scaling"] = shape
        figures["fractal_path"] = lambda: plots.fractal_path(dataset, shape)
    leave(directory, "\n".join(texts), tables=found, figures=figures, options=options)
