"""Measure how a training diffused that was made elsewhere, from its checkpoints or its weights.

A path is a file of an array of (T+1, ...) points: .npy, .npz, HDF5 and NetCDF-4 (FILE.h5::NAME) or
Zarr. Or it is a directory, a pattern in quotes, or a .txt list of checkpoints with a point each:
.safetensors, .pt, .pth, .npz, .npy, .msgpack or Orbax. Several paths are the seeds of one training.
Results, tables, figures and summary are those of experiments.anomalous_diffusion and
experiments.fractal_path. Run from the checkout: python -m experiments.analyze_path PATH
"""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from experiments import command_line
from experiments.options import UINT32, within
from experiments.progress import phase
from experiments.results import ResultOptions
from sgd_diffusion._least_inputs import MIN_WINDOW


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
    from experiments.directories import usable_directory
    from experiments.loss_series import read_losses
    from experiments.measured_paths import leave_all, measured, save
    from sgd_diffusion.dynamics.stored_paths import path_windows
    from sgd_diffusion.storage.paths import open_path
    from sgd_diffusion.storage.run_directories import RunDirectory

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
        dataset = measured(options, paths, plan, losses)
        save(dataset, directory)
        leave_all(options, dataset, plan, paths[0].spacing, directory)


if __name__ == "__main__":
    command_line.run(analyze_path, Options, __doc__)
