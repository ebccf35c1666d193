"""The files of a run whose processes may be several: windows and checkpoints."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import xarray as xr

from sgd_diffusion._processes import Processes
from sgd_diffusion.dynamics.sgd import Carry
from sgd_diffusion.dynamics.starting_points import StartingPoints
from sgd_diffusion.storage.checkpoints import Checkpoints
from sgd_diffusion.storage.run_directories import DamagedResultsWarning, RunDirectory, digest_of

__all__ = ["RunFiles"]


class RunFiles:
    """The directory of a run, of which only the first process reads and writes anything.

    What it finds or what stops it reaches all processes.
    """

    def __init__(self, run: RunDirectory, processes: Processes, configuration: dict[str, Any]):
        self._run, self._processes, self._configuration = run, processes, configuration
        self._checkpoints: Any = None

    def has_windows(self, count: int) -> bool:
        """Return whether the files of so many windows are there."""
        return self._processes.by_first("finished windows", lambda: self._run.has_windows(count))

    @contextlib.contextmanager
    def claimed(
        self, *, resume: bool, metadata: Mapping[str, Any], keep_start: bool
    ) -> Iterator[None]:
        """Make the directory that of these processes while the context lasts."""

        @contextlib.contextmanager
        def claim():
            with self._run.claim(self._configuration, resume=resume, metadata=metadata):
                self._checkpoints = Checkpoints(
                    self._run.checkpoints, digest_of(self._configuration), keep_start=keep_start
                )
                with contextlib.closing(self._checkpoints):
                    yield

        with self._processes.held_by_first("claim of the directory", claim):
            yield

    def restore(
        self, like: Carry, num_windows: int, start_again: Callable[[], StartingPoints] | None
    ) -> tuple[list[xr.Dataset], Carry | StartingPoints | None]:
        """Return the sound windows, and where the run goes on after them.

        Args:
            like: a carry of the form of those that are kept.
            num_windows: of the plan; where so many are finished, nothing goes on.
            start_again: returns the points at which the run starts, if they are needed again.

        Returns:
            The windows, and a carry on the host, the points of the start, or None for a run that
            has not begun or is finished.
        """

        def restore():
            windows = self._run.load_windows()
            if len(windows) >= num_windows:
                return windows[:num_windows], None
            found = self._checkpoints.restore(like, at_most=len(windows))
            finished, carry = found or (0, None if start_again is None else start_again())
            # An interruption between window and checkpoint leaves one checkpoint fewer.
            if finished < len(windows) - 1:
                warnings.warn(
                    f"{self._run.path} has {len(windows)} sound windows, but its last sound "
                    f"checkpoint among them is the one after {finished}; the windows after that "
                    "are computed again.",
                    DamagedResultsWarning,
                    stacklevel=4,
                )
            return windows[:finished], carry

        return self._processes.by_first("windows and checkpoints", restore)

    def save_start(self, carry: Carry) -> None:
        """Keep the carry before the first window, if there is no checkpoint yet."""
        self._processes.by_first("first checkpoint", lambda: self._checkpoints.save_start(carry))

    def save(self, index: int, window: xr.Dataset, carry: Carry) -> None:
        """Write a finished window, then the checkpoint after it."""

        def save():
            self._run.save_window(index, window)
            self._checkpoints.save(index + 1, carry)

        self._processes.by_first(f"window {index}", save)
