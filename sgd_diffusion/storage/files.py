"""Files and directories that appear under their names complete, or not at all."""

import contextlib
import itertools
import os
import pathlib

from sgd_diffusion.errors import StorageError

__all__ = ["new_directory", "write_atomically"]


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that its name has the complete content on disk, or what was there before.

    Raises:
        StorageError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageError(f"Cannot write {path}: {error.strerror}.") from error


def new_directory(path: str | os.PathLike) -> pathlib.Path:
    """Make a directory that was not there, and return its path.

    If the name is taken, -2, -3, ... is added to it. Several processes that ask for the same name
    at the same time each get a directory of their own.

    Raises:
        StorageError: none can be made.
    """
    wanted = pathlib.Path(path).expanduser()
    for number in itertools.count(1):
        candidate = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            candidate.parent.mkdir(parents=True, exist_ok=True)
            candidate.mkdir()
        except OSError as error:
            if isinstance(error, FileExistsError) and candidate.parent.is_dir():
                continue
            raise StorageError(
                f"Cannot make {candidate}: {error.strerror}. Choose another directory."
            ) from error
        return candidate
    raise AssertionError("there is always a next number")


def _sync_directory(path: pathlib.Path) -> None:
    """Make a rename in this directory survive a loss of power.

    Windows cannot open directories and needs no such call.
    """
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
