"""Run directories that an experiment makes before anything that takes time."""

import contextlib
import datetime
import errno
import os
import pathlib
from collections.abc import Iterator

from sgd_diffusion._processes import Processes
from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.storage import files


@contextlib.contextmanager
def usable_directory(
    given: pathlib.Path | None, name: str, processes: Processes | None = None
) -> Iterator[pathlib.Path]:
    """Yield a directory that is there and can be written to, before anything that takes time.

    What was made for it is removed again if the work within is refused.

    Args:
        given: the directory of the options; None for a new one below runs/.
        name: of a new one, as for `new_directory`.
        processes: that use it together; None for this one alone.

    Raises:
        StorageError: it cannot be used.
    """
    processes = processes or Processes()
    directory, made = processes.by_first("run directory", lambda: _made(given, name))
    try:
        yield directory
    except (InputError, StorageError):
        if processes.first:
            with contextlib.suppress(OSError):  # not empty
                for path in made:
                    path.rmdir()
        raise


def _made(given: pathlib.Path | None, name: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """Return the directory, and all directories that were made for it, the last one first."""
    wanted = given or pathlib.Path("runs")
    try:
        made = [path for path in (wanted, *wanted.parents) if not path.exists()]
        wanted.mkdir(parents=True, exist_ok=True)
        if not os.access(wanted, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StorageError(
            f"Cannot write to {wanted}: {error.strerror}. Choose another --directory."
        ) from error
    if given:
        return given, made
    directory = new_directory(name)
    return directory, [directory, *made]


def new_directory(name: str) -> pathlib.Path:
    """Make a new directory below runs/, named after what is run and when.

    Raises:
        StorageError: that is not possible.
    """
    try:
        return files.new_directory(
            pathlib.Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
        )
    except StorageError as error:
        raise StorageError(f"{error} Name one with --directory.") from error
