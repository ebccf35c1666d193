"""What a run measures of its windows, measured of paths that were made elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from sgd_diffusion._arrays import host_array, integer
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.gram import refuse_gaps
from sgd_diffusion.analysis.lags import MIN_WINDOW
from sgd_diffusion.analysis.streaming import StreamPlan, stream_plan, streamed_gram
from sgd_diffusion.dynamics.sgd import ALIVE
from sgd_diffusion.dynamics.window import WindowRecord
from sgd_diffusion.dynamics.window_measures import (
    WindowMeasures,
    attributes,
    description,
    layers_of,
    window_record,
)
from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths import StoredPath
from sgd_diffusion.storage.run_directories import combine_windows

__all__ = ["MEMORY", "PathWindows", "measure_paths", "path_windows", "reading_plan"]

MEMORY = 2**30
"""Bytes for blocks and matrices while a path is read, by default."""


class PathWindows(NamedTuple):
    """The windows that paths are cut into; they count as the plan of their measurements.

    Attributes:
        seeds: numbers of the paths, from 0 on.
        learning_rates: the one of all of them, NaN if it is not known.
        window: T, steps of the path in a window.
        first_points: where the windows begin.
    """

    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    window: int
    first_points: Sequence[int]

    def starts(self) -> Sequence[int]:
        """Return the first point of every window."""
        return self.first_points


def path_windows(
    paths: Sequence[StoredPath],
    *,
    window: IntegerLike | None = None,
    stride: IntegerLike | None = None,
    learning_rate: float = float("nan"),
) -> PathWindows:
    """Return the windows that paths are cut into.

    Args:
        paths: as for `measure_paths`.
        window: as for `measure_paths`.
        stride: as for `measure_paths`.
        learning_rate: as for `measure_paths`.

    Raises:
        InputError: paths differ, or are too short for a window.
    """
    if not paths:
        raise invalid("paths", "is empty", "one or more stored paths")
    first = paths[0]
    for other in paths[1:]:
        for what in ("num_points", "leaves", "spacing", "first_step"):
            ours, theirs = getattr(first, what), getattr(other, what)
            if ours != theirs:
                raise invalid(
                    other.source,
                    f"has {what} {_brief(theirs)}",
                    f"{_brief(ours)}, as {first.source} has",
                    "paths of one call are seeds of one training",
                )
    steps = first.num_points - 1
    if steps < MIN_WINDOW:
        raise invalid(
            first.source,
            f"has {first.num_points} points",
            f"{MIN_WINDOW + 1} or more, for two ranges of lags",
        )
    last = first.first_step + first.spacing * steps
    if last >= 2**31:
        raise invalid(
            first.source,
            f"ends at step {last}",
            "fewer than 2^31 steps",
            "say with --steps-per-checkpoint how many there are from point to point",
        )
    window = min(1000, steps) if window is None else window
    window = integer("window (--window)", window, MIN_WINDOW, steps, what=f"in {steps} steps")
    stride = integer("stride (--stride)", window if stride is None else stride, 1, 2**31)
    return PathWindows(
        tuple(range(len(paths))),
        (float(learning_rate),),
        window,
        tuple(range(0, steps - window + 1, stride)),
    )


def measure_paths(
    paths: Sequence[StoredPath],
    *,
    window: IntegerLike | None = None,
    stride: IntegerLike | None = None,
    losses: Sequence[ArrayLike] | None = None,
    learning_rate: float = float("nan"),
    memory: IntegerLike = MEMORY,
    metadata: Mapping[str, Any] | None = None,
    report: Callable[[int], None] | None = None,
) -> xr.Dataset:
    """Measure paths that were made elsewhere, as `run_ensemble` measures its own.

    These are displacements and their controls; in windows of 100 steps and more the shape of the
    path; the displacements of layers, where there are several; and with losses their roughness.

    Args:
        paths: of one shape, the seeds of one training.
        window: T, steps from point to point in a window; 1000 or the whole path when None.
        stride: points from the start of a window to that of the next; T when None.
        losses: (T+1,) of each path, one at every point.
        learning_rate: of the training, for the labels.
        memory: bytes for blocks and matrices while a path is read (see `streamed_gram`).
        metadata: JSON-like values stored with the results.
        report: called with the number of bytes of every block that was read.

    Returns:
        A dataset like that of `run_ensemble`, with the dimensions window, seed and learning_rate.
        Lags, points and waiting times are in steps of training. The attribute `configuration` says
        what was read.

    Raises:
        InputError: paths differ, are too short, have points that are NaN or infinite before others
            that are not, or cannot be read; losses do not fit; or the memory is too small.
    """
    plan = path_windows(paths, window=window, stride=stride, learning_rate=learning_rate)
    losses_of = [None] * len(paths) if losses is None else _checked_losses(paths, losses)
    reading_plan(paths[0], plan, memory)  # refuses a memory that is too small
    measures = WindowMeasures(plan, paths[0], with_losses=losses is not None)
    labels = attributes({"path": _description(paths, plan)}, metadata)
    members = [
        _Member(path, series, plan.window, memory, report)
        for path, series in zip(paths, losses_of, strict=True)
    ]
    windows = [
        measures.dataset(index, [member.record(start) for member in members])
        for index, start in enumerate(plan.first_points)
    ]
    return combine_windows([window.assign_attrs(labels) for window in windows])


def reading_plan(path: StoredPath, plan: PathWindows, memory: IntegerLike) -> StreamPlan:
    """Return how every window of a path is read.

    Args:
        path: any of those of the plan.
        plan: its windows.
        memory: as for `measure_paths`.

    Raises:
        InputError: the memory is too small.
    """
    return stream_plan(
        plan.window + 1,
        path.leaves,
        memory=memory,
        grain=path.grain,
        by_layer=len(layers_of(path)) > 1,
    )


class _Member:
    """A path of which windows are read one after the other."""

    def __init__(self, path, losses, window, memory, report):
        self.path, self.losses, self.window = path, losses, window
        self.how = {"memory": memory, "report": report, "by_layer": len(layers_of(path)) > 1}
        # Of the points that were read, whether all their numbers are finite, or not.
        self.finite, self.lost = np.zeros((2, path.num_points), bool)

    def record(self, start: int) -> WindowRecord:
        """Return the record of the window that begins at a point."""
        path, stop = self.path, start + self.window + 1
        found = streamed_gram(
            path.read,
            self.window + 1,
            path.leaves,
            grain=path.grain,
            first=start,
            name=path.source,
            allow_gaps=True,
            **self.how,
        )
        self.finite[start:stop], self.lost[start:stop] = found.known, ~found.known
        refuse_gaps(path.source, self.finite[1:] & self.finite[:-1], lambda: ~self.lost)
        losses = None if self.losses is None else self.losses[start:stop]
        return window_record(found, losses, self.diverged_at())

    def diverged_at(self) -> int:
        """Return the last step before the points that are not finite, or -1."""
        lost = np.flatnonzero(self.lost)
        if not len(lost):
            return ALIVE
        return self.path.first_step + max(int(lost[0]) - 1, 0) * self.path.spacing


def _checked_losses(paths, losses):
    """Return the losses of each path, one at every point."""
    if len(losses) != len(paths):
        raise invalid(
            "losses (--losses)",
            f"is {len(losses)} series",
            f"{len(paths)}, one for each path, in their order",
        )
    found = [host_array("losses (--losses)", each) for each in losses]
    for path, each in zip(paths, found, strict=True):
        if each.shape != (path.num_points,):
            raise invalid(
                f"losses (--losses) of {path.source}",
                f"has shape {each.shape}",
                f"({path.num_points},), one at each point",
            )
    return found


def _description(paths: Sequence[StoredPath], plan: PathWindows) -> dict[str, Any]:
    """Return what was read, as JSON-like values."""
    return description(paths[0], plan.window) | {
        "sources": [each.source for each in paths],
        "points": paths[0].num_points,
        "waiting_points": list(plan.first_points),
    }


def _brief(value):
    text = str(value)
    return text if len(text) <= 100 else text[:97] + "..."
