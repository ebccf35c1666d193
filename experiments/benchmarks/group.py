"""What all groups of benchmarks share: a program that prints JSON, and rows that it ends in.

A row is one comparison: what a unit of work takes here, and how many times as long it takes a peer.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import command_line
from experiments.benchmarks import timing
from experiments.options import Checked

Row = dict[str, Any]
"""JSON-like; see `row`."""


def program(
    measure: Callable[[Any], dict[str, Any]], kind: type[Checked], description: str
) -> None:
    """Run a group from the command line: measure, and print a report as JSON.

    Args:
        measure: function of the options that returns what was measured, with `"rows"` among it.
        kind: dataclass of the options.
        description: shown by --help.
    """

    def work(options):
        report = {"machine": timing.machine(), "options": dataclasses.asdict(options)}
        report |= measure(options)
        print(json.dumps(report | {"load_after": timing.machine()["load"]}, indent=2))

    command_line.run(work, kind, description)


def versions(peers: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of those peers that are installed.

    Args:
        peers: name of the distribution -> name of its module.
    """
    return {
        name: importlib.metadata.version(name)
        for name, module in peers.items()
        if importlib.util.find_spec(module)
    }


def row(
    name: str,
    ours: Sequence[float],
    peer: str | None = None,
    theirs: Sequence[float] | None = None,
    *,
    amounts: tuple[float, float] = (1, 1),
    goal: float | None = None,
) -> Row:
    """Return a row of the table.

    The ratio is taken in every round, where both took turns. A slow minute of the machine then
    cancels.

    Args:
        name: what is done.
        ours: seconds of each round.
        peer: who does the same, or None.
        theirs: seconds of the peer in the same rounds; None where it is not installed.
        amounts: units of work of a round, here and there.
        goal: least ratio, or most seconds where there is no peer.

    Returns:
        {"row", "peer", "goal", "seconds", "ratio"}. The last two are {"median", "min", "max"}: of
        a unit of work here, and of the time of the peer over ours, or None.
    """
    mine = [each / amounts[0] for each in ours]
    ratio = theirs and [each / amounts[1] / own for each, own in zip(theirs, mine, strict=True)]
    return {
        "row": name,
        "peer": peer,
        "goal": goal,
        "seconds": spread(mine),
        "ratio": spread(ratio) if ratio else None,
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of some values, with the least and the most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
