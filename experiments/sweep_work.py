"""Work on the cells of a sweep: which one is next, what becomes of it, and the table in the end."""

import contextlib
import dataclasses
import errno
import importlib
import io
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr

from experiments import anomalous_diffusion, command_line
from experiments.compiled_programs import keep_compiled_programs
from experiments.directories import usable_directory
from experiments.launchers import LAUNCHING, Worker, executor
from experiments.progress import counting
from experiments.results import leave
from experiments.sweep_checks import check_cells
from experiments.sweep_directory import PATIENCE, SweepDirectory
from experiments.swept_options import Cell
from sgd_diffusion import tables
from sgd_diffusion.dynamics.measurements import default_measurements
from sgd_diffusion.storage.netcdf import from_netcdf
from sgd_diffusion.storage.run_directories import RunDirectory

FAILED = 1  # exit code when a cell has failed, or is left
POLL = 1.0  # seconds from one look for cells that others have left to the next
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # nobody can go on

Train = Callable[[Cell, pathlib.Path], None]


def swept_table(options: Any, experiment: str) -> tuple[xr.Dataset, pathlib.Path]:
    """Train the cells of a sweep, here or elsewhere, and return their table.

    Args:
        options: of the sweep, with those of `LaunchOptions`.
        experiment: name of the module whose sweep this is.

    Returns:
        The overviews of all cells as one dataset, and the directory of the sweep.

    Raises:
        InputError: it cannot be run.
        StorageError: its directory cannot be used, or the disk is full.
        SystemExit: with code 1, a cell has failed or is left; those that are finished are kept.
    """
    cells = options.cells()
    launched = options.launcher != "none"
    submit = executor(options) if launched else None
    if options.launcher != "slurm":
        cells[0].options.devices()  # for what it refuses; other machines have others
    with usable_directory(options.directory, experiment) as path:
        sweep = SweepDirectory(path)
        how = {"elsewhere": LAUNCHING, "resume": options.resume}
        sweep.check(experiment, options, **how)
        left = [cell for cell in cells if not sweep.is_finished(cell)]
        check_cells(left, default_measurements, sweep.directory)
        sweep.begin(experiment, options, **how)
    print(
        f"{len(cells)} cells, {sweep.finished(cells)} of them finished -> {sweep.path}", flush=True
    )
    total = sum(cell.options.plan().num_windows for cell in cells)
    with counting(lambda: sweep.windows(cells), total, "windows") as tell:
        if launched:
            _launched(submit(sweep.path / "jobs"), sweep, options.workers)
        else:
            work(sweep, cells, train, wait=True, tell=tell)
    _report(sweep, cells)
    return table(sweep, cells), sweep.path


def leave_together(directory: pathlib.Path, *arguments: Any, **results: Any) -> None:
    """Leave results as `results.leave` does, one process after the other."""
    with RunDirectory(directory).locked(patience=PATIENCE):
        leave(directory, *arguments, **results)


def work_on(directory: str) -> None:
    """Work on a sweep that has begun, as one of several processes. It is what a job does."""
    command_line.use_cores_as_devices()
    keep_compiled_programs()
    sweep = SweepDirectory(pathlib.Path(directory))
    experiment = importlib.import_module(f"experiments.{sweep.experiment()}")
    arguments = ["--resume", "--directory", directory]
    cells = command_line.parse(experiment.PRESETS, "", arguments).cells()
    with counting(lambda: sweep.windows(cells), None, "windows") as tell:
        work(sweep, cells, train, wait=False, tell=tell)


def train(cell: Cell, directory: pathlib.Path) -> None:
    """Make the run of a cell, or go on with it; what it prints is in its summary."""
    options = dataclasses.replace(cell.options, directory=directory, resume=True)
    with contextlib.redirect_stdout(io.StringIO()):
        anomalous_diffusion.experiment(options)


def table(sweep: SweepDirectory, cells: Sequence[Cell]) -> xr.Dataset:
    """Return the overviews of finished cells as one dataset."""
    found = [
        (cell.place, from_netcdf((sweep.directory(cell) / "exponents.nc").read_bytes()))
        for cell in cells
    ]
    return tables.over_cells(found)


def work(
    sweep: SweepDirectory,
    cells: Sequence[Cell],
    train: Train,
    *,
    wait: bool,
    tell: Callable[[str], None] = print,
) -> None:
    """Train the cells that nobody else trains, in their order, until none is left.

    A cell that fails is not tried again by those that are at work. The others go on.

    Args:
        sweep: the directory.
        cells: all cells.
        train: `train(cell, directory)` makes a run, or goes on with it.
        wait: whether to stay until others have finished theirs, to take over what they leave.
        tell: takes a line about a cell.

    Raises:
        StorageError: the disk is full or cannot be written to.
    """
    before = {cell.name: sweep.failed_at(cell) for cell in cells}

    def is_open(cell: Cell) -> bool:
        return not sweep.is_finished(cell) and sweep.failed_at(cell) == before[cell.name]

    while left := [cell for cell in cells if is_open(cell)]:
        if any(_trained(sweep, cell, train, is_open, tell) for cell in left):
            continue  # from the first cell on, which somebody may have left
        if not wait:
            return
        time.sleep(POLL)


def _trained(
    sweep: SweepDirectory,
    cell: Cell,
    train: Train,
    is_open: Callable[[Cell], bool],
    tell: Callable[[str], None],
) -> bool:
    """Train a cell unless somebody else does, and return whether it was free."""
    with sweep.claimed(cell) as own:
        if own and is_open(cell):  # still, now that nobody else can change it
            begin = time.monotonic()
            try:
                train(cell, sweep.directory(cell))
                sweep.finish(cell)
                tell(f"{cell.name}: finished in {time.monotonic() - begin:.0f} s")
            except Exception as error:
                if _no_room(error):
                    raise
                sweep.fail(cell, error)
                tell(f"{cell.name}: failed: {error}")
    return own


def _launched(executor: Any, sweep: SweepDirectory, workers: int) -> None:
    """Submit the jobs, and wait until they have ended."""
    jobs = [executor.submit(Worker(work_on, str(sweep.path))) for _ in range(workers)]
    print(f"jobs {', '.join(job.job_id for job in jobs)}; what they say: {sweep.path / 'jobs'}")
    while not all(job.done() for job in jobs):
        time.sleep(POLL)


def _report(sweep: SweepDirectory, cells: Sequence[Cell]) -> None:
    """End the program if not all cells are finished, and say why."""
    left = [cell for cell in cells if not sweep.is_finished(cell)]
    for cell in left:
        reason = sweep.reason(cell)
        print(
            f"{cell.name}: " + (f"failed: {reason}" if reason else "not finished"), file=sys.stderr
        )
    if left:
        print(
            f"{len(left)} of {len(cells)} cells are not finished. Failures in full: "
            f"{sweep.path / 'failures'}. To try them again: --resume --directory {sweep.path}",
            file=sys.stderr,
        )
        sys.exit(FAILED)


def _no_room(error: BaseException | None) -> bool:
    """Return whether a failure comes from a disk that takes no more."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        error = error.__cause__
    return False
