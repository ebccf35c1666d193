"""Measure what the loss looks like around the walker, and whether it is fractal.

This is Fig. 1 of Chen, Qu & Gong (arXiv:2009.10588). The program trains every seed with every
learning rate and evaluates the loss on planes through the point where training ends. The planes are
along two random filter-normalized directions, along the principal components of the path, or along
the first two eigenvectors of the Hessian. With them are the path and its distance from the plane.
The roughness of the random plane is measured as the box dimension of its level sets and of its
graph, raw, and calibrated on surfaces of known dimension of the same size. A smooth surface of its
shape is the control. Run from the checkout: python -m experiments.loss_surface
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from experiments import command_line, summaries
from experiments.options import COUNT, within
from experiments.progress import PointProgress, phase
from experiments.results import by_rate, leave
from experiments.training import RunOptions, TrainingOptions, loaded, train
from sgd_diffusion import plots, tables
from sgd_diffusion._arrays import integer
from sgd_diffusion.analysis.least_squares import MIN_REPLICATES
from sgd_diffusion.dynamics.measurements import displacements, endpoints, series
from sgd_diffusion.dynamics.members import member_keys
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.starting_points import first_points
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.curvature import (
    hessian_vector_product,
    mean_over_chunks,
    top_eigenpairs,
)
from sgd_diffusion.landscape.planes import Plane, principal_plane, project, random_plane
from sgd_diffusion.problems.objectives import EVALUATION_BATCH, Problem
from sgd_diffusion.storage.plane_files import resumable_plane

# Points along a side. Box sizes are then 1, 2, 4 and 8, a quarter of the 32 cells between them.
MIN_GRID = 33
MARGIN = 0.3  # of the extent of the path, on either side of it on the principal plane


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    planes: Annotated[tuple[Literal["random", "principal", "hessian"], ...], *within(fewest=1)] = (
        "random",
        "principal",
    )
    """random: filter-normalized; principal: along components of the path; hessian: eigenvectors."""
    grid: Annotated[
        int, *within(MIN_GRID, 1025, "for four sizes of boxes and a million points")
    ] = 51
    """Points along each side of a plane."""
    reach: Annotated[
        float, *within(1e-4, 1000, "for losses that differ and are finite in float32")
    ] = 1.0
    """Largest coordinate on the random plane: a filter moves by so many times its norm."""
    surface_examples: Annotated[int, *within(1, COUNT)] = 500
    """Training examples, without augmentation, whose mean loss is the surface."""
    statistics: Literal["batch", "running"] = "batch"
    """Batch normalization of the surface: batch, by the statistics of (500 of) these examples at
    every point; running, by the running averages that training left at its end, which belong to
    that point alone.
    """
    points_per_file_update: Annotated[int, *within(1, COUNT)] = 100
    """Points of a plane between updates of its file; an interruption costs at most so many."""
    calibration_repeats: Annotated[
        int, *within(MIN_REPLICATES, 1000, "whose scatter can be told")
    ] = 20
    """Surfaces of each known dimension that the estimates are calibrated on."""

    def check(self) -> None:
        """Refuse also what cannot be measured."""
        super().check()
        if "random" not in self.planes:
            raise invalid(
                "--planes",
                f"is {' '.join(self.planes)}",
                "random among them, whose dimension is measured",
            )


PAPER = Options(
    dataset="cifar10",
    seeds=(0,),
    learning_rates=(0.1,),
    num_windows=25,
    window=980,
    batch_size=1024,
    surface_examples=5000,
    grid=101,
)
PRESETS = {
    "default": Options(seeds=(0, 1), learning_rates=(0.02,), num_windows=20, window=100),
    "quick": Options(
        model="fc3",
        seeds=(0, 1),
        learning_rates=(0.05,),
        num_windows=10,
        window=20,
        surface_examples=200,
        grid=33,
        calibration_repeats=10,
    ),
    "paper": dataclasses.replace(PAPER, model="resnet14"),
    "paper-resnet56": dataclasses.replace(PAPER, model="resnet56"),
    "paper-resnet56-noshort": dataclasses.replace(PAPER, model="resnet56-noshort"),  # Fig. 1a
}


def measure(problem: Problem, plan: Plan) -> list[Any]:
    """Return the measurements of the training."""
    return [displacements(), series(), endpoints()]


def experiment(options: Options) -> None:
    """Train and evaluate, and leave surfaces, dimensions, figures and a summary.

    There is a figure for each learning rate. All go into the run directory.
    """
    problem = loaded(options)
    integer(
        "--surface-examples",
        options.surface_examples,
        1,
        problem.num_examples,
        what="of the training examples",
    )
    run, directory = train(options, "loss_surface", measure, problem=problem)
    surfaces = evaluate(options, problem, run, directory)
    with phase("dimensions and their calibration"):
        table = tables.loss_surface(surfaces, calibration_repeats=options.calibration_repeats)
    planes = tables.planes(surfaces)
    leave(
        directory,
        summaries.loss_surface(run, surfaces.sizes["row"], planes, table),
        tables={
            name: found.assign_attrs(run.attrs)
            for name, found in (("surfaces", surfaces), ("planes", planes), ("dimensions", table))
        },
        figures=by_rate(
            "loss_surface",
            options.learning_rates,
            lambda rate: plots.loss_surface(surfaces, table, rate),
        ),
        options=options,
    )


def evaluate(
    options: Options, problem: Problem, run: xr.Dataset, directory: pathlib.Path
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
    start, state = start
    flat, unravel = ravel_pytree(start)
    path = jax.vmap(unravel)(jnp.concatenate([flat[None], jnp.asarray(member.params.values)]))
    state = ravel_pytree(state)[1](jnp.asarray(member.state.values[-1]))
    loss, chunk_loss, examples = surface_of(options, problem, state)
    description = dict(problem.description) | {
        "update": int(run.waiting_time[-1]) + run.sizes["update"],
        "examples_of_surface": options.surface_examples,
        "statistics": options.statistics,
    }
    last = jax.tree.map(lambda leaf: leaf - leaf[-1], path)
    length = np.sqrt(
        sum(
            (np.asarray(leaf, float).reshape(len(leaf), -1) ** 2).sum(axis=1)
            for leaf in jax.tree.leaves(last)
        )
    )
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
    options: Options, problem: Problem, state: Any
) -> tuple[Callable[[Any], Array], Callable[[Any, Any], Array], Any]:
    """Return the loss at weights, that of weights and a part of the examples, and all of these."""
    examples = jax.tree.map(lambda leaf: leaf[: options.surface_examples], problem.examples)

    def chunk_loss(params, chunk):
        return problem.loss(params, state, chunk, options.statistics == "batch")[0]

    def loss(params):
        return mean_over_chunks(lambda chunk: chunk_loss(params, chunk), examples, EVALUATION_BATCH)

    return loss, chunk_loss, examples


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


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
