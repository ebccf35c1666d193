"""What an experiment leaves in its run directory, and what it prints at the end.

What writes it is imported when it is written, so that --help is quick.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments.options import Checked
from experiments.progress import phase

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr

Draw = Callable[[], "matplotlib.figure.Figure"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResultOptions(Checked):
    """In which other forms results are left."""

    csv: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write every table as a CSV file too."""
    report: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write report.html too: all results in one page, with interactive curves."""

    def check(self) -> None:
        """Refuse what cannot be written, for want of a package."""
        super().check()
        if self.report:
            from experiments.reports.page import check_packages

            check_packages()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(ResultOptions):
    """Where the results go."""

    preset: str = "default"
    """Settings to start from, one of those named above; other options override them."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Short for --preset quick."""
    directory: pathlib.Path | None = None
    """Run directory; by default a new one below runs/."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Continue the run that the directory holds, with its options."""
    no_cache: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compile everything anew, and keep no compiled program on disk for the next start."""


def leave(
    directory: pathlib.Path,
    summary: str,
    *,
    tables: "Mapping[str, xr.Dataset] | None" = None,
    figures: Mapping[str, Draw],
    options: ResultOptions,
) -> None:
    """Write tables, summary and figures into a run directory, and print the summary.

    Args:
        directory: of the run.
        summary: the text, for summary.txt too.
        tables: {name: dataset}, each for NAME.nc.
        figures: {name: function that draws it}, each for NAME.png.
        options: say whether tables are written as NAME.csv too, and all of it as a report.
    """
    from sgd_diffusion.storage.files import write_atomically
    from sgd_diffusion.storage.netcdf import to_netcdf
    from sgd_diffusion.storage.run_directories import save_figure
    from sgd_diffusion.tables import to_dataframe

    for name, table in (tables or {}).items():
        write_atomically(directory / f"{name}.nc", to_netcdf(table))
        if options.csv:
            content = to_dataframe(table).to_csv(index=False)
            write_atomically(directory / f"{name}.csv", content.encode())
    write_atomically(directory / "summary.txt", summary.encode())
    with phase("figures"):
        for name, draw in figures.items():
            save_figure(draw(), directory / f"{name}.png")
    if options.report:
        from experiments.reports.page import PAGE, write_report

        with phase("report"):
            write_report([directory], directory / PAGE)
    print(summary)
    print(f"results, figures and this summary: {directory}")


def by_rate(
    name: str, rates: Iterable[float], draw: Callable[[float], "matplotlib.figure.Figure"]
) -> dict[str, Draw]:
    """Return a figure of each learning rate, {NAME_RATE: function that draws it}."""
    return {f"{name}_{rate:g}": functools.partial(draw, rate) for rate in rates}
