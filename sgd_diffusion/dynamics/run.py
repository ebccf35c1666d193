"""A run: windows of an ensemble one after the other, each on disk before the next begins."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr

from sgd_diffusion._json_values import json_values
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.dynamics.measurements import PathMeasurement, Schema, StateMeasurement
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.preparation import prepared
from sgd_diffusion.dynamics.run_files import RunFiles
from sgd_diffusion.dynamics.starting_points import StartingPoints, last_points
from sgd_diffusion.errors import StorageError, invalid
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.storage.checkpoints import check_storable
from sgd_diffusion.storage.netcdf import to_netcdf
from sgd_diffusion.storage.provenance import environment
from sgd_diffusion.storage.run_directories import RunDirectory, combine_windows

__all__ = ["Plan", "run_ensemble"]


def run_ensemble(
    problem: Problem,
    plan: Plan,
    directory: str | os.PathLike | None = None,
    *,
    measurements: Sequence[PathMeasurement | StateMeasurement] | None = None,
    optimizer: optax.GradientTransformation | None = None,
    optimizer_name: str | None = None,
    start_from: str | os.PathLike | None = None,
    resume: bool = False,
    members_at_once: IntegerLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    devices_per_member: IntegerLike = 1,
    metadata: Mapping[str, Any] | None = None,
    report: Callable[[int, float], None] | None = None,
    on_window: Callable[[int, xr.Dataset], None] | None = None,
) -> xr.Dataset:
    """Train all members of an ensemble for all windows of a plan, and measure each window.

    Args:
        problem: what SGD optimizes.
        plan: the members and how long they run.
        directory: where windows and checkpoints go, made if it does not exist; None keeps
            everything in memory.
        measurements: what is kept of each window; by default displacements and series (see
            `sgd_diffusion.dynamics.measurements`).
        optimizer: an optax transformation in place of `Plan.optimizer`. Its update, times the
            learning rate, is added to the weights, as that of `optax.adam(1.0)`. The configuration
            has a digest of its program, and the run is continued only with one of the same digest.
            Another version of JAX or optax may give the same transformation another digest (see
            `own_optimizers`); continue a run with the versions that it was begun with.
        optimizer_name: what the configuration calls this optimizer, for the reader; it is compared
            too.
        start_from: directory of another run, finished or not. Every member starts at the parameters
            and the state that the member of the same seed has at the newest checkpoint there; of
            the same learning rate too, unless that run has a single one. The momentum is zero at
            the start, updates count from 0, and batches come in the order of a new run. The
            configuration records the directory, the number of updates made there, and a digest of
            the points. None for `Problem.init`.
        resume: continue the run that `directory` holds, if it holds one. The result is that of an
            uninterrupted run, bit for bit on CPU.
        members_at_once: members side by side on a device; None for the default of the platform (see
            `members.map_members`).
        devices: devices that share the members; the default one if None. They may be those of all
            processes of a job (`jax.devices()` after `jax.distributed.initialize()`). Then every
            process makes this call with the same arguments. The first one reads and writes the
            files, and all return the results.
        devices_per_member: how many devices, one after the other, share a member, for models too
            large for one. Each device gets a part of every batch and keeps a part of the
            increments; numbers agree with those of one device up to the order of sums.
        metadata: JSON-like values stored with the results; they are not compared on resuming.
        report: called as `report(step, loss)` every 50 updates of every member, from running
            programs.
        on_window: called as `on_window(k, dataset)` when window k is finished and written, and for
            those found on disk.

    Returns:
        One dataset with dimensions window, seed, learning_rate and those of the measurements; see
        `run_directories.load_run`.

    Raises:
        InputError: the plan does not fit the problem or the memory, measurements clash, the
            optimizer cannot be used, members cannot start from the other run (see
            `starting_points.last_points`), or the processes of a job were started with different
            arguments.
        StorageError: the directory cannot be used, or the disk is full. Finished windows stay
            readable.

    Warns:
        DamagedResultsWarning: on resuming, if files are damaged; the run goes on from the last
            sound window.
    """
    run = None if directory is None else RunDirectory(directory)
    schema, ensemble, configuration, shapes, points = prepared(
        problem,
        plan,
        run,
        measurements=measurements,
        optimizer=optimizer,
        optimizer_name=optimizer_name,
        start_from=start_from,
        resume=resume,
        members_at_once=members_at_once,
        devices=devices,
        devices_per_member=devices_per_member,
        report=report,
    )
    placement, processes = ensemble.placement, ensemble.placement.processes
    metadata = json_values("metadata", dict(metadata or {}))
    attributes = {
        "configuration": json.dumps(configuration),
        "environment": json.dumps(environment()),
        "metadata": json.dumps(metadata),
    }
    files = None if run is None else RunFiles(run, processes, configuration)
    first = None if points is None else (points.params, points.state)
    start = configuration.get("start")
    # Of a run that has begun, only the form of this carry counts.
    again = points is None and start is not None
    # A damaged window, if there is one, is compiled for when it is made again.
    finished = files is not None and files.has_windows(plan.num_windows)
    if jax.config.jax_disable_jit or finished:  # type: ignore[attr-defined]
        carry = ensemble.start(first)
    else:
        carry = processes.by_all("compilation", lambda: ensemble.start_and_compile(first))
    if files is not None:
        host = placement.collect(carry)
        check_storable(host)
        _check_window(schema, shapes, host.diverged_at, attributes)

    starts = plan.starts()
    with contextlib.ExitStack() as stack:
        windows: list[xr.Dataset] = []
        if files is not None:
            stack.enter_context(
                files.claimed(resume=resume, metadata=metadata, keep_start=start is not None)
            )
            windows, found = files.restore(
                host,
                plan.num_windows,
                (lambda: _points_again(start_from, problem, plan, start)) if again else None,
            )
            if isinstance(found, StartingPoints):
                carry = ensemble.start((found.params, found.state))
                host = placement.collect(carry)
            elif found is not None:
                carry, host = placement.deal(found), found
            if len(windows) < plan.num_windows:
                files.save_start(host)
        for index in range(plan.num_windows):
            if index == len(windows):
                carry = ensemble.advance(
                    carry, 0 if index == 0 else starts[index - 1] + plan.window, starts[index]
                )
                carry, values = ensemble.window(carry, starts[index])
                values |= ensemble.states(carry, index)
                diverged_at = placement.collect(carry.diverged_at)
                windows.append(schema.label(index, values, diverged_at).assign_attrs(attributes))
                if files is not None:
                    files.save(index, windows[index], placement.collect(carry))
            if on_window is not None:
                on_window(index, windows[index])
    return combine_windows(windows)


def _points_again(start_from: Any, problem: Problem, plan: Plan, begun: Any) -> StartingPoints:
    """Return the points at the start of a run that has begun and of which no checkpoint is left.

    Raises:
        InputError: the other run is not there any more.
        StorageError: it has moved on.
    """
    points = last_points(start_from, problem, plan)
    if points.facts != begun:
        raise StorageError(
            f"This run has no sound checkpoint left. It started from {begun['directory']} after "
            f"{begun.get('updates')} updates, which has other points after "
            f"{points.facts['updates']} now. Put a copy of the checkpoints back, or start anew in "
            "another directory."
        )
    return points


def _check_window(
    schema: Schema,
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    diverged_at: ArrayLike,
    attributes: dict[str, str],
) -> None:
    """Write one of each measurement to memory, to refuse what a file cannot hold.

    Raises:
        InputError: a file cannot hold one of them.
    """
    zeros = {
        name: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) for name, leaf in shapes.items()
    }
    window = schema.label(0, zeros, diverged_at).assign_attrs(attributes)
    try:
        to_netcdf(window.isel(dict.fromkeys(window.dims, slice(1))))
    except (TypeError, ValueError, OSError, NotImplementedError) as error:
        raise invalid(
            "measurements",
            f"cannot be written to a NetCDF file ({error})",
            "names and coordinates that it holds",
            "plain names, and numbers or texts of one kind",
        ) from error
