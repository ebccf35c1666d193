"""Measure what everything costs, beside other packages, and print one table.

Every group is a program of its own (`python -m experiments.benchmarks.GROUP --help`), which runs in
its own process. Here it runs in a short form, all of them in ten minutes on two cores. Ratios say
how many times as long the peer takes, so that more is better, with the least and the most over the
rounds in which both took turns. A ! marks a missed goal. Peers are measured where they are
installed. --json keeps all that was measured with the machine, its load and all versions; --compare
tells what became slower or faster since. Run from the checkout: python -m experiments.benchmarks
--json now.json
"""

import dataclasses
import importlib.util
import json
import pathlib
import subprocess
import sys
import time
from typing import Annotated, Any, NamedTuple

import tyro

from experiments import command_line
from experiments.benchmarks.table import changes, table
from experiments.options import Checked, within
from sgd_diffusion.errors import StorageError, invalid
from sgd_diffusion.storage.run_directories import write_atomically


class Group(NamedTuple):
    """How a group runs here.

    Attributes:
        short: options for the table.
        quick: options with which it is done in seconds, to see that it runs.
        needs: a package without which there is nothing to measure.
    """

    short: str
    quick: str
    needs: str | None = None


GROUPS = {
    "start": Group("--repeats 2", "--preset quick --repeats 1"),
    "training": Group(
        "--members 4 --repeats 3 --steps 20 2",
        "--images digits --batch-size 4 --members 2 --steps 1 --repeats 1 --window 10",
    ),
    "curvature": Group(
        "--images 500 --updates 500 --repeats 2",
        "--images 4 --num-eigenvalues 1 --power-iteration-eigenvalues 1 --tolerance 0.1 "
        "--updates 2 --repeats 1",
    ),
    "planes": Group("--at-once 1 --repeats 9", "--images 4 --grid 2 2 --at-once 1 --repeats 1"),
    "paths": Group("--repeats 5", "--window 100 --members 1 --steps 20 --dims 3 --repeats 1"),
    "recorder": Group(
        "--window 200 --repeats 5",
        "--width 4 --batch-size 2 --steps 2 --repeats 1 --window 10 --sketch-dim 8",
        needs="torch",
    ),
    "stable": Group("--repeats 5", "--points 20 --fits 2 --scipy-points 0 --repeats 1"),
    "walkers": Group(
        "--surfaces 20 --repeats 5",
        "--surfaces 1 --walkers 4 --steps 10 --levels 3 --numpy-surfaces 1 --surfaces-timed 1 "
        "--repeats 1",
    ),
    "escape": Group("--repeats 5", "--trials 10 --repeats 1"),
    "freezing": Group(
        "--diagram-steps 1000 --steps 100 --repeats 5",
        "--walkers 2 --diagram-steps 10 --steps 10 --repeats 1",
    ),
    "limiting": Group("--lags 2000 --repeats 5", "--modes 10 --lags 10 --repeats 1"),
}


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured, and where it is kept."""

    groups: Annotated[tuple[str, ...], *within(fewest=1)] = tuple(GROUPS)
    """Groups that are measured."""
    json: pathlib.Path | None = None
    """File for all that was measured."""
    compare: pathlib.Path | None = None
    """Such a file from earlier; what became slower or faster beyond noise is told. Beyond noise
    means: the ranges of the repeats do not overlap, and the medians are more than 5 % apart.
    """
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Tiny sizes, to see that everything runs."""

    def check(self) -> None:
        """Refuse also groups that do not exist."""
        super().check()
        for name in self.groups:
            if name not in GROUPS:
                raise invalid("--groups", f"has {name!r}", f"some of {', '.join(GROUPS)}")


def main(options: Options) -> None:
    """Measure, print, and write."""
    before = None if options.compare is None else stored(options.compare)
    report: dict[str, Any] = {"quick": options.quick, "seconds": {}, "groups": {}}
    write(report, options.json)  # refuses a place where it cannot, before any work
    failed = []
    for name in options.groups:
        begin = time.perf_counter()
        try:
            report["groups"][name] = measured(name, quick=options.quick)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: failed with exit code {error.returncode}")
        report["seconds"][name] = time.perf_counter() - begin
        write(report, options.json)
    print(text(report))
    if before is not None:
        print(f"\nSince {options.compare}:\n{changes(rows(before), rows(report))}")
    if failed:
        print("\n".join(failed), file=sys.stderr)
        sys.exit(1)


def measured(name: str, *, quick: bool) -> dict[str, Any]:
    """Return the report of a group, from a process of its own.

    Raises:
        CalledProcessError: the process fails.
    """
    group = GROUPS[name]
    if group.needs and not importlib.util.find_spec(group.needs):
        return {"rows": [], "left_out": f"{group.needs} is not installed"}
    print(f"{name} ...", file=sys.stderr)
    command = [sys.executable, "-m", f"experiments.benchmarks.{name}"]
    options = (group.quick if quick else group.short).split()
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of all groups."""
    return [row for group in report["groups"].values() for row in group["rows"]]


def text(report: dict[str, Any]) -> str:
    """Return the table, with the machine and its load above it and what is missing below."""
    groups = report["groups"]
    machines = [group for group in groups.values() if "machine" in group]
    lines = []
    if machines:
        machine, end = machines[0]["machine"], machines[-1]["load_after"]
        lines.append(
            f"{machine['processor']}, {machine['device']['cores']} cores, jax "
            f"{machine['packages']['jax']}, revision {machine['revision']}; load of the machine "
            f"{machine['load'][0]:.1f} before and {end[0]:.1f} after; "
            f"{sum(report['seconds'].values()):.0f} s\n"
        )
    lines.append(table(rows(report)))
    lines += [f"{name}: {each['left_out']}" for name, each in groups.items() if "left_out" in each]
    return "\n".join(lines)


def stored(file: pathlib.Path) -> dict[str, Any]:
    """Return a report that was written by --json.

    Raises:
        StorageError: there is none.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if all("seconds" in row and "ratio" in row for row in rows(report)):
            return report
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise StorageError(
        f"{file} holds no results of this program; expected a file that its --json has written"
    )


def write(report: dict[str, Any], file: pathlib.Path | None) -> None:
    """Write what was measured so far, if there is a file for it."""
    if file is not None:
        write_atomically(file, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    command_line.run(main, Options, __doc__)
