"""Programs compiled for a chip one after the other, with what is said and written of each."""

import importlib.metadata
import json
import math
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax

from experiments.accelerators import facts
from experiments.accelerators.catalogue import catalogue
from experiments.accelerators.chips import CHIPS, Chip
from experiments.accelerators.programs import Program, chosen
from experiments.benchmarks import timing
from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.run_directories import write_atomically

FAILED = 1  # exit code if a program does not compile


def compile_programs(options: Any) -> None:
    """Compile what the options of experiments.compile_for name, print, and write."""
    chip = CHIPS[options.chip]
    wanted = [
        program
        for program in chosen(catalogue(), options.programs)
        if program.runs_on(chip.platform)
    ]
    if not wanted:
        raise invalid(
            "--programs",
            f"is {' '.join(options.programs)}",
            "patterns that name a program of this chip",
            "--list names all",
        )
    if options.list:
        print("\n".join(program.name for program in wanted))
        return
    if options.memory:
        count = math.prod(map(int, (options.topology or chip.topology).split("x")))
        for program in wanted:
            if program.part.memory:
                print(program.name)
                print(program.part.memory(chip.platform, count).table(int(chip.memory)))
        return
    # The compilers are all that is used of other platforms.
    jax.config.update("jax_platforms", "cpu")
    devices = chip.devices(options.topology)
    report: dict[str, Any] = {
        "machine": timing.machine(),
        "chip": {
            "name": options.chip,
            "count": len(devices),
            "memory": chip.memory,
            "bandwidth": chip.bandwidth,
            "source": chip.source,
            "compiler": f"{chip.module} {importlib.metadata.version(chip.module)}",
        },
        "programs": [],
    }
    report["programs"] = compiled_before(report, options.json)
    known = {row["program"] for row in report["programs"]}
    wanted = [program for program in wanted if program.name not in known]
    print(f"{len(wanted)} programs for {len(devices)} x {options.chip}", flush=True)
    write(report, options.json)
    for program in wanted:
        row = compiled(program, chip, devices)
        report["programs"].append(row)
        print(text(row, chip), flush=True)
        write(report, options.json)
    failed = sum("error" in row for row in report["programs"])
    if failed:
        print(f"{failed} of {len(report['programs'])} programs do not compile", file=sys.stderr)
        sys.exit(FAILED)


def compiled_before(report: dict[str, Any], file: pathlib.Path | None) -> list[dict[str, Any]]:
    """Return the rows of programs that compiled, of a file that this report goes on with.

    Raises:
        InputError: the file is not of this command, or is that of another chip or other versions.
    """
    if file is None or not file.exists():
        return []
    try:
        before = json.loads(file.read_bytes())
        same = [
            before["chip"] == report["chip"],
            before["machine"]["packages"] == report["machine"]["packages"],
        ]
        rows = [row for row in before["programs"] if "error" not in row]
    except (ValueError, KeyError, TypeError):
        same, rows = [False], []
    if not all(same):
        raise invalid(
            "--json",
            f"is {file}, which has no results for this chip and these versions",
            "a new file, or one of the same command",
        )
    return rows


def compiled(program: Program, chip: Chip, devices: Sequence[jax.Device]) -> dict[str, Any]:
    """Return JSON-like facts of a program, or the first line of the error of its compiler."""
    row: dict[str, Any] = {"program": program.name}
    begin = time.perf_counter()
    try:
        if program.part.memory:
            row["bytes_planned"] = program.part.memory(chip.platform, len(devices)).total
        lowered = program.lowered(chip.platform, devices)
        row["seconds_of_tracing"] = time.perf_counter() - begin
        return row | facts.compiled_facts(lowered, chip)
    except Exception as error:  # whatever a compiler raises is a result
        first = (str(error).splitlines() or [""])[0]
        return row | {"error": f"{type(error).__name__}: {first}"}


def write(report: dict[str, Any], file: pathlib.Path | None) -> None:
    """Write the results so far, if there is a file for them."""
    if file is not None:
        write_atomically(file, (json.dumps(report, indent=1) + "\n").encode())


def text(row: dict[str, Any], chip: Chip) -> str:
    """Return what is printed of a program."""
    if "error" in row:
        return f"{row['program']}\n  {row['error']}"
    numbers = [
        f"{row['seconds']:.0f} s",
        f"{row['bytes_at_peak'] / 2**20:.1f} MiB"
        + " (more than there is)" * (row["bytes_at_peak"] > chip.memory),
    ]
    if "bytes_planned" in row:
        numbers.append(f"planned {row['bytes_planned'] / 2**20:.1f} MiB")
    for name, unit in (("flops", "FLOP"), ("bytes_moved", "B")):
        if row[name] is not None:
            numbers.append(f"{row[name]:.3g} {unit}")
    if row["estimated_seconds"] is not None:
        numbers.append(f"at least {1e6 * row['estimated_seconds']:.3g} us a pass (estimate)")
    lines = [row["program"], "  " + ", ".join(numbers)]
    lines += [
        f"  {each['count']} {each['kind']} of {each['dtype']}, {each['precision']}: "
        f"{each['flops']:.3g} FLOP"
        for each in row["products"]
    ]
    lines += [f"  {count} {name}" for name, count in row["collectives"].items()]
    return "\n".join(lines)
