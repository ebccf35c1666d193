"""A run: windows of an ensemble one after the other, each on disk before the next begins."""

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from sgd_diffusion._json_values import json_values
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.measurements import (
    PathMeasurement,
    Schema,
    StateMeasurement,
    default_measurements,
)
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.sgd import Carry
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.storage.checkpoints import Checkpoints, check_storable
from sgd_diffusion.storage.provenance import environment
from sgd_diffusion.storage.run_directories import (
    DamagedResultsWarning,
    RunDirectory,
    combine_windows,
    digest_of,
)

__all__ = ["Plan", "run_ensemble"]


def run_ensemble(
    problem: Problem,
    plan: Plan,
    directory: str | os.PathLike | None = None,
    *,
    measurements: Sequence[PathMeasurement | StateMeasurement] | None = None,
    resume: bool = False,
    members_at_once: IntegerLike | None = None,
    devices: Sequence[jax.Device] | None = None,
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
        resume: continue the run that `directory` holds, if it holds one. The result is that of an
            uninterrupted run, bit for bit on CPU.
        members_at_once: members side by side on a device; None for the default of the backend (see
            `map_members`).
        devices: devices that share the members; the default one if None.
        metadata: JSON-like values stored with the results; they are not compared on resuming.
        report: called as `report(step, loss)` every 50 updates of every member, from running
            programs.
        on_window: called as `on_window(k, dataset)` when window k is finished and written, and for
            those found on disk.

    Returns:
        One dataset with dimensions window, seed, learning_rate and those of the measurements; see
        `run_directories.load_run`.

    Raises:
        InputError: the plan does not fit the problem or the memory, or measurements clash.
        StorageError: the directory cannot be used, or the disk is full. Finished windows stay
            readable.

    Warns:
        DamagedResultsWarning: on resuming, if files are damaged; the run goes on from the last
            sound window.
    """
    chosen = default_measurements(problem, plan) if measurements is None else list(measurements)
    schema = Schema(plan, chosen)
    ensemble = Ensemble(
        problem,
        plan,
        measure_path=schema.measure_path,
        measure_state=schema.measure_state,
        members_at_once=members_at_once,
        devices=devices,
        report=report,
    )
    configuration = {
        "problem": dict(problem.description),
        "plan": plan.description(),
        **schema.description(),
    }
    metadata = json_values("metadata", dict(metadata or {}))
    attributes = {
        "configuration": json.dumps(configuration),
        "environment": json.dumps(environment()),
        "metadata": json.dumps(metadata),
    }
    run = None if directory is None else RunDirectory(directory)
    if run is not None:
        run.check(configuration, resume=resume)
    carry = ensemble.start()
    shapes = ensemble.values(carry)
    schema.check(shapes)
    if not jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        ensemble.compile(carry)
    if run is not None:
        check_storable(carry)
        _check_window(schema, shapes, carry, attributes)

    starts = plan.starts()
    with contextlib.ExitStack() as stack:
        windows: list[xr.Dataset] = []
        checkpoints: Checkpoints | None = None
        if run is not None:
            stack.enter_context(run.claim(configuration, resume=resume, metadata=metadata))
            checkpoints = stack.enter_context(
                contextlib.closing(Checkpoints(run.checkpoints, digest_of(configuration)))
            )
            windows, carry = _continue(run, checkpoints, carry, plan.num_windows)
            checkpoints.save_start(carry)
        for index in range(plan.num_windows):
            if index == len(windows):
                carry = ensemble.advance(
                    carry, 0 if index == 0 else starts[index - 1] + plan.window, starts[index]
                )
                carry, values = ensemble.window(carry, starts[index])
                values |= ensemble.states(carry, index)
                windows.append(schema.label(index, values, carry).assign_attrs(attributes))
                if run is not None and checkpoints is not None:
                    run.save_window(index, windows[index])
                    checkpoints.save(index + 1, carry)
            if on_window is not None:
                on_window(index, windows[index])
    return combine_windows(windows)


def _check_window(
    schema: Schema,
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    carry: Carry,
    attributes: dict[str, str],
) -> None:
    """Write one of each measurement to memory, to refuse what a file cannot hold.

    Raises:
        InputError: a file cannot hold one of them.
    """
    zeros = {
        name: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) for name, leaf in shapes.items()
    }
    window = schema.label(0, zeros, carry).assign_attrs(attributes)
    try:
        window.isel(dict.fromkeys(window.dims, slice(1))).to_netcdf(engine="h5netcdf")
    except (TypeError, ValueError, OSError, NotImplementedError) as error:
        raise invalid(
            "measurements",
            f"cannot be written to a NetCDF file ({error})",
            "names and coordinates that it holds",
            "plain names, and numbers or texts of one kind",
        ) from error


def _continue(
    run: RunDirectory, checkpoints: Checkpoints, carry: Carry, num_windows: int
) -> tuple[list[xr.Dataset], Carry]:
    """Return the sound windows of a run directory, and the carry after the last of them."""
    windows = run.load_windows()
    if len(windows) >= num_windows:
        return windows[:num_windows], carry
    finished, carry = checkpoints.restore(carry, at_most=len(windows)) or (0, carry)
    # An interruption between window and checkpoint leaves one checkpoint fewer.
    if finished < len(windows) - 1:
        warnings.warn(
            f"{run.path} has {len(windows)} sound windows, but its last sound checkpoint among "
            f"them is the one after {finished}; the windows after that are computed again.",
            DamagedResultsWarning,
            stacklevel=3,
        )
    return windows[:finished], carry
