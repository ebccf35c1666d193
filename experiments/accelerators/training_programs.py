"""The programs of the experiments that train ensembles: start, windows, measurements."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from experiments import (
    anomalous_diffusion,
    architecture_sweep,
    fractal_path,
    gradient_tails,
    hessian_spectrum,
    learning_rate_sweep,
    limiting_dynamics,
    limiting_settings,
    loss_surface,
    sweep,
)
from experiments.accelerators.programs import Made, Part, Program, blank
from experiments.training import Measure, chosen_measurements
from experiments.training_options import TrainingOptions
from sgd_diffusion._platforms import traced_on
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.measurements import Schema, default_measurements
from sgd_diffusion.dynamics.memory import WindowMemory, window_memory
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.problems.objectives import Problem

PARTS = ("start", "window", "advance", "states")
SWEEPS = {"architecture_sweep": architecture_sweep, "sweep": sweep}
LARGE = ("resnet18-imagenet", "vit-small-patch16")
# The measurements of the others, for their options.
MEASURES = {
    "anomalous_diffusion": (anomalous_diffusion, lambda options: default_measurements),
    "learning_rate_sweep": (learning_rate_sweep, lambda options: default_measurements),
    "gradient_tails": (gradient_tails, lambda options: default_measurements),
    "fractal_path": (fractal_path, lambda options: fractal_path.measure),
    "loss_surface": (loss_surface, lambda options: loss_surface.measure),
    "hessian_spectrum": (
        hessian_spectrum,
        lambda options: functools.partial(hessian_spectrum.measure, options),
    ),
    "limiting_dynamics": (limiting_dynamics, lambda options: limiting_dynamics.measure),
}


class Training(NamedTuple):
    """An ensemble of an experiment.

    Attributes:
        cell: its name among several of one preset, or "".
        problem: of the ensemble, a function.
        plan: its members.
        measure: its measurements.
        shared: whether several devices share the members.
        together: whether all devices share one member, in place of one for each.
        rounded: parts whose products have the precision of the training; where windows end, that is
            the test accuracy and what mini-batches give at frozen weights.
    """

    cell: str
    problem: Any
    plan: Plan
    measure: Measure
    shared: bool = True
    together: bool = False
    rounded: Sequence[str] = PARTS[1:]


def programs() -> Iterator[Program]:
    """Yield the programs of all ensembles of all presets."""
    for experiment, module in SWEEPS.items():
        for preset, options in module.PRESETS.items():
            for cell in options.cells():
                training = _of_options(cell.options, default_measurements, cell.name)
                yield from ensemble_programs(experiment, preset, training)
    for experiment, (module, _) in MEASURES.items():
        for preset, options in module.PRESETS.items():
            yield from ensemble_programs(experiment, preset, training_of(experiment, options))
    for preset, options in limiting_dynamics.PRESETS.items():
        for training in _at_rest(options):
            yield from ensemble_programs("limiting_dynamics", preset, training)


def large_models() -> Iterator[Program]:
    """Yield the windows of members that all devices share, one for each model.

    They are no presets: their images, a part of ImageNet, come with no package.
    """
    for model in LARGE:
        options = TrainingOptions(
            dataset="imagenet-part", model=model, seeds=(0,), learning_rates=(0.1,), batch_size=256
        )
        training = _of_options(options, default_measurements)._replace(together=True)
        for program in ensemble_programs("large_models", model, training):
            if program.title == "window":
                yield program


def training_of(experiment: str, options: TrainingOptions) -> Training:
    """Return the ensemble of one of the experiments that are no sweeps."""
    return _of_options(options, MEASURES[experiment][1](options))


def ensemble_programs(experiment: str, preset: str, training: Training) -> Iterator[Program]:
    """Yield the programs of an ensemble."""
    for part in PARTS:
        yield Program(
            experiment,
            preset,
            f"{training.cell}/{part}" if training.cell else part,
            Part(
                functools.partial(_made, training, part),
                training=training.plan.precision == "default" and part in training.rounded,
                shared=training.shared,
                memory=functools.partial(_memory, training) if part == "window" else None,
            ),
        )


def _made(training: Training, part: str, devices: Sequence[jax.Device] | None) -> Made:
    return _ensemble(training, devices).programs()[part]


def _ensemble(training: Training, devices: Sequence[jax.Device] | None = None) -> Ensemble:
    plan, problem = training.plan, training.problem()
    schema = Schema(plan, training.measure(problem, plan))
    devices = devices if training.together or devices is None else devices[: plan.num_members]
    return Ensemble(
        problem,
        plan,
        measure_path=schema.measure_path,
        measure_state=schema.measure_state,
        devices=devices,
        devices_per_member=len(devices) if devices and training.together else 1,
    )


def _memory(training: Training, platform: str, num_devices: int) -> WindowMemory:
    num_devices = num_devices if training.shared else 1
    with traced_on(platform):
        measured = _ensemble(training).values()
    return window_memory(
        training.problem(),
        training.plan,
        measured=measured,
        num_devices=num_devices
        if training.together
        else min(num_devices, training.plan.num_members),
        devices_per_member=num_devices if training.together else 1,
        platform=platform,
    )


def _of_options(options: TrainingOptions, measure: Measure, cell: str = "") -> Training:
    return Training(
        cell,
        functools.partial(_problem, options),
        options.plan(),
        lambda problem, plan: chosen_measurements(options, measure, problem),
    )


def _at_rest(options: limiting_dynamics.Options) -> Iterator[Training]:
    """The settings under which the network goes on; those of one batch size have one program."""
    sizes = set()
    for _, plan in options.settings():
        if plan.batch_size not in sizes:
            sizes.add(plan.batch_size)
            yield Training(
                f"batch_size={plan.batch_size}",
                lambda: limiting_settings.at_rest(_problem(options))[0],
                plan,
                lambda problem, plan: limiting_settings.measure_at_rest(options, problem),
                shared=False,
                rounded=("window", "advance"),
            )


@functools.lru_cache(maxsize=2)  # its parts come one after the other
def _problem(options: TrainingOptions) -> Problem:
    return options.problem(blank(options.dataset))
