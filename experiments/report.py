"""Make one page of a run: figures, interactive curves, tables, configuration, and its command.

The page is one HTML file that opens offline. Several runs stand side by side, with what differs in
their configurations. Runs may be of any experiment or of experiments.analyze_path, finished or not.
Run from the checkout: python -m experiments.report RUN
"""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from experiments import command_line
from experiments.options import Checked, within
from experiments.progress import phase
from sgd_diffusion.errors import invalid


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Checked):
    """Options of a report."""

    runs: Annotated[tyro.conf.Positional[tuple[pathlib.Path, ...]], *within(fewest=1)]
    """Run directories."""
    output: pathlib.Path | None = None
    """The HTML file; by default report.html in the run directory, or here for several runs."""


def report(options: Options) -> None:
    """Write the page."""
    from experiments.reports.page import PAGE, write_report

    output = options.output
    if output is None and len(options.runs) == 1:
        output = options.runs[0] / PAGE
    elif output is None:
        output = pathlib.Path(PAGE)
        if output.exists():  # somebody else's, perhaps
            raise invalid("--output", f"was not given, and there is a {PAGE} here", "a file")
    elif output.is_dir() or not output.parent.is_dir():
        raise invalid(
            "--output",
            f"is {output}, which is {'a directory' if output.is_dir() else 'in no directory'}",
            f"a file in a directory that there is, such as {PAGE}",
        )
    with phase("report"):
        size = write_report(options.runs, output)
    print(f"{output}: {size / 1e6:.1f} MB, for any browser")


if __name__ == "__main__":
    command_line.run(report, Options, __doc__)
