"""What an experiment leaves in its run directory, and what it prints at the end."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import xarray as xr

from experiments.progress import phase
from sgd_diffusion.storage.netcdf import to_netcdf
from sgd_diffusion.storage.run_directories import save_figure, write_atomically
from sgd_diffusion.tables import to_dataframe

if TYPE_CHECKING:
    import matplotlib.figure

Draw = Callable[[], "matplotlib.figure.Figure"]


def leave(
    directory: pathlib.Path,
    summary: str,
    *,
    tables: Mapping[str, xr.Dataset] | None = None,
    figures: Mapping[str, Draw],
    csv: bool = False,
) -> None:
    """Write tables, summary and figures into a run directory, and print the summary.

    Args:
        directory: of the run.
        summary: the text, for summary.txt too.
        tables: {name: dataset}, each for NAME.nc.
        figures: {name: function that draws it}, each for NAME.png.
        csv: whether tables are written as NAME.csv too.
    """
    for name, table in (tables or {}).items():
        write_atomically(directory / f"{name}.nc", to_netcdf(table))
        if csv:
            content = to_dataframe(table).to_csv(index=False)
            write_atomically(directory / f"{name}.csv", content.encode())
    write_atomically(directory / "summary.txt", summary.encode())
    with phase("figures"):
        for name, draw in figures.items():
            save_figure(draw(), directory / f"{name}.png")
    print(summary)
    print(f"results, figures and this summary: {directory}")


def by_rate(
    name: str, rates: Iterable[float], draw: Callable[[float], "matplotlib.figure.Figure"]
) -> dict[str, Draw]:
    """Return a figure of each learning rate, {NAME_RATE: function that draws it}."""
    return {f"{name}_{rate:g}": functools.partial(draw, rate) for rate in rates}
