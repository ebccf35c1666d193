"""Options out of range are refused by one message before anything is loaded or written, and --help
tells the ranges.
"""

import dataclasses
import math
import typing
from typing import Annotated, Literal

import numpy as np
import pytest

from experiments import (
    anomalous_diffusion,
    command_line,
    fractal_path,
    fractal_toy,
    gradient_tails,
    hessian_spectrum,
    loss_surface,
)
from experiments.benchmarks import __main__ as benchmarks
from experiments.benchmarks import (
    accelerator,
    curvature,
    escape,
    freezing,
    limiting,
    paths,
    planes,
    recorder,
    stable,
    start,
    training,
    walkers,
)
from experiments.options import Checked, Range, flag, within
from experiments.self_test import __main__ as self_test
from sgd_diffusion.errors import InputError

EXPERIMENTS = {
    module.__name__.split(".")[-1]: module
    for module in (
        anomalous_diffusion,
        fractal_path,
        gradient_tails,
        hessian_spectrum,
        loss_surface,
        fractal_toy,
        accelerator,
    )
}
PROGRAMS = {"self_test": self_test, "benchmarks": benchmarks} | {
    module.__name__.split(".", 1)[1]: module
    for module in (
        curvature,
        escape,
        freezing,
        limiting,
        paths,
        planes,
        recorder,
        stable,
        start,
        training,
        walkers,
    )
}


def parsed(name, *arguments):
    if name in PROGRAMS:
        return command_line.read(PROGRAMS[name].Options, "", list(arguments))
    return command_line.parse(EXPERIMENTS[name].PRESETS, "", list(arguments))


def ranges(name):
    """Fields of a program with a range of numbers: name, type, range."""
    options = {**EXPERIMENTS, **PROGRAMS}[name].Options
    hints = typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        for limits in typing.get_args(hints[field.name])[1:]:
            if isinstance(limits, Range) and limits.low is not None:
                kind = str(typing.get_args(hints[field.name])[0])
                yield field.name, float if "float" in kind else int, kind, limits


def outside(kind, limits):
    """Values that nothing takes for this range."""
    if kind is int:
        return [limits.low - 1, limits.high + 1, 10**30, -(10**30)]
    return [
        np.nextafter(limits.low, -math.inf),
        np.nextafter(limits.high, math.inf),
        math.nan,
        math.inf,
        -math.inf,
        1e300,
    ]


SWEEP = [(program, *field) for program in (*EXPERIMENTS, *PROGRAMS) for field in ranges(program)]


def fields_once():
    """The fields of all programs; those that an earlier program has too are slow."""
    seen = set()
    for program, name, kind, shown, limits in SWEEP:
        again = (name, shown, limits) in seen
        seen.add((name, shown, limits))
        marks = [pytest.mark.slow] if again else []
        yield pytest.param(program, name, kind, shown, limits, marks=marks)


@pytest.mark.parametrize(
    ("program", "name", "kind", "shown", "limits"),
    [*fields_once()],
    ids=lambda value: str(value)[:20],
)
def test_a_value_outside_the_declared_range_is_refused(program, name, kind, shown, limits):
    for value in outside(kind, limits):
        count = shown.count(kind.__name__) if "tuple" in shown and "..." not in shown else 1
        with pytest.raises(InputError, match=rf"^{flag(name)} is .*; expected "):
            parsed(program, flag(name), *[str(value)] * count)


