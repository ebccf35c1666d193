"""The order of checkpoints, and the steps at which they were written, from their names."""

import collections
import itertools
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from sgd_diffusion.errors import invalid

__all__ = ["in_order", "listed_files", "natural_key", "regular_steps"]

NUMBER = re.compile(r"(\d+)")
SHOWN = 10


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return what sorts names as people do, step_9 before step_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in NUMBER.split(name)]


def in_order(source: str, names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the names of checkpoints in natural order, and their numbers.

    Args:
        source: where they are, for messages.
        names: which differ in numbers only; the last number that differs is the step.

    Raises:
        InputError: some have another form than most, or no number tells them apart.
    """
    forms = collections.Counter(NUMBER.sub("#", name) for name in names)
    if len(forms) > 1:
        (usual, _), *_ = forms.most_common(1)
        others = sorted(name for name in names if NUMBER.sub("#", name) != usual)
        raise invalid(
            source,
            f"has files with names of several forms, {_listed(others)} beside {usual}",
            "checkpoints whose names differ in numbers only",
            "give a pattern in quotes, such as 'DIR/step_*.pt', or a .txt file with one checkpoint "
            "on a line",
        )
    ordered = sorted(names, key=natural_key)
    numbers = np.array([[int(number) for number in NUMBER.findall(name)] for name in ordered])
    varying = np.flatnonzero((numbers != numbers[:1]).any(axis=0))
    if len(varying) == 0:
        return ordered, list(range(len(ordered)))
    steps = numbers[:, varying[-1]].tolist()
    if sorted(steps) != steps:
        raise invalid(
            source,
            f"has names with several numbers, such as {ordered[0]} and {ordered[-1]}, whose last "
            "one does not increase",
            "numbers that order the checkpoints",
            "give a .txt file with one checkpoint on a line",
        )
    return ordered, steps


def regular_steps(source: str, steps: Sequence[int]) -> tuple[int, int]:
    """Return the first step and the distance between steps, if all distances are the same.

    Raises:
        InputError: steps are missing, or lie at no regular distance.
    """
    if len(steps) < 2:
        return (steps[0] if steps else 0), 1
    gaps = np.diff(steps)
    usual = collections.Counter(gaps.tolist()).most_common(1)[0][0]
    if (gaps == usual).all() and usual > 0:
        return int(steps[0]), int(usual)
    regular = usual > 0 and not (gaps % usual).any() and (gaps > 0).all()
    if not regular:
        raise invalid(
            source,
            f"has checkpoints at irregular steps, {', '.join(map(str, steps[:SHOWN]))}"
            + ", ..." * (len(steps) > SHOWN),
            "one every so many steps",
            "choose regular ones with a pattern, or with a .txt file of one checkpoint on a line",
        )
    count = int((gaps // usual - 1).sum())
    missing = (
        step
        for before, gap in zip(steps, gaps.tolist(), strict=False)
        for step in range(before + usual, before + gap, usual)
    )
    named = ", ".join(map(str, itertools.islice(missing, SHOWN))) + ", ..." * (count > SHOWN)
    raise invalid(
        source,
        f"has checkpoints every {usual} steps, and {count} of them are missing: {named}",
        "every one of them",
        "give a pattern that leaves out the part before or behind them",
    )


def listed_files(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the paths in a text file, one on a line, relative to where the file is.

    Raises:
        InputError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(
            str(path), f"cannot be read ({error})", "text with one checkpoint on a line"
        ) from error
    return [path.parent / line.strip() for line in lines if line.strip()]


def _listed(names):
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
