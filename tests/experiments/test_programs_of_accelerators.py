"""The programs of the experiments can be lowered for GPUs and TPUs, and round only in training."""

import dataclasses
import importlib
import pathlib

import jax
import jax.numpy as jnp
import pytest

import experiments
from experiments import fractal_path, hessian_spectrum
from experiments.accelerators.catalogue import catalogue
from experiments.accelerators.facts import products
from experiments.accelerators.programs import DATA_SETS, Program, blank, chosen
from experiments.accelerators.training_programs import ensemble_programs, training_of
from sgd_diffusion.problems import datasets

PROGRAMS = [*chosen(catalogue(), ["*/quick"])]
EXPERIMENTS = sorted({program.experiment for program in PROGRAMS})
# They have the same steps and products as the windows.
PARTS_OF_WINDOWS = ("start", "advance")


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


def distinct(experiment):
    """Of a sweep the first cell: its programs differ in their shapes."""
    of_experiment = [program for program in PROGRAMS if program.experiment == experiment]
    first = next((p.title.split("/")[0] for p in of_experiment if "model=" in p.title), "")
    return [
        program
        for program in of_experiment
        if program.title.startswith(first) and not program.title.endswith(PARTS_OF_WINDOWS)
    ]


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_lowers_and_rounds_only_in_training(experiment, platform):
    check(distinct(experiment), platform)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_all_lower_and_round_only_in_training(platform):
    check(PROGRAMS, platform)


@pytest.mark.parametrize("module", [fractal_path, hessian_spectrum])
def test_training_rounds_nothing_where_it_is_told_so(module):
    name = module.__name__.split(".")[-1]
    quick = dataclasses.replace(module.PRESETS["quick"], model="fc2-width8", window=100)
    for precision in ("default", "float32"):
        options = dataclasses.replace(quick, precision=precision)
        found = {
            program.title: rounded(program, "tpu")
            for program in ensemble_programs(name, "quick", training_of(name, options))
        }
        assert set(found) == {"start", "window", "advance", "states"}
        if precision == "float32":
            assert not any(found.values())
        else:
            assert found["window"] and found["advance"] and found["states"]


def test_where_windows_end_nothing_but_the_accuracy_is_rounded():
    quick = dataclasses.replace(hessian_spectrum.PRESETS["quick"], model="fc2-width8", window=100)
    of_accuracy, with_hessian = (
        rounded({p.title: p for p in ensemble_programs(name, "quick", training)}["states"], "tpu")
        for name in ("loss_surface", "hessian_spectrum")
        for training in [training_of(name, quick)]
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
    assert with_presets == {program.experiment for program in catalogue()}
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


def test_blank_data_have_the_shapes_of_the_data():
    digits, found = datasets.load("digits"), blank("digits")
    assert set(DATA_SETS) == {"digits", "mnist", "cifar10"}
    assert jax.tree.map(lambda a: (a.shape, a.dtype), (digits.train, digits.test)) == jax.tree.map(
        lambda a: (a.shape, a.dtype), (found.train, found.test)
    )
    assert digits.num_classes == found.num_classes and digits.name == found.name
