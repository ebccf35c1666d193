"""Losses that a user gives beside a path: a CSV file or an array."""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np

from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths import StoredPath

__all__ = ["read_losses"]

EXPECTED = "numbers, one in a line; or a header and a column loss, with or without a column step"


def read_losses(
    files: Sequence[pathlib.Path], paths: Sequence[StoredPath]
) -> list[np.ndarray] | None:
    """Return the losses (T+1,) of every path, or None without files.

    Args:
        files: one for each path, in their order.
        paths: at whose points the losses are.

    Raises:
        InputError: there are more or fewer files than paths, one cannot be read, or its losses or
            steps are not those of the points.
    """
    if not files:
        return None
    if len(files) != len(paths):
        raise invalid("--losses", f"is {len(files)} files", f"{len(paths)}, one for each path")
    return [_of_path(file.expanduser(), path) for file, path in zip(files, paths, strict=True)]


def _of_path(file: pathlib.Path, path: StoredPath) -> np.ndarray:
    try:
        if file.suffix == ".npy":
            losses, steps = np.load(file, allow_pickle=False), None
            if losses.dtype.kind not in "fiu":
                raise ValueError(f"it holds {losses.dtype}")
        else:
            losses, steps = _columns(file)
    except (OSError, ValueError, EOFError, csv.Error) as error:
        raise invalid(f"--losses {file}", f"cannot be read ({error})", EXPECTED) from error
    if losses.shape != (path.num_points,):
        raise invalid(
            f"--losses {file}",
            f"has losses of shape {losses.shape}",
            f"({path.num_points},), one at each point of {path.source}",
        )
    wanted = path.first_step + path.spacing * np.arange(path.num_points)
    if steps is not None and not np.array_equal(steps, wanted):
        other = int(np.flatnonzero(steps != wanted)[0])
        raise invalid(
            f"--losses {file}",
            f"has step {steps[other]:g} in line {other + 1} of its numbers",
            f"step {wanted[other]}, that of the point of {path.source}",
            "leave out the column step if the lines are in the order of the points",
        )
    return losses.astype(np.float64)


def _columns(file: pathlib.Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the losses in a CSV file, and the steps if it has them."""
    with open(file, newline="", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    if not rows:
        raise ValueError("it is empty")
    names = [cell.strip().lower() for cell in rows[0]]
    if _is_number(names[0]):
        if len(names) > 1:
            raise ValueError(f"it has {len(names)} columns and no header")
        names = ["loss"]
    else:
        rows = rows[1:]
    if "loss" not in names:
        raise ValueError(f"it has the columns {', '.join(names)}")

    def column(name):
        return np.array([float(row[names.index(name)]) for row in rows])

    try:
        return column("loss"), column("step") if "step" in names else None
    except IndexError as error:
        raise ValueError("it has lines with too few columns") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
