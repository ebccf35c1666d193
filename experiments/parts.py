"""Experiments of several parts: each part is kept as soon as it is measured."""

import pathlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

import xarray as xr

from experiments import command_line
from experiments.progress import phase
from sgd_diffusion.storage.run_directories import RunDirectory


def measured_in_parts(
    options: Any,
    directory: pathlib.Path,
    parts: Iterable[Callable[[], xr.Dataset]],
    *,
    experiment: str,
    headline: str,
    elsewhere: Collection[str] = (),
) -> list[xr.Dataset]:
    """Measure the parts that a run directory does not have yet, and return all parts.

    Args:
        options: of the experiment; a run goes on only with the same.
        directory: of the run.
        parts: functions that measure; a generator begins when the directory is claimed.
        experiment: its name.
        headline: what is printed before the first part.
        elsewhere: options that decide no part, and may differ.

    Raises:
        StorageError: the directory has another run, or one that is not to be resumed.
    """
    run = RunDirectory(directory)
    with run.claim(
        command_line.decisive(options, elsewhere),
        resume=options.resume,
        metadata={"experiment": experiment, "options": command_line.options_as_json(options)},
    ):
        print(f"{headline} -> {directory}", flush=True)
        finished = len(run.load_windows())
        for index, part in enumerate(parts):
            if index >= finished:
                run.save_window(index, part())
        return run.load_windows()


def told(name: str, part: Callable[[], xr.Dataset]) -> xr.Dataset:
    """Measure a part, and say its name meanwhile."""
    with phase(name):
        return part()
