"""The programs of the experiments can be lowered for GPUs and TPUs, and round only in training."""

import dataclasses
import importlib
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

import experiments
from experiments.accelerators.catalogue import catalogue
from experiments.accelerators.chips import CHIPS
from experiments.accelerators.facts import products
from experiments.accelerators.programs import DATA_SETS, Program, blank, chosen
from experiments.accelerators.training_programs import (
    MEASURES,
    PARTS,
    SWEEPS,
    ensemble_programs,
    training_of,
)
from sgd_diffusion.problems import datasets

PROGRAMS_OF_ALL = catalogue()
PROGRAMS = [*chosen(PROGRAMS_OF_ALL, ["*/quick"])]
EXPERIMENTS = sorted({program.experiment for program in PROGRAMS})
LONGEST = ("window", "states")  # what the others do is in these
MODEL = "fc2-width8"
WINDOW = "anomalous_diffusion/default/window"


def rounded(program, platform):
    """Products of float32 operands that the platform rounds."""
    found = products(program.lowered(platform))
    return {
        product: work
        for product, work in found.items()
        if product.dtype not in ("f64", "s32") and product.precision != "HIGHEST"
    }


def check(programs, platform):
    assert programs
    for program in programs:
        if not program.runs_on(platform):
            continue
        found = rounded(program, platform)
        assert program.part.training or not found, program.name


def small(experiment, **changes):
    """The programs of the ensemble of a quick preset with a small network, by their titles."""
    quick = dataclasses.replace(MEASURES[experiment][0].PRESETS["quick"], model=MODEL, **changes)
    training = training_of(experiment, quick)
    return {p.title: p for p in ensemble_programs(experiment, "quick", training)}


def few(experiment):
    """Of ensembles window and measurements, with a small network; of a sweep those of one cell."""
    others = [
        program
        for program in PROGRAMS
        if program.experiment == experiment and program.title.split("/")[-1] not in PARTS
    ]
    if experiment in SWEEPS:
        return [p for p in PROGRAMS if p.experiment == experiment and p.title.endswith("window")][
            :1
        ]
    ensemble = small(experiment) if experiment in MEASURES else {}
    return others + [program for title, program in ensemble.items() if title in LONGEST]


# Each experiment for one of the two; the slow test below has all programs for both.
@pytest.mark.parametrize(
    ("experiment", "platform"), [*zip(EXPERIMENTS, itertools.cycle(["gpu", "tpu"]), strict=False)]
)
def test_lowers_and_rounds_only_in_training(experiment, platform):
    check(few(experiment), platform)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_all_lower_and_round_only_in_training(platform):
    check(PROGRAMS, platform)


def test_training_rounds_nothing_where_it_is_told_so():
    by_default, never = (
        {
            title: rounded(each, "tpu")
            for title, each in small("hessian_spectrum", **changes).items()
        }
        for changes in ({}, {"precision": "float32"})
    )
    assert all(by_default[title] for title in ("window", "advance", "states"))
    assert set(never) == set(PARTS) and not any(never.values())


def test_where_windows_end_nothing_but_the_accuracy_is_rounded():
    of_accuracy, with_hessian = (
        rounded(small(experiment, seeds=(0,))["states"], "tpu")
        for experiment in ("loss_surface", "hessian_spectrum")
    )
    assert of_accuracy == with_hessian != {}


def test_a_program_of_another_precision_would_be_found():
    def program(precision):
        def make(devices):
            square = jax.ShapeDtypeStruct((4, 4), jnp.float32)
            return jax.jit(lambda a: jnp.matmul(a, a, precision=precision)), (square,)

        return Program("none", "quick", "product", PROGRAMS[0].part._replace(make=make))

    assert rounded(program("default"), "tpu") and rounded(program("high"), "gpu")
    assert not rounded(program("highest"), "tpu")


def test_every_experiment_with_presets_is_there():
    folder = pathlib.Path(experiments.__file__).parent
    with_presets = {
        path.stem
        for path in folder.glob("*.py")
        if hasattr(importlib.import_module(f"experiments.{path.stem}"), "PRESETS")
    }
    assert with_presets | {"large_models"} == {program.experiment for program in catalogue()}
    for name in with_presets:
        presets = importlib.import_module(f"experiments.{name}").PRESETS
        assert set(presets) == {p.preset for p in catalogue() if p.experiment == name}


def test_names_are_unique_and_patterns_choose_them():
    programs = catalogue()
    names = [program.name for program in programs]
    assert len(set(names)) == len(names)
    assert [*chosen(programs, [])] == programs
    quick = [*chosen(programs, ["fractal_path/quick"])]
    assert [program.title for program in quick] == ["start", "window", "advance", "states"]
    assert [*chosen(programs, ["fractal_path/*/window"])] == [
        program
        for program in programs
        if program.experiment == "fractal_path" and program.title == "window"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "tpu-v5e-2x2",
        "h100",
        *(pytest.param(f"tpu-{v}", marks=pytest.mark.slow) for v in ("v5e", "v6e")),
    ],
)
def test_the_memory_of_compiled_windows_was_known(name):
    """Within the factors that `window_memory` states; one program for each, of 6 members."""
    file = pathlib.Path(experiments.__file__).parent / f"benchmarks/results/compile-{name}.json"
    report = json.loads(file.read_text())
    peaks = {row["program"]: row["bytes_at_peak"] for row in report["programs"]}
    (window,) = chosen(PROGRAMS_OF_ALL, [WINDOW])
    chip = CHIPS[report["chip"]["name"]]
    planned = window.part.memory(chip.platform, report["chip"]["count"])
    assert 0.9 < planned.total / peaks[WINDOW] < 1.1


def test_blank_data_have_the_shapes_of_the_data():
    digits, found = datasets.load("digits"), blank("digits")
    assert set(DATA_SETS) == {"digits", "mnist", "cifar10", "imagenet-part"}
    assert jax.tree.map(lambda a: (a.shape, a.dtype), (digits.train, digits.test)) == jax.tree.map(
        lambda a: (a.shape, a.dtype), (found.train, found.test)
    )
    assert digits.num_classes == found.num_classes and digits.name == found.name
