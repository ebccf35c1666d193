"""What is refused of a sweep before its first cell trains: all that a run of a cell would refuse.

Only what the machine decides that trains is left to it: the memory and the devices that there are.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments import data_sets
from experiments.growth import groups
from experiments.progress import phase
from experiments.swept_options import Cell
from experiments.training import ADDING, Measure, chosen_measurements
from sgd_diffusion.dynamics.preparation import prepared
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.storage.run_directories import RunDirectory


def check_cells(cells: Sequence[Cell], measure: Measure, directory: Callable[[Cell], Path]) -> None:
    """Refuse cells whose options contradict each other, or do not fit their data.

    Every data set is loaded once.

    Args:
        cells: that are still to be trained.
        measure: as for `train`.
        directory: gives the run directory of a cell.

    Raises:
        InputError: a cell cannot be trained. The message names it.
        StorageError: its directory cannot be used.
    """

    def source(cell: Cell) -> tuple[str, str]:
        return cell.options.dataset, str(cell.options.data_dir)

    with phase(f"checking {len(cells)} cells"):
        for _, alike in itertools.groupby(sorted(cells, key=source), source):
            data = None
            for cell in alike:
                with cell.named():
                    data = data or data_sets.load(cell.options.dataset, cell.options.data_dir)
                    _check(cell.options, measure, cell.options.problem(data), directory(cell))


def _check(options: Any, measure: Measure, problem: Problem, directory: Path) -> None:
    """Prepare the run of a cell, and those of members that are added to it, without training."""
    plan = options.plan()
    chosen = chosen_measurements(options, measure, problem)
    added = groups(directory, plan, *(getattr(options, name) for name in ADDING))
    for path, members in ((directory, plan), *added):
        prepared(
            problem,
            members,
            RunDirectory(path),
            measurements=chosen,
            start_from=options.start_from,
            resume=True,
        )
