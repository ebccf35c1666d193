"""What a run directory holds, for a page about it."""

import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import xarray as xr

from sgd_diffusion.errors import InputError, invalid
from sgd_diffusion.storage.netcdf import DAMAGE, from_netcdf
from sgd_diffusion.storage.run_directories import DamagedResultsWarning, RunDirectory, load_run


class Run(NamedTuple):
    """A run directory, read.

    Attributes:
        name: that tells it apart from others on the page.
        path: of the directory.
        configuration: what decides the results.
        metadata: the experiment and its options.
        environment: versions, device and source revision.
        summary: the text; empty before the run is complete.
        figures: files.
        tables: {name: dataset} of the results.
        members: all windows of all members; None where there are no windows of an ensemble.
        notes: what could not be read.
    """

    name: str
    path: pathlib.Path
    configuration: dict[str, Any]
    metadata: dict[str, Any]
    environment: dict[str, Any]
    summary: str
    figures: list[pathlib.Path]
    tables: dict[str, xr.Dataset]
    members: xr.Dataset | None
    notes: list[str]

    @property
    def has_curves(self) -> bool:
        """Return whether there are curves of the MSD."""
        return self.members is not None and {"msd", "lag"} <= set(self.members.variables)


def read_runs(paths: Sequence[pathlib.Path]) -> list[Run]:
    """Return what run directories hold.

    Raises:
        InputError: one holds no run.
        StorageError: its windows are those of several runs.
    """
    return [_read(path, name) for path, name in zip(paths, labels(paths), strict=True)]


def labels(paths: Sequence[pathlib.Path]) -> list[str]:
    """Return names that tell directories apart: the last part of each that differs, if one does."""
    parts = [path.absolute().parts[::-1] for path in paths]
    for level in range(min(map(len, parts))):
        names = [each[level] for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read(path: pathlib.Path, name: str) -> Run:
    run, notes = RunDirectory(path), list[str]()
    parts = [run.configuration(part) or {} for part in ("configuration", "metadata", "environment")]
    try:
        summary = (path / "summary.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        summary = ""
    if not parts[0] and not summary:
        raise invalid(
            "RUN",
            f"is {path}, which "
            + ("holds no run" if path.is_dir() else "is a file" if path.exists() else "is missing"),
            "a directory with the config.json or the summary.txt of an experiment",
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamagedResultsWarning)
        try:
            members = load_run(path) if _is_ensemble(run.window_path(0)) else None
        except InputError as error:  # no window is sound
            members, notes = None, [str(error)]
    notes += [str(each.message) for each in caught if each.category is DamagedResultsWarning]
    tables = {}
    for file in sorted(path.glob("*.nc")):
        try:
            tables[file.stem] = from_netcdf(file.read_bytes())
        except (OSError, ValueError) as error:
            notes.append(f"{file} cannot be read ({error}).")
    return Run(name, path, *parts, summary, sorted(path.glob("*.png")), tables, members, notes)


def _is_ensemble(window: pathlib.Path) -> bool:
    """Return whether a file is of a window of an ensemble, sound or not, and no other part."""
    try:
        with xr.open_dataset(window, engine="h5netcdf") as first:
            return "diverged_at" in first.variables
    except DAMAGE:
        return window.exists()
