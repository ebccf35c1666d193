"""One table of all rows, and what has changed since another one."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.benchmarks.group import Row
from experiments.benchmarks.questions.question import MARGIN, differ

HEAD = ("now", "goal", "peer", "ours", "spread")


def table(rows: Sequence[Row]) -> str:
    """Return a line for each row.

    They tell the ratio to the peer, or seconds where there is none, the goal, the seconds here, and
    the least and most of what is told first. A goal that is missed has an exclamation mark.
    """
    lines = [HEAD, *map(_cells, rows)]
    names = ["", *(row["row"] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    broad = max(map(len, names))
    return "\n".join(
        f"{name:{broad}}  "
        + "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for name, line in zip(names, lines, strict=True)
    )


def _cells(row):
    seconds, ratio, goal, peer = row["seconds"], row["ratio"], row["goal"], row["peer"]
    if peer and not ratio:
        return "-", _goal(row), f"{peer}: not installed", _time(seconds["median"]), ""
    told = ratio or seconds
    show = _factor if ratio else _time
    missed = goal and (told["median"] < goal if ratio else told["median"] > goal)
    return (
        show(told["median"]) + (" !" if missed else ""),
        _goal(row),
        peer or "",
        _time(seconds["median"]),
        f"{show(told['min'])} .. {show(told['max'])}",
    )


def _goal(row):
    if row["goal"] is None:
        return ""
    return f">= {_factor(row['goal'])}" if row["peer"] else f"<= {_time(row['goal'])}"


def _factor(value):
    return f"{value:.3g} x"


def _time(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def changes(old: Sequence[Row], new: Sequence[Row]) -> str:
    """Return which rows became slower or faster beyond noise, and what was not compared.

    Rows with a peer are compared by their ratio, where the speed of the machine cancels, others by
    their seconds. A row has changed if the ranges from least to most of the repeats do not overlap
    and the medians are more than 5 % apart.
    """
    before, after = ({_name(row): row for row in rows} for rows in (old, new))
    lines, same = [], 0
    for name in after:
        if name not in before:
            lines.append(f"new: {name}")
            continue
        both = before[name], after[name]
        times = [_compared(row, *both) for row in both]
        if not differ(*times):
            same += 1
            continue
        factor = times[0]["median"] / times[1]["median"]
        word = "faster" if factor > 1 else "slower"
        lines.append(f"{word}: {name}: {_factor(max(factor, 1 / factor))}")
    lines += [f"not measured now: {name}" for name in before if name not in after]
    rule = f"ranges of the repeats overlap, or medians are within {MARGIN:.0%}"
    return "\n".join([*lines, f"no change: {same} rows ({rule})"])


def _name(row):
    """What tells a row from others: several peers may do the same."""
    return row["row"] + (f", beside {row['peer']}" if row["peer"] else "")


def _compared(row: Row, *both: Row) -> Mapping[str, Any]:
    """Return the time of a row, in units of that of the peer if both have one."""
    if not all(each["ratio"] for each in both):
        return row["seconds"] | {"amount": 1}
    ratio = row["ratio"]
    return {
        "median": 1 / ratio["median"],
        "min": 1 / ratio["max"],
        "max": 1 / ratio["min"],
        "amount": 1,
    }
