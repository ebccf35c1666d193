"""Answer the open questions about a device in a few minutes, and say which defaults hold there.

Each question compares candidates and checks a default of the code: mapping of members, formulation
of convolutions, type of Gram matrices, precision, sizes of ensembles, what windows cost beside
their updates, points of surfaces, eigenpairs, walkers, stable fits. The table shows for each
candidate the seconds of the compilation and of the first run, the median of warm runs with the
least and the most, units of work a second, memory at the peak and floating-point operations a
second. A candidate that fails is a result. A verdict says "proved", "refuted", "no difference" or
"open". The most important questions come first, and no candidate begins after the time is over. The
same command with the same --json then goes on where it stopped. Run from the checkout: python -m
experiments.benchmarks.accelerator --json facts.json
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Annotated, Any

import tyro
from tqdm.auto import tqdm

from experiments import command_line, progress
from experiments.benchmarks import timing
from experiments.benchmarks.questions.catalogue import catalogue
from experiments.benchmarks.questions.measuring import measured
from experiments.benchmarks.questions.question import Question, Row, answer
from experiments.benchmarks.questions.sizes import Sizes
from experiments.interrupts import interruptibly
from experiments.options import within
from sgd_diffusion._json_values import describe_differences, json_values
from sgd_diffusion._memory import available_bytes
from sgd_diffusion.errors import StorageError
from sgd_diffusion.storage.run_directories import write_atomically

SMALL = "experiments.benchmarks.questions.small:Small"
HEAD = ("", "compile s", "first s", "median s", "least", "most", "per second", "MiB", "TFLOP/s")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Sizes):
    """What is measured, and for how long."""

    preset: str = "default"
    """default, or quick: the same with small sizes, to see that everything runs."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Short for --preset quick."""
    minutes: Annotated[float, *within(0, 1440)] = 8.0
    """After these no further candidate begins. The last one is finished."""
    json: pathlib.Path | None = None
    """File for the results, written after each candidate. What it holds is not measured again."""
    repeats: Annotated[int, *within(timing.FEWEST, 1000)] = 7
    """Warm runs of each candidate, at most."""
    patience: Annotated[float, *within(0, 3600)] = 3.0
    """Seconds of warm runs of a candidate after which no further one begins; three are made."""


PRESETS = {
    "default": Options(),
    "quick": Options(
        images=("digits",),
        model=SMALL,
        batch_size=4,
        steps=2,
        passes=2,
        members=4,
        group=4,
        ensembles=(1, 4),
        channels=2,
        window=10,
        gram_steps=20,
        gram_parameters=100,
        examples=8,
        points=3,
        eigenpairs=2,
        walkers=(2, 4),
        landscapes=2,
        levels=2,
        walk=4,
        fits=2,
        points_of_fit=20,
        repeats=3,
    ),
}


def main(options: Options) -> None:
    """Measure, print, and write."""
    end = monotonic() + 60 * options.minutes
    questions = catalogue(options)
    report = begun(options)
    rows = report["rows"]
    write(report, questions, options.json)  # refuses a place where it cannot, before any work
    device = report["identity"]["device"]
    print(f"{device['count']} x {device['kind']} ({device['platform']})", flush=True)
    names = {each.name for question in questions for each in question.candidates}
    known = len(names & rows.keys())
    with tqdm(total=len(names), initial=known, unit=" candidates", **progress.STYLE) as bar:
        for question in questions:
            for candidate in question.candidates:
                if candidate.name in rows or monotonic() >= end:
                    continue
                bar.set_description(candidate.name)
                rows[candidate.name] = measured(
                    candidate, repeats=options.repeats, patience=options.patience
                )
                bar.update()
                write(report, questions, options.json)
            bar.write(text(question, rows), file=sys.stdout)
    write(report, questions, options.json)
    print(summary(questions, rows))


