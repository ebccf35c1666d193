"""A question about a device: the candidates, the default that it checks, and the verdict.

A row is what was measured of a candidate, JSON-like (see `measuring.measured`): seconds of warm
runs, the work of a run, facts of its result; or an error, which is a result too.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Verdict = Callable[[Mapping[str, Row]], str]

# Candidates whose medians differ by less do the same. A default that wins by 3 % is no reason.
MARGIN = 0.05
NO_DIFFERENCE = "no difference beyond the spread"


class Made(NamedTuple):
    """A candidate that is ready to run.

    Attributes:
        function: jitted, so that it is compiled before it is timed; any other function is compiled
            in its first run.
        arguments: of the function.
        amount: units of work that a run does.
        passes: how often a run does the products that its program has, where the bodies of loops
            count once; None where that is not known.
        facts: of the result, JSON-like.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    amount: float = 1
    passes: float | None = None
    facts: Callable[[Any], dict[str, Any]] | None = None


class Candidate(NamedTuple):
    """One way to do something. Candidates of the same name are the same, and are measured once.

    Attributes:
        name: tells what is done, and how.
        unit: of the work.
        make: makes it ready, and takes the memory that it needs.
    """

    name: str
    unit: str
    make: Callable[[], Made]


class Question(NamedTuple):
    """What is asked of a device.

    Attributes:
        name: of the question.
        asks: the question.
        default: what the code does today.
        where: place of that in the code.
        candidates: all that has to be measured for the answer.
        verdict: the answer in one line, from the rows of the candidates by name.
    """

    name: str
    asks: str
    default: str
    where: str
    candidates: tuple[Candidate, ...]
    verdict: Verdict


def answer(question: Question, rows: Mapping[str, Row]) -> str:
    """Return the verdict, or what is missing for it."""
    missing = [each.name for each in question.candidates if each.name not in rows]
    if missing:
        return f"open: not reached: {'; '.join(missing)}"
    return question.verdict({each.name: rows[each.name] for each in question.candidates})


def of_all(verdict: Verdict) -> Verdict:
    """Return a verdict that is open where a candidate has failed."""

    @functools.wraps(verdict)
    def checked(rows):
        failed = next((name for name, row in rows.items() if "error" in row), None)
        if failed is not None:
            return f"open: {failed} fails: {rows[failed]['error']}"
        return verdict(rows)

    return checked


def choice(default: str, rivals: Sequence[str]) -> Verdict:
    """Return a verdict on the fastest of several ways; one that fails is none.

    Args:
        default: name of the candidate that the code chooses.
        rivals: names of the others.
    """

    def verdict(rows):
        working = [name for name in rivals if "error" not in rows[name]]
        best = min(working, key=lambda name: per_unit(rows[name]), default=None)
        if "error" in rows[default]:
            instead = f"{best} works" if best else "so do all others"
            return f"refuted: {default} fails ({rows[default]['error']}); {instead}"
        if best is None:
            return f"all others fail: default proved ({default})"
        return compared(default, best, rows)

    return verdict


def compared(default: str, rival: str, rows: Mapping[str, Row]) -> str:
    """Say which of two is faster for each unit of work, and what that means for the default."""
    mine, other = rows[default], rows[rival]
    if not differ(mine, other):
        return f"{NO_DIFFERENCE}: {rival} takes {ratio(other, mine):.3g} x the time of {default}"
    if per_unit(mine) < per_unit(other):
        return f"{default} is {ratio(other, mine):.3g} x as fast as {rival}: default proved"
    return f"refuted: {rival} is {ratio(mine, other):.3g} x as fast as {default}"


def judged(holds: bool, found: str) -> str:
    """Return a finding with what it means for the default."""
    return f"{found}: default proved" if holds else f"refuted: {found}"


def per_unit(row: Row) -> float:
    """Return median seconds of a unit of work."""
    return row["median"] / row["amount"]


def ratio(slow: Row, fast: Row) -> float:
    """Return how many times as long a unit of work takes."""
    return per_unit(slow) / per_unit(fast)


def differ(first: Row, second: Row) -> bool:
    """Return whether no run of one was as fast as one of the other, and the medians are apart."""
    slow, fast = sorted((first, second), key=per_unit, reverse=True)
    apart = slow["min"] / slow["amount"] > fast["max"] / fast["amount"]
    return apart and ratio(slow, fast) > 1 + MARGIN