def test_the_sweep_sees_all_programs():
    without_ranges = {"fractal_toy", "benchmarks"}
    assert {case[0] for case in SWEEP} >= {*EXPERIMENTS, *PROGRAMS} - without_ranges
    assert len(SWEEP) > 100


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (
            "anomalous_diffusion",
            ["--num-windows", "7", "--waiting-times", "0", "5000"],
            "--num-windows was given, and is not",
        ),
        (
            "anomalous_diffusion",
            ["--preset", "paper-long-run", "--num-windows", "7"],
            "beside --waiting-times",
        ),
        ("anomalous_diffusion", ["--window", "50", "--window=60"], "--window was given twice"),
        (
            "anomalous_diffusion",
            ["--num-windows", "2", "--num_windows", "3"],
            "--num-windows was given twice",
        ),
        ("anomalous_diffusion", ["--by-layer", "--no-by-layer"], "--by-layer was given twice"),
        (
            "anomalous_diffusion",
            ["--preset", "paper", "--quick"],
            "--preset was given, and is not looked at beside --quick",
        ),
        (
            "fractal_toy",
            ["--preset", "superdiffusive", "--quick"],
            "--preset was given, and is not looked at beside --quick",
        ),
        (
            "self_test",
            ["--quick", "--dim", "200"],
            "--dim was given, and is not looked at beside --quick",
        ),
        ("self_test", ["--num-paths", "200", "--dim", "501"], "at most 100000 for their product"),
        ("anomalous_diffusion", ["--waiting-times", "50", "0"], "waiting_times"),
        (
            "anomalous_diffusion",
            ["--waiting-times"],
            "--waiting-times is empty; expected different values, at least one",
        ),
        (
            "anomalous_diffusion",
            ["--learning-rates", "0.1", "0.1000000001"],
            "learning_rates",
        ),  # the same in float32
        ("anomalous_diffusion", ["--model", "resnet15"], "15"),
        (
            "anomalous_diffusion",
            ["--dataset", "~nobody-of-this-name/x.npz"],
            "--dataset is ~nobody",
        ),
        ("anomalous_diffusion", ["--data-dir", "~nobody-of-this-name/x"], "--data-dir is ~nobody"),
        (
            "anomalous_diffusion",
            ["--resume", "--directory", "~nobody-of-this-name/x"],
            "--directory is ~nobody",
        ),
        (
            "anomalous_diffusion",
            ["--gradient-layers", "Dense_0", "Dense_0", "--gradient-samples", "9"],
            "--gradient-layers is",
        ),
        ("anomalous_diffusion", ["--frozen-passes", "1"], "frozen_passes"),
        (
            "hessian_spectrum",
            ["--density-windows", "0", "0"],
            "--density-windows is 0 0; expected different values",
        ),
        ("hessian_spectrum", ["--statistics"], "--statistics is empty"),
        ("loss_surface", ["--planes", "random", "random"], "--planes is random random"),
        ("benchmarks.paths", ["--dims", "5"], "--dims has 1 values and --steps 6"),
        ("benchmarks.training", ["--steps", "5", "6", "7"], "--steps has 3 values and --images 2"),
    ],
)
def test_options_that_do_not_go_together_are_refused(program, arguments, words):
    with pytest.raises(InputError) as refusal:
        parsed(program, *arguments)
    assert words in str(refusal.value)


@pytest.mark.parametrize("program", [*EXPERIMENTS, *PROGRAMS])
def test_help_tells_every_option_with_its_default_and_range(program, capsys):
    with pytest.raises(SystemExit) as end:
        parsed(program, "--help")
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.translate(str.maketrans("│╭╰─╮╯", "      ")).split())
    options = {**EXPERIMENTS, **PROGRAMS}[program].Options
    assert said.count("(default: ") == len(dataclasses.fields(options))
    for name, _, _, limits in ranges(program):
        described = said.split(f" {flag(name)} ")[-1]
        assert f"{limits.low} to {limits.high}" in described[: described.index(")") + 200]


def test_every_preset_is_in_range():
    for name, experiment in EXPERIMENTS.items():
        for preset in experiment.PRESETS:
            assert parsed(name, "--preset", preset).preset == preset


def test_the_home_directory_is_meant_by_a_tilde_in_every_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = parsed("anomalous_diffusion", "--directory=~/runs/a", "--data-dir", "~/data")
    assert (options.directory, options.data_dir) == (tmp_path / "runs" / "a", tmp_path / "data")


@dataclasses.dataclass(frozen=True)
class _Any(Checked):
    number: Annotated[float | None, *within(0, 1)] = None
    several: Annotated[tuple[int, ...], *within(0, 9, "to be short", fewest=1)] = (1,)
    again: Annotated[tuple[int, ...], *within(0, 9, repeats=True)] = (1, 1)
    choice: Literal["a", "b"] = "a"
    flag: bool = False


@pytest.mark.parametrize(
    "stored",
    [
        {"number": "0.5"},
        {"number": [0.5]},
        {"number": True},
        {"several": 1},
        {"several": (1.5,)},
        {"several": None},
        {"several": ((1,),)},
        {"choice": "c"},
        {"choice": ("a",)},
        {"choice": None},
        {"flag": 1},
        {"flag": "no"},
        {"again": (10,)},
    ],
)
def test_stored_options_of_another_type_are_refused(stored):
    """They may come from a damaged file, where a command line has the types of the fields."""
    _Any().check()
    with pytest.raises(InputError, match=rf"^--{next(iter(stored))} is .*; expected "):
        dataclasses.replace(_Any(), **stored).check()
