"""Put several runs side by side: exponents, their controls, losses and accuracies.

The runs may be of any of the experiments that train, or cells of a sweep, finished or not. All
exponents are fitted on the same lags, those of the shortest window. Run from the checkout: python
-m experiments.compare RUN RUN
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments import command_line
from experiments.options import within
from experiments.progress import phase
from experiments.results import ResultOptions, leave
from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    import xarray as xr


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ResultOptions):
    """Options of a comparison."""

    runs: Annotated[tyro.conf.Positional[tuple[pathlib.Path, ...]], *within(fewest=1)]
    """Run directories."""
    directory: pathlib.Path | None = None
    """Where table, summary and figure go; by default a new directory below runs/."""


def compare(options: Options) -> None:
    """Leave a table, a summary and a figure of several runs."""
    from experiments import summaries
    from experiments.directories import new_directory
    from experiments.reports.runs import labels
    from sgd_diffusion import plots, tables
    from sgd_diffusion.analysis.lags import standard_ranges

    runs = [_loaded(path) for path in options.runs]
    ranges = standard_ranges(min(int(run["lag"][-1]) for run in runs))
    names = labels(options.runs)
    with phase("exponents"):
        table = tables.over_cells(
            [
                ({"run": name}, tables.overview(run, ranges))
                for name, run in zip(names, runs, strict=True)
            ]
        )
    directory = options.directory or new_directory("comparison")
    directory.mkdir(parents=True, exist_ok=True)
    what = [f"{name}: {summaries.what(run)}" for name, run in zip(names, runs, strict=True)]
    leave(
        directory,
        "\n".join([*what, "", summaries.cells(table, ["run"]), ""]),
        tables={"comparison": table},
        figures={"comparison": lambda: plots.comparison(table)},
        options=options,
    )


def _loaded(path: pathlib.Path) -> "xr.Dataset":
    from sgd_diffusion.storage.run_directories import load_run

    if (path / "cells").is_dir():
        raise invalid("RUN", f"is {path}, a sweep", "run directories, such as its cells/*")
    run = load_run(path)
    missing = {"msd", "loss", "lag"} - set(run.variables)
    if missing:
        raise invalid(
            "RUN",
            f"is {path}, which has no {', '.join(sorted(missing))}",
            "a run of an experiment that trains an ensemble",
        )
    return run


if __name__ == "__main__":
    command_line.run(compare, Options, __doc__)
