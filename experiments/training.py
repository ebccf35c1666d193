"""What experiments that train an ensemble share: the training, under a progress bar."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import xarray as xr

from experiments import command_line, data_sets
from experiments.command_line import ADDING
from experiments.directories import usable_directory
from experiments.growth import groups
from experiments.jobs import leave_to_first
from experiments.progress import Progress, phase
from experiments.training_options import TrainingOptions
from sgd_diffusion._processes import Processes
from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.problems import objectives
from sgd_diffusion.storage.merged_runs import merge_runs, new_members
from sgd_diffusion.storage.run_directories import RunDirectory

Measure = Callable[[objectives.Problem, Plan], Sequence[Any]]
"""The measurements of an experiment, for a problem and a plan."""


def train(
    options: Any,
    experiment: str,
    measure: Measure,
    *,
    problem: objectives.Problem | None = None,
    at_ends: str = "",
) -> tuple[xr.Dataset, pathlib.Path]:
    """Train what the options say under a progress bar.

    Args:
        options: `TrainingOptions` and `RunOptions` in one.
        experiment: its name, stored with the results.
        measure: gives the measurements; those of the options are added.
        problem: that of the options, where it has been loaded already.
        at_ends: names the measurements that take long where a window ends.

    Returns:
        The results and the run directory.
    """
    plan = options.plan()
    processes = Processes(options.devices())
    at_ends = ", ".join(
        filter(
            None,
            [
                at_ends or "measuring",
                "frozen passes" * bool(options.frozen_passes),
                "full-batch twin" * options.full_batch_twin,
            ],
        )
    )
    name = data_sets.folder_name(options.dataset, options.model)
    with usable_directory(options.directory, name, processes) as directory:
        problem = processes.by_all("data", lambda: problem or loaded(options))
        chosen = chosen_measurements(options, measure, problem)
        run = functools.partial(_run, options, experiment, problem, chosen, at_ends)
        dataset = run(plan, directory, options.devices())
        adding = [getattr(options, name) for name in ADDING]
        added_to = RunDirectory(directory)
        if any(adding) or processes.by_first("added members", added_to.added):
            with processes.held_by_first("lock of added members", added_to.locked):
                for path, group in processes.by_first(
                    "groups of members", lambda: list(groups(directory, plan, *adding))
                ):
                    devices = options.devices(group.num_members)
                    added = run(group, path, devices, resume=True)
                    dataset = merge_runs([dataset, new_members(dataset, added)])
    leave_to_first()
    return dataset, directory


def chosen_measurements(options: Any, measure: Measure, problem: objectives.Problem) -> list[Any]:
    """Return what is measured: what the experiment needs, and what the options add."""
    grams = [measurements.step_grams()] if options.keep_step_gram else []
    return [*measure(problem, options.plan()), measurements.test_accuracy(), *grams]


def _run(
    options: Any,
    experiment: str,
    problem: objectives.Problem,
    chosen: Sequence[Any],
    at_ends: str,
    plan: Plan,
    directory: pathlib.Path,
    devices: Sequence[jax.Device],
    *,
    resume: bool | None = None,
) -> xr.Dataset:
    """Train the members of a plan, those of the options or those that are added to them."""
    print(
        f"{options.model} on {problem.description['dataset']}: {len(plan.seeds)} seeds x "
        f"{len(plan.learning_rates)} learning rates, {plan.num_windows} windows of "
        f"{plan.window} updates -> {directory}",
        flush=True,
    )
    members = {"seeds": plan.seeds, "learning_rates": plan.learning_rates}
    stored = dataclasses.replace(options, **members, **dict.fromkeys(ADDING, ()))
    ends = [start + plan.window for start in plan.starts()]
    with contextlib.closing(Progress(ends, plan.num_members, at_ends=at_ends)) as progress:
        return run_ensemble(
            problem,
            plan,
            directory,
            measurements=chosen,
            start_from=options.start_from,
            resume=options.resume if resume is None else resume,
            members_at_once=options.members_at_once,
            devices=devices,
            devices_per_member=options.devices_per_member,
            metadata={"experiment": experiment, "options": command_line.options_as_json(stored)},
            report=progress.report,
            on_window=progress.window,
        )


def loaded(options: TrainingOptions) -> objectives.Problem:
    """Return the problem of the options, and say that it is being loaded."""
    with phase(f"loading {options.dataset}"):
        return options.problem()
