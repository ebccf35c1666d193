"""A sweep on disk: a directory of ordinary runs, one for each cell, that many processes work on.

It holds `config.json` (what is swept), `cells/NAME/` (run directories), `failures/NAME.txt` (why
cells have failed) and `compiled/` (programs, which all processes share). A process claims a cell by
the lock of its run directory. The lock goes with the process, so the cell of one that was killed is
taken over.
"""

import contextlib
import json
import pathlib
import traceback
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from experiments.command_line import decisive, options_as_json
from experiments.swept_options import NEVER_SWEPT, Cell
from sgd_diffusion._json_values import describe_differences
from sgd_diffusion.errors import StorageError
from sgd_diffusion.storage.files import write_atomically
from sgd_diffusion.storage.run_directories import BusyError, RunDirectory

FINISHED = "finished.json"
PATIENCE = 600.0  # seconds to wait for others that write tables and figures
DECIDE_NOTHING = NEVER_SWEPT | {"data_dir"}


class SweepDirectory:
    """The directory of a sweep.

    Args:
        path: of the directory; it need not exist.
    """

    def __init__(self, path: pathlib.Path):
        self.run = RunDirectory(path)
        self.path = self.run.path

    def begin(
        self, experiment: str, options: Any, *, elsewhere: Collection[str] = (), resume: bool
    ) -> None:
        """Say in the directory what is swept, or find that it says the same.

        The arguments and what is refused are those of `check`.
        """
        with self.run.locked(patience=PATIENCE):
            if self.check(experiment, options, elsewhere=elsewhere, resume=resume):
                self.run.describe(
                    decisive(options, {*DECIDE_NOTHING, *elsewhere}),
                    {"experiment": experiment, "options": options_as_json(options)},
                )

    def check(
        self, experiment: str, options: Any, *, elsewhere: Collection[str] = (), resume: bool
    ) -> bool:
        """Return whether the directory takes a sweep, and does not say yet that this is it.

        Args:
            experiment: name of the sweep.
            options: all options.
            elsewhere: further options that decide no cell.
            resume: take these options in place of those that are there.

        Raises:
            StorageError: it holds something else, or another sweep that is not to be resumed.
        """
        configuration = decisive(options, {*DECIDE_NOTHING, *elsewhere})
        found = self.run.configuration()
        made_by = (self.run.configuration("metadata") or {}).get("experiment")
        if found is None:
            self.run.check(configuration, resume=resume)
            return True
        if made_by != experiment:
            raise StorageError(
                f"Directory {self.path} holds {made_by or 'something else'}, not {experiment}. "
                "Choose a new directory."
            )
        differences = describe_differences(found, configuration)
        if differences and not resume:
            raise StorageError(
                f"Directory {self.path} holds another sweep ({differences}). Choose a new "
                "directory, or go on with that sweep with --resume."
            )
        return bool(differences)

    def experiment(self) -> str:
        """Return the name of the experiment that has begun here.

        Raises:
            StorageError: none has.
        """
        found = (self.run.configuration("metadata") or {}).get("experiment")
        if not isinstance(found, str):
            raise StorageError(f"Directory {self.path} holds no sweep. Choose that of one.")
        return found

    def directory(self, cell: Cell) -> pathlib.Path:
        """Return the run directory of a cell."""
        return self.path / "cells" / cell.name

    def is_finished(self, cell: Cell) -> bool:
        """Return whether a cell has all of its results."""
        try:
            stored = json.loads((self.directory(cell) / FINISHED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return stored == _content(cell)

    def finished(self, cells: Sequence[Cell]) -> int:
        """Return how many cells have all of their results."""
        return sum(map(self.is_finished, cells))

    def finish(self, cell: Cell) -> None:
        """Say that a cell has all of its results."""
        content = json.dumps(_content(cell), indent=2).encode() + b"\n"
        write_atomically(self.directory(cell) / FINISHED, content)
        self.failure(cell).unlink(missing_ok=True)

    def failure(self, cell: Cell) -> pathlib.Path:
        """Return the file that says why a cell has failed, if it has."""
        return self.path / "failures" / f"{cell.name}.txt"

    def failed_at(self, cell: Cell) -> tuple[int, int] | None:
        """Return what tells one failure of a cell from the next; None if it has not failed."""
        try:
            facts = self.failure(cell).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino

    def fail(self, cell: Cell, error: BaseException) -> None:
        """Say why a cell has failed."""
        self.failure(cell).parent.mkdir(exist_ok=True)
        write_atomically(self.failure(cell), "".join(traceback.format_exception(error)).encode())

    def reason(self, cell: Cell) -> str | None:
        """Return in a line why a cell has failed, or None."""
        try:
            lines = self.failure(cell).read_text(encoding="utf-8").strip().splitlines()
        except OSError:
            return None
        return lines[-1] if lines else "no reason is known"

    def windows(self, cells: Sequence[Cell]) -> int:
        """Return the number of windows that the cells have on disk."""
        return sum(
            path.suffix == ".nc"
            for cell in cells
            for path in (self.directory(cell) / "windows").glob("window_*.nc")
        )

    @contextlib.contextmanager
    def claimed(self, cell: Cell) -> Iterator[bool]:
        """Yield whether the cell is this process's own, for as long as the context lasts."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(RunDirectory(self.directory(cell)).locked())
            except BusyError:
                yield False
            else:
                yield True


def _content(cell: Cell) -> dict[str, Any]:
    """Return what decides the results of a cell, as JSON gives it back."""
    return json.loads(json.dumps(decisive(cell.options, DECIDE_NOTHING)))
