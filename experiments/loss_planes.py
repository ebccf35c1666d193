"""The planes of experiments.loss_surface: the loss on them, and the path of each member there."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from experiments.progress import PointProgress
from sgd_diffusion.dynamics.members import member_keys
from sgd_diffusion.dynamics.starting_points import first_points
from sgd_diffusion.landscape.curvature import (
    hessian_vector_product,
    mean_over_chunks,
    top_eigenpairs,
)
from sgd_diffusion.landscape.planes import Plane, principal_plane, project, random_plane
from sgd_diffusion.problems.objectives import EVALUATION_BATCH, Problem
from sgd_diffusion.storage.plane_files import resumable_plane

MARGIN = 0.3  # of the extent of the path, on either side of it on the principal plane


def evaluate(
    options: Any, problem: Problem, run: xr.Dataset, directory: pathlib.Path
) -> xr.Dataset:
    """Return the loss on all planes of all members, and their paths there.

    Returns:
        Dataset with dimensions (plane, seed, learning_rate): `loss` on (row, column) at the
        coordinates `y` (row) and `x` (column), the path's `path_x`, `path_y` and distance
        `off_plane` (update), and the `path_length` (update), its distance from the last point. NaN
        for members that diverged.
    """
    members = [(seed, rate) for seed in run.seed.values for rate in run.learning_rate.values]
    starts = _starts(options, problem, directory)
    with contextlib.closing(
        PointProgress(len(members) * len(options.planes) * options.grid**2)
    ) as progress:
        by_member = [
            _planes_of_member(options, problem, run, directory, seed, rate, start, progress)
            for (seed, rate), start in zip(members, starts, strict=True)
        ]
    updates = np.append(0, run.waiting_time.values + run.sizes["update"])
    shape = (len(options.planes), run.sizes["seed"], run.sizes["learning_rate"])
    dims = {"loss": ("row", "column"), "x": ("column",), "y": ("row",)} | dict.fromkeys(
        ("path_x", "path_y", "off_plane", "path_length"), ("update",)
    )

    def stacked(name):
        values = np.stack([planes[kind][name] for kind in options.planes for planes in by_member])
        return (
            ("plane", "seed", "learning_rate", *dims[name]),
            values.reshape(*shape, *values.shape[1:]),
        )

    return xr.Dataset(
        {name: stacked(name) for name in dims},
        coords={
            "plane": list(options.planes),
            "seed": run.seed,
            "learning_rate": run.learning_rate,
            "update": updates,
        },
    )


def _starts(options, problem, directory):
    """Yield the parameters and the state with which each member started."""
    plan = options.plan()
    if options.start_from is None:
        for seed in plan.members()[0]:
            yield problem.init(member_keys(int(seed)).initialization)
    else:
        points = first_points(directory, problem, plan)
        for member in range(plan.num_members):
            yield jax.tree.map(lambda leaf, member=member: leaf[member], points)


def _planes_of_member(options, problem, run, directory, seed, rate, start, progress):
    """Return arrays by name, for every plane, of one member."""
    member = run.sel(seed=seed, learning_rate=rate)
    if int(member.diverged_at) >= 0:
        progress.skip(len(options.planes) * options.grid**2)
        updates, grid = run.sizes["window"] + 1, options.grid
        lost = (
            {"loss": np.full((grid, grid), np.nan)}
            | {name: np.full(grid, np.nan) for name in "xy"}
            | dict.fromkeys(
                ("path_x", "path_y", "off_plane", "path_length"), np.full(updates, np.nan)
            )
        )
        return dict.fromkeys(options.planes, lost)
    keys = member_keys(int(seed))
    path, state = _unraveled(start, member.params.values, member.state.values[-1])
    loss, chunk_loss, examples = surface_of(options, problem, state)
    description = dict(problem.description) | {
        "update": int(run.waiting_time[-1]) + run.sizes["update"],
        "examples_of_surface": options.surface_examples,
        "statistics": options.statistics,
    }
    points = [np.asarray(leaf).reshape(len(leaf), -1) for leaf in jax.tree.leaves(path)]
    length = np.sqrt(sum(((leaf - leaf[-1]).astype(float) ** 2).sum(axis=1) for leaf in points))
    planes = {}
    for kind in options.planes:
        progress.doing(f"{kind} plane of seed {seed}")
        plane = _plane(kind, keys.measurement, path, chunk_loss, examples)
        projection = jax.tree.map(np.asarray, project(plane, path))
        xs, ys = _coordinates(options, kind, projection.coordinates)
        surface = resumable_plane(
            directory / "planes" / f"{kind}_{seed}_{rate:g}.nc",
            loss,
            plane,
            xs,
            ys,
            chunk=options.points_per_file_update,
            devices=jax.local_devices(),
            description=description,
            progress=progress.plane(),
        )
        planes[kind] = {
            "loss": surface.loss.values,
            "x": xs,
            "y": ys,
            "path_x": projection.coordinates[:, 0],
            "path_y": projection.coordinates[:, 1],
            "off_plane": projection.distance,
            "path_length": length,
        }
    return planes


def surface_of(
    options: Any, problem: Problem, state: Any
) -> tuple[Callable[[Any], Array], Callable[[Any, Any], Array], Any]:
    """Return the loss at weights, that of weights and a part of the examples, and all of these."""
    examples = jax.tree.map(lambda leaf: leaf[: options.surface_examples], problem.examples)

    def chunk_loss(params, chunk):
        return problem.loss(params, state, chunk, options.statistics == "batch")[0]

    def loss(params):
        return mean_over_chunks(lambda chunk: chunk_loss(params, chunk), examples, EVALUATION_BATCH)

    return loss, chunk_loss, examples


@jax.jit
def _unraveled(start, points, state):
    """The path (update, ...) of a start and later points in rows, and a state in a row likewise."""
    params, first_state = start
    flat, unravel = ravel_pytree(params)
    path = jax.vmap(unravel)(jnp.concatenate([flat[None], points]))
    return path, ravel_pytree(first_state)[1](state)


def _plane(kind, key, path, loss, examples):
    end = jax.tree.map(lambda leaf: leaf[-1], path)
    if kind == "random":
        return random_plane(key, end)
    if kind == "principal":
        return principal_plane(path)

    @jax.jit
    def eigenvectors(params):
        product = hessian_vector_product(loss, params, examples, chunk_size=EVALUATION_BATCH)
        return top_eigenpairs(product, params, 2, tol=1e-2).vectors

    vectors = eigenvectors(end)
    return Plane(
        end,
        *(jax.tree.map(lambda leaf, number=number: leaf[number], vectors) for number in range(2)),
    )


def _coordinates(options, kind, path):
    """Return where the loss is evaluated along both directions.

    On the principal plane this is about the path, and on the random plane up to `reach`.
    Eigenvectors have length 1; along them it is as far as the path is from its end on that plane.
    """
    if kind == "random":
        return (np.linspace(-options.reach, options.reach, options.grid),) * 2
    low, high = path.min(axis=0), path.max(axis=0)
    if kind == "hessian":
        low, high = [sign * max(abs(path).max(), np.finfo(path.dtype).tiny) for sign in (-1, 1)]
        low, high = np.full(2, low), np.full(2, high)
    margin = MARGIN * (high - low)
    return tuple(np.linspace(low - margin, high + margin, options.grid).T)
