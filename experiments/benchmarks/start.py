"""Measure how long it takes to start: the default run to its first step, and --help.

The program prints JSON. The run is `python -m experiments.anomalous_diffusion` with its defaults,
in processes of their own. Seconds are those from the start of the process until the bar on standard
error counts a first update; then the run is ended. A cold run finds an empty folder for compiled
programs, a warm one what an earlier run has left. Run from the checkout: python -m
experiments.benchmarks.start
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated, Any

from tqdm.auto import tqdm

from experiments.benchmarks import group
from experiments.options import Checked, within

RUN = (sys.executable, "-m", "experiments.anomalous_diffusion")
# The bar names the window, or counts, once the first update is made. Until then it says 0/30000.
STARTED = re.compile(rb"window \d+/\d+|[1-9]\d*/\d+ \[")
KEPT = 300  # characters in which that is looked for, more than a bar has


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    preset: str = "default"
    """Of the run."""
    repeats: Annotated[int, *within(1, 1000)] = 3
    """Timed runs of each candidate."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    runs: dict[str, list[float]] = {"cold": [], "warm": [], "help": []}
    with tqdm(total=3 * options.repeats, unit=" runs") as bar, folder() as place:
        seconds_of_help()  # leaves the bytecode of Python, which is not what is measured
        for number in range(options.repeats):
            runs["cold"].append(seconds_to_first_update(options, place / str(number)))
            bar.update()
            runs["warm"].append(seconds_to_first_update(options, place / "0"))
            bar.update()
            runs["help"].append(seconds_of_help())
            bar.update()
    name = f"start of the {options.preset} run to its first step"
    return {
        "seconds": runs,
        "rows": [
            group.row(f"{name}, cold", runs["cold"], goal=12.0),
            group.row(f"{name}, warm", runs["warm"], goal=5.0),
            group.row("--help", runs["help"], goal=1.0),
        ],
    }


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    """Yield a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield pathlib.Path(name)


def seconds_of_help() -> float:
    """Return how long --help takes."""
    begin = time.perf_counter()
    subprocess.run([*RUN, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def seconds_to_first_update(options: Options, cache: pathlib.Path) -> float:
    """Return how long a run takes to its first update, and end it.

    Args:
        options: the preset of the run.
        cache: folder for compiled programs, and for whatever else is kept between runs.

    Raises:
        RuntimeError: the run ends before, with what it said last.
    """
    kept = {"JAX_COMPILATION_CACHE_DIR": str(cache / "jax"), "XDG_CACHE_HOME": str(cache)}
    with folder() as place:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*RUN, "--preset", options.preset, "--directory", str(place / "run")],
            env={**os.environ, **kept},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            said = b""
            while not STARTED.search(said):
                more = os.read(process.stderr.fileno(), 4096)
                if not more:
                    raise RuntimeError(f"The run made no update: {said.decode(errors='replace')}")
                said = said[-KEPT:] + more
            return time.perf_counter() - begin
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    group.program(measure, Options, __doc__)
