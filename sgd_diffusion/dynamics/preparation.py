"""What is made of the arguments of a run before it trains, and all that is refused meanwhile."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax

from sgd_diffusion._json_values import describe_differences, json_values
from sgd_diffusion._processes import Processes
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.measurements import (
    PathMeasurement,
    Schema,
    StateMeasurement,
    default_measurements,
)
from sgd_diffusion.dynamics.own_optimizers import check_same_optimizer, description_of_optimizer
from sgd_diffusion.dynamics.parameters import initial_shapes
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.starting_points import (
    ARGUMENT,
    StartingPoints,
    check_another,
    last_points,
)
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.storage.run_directories import RunDirectory

__all__ = ["PreparedRun", "prepared"]


class PreparedRun(NamedTuple):
    """What a run consists of.

    Attributes:
        schema: what is measured.
        ensemble: what is compiled.
        configuration: JSON-like, all that fixes the results.
        shapes: of all that is measured, with a leading axis of members.
        points: where the members start, unless that is where the problem does, or the run has
            begun.
    """

    schema: Schema
    ensemble: Ensemble
    configuration: dict[str, Any]
    shapes: Mapping[str, jax.ShapeDtypeStruct]
    points: StartingPoints | None


def prepared(
    problem: Problem,
    plan: Plan,
    run: RunDirectory | None,
    *,
    measurements: Sequence[PathMeasurement | StateMeasurement] | None = None,
    optimizer: optax.GradientTransformation | None = None,
    optimizer_name: str | None = None,
    start_from: str | os.PathLike | None = None,
    resume: bool = False,
    members_at_once: IntegerLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    devices_per_member: IntegerLike = 1,
    report: Callable[[int, float], None] | None = None,
) -> PreparedRun:
    """Return what a run consists of, with the arguments of `run_ensemble`.

    Nothing is trained, and nothing is written. The programs are traced, not compiled.

    Raises:
        InputError: as for `run_ensemble`, but for what does not fit into memory.
        StorageError: the directory cannot be used.
    """
    chosen = default_measurements(problem, plan) if measurements is None else list(measurements)
    schema = Schema(plan, chosen)
    own = _own_optimizer(problem, optimizer, optimizer_name)
    ensemble = Ensemble(
        problem,
        plan,
        measure_path=schema.measure_path,
        optimizer=optimizer,
        measure_state=schema.measure_state,
        members_at_once=members_at_once,
        devices=devices,
        devices_per_member=devices_per_member,
        report=report,
    )
    processes = ensemble.placement.processes
    points, start = processes.by_first(
        "starting points", lambda: _start(problem, plan, start_from, run, resume)
    )
    configuration = {
        "problem": dict(problem.description),
        "plan": plan.description(),
        **schema.description(),
        **own,
        **({} if start is None else {"start": start}),
    }
    _check_alike(processes, configuration | {"directory": str(run and run.path), "resume": resume})
    if run is not None:
        processes.by_first("run directory", lambda: _check(run, configuration, resume))
    shapes = ensemble.values()
    schema.check(shapes)
    return PreparedRun(schema, ensemble, configuration, shapes, points)


def _own_optimizer(
    problem: Problem, optimizer: optax.GradientTransformation | None, name: str | None
) -> dict[str, Any]:
    """Return what the configuration says of an optimizer that the plan does not name."""
    if optimizer is not None:
        params, _ = initial_shapes(problem)
        return {"optimizer": description_of_optimizer(optimizer, params, name)}
    if name is not None:
        raise invalid(
            "optimizer_name",
            f"is {name!r:.100} without an optimizer",
            "the name of one that is given as optimizer",
            "those that have a name are chosen by Plan(optimizer=...)",
        )
    return {}


def _check(run: RunDirectory, configuration: dict[str, Any], resume: bool) -> None:
    """Refuse a directory that this run must not write to."""
    check_same_optimizer(run, configuration, resume=resume)
    run.check(configuration, resume=resume)


def _start(
    problem: Problem, plan: Plan, start_from: Any, run: RunDirectory | None, resume: bool
) -> tuple[StartingPoints | None, dict[str, Any] | None]:
    """Return where the members start, and what the configuration says of it.

    Both are None without another run to start from. A run that has begun has no points here: it
    goes on from its own checkpoints, since the other may have moved on, or be gone.

    Raises:
        InputError: the members cannot start there.
    """
    if start_from is None:
        return None, None
    if not isinstance(start_from, str | os.PathLike):
        raise invalid(ARGUMENT, f"is {start_from!r:.100}", "the path of a run directory")
    if run is not None:
        check_another(start_from, run)
        begun = (run.configuration() or {}).get("start") if resume else None
        other = os.path.abspath(RunDirectory(start_from).path)
        if isinstance(begun, dict) and begun.get("directory") == other:
            return None, begun
    points = last_points(start_from, problem, plan)
    return points, points.facts


def _check_alike(processes: Processes, arguments: dict[str, Any]) -> None:
    """Refuse processes of one job that were started with different arguments.

    Raises:
        InputError: the arguments of this process or of another one are not those of the first.
    """

    def compare():
        differences = describe_differences(of_first, arguments)
        if differences:
            raise invalid(
                f"process {jax.process_index()}",
                f"was started with other arguments than the first one ({differences})",
                "the same in all processes of a job",
            )

    arguments = json_values("configuration", arguments)
    of_first = processes.by_first("arguments", lambda: arguments)
    processes.by_all("comparison of arguments", compare)