def begun(options: Options) -> dict[str, Any]:
    """Return the report so far: that of the file, if there is one, or an empty one.

    Raises:
        StorageError: the file is not one of such reports, or of one on another device, with other
            versions of packages or other options.
    """
    machine = timing.machine()
    identity = json_values(
        "options",
        {
            **{name: machine[name] for name in ("device", "python", "packages")},
            "options": command_line.decisive(options, ("minutes", "json")),
        },
    )
    report = {"identity": identity, "calls": [], "rows": {}}
    if options.json is not None and options.json.exists():
        report = _stored(options.json)
        differences = describe_differences(report["identity"], identity)
        if differences:
            raise StorageError(
                f"{options.json} holds results of another device or other options ({differences}); "
                "expected the same: give --json another file, or the options of that one"
            )
    report["calls"].append(machine | {"available_bytes": available_bytes()})
    return report


def _stored(file: pathlib.Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        kinds = {"identity": dict, "calls": list, "rows": dict}
        if all(isinstance(report[name], kind) for name, kind in kinds.items()):
            return {name: report[name] for name in kinds}
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise StorageError(
        f"{file} holds no results of this program; expected some, or no such file: give --json "
        "another name"
    )


def write(
    report: Mapping[str, Any], questions: Sequence[Question], file: pathlib.Path | None
) -> None:
    """Write the results so far with the verdicts on them, if there is a file for them."""
    if file is None:
        return
    rows = report["rows"]
    verdicts = [
        {
            "name": question.name,
            "asks": question.asks,
            "default": question.default,
            "where": question.where,
            "candidates": [candidate.name for candidate in question.candidates],
            "verdict": answer(question, rows),
        }
        for question in questions
    ]
    content = {**report, "questions": verdicts, "not_reached": not_reached(questions, rows)}
    write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())


def not_reached(questions: Sequence[Question], rows: Mapping[str, Row]) -> list[str]:
    """Return the names of the candidates that have not been measured."""
    names = [each.name for question in questions for each in question.candidates]
    return [name for name in dict.fromkeys(names) if name not in rows]


def text(question: Question, rows: Mapping[str, Row]) -> str:
    """Return what is printed of a question: what it asks, its candidates, the verdict."""
    known = [each for each in question.candidates if each.name in rows]
    width = max([len(f"{each.name} [{each.unit}]") for each in known], default=0)
    lines = [
        f"\n{question.name}: {question.asks}",
        f"  default: {question.default} ({question.where})",
    ]
    if known:
        lines.append("  " + HEAD[0].ljust(width) + "".join(f"{each:>12}" for each in HEAD[1:]))
    for candidate in known:
        row = rows[candidate.name]
        named = f"  {f'{candidate.name} [{candidate.unit}]':{width}}"
        if "error" in row:
            lines.append(f"{named}  {row['error']}")
            continue
        numbers = [row[name] for name in ("compile", "first", "median", "min", "max", "per_second")]
        numbers += [_scaled(row["bytes_at_peak"], 2**20), _scaled(row["flops_per_second"], 1e12)]
        shown = ("-" if number is None else f"{number:.3g}" for number in numbers)
        facts = "".join(f"  {name} {value:.3g}" for name, value in row["facts"].items())
        lines.append(named + "".join(f"{each:>12}" for each in shown) + facts)
    return "\n".join([*lines, f"  {answer(question, rows)}"])


def _scaled(number, unit):
    return number and number / unit


def summary(questions: Sequence[Question], rows: Mapping[str, Row]) -> str:
    """Return all verdicts, and what was not reached."""
    left = not_reached(questions, rows)
    lines = ["\nVerdicts", *(f"  {each.name}: {answer(each, rows)}" for each in questions)]
    if left:
        lines += [
            f"Not reached: {len(left)} candidates. The same command with --json FILE goes on."
        ]
    return "\n".join(lines)


def program() -> None:
    """Run from the command line."""
    with command_line.program():
        options = command_line.parse(PRESETS, __doc__, sys.argv[1:])
        interruptibly(
            lambda: main(options), hint="; the same command with --json goes on after the last row"
        )


if __name__ == "__main__":
    program()
