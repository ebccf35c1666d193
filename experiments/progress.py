"""What a run is doing: bars over the updates of members and the points of planes, and phases."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm.auto import tqdm

STYLE: dict[str, Any] = {"mininterval": 0.2, "dynamic_ncols": True}


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Say what is being done and for how many seconds, until it is done."""
    with tqdm(desc=name, bar_format="{desc}: {elapsed}", **STYLE) as bar, _ticking(bar):
        yield


@contextlib.contextmanager
def counting(count: Callable[[], int], total: int | None, unit: str) -> Iterator[Callable]:
    """Show one bar in place of all others, whose count other processes move on too.

    Programs then report nothing, so that JAX can keep them on disk.

    Args:
        count: returns how much is done.
        total: how much there is; None if that is not known.
        unit: what is counted.

    Yields:
        A function that prints a line beside the bar.
    """
    before = dict(STYLE)
    with tqdm(total=total, unit=f" {unit}", initial=count(), **STYLE) as bar:

        def recount():
            bar.n = count()
            bar.refresh()

        def tell(line):
            bar.clear()
            print(line, flush=True)
            recount()

        STYLE["disable"] = True
        try:
            with _ticking(bar, recount):
                yield tell
            recount()
        finally:
            STYLE.clear()
            STYLE.update(before)


@contextlib.contextmanager
def _ticking(bar, refresh: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep the clock of a bar going in a terminal; a log would get a line for every tick."""
    done = threading.Event()

    def tick():
        while not done.wait(1.0):
            (refresh or bar.refresh)()

    clock = threading.Thread(target=tick, daemon=True)
    if sys.stderr.isatty():
        clock.start()
    try:
        yield
    finally:
        done.set()
        if clock.ident is not None:
            clock.join()


class Progress:
    """A progress bar over the updates of all members.

    It counts the reports of `run_ensemble`, which come every 50 updates of every member.

    Args:
        ends: updates of a member after which each window ends.
        num_members: members of the ensemble.
        at_ends: what is done at the end of a window when its updates are made.
    """

    REPORT_EVERY = 50

    def __init__(self, ends: Sequence[int], num_members: int, *, at_ends: str = "measuring"):
        self._ends = [end * num_members for end in ends]
        self._at_ends = at_ends
        self._bar = tqdm(
            total=self._ends[-1], unit=" steps", desc="compiling", smoothing=0.05, **STYLE
        )
        self._ticking = contextlib.ExitStack()
        self._ticking.enter_context(_ticking(self._bar))
        self._finished = 0
        self._started = False

    @property
    def report(self) -> Callable[[Any, Any], None] | None:
        """Return what `run_ensemble` takes as `report`.

        It is None where tqdm shows no bar (`TQDM_DISABLE=1`): programs that call nobody are quicker
        to compile, and JAX can keep them on disk.
        """
        return None if self._bar.disable else self._take_note

    def _take_note(self, step: Any, loss: Any) -> None:
        del step
        if not self._started:
            self._started = True
            self._bar.unpause()  # the time of the compilation says nothing about the time left
            self._describe()
        limit = self._ends[min(self._finished, len(self._ends) - 1)]
        self._bar.set_postfix_str(f"loss {float(loss):.3g}", refresh=False)
        if self._bar.n < limit:
            self._bar.update(min(self.REPORT_EVERY, limit - self._bar.n))
            if self._bar.n == limit:
                self._describe(self._at_ends)

    def window(self, index: int, dataset: Any) -> None:
        """Take note of a finished window; `run_ensemble` takes it as `on_window`."""
        del dataset
        self._finished = index + 1
        self._bar.update(self._ends[index] - self._bar.n)
        self._describe()

    def _describe(self, doing: str = "") -> None:
        window = f"window {min(self._finished + 1, len(self._ends))}/{len(self._ends)}"
        self._bar.set_description(f"{window}, {doing}" if doing else window)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._ticking.close()
        self._bar.close()


class PointProgress:
    """A progress bar over the points of several planes.

    Args:
        total: points of all planes.
    """

    def __init__(self, total: int):
        self._bar = tqdm(total=total, unit=" points", desc="planes", **STYLE)

    def doing(self, what: str) -> None:
        """Say what comes before the next points."""
        self._bar.set_description(what)

    def plane(self) -> Callable[[int, int], None]:
        """Return `progress(finished, total)` for the next plane, as `resumable_plane` calls it."""
        before = self._bar.n

        def progress(finished: int, total: int) -> None:
            del total
            self._bar.update(before + finished - self._bar.n)

        return progress

    def skip(self, points: int) -> None:
        """Count points that are not evaluated."""
        self._bar.update(points)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
