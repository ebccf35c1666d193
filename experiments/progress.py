"""Progress bars: over the updates of all members of a run, and over the points of planes."""

from collections.abc import Sequence

from tqdm import tqdm


class Progress:
    """Counts updates from the reports of `run_ensemble`, which come every 50 updates of every member.

    Args:
      ends: updates of a member after which each window ends.
      num_members: members of the ensemble.
    """

    REPORT_EVERY = 50

    def __init__(self, ends: Sequence[int], num_members: int):
        self._ends = [end * num_members for end in ends]
        self._bar = tqdm(total=self._ends[-1], unit=" steps", desc="compiling", smoothing=0.05,
                         mininterval=0.2, dynamic_ncols=True)
        self._finished = 0
        self._started = False

    def report(self, step, loss) -> None:
        """Take note of updates; made to be passed as `report`."""
        del step
        if not self._started:
            self._started = True
            self._bar.unpause()  # the time of the compilation says nothing about the time left
            self._describe()
        limit = self._ends[min(self._finished, len(self._ends) - 1)]
        self._bar.update(min(self.REPORT_EVERY, limit - self._bar.n))
        self._bar.set_postfix_str(f"loss {float(loss):.3g}", refresh=False)

    def window(self, index: int, dataset) -> None:
        """Take note of a finished window; made to be passed as `on_window`."""
        del dataset
        self._finished = index + 1
        self._bar.update(self._ends[index] - self._bar.n)
        self._describe()

    def _describe(self) -> None:
        self._bar.set_description(f"window {min(self._finished + 1, len(self._ends))}/{len(self._ends)}")

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class PointProgress:
    """A progress bar over the points of several planes.

    Args:
      total: points of all planes.
    """

    def __init__(self, total: int):
        self._bar = tqdm(total=total, unit=" points", desc="planes", mininterval=0.2, dynamic_ncols=True)

    def plane(self):
        """`progress(finished, total)` for the next plane, as `resumable_plane` calls it."""
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
