"""The settings of experiments.limiting_dynamics under which a trained network goes on."""

import contextlib
import pathlib
from typing import Any

import jax
import xarray as xr

from experiments.progress import Progress
from sgd_diffusion.dynamics.measurements import displacements, noise_spectrum, twin_displacements
from sgd_diffusion.dynamics.parameters import initial_shapes
from sgd_diffusion.dynamics.run import run_ensemble
from sgd_diffusion.problems import with_frozen_state
from sgd_diffusion.problems.objectives import Problem


def measure_at_rest(options: Any, problem: Problem) -> list[Any]:
    """Return the measurements of the settings under which the network goes on."""
    return [
        displacements(),
        noise_spectrum(
            problem,
            num_probes=options.noise_probes,
            num_products=options.noise_products,
            weight_decay=options.weight_decay,
        ),
        *([twin_displacements()] if options.full_batch_twin else []),
    ]


def at_rest(problem: Problem) -> tuple[Problem, bool]:
    """Return the problem with its state frozen, and whether it has a state."""
    normalized = bool(jax.tree.leaves(initial_shapes(problem)[1]))
    return with_frozen_state(problem) if normalized else problem, normalized


def swept(options: Any, problem: Problem, directory: pathlib.Path) -> xr.Dataset:
    """Return the measured windows of all settings, as `tables.limiting_sweep` takes them.

    Every setting has a run directory of its own below `settings`, and goes on from the end of the
    run. Settings that are there already are read.
    """
    runs: list[xr.Dataset] = []
    sweeps, plans = zip(*options.settings(), strict=True)
    for plan in plans:
        (rate,) = plan.learning_rates
        name = f"eta{rate:g}-batch{plan.batch_size}-beta{plan.momentum:g}"
        own = directory / "settings" / name
        ends = [start + plan.window for start in plan.starts()]
        with contextlib.closing(
            Progress(ends, plan.num_members, at_ends=f"noise, {name}")
        ) as progress:
            run = run_ensemble(
                problem,
                plan,
                own,
                measurements=measure_at_rest(options, problem),
                start_from=directory,
                resume=own.exists(),
                members_at_once=options.members_at_once,
                report=progress.report,
                on_window=progress.window,
            )
        kept = run.isel(window=slice(options.burn_in, None)).sel(learning_rate=rate, drop=True)
        runs.append(kept.drop_attrs().drop_vars("waiting_time"))
    coords = {
        "sweep": list(sweeps),
        "learning_rate": [plan.learning_rates[0] for plan in plans],
        **{
            name: [getattr(plan, name) for plan in plans]
            for name in ("momentum", "weight_decay", "batch_size")
        },
    }
    return xr.concat(runs, "setting").assign_coords(
        {name: ("setting", values) for name, values in coords.items()}
        | {"setting": range(len(runs))}
    )
