"""Measure how a training diffused that was made elsewhere, from its checkpoints or its weights.

A path is a file of an array of (T+1, ...) points: .npy, .npz, HDF5 and NetCDF-4 (FILE.h5::NAME) or
Zarr. Or it is a directory, a pattern in quotes, or a .txt list of checkpoints with a point each:
.safetensors, .pt, .pth, .npz, .npy, .msgpack or Orbax. Several paths are the seeds of one training.
Results, tables, figures and summary are those of experiments.anomalous_diffusion and
experiments.fractal_path. Run from the checkout: python -m experiments.analyze_path PATH
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import tyro
import xarray as xr
from tqdm.auto import tqdm

from experiments import command_line, summaries
from experiments.loss_series import read_losses
from experiments.options import UINT32, within
from experiments.progress import STYLE, phase
from experiments.results import ResultOptions, leave
from experiments.training import usable_directory
from sgd_diffusion import plots, tables
from sgd_diffusion.analysis.lags import MIN_WINDOW, standard_ranges
from sgd_diffusion.dynamics.stored_paths import (
    PathWindows,
    measure_paths,
    path_windows,
    reading_plan,
)
from sgd_diffusion.storage.paths import StoredPath, open_path
from sgd_diffusion.storage.run_directories import RunDirectory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ResultOptions):
    """Options of the analysis."""

    paths: Annotated[tyro.conf.Positional[tuple[str, ...]], *within(fewest=1)]
    """Paths of one shape, the seeds of one training."""
    losses: Annotated[tuple[pathlib.Path, ...], *within(repeats=True)] = ()
    """A file for each path with the loss at every point: .csv with a column loss, or .npy."""
    window: Annotated[int | None, *within(MIN_WINDOW, UINT32, "for two ranges of lags")] = None
    """Steps from point to point in a window; by default 1000, or all there are."""
    stride: Annotated[int | None, *within(1, UINT32)] = None
    """Points from the start of a window to that of the next; by default the window."""
    steps_per_checkpoint: Annotated[int | None, *within(1, 2**31)] = None
    """Steps of training from point to point; by default as file names say, or 1."""
    include: Annotated[tuple[str, ...], *within()] = ()
    """Patterns of names of arrays, such as 'encoder.*': the parameters, in place of all that are
    floating and neither statistics of batch normalization nor states of an optimizer.
    """
    exclude: Annotated[tuple[str, ...], *within()] = ()
    """Patterns of names of arrays that are left out besides."""
    learning_rate: Annotated[float | None, *within(1e-20, 1e4)] = None
    """That of the training, for the labels."""
    memory: Annotated[float, *within(0.01, 1e6)] = 1.0
    """GiB for blocks and matrices while paths are read."""
    directory: pathlib.Path | None = None
    """Run directory; by default a new one below runs/."""


def analyze_path(options: Options) -> None:
    """Read, measure, and leave results, tables, figures and a summary in the run directory."""
    with phase("headers"):
        paths = [
            open_path(
                source,
                steps_per_checkpoint=options.steps_per_checkpoint,
                include=options.include,
                exclude=options.exclude,
            )
            for source in options.paths
        ]
    rate = float("nan") if options.learning_rate is None else options.learning_rate
    plan = path_windows(paths, window=options.window, stride=options.stride, learning_rate=rate)
    losses = read_losses(options.losses, paths)
    with usable_directory(options.directory, "path") as directory:
        RunDirectory(directory).check({}, resume=False)
        dataset = _measured(options, paths, plan, losses)
        _save(dataset, directory)
        _leave(options, dataset, plan, paths[0].spacing, directory)


def _measured(
    options: Options,
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


def _save(dataset: xr.Dataset, directory: pathlib.Path) -> None:
    """Write the windows as those of a run, which `load_run` reads."""
    run = RunDirectory(directory)
    configuration = json.loads(dataset.attrs["configuration"])
    metadata = json.loads(dataset.attrs["metadata"])
    with run.claim(configuration, resume=False, metadata=metadata):
        for index in range(dataset.sizes["window"]):
            run.save_window(index, dataset.isel(window=[index]))


def _leave(
    options: Options,
    dataset: xr.Dataset,
    plan: PathWindows,
    spacing: int,
    directory: pathlib.Path,
) -> None:
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


if __name__ == "__main__":
    command_line.run(analyze_path, Options, __doc__)
