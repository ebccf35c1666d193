"""Escapes of a small network over a saddle between two of its minima, beside predictions."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.tree_util import Partial

from experiments.progress import phase
from experiments.saddle_paths import along, exponents, predicted
from experiments.tiny_networks import SAME, Network, Searches, aligned, minima, network, searches
from sgd_diffusion import tables
from sgd_diffusion._arrays import in_double
from sgd_diffusion.theory.escape import escape_rate
from sgd_diffusion.walkers import escape_times, minibatch_steps

NETWORK = (2, 1e-2, "odd")  # hidden units, weight decay and question
LEARNING_RATE = 0.6  # of the walkers: a fourth over the largest curvature
NUDGE = 0.05  # from the saddle to either side
TRIALS = 8  # of the other panels, for one here
FEW = 20  # escapes, for a rate
CENSUS = 48  # walkers


class Barrier(NamedTuple):
    """What is escaped from, and how.

    Attributes:
        name: of the minimum that walkers start at.
        from_lower: whether it is the lower one of two.
        batch_sizes: B.
        max_steps: steps of a walker.
    """

    name: str
    from_lower: bool
    batch_sizes: tuple[int, ...]
    max_steps: int


BARRIERS = (
    Barrier("higher minimum", False, (6, 9, 12, 15), 40_000),
    Barrier("lower minimum, large batches", True, (24,), 20_000),
)


def network_saddles(options: Any) -> xr.Dataset:
    """Return a saddle of a small network, with times of crossing it from either side.

    The two lowest minima are those that SGD and Newton's method find. The dataset also has the path
    between them and the noise along it, and predicted times.
    """
    own, rows = network(*NETWORK), []
    key = jax.random.key(options.seed)
    with phase("minima"):
        search = searches(own)
        lowest = minima(own, search.settle, key)[:2]
    for number, barrier in enumerate(BARRIERS):
        with phase(f"saddle from the {barrier.name}"):
            pair = lowest if barrier.from_lower else lowest[::-1]
            geometry, ends = crossing(own, search, *pair)
        with phase(f"escapes from the {barrier.name}"):
            keys = jax.random.split(jax.random.fold_in(key, number))
            found = escapes(own, barrier, geometry, ends, keys[0], options)
            found = found.merge(census(own, search, found, ends, keys[1]))
        rows.append(geometry.merge(found))
    table = xr.concat(rows, "line", coords="all", join="outer").assign_coords(line=range(len(rows)))
    hidden, decay, question = NETWORK
    return with_slopes(table).assign_attrs(
        trials=options.trials // TRIALS, hidden=hidden, weight_decay=decay, question=question
    )


def with_slopes(found: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the slopes of `tables.escape_rates`, NaN where nothing escaped."""
    crossed = np.isfinite(found["log_time"]).any("point").values
    lines = tables.escape_rates(found.isel(line=crossed)).drop_vars(found.data_vars)
    return found.merge(lines.reset_coords(drop=True).reindex(line=found["line"]), compat="override")


class Ends(NamedTuple):
    """Points (parameter,) of a network.

    Attributes:
        start: a minimum.
        saddle: of index 1.
        end: the minimum beyond.
        direction: of the escape, a unit vector.
    """

    start: np.ndarray
    saddle: np.ndarray
    end: np.ndarray
    direction: np.ndarray


def crossing(
    own: Network, search: Searches, first: np.ndarray, second: np.ndarray
) -> tuple[xr.Dataset, Ends]:
    """Return the way from one minimum over the saddle to the other one, and its points."""
    found = search.band(first, aligned(own, second, first))
    saddle = search.climb(found.points[found.highest])
    nudge = NUDGE * saddle.direction
    sides = search.settle(saddle.point + np.stack([-nudge, nudge]))
    near = int(np.argmin(np.linalg.norm(sides.point - first, axis=1)))
    start, end = sides.point[near], sides.point[1 - near]
    direction = saddle.direction * np.sign(saddle.direction @ (end - start))
    curvature = np.asarray(_hessian(own)(start))
    numbers = {
        "minimum_loss": sides.loss[near],
        "saddle_loss": saddle.loss,
        "other_loss": sides.loss[1 - near],
        "barrier": saddle.loss - sides.loss[near],
        "minimum_eigenvalue": ("parameter", sides.eigenvalues[near]),
        "saddle_eigenvalue": ("parameter", saddle.eigenvalues),
        "curvature_minimum": direction @ curvature @ direction,
        "curvature_saddle": saddle.eigenvalues[0],
        "minimum_noise": direction @ np.asarray(own.covariance(start)) @ direction,
        "saddle_index": saddle.index,
        "gradient_norm": max(saddle.gradient_norm, *sides.gradient_norm),
        "all_converged": saddle.converged & sides.converged.all(),
        "leads_back": np.linalg.norm(start - first) < SAME,
    }
    halves = search.band(start, saddle.point), search.band(saddle.point, end)
    numbers["bands_converged"] = found.converged & halves[0].converged & halves[1].converged
    geometry = xr.Dataset(numbers | along(own, halves))
    return geometry, Ends(start, saddle.point, end, direction)


def _hessian(own):
    def hessian(theta):
        with in_double():
            return jax.jacfwd(jax.grad(own.loss))(jnp.asarray(theta, jnp.float64))

    return hessian


def escapes(own: Network, barrier: Barrier, geometry, ends, key, options: Any) -> xr.Dataset:
    """Return measured times of crossing the plane through the saddle, beside predicted ones."""
    is_outside = outside(ends.saddle, ends.direction)
    sizes, points = options.some(barrier.batch_sizes), []
    for number, size in enumerate(dict.fromkeys(sizes)):
        times = escape_times(
            jax.random.fold_in(key, number),
            steps(own, size),
            np.float32(ends.start),
            is_outside,
            repeats=options.trials // TRIALS,
            max_steps=barrier.max_steps,
            devices=jax.devices(),
        )
        measured = _measured(np.asarray(times), barrier.max_steps)
        points.append(
            measured | predicted(geometry, size, LEARNING_RATE) | {"batch_size": float(size)}
        )
    columns = {name: ("point", np.array([point[name] for point in points])) for name in points[0]}
    count = len(points)
    return xr.Dataset(
        columns | exponents(geometry) | {"max_steps": barrier.max_steps},
        coords={
            "learning_rate": ("point", np.full(count, LEARNING_RATE)),
            "coldness": ("point", columns["batch_size"][1] / LEARNING_RATE),
            "sharpness": ("point", np.ones(count)),
            "diffusion": ("point", np.full(count, np.nan)),
            "point": range(count),
            "loss": barrier.name,
            "noise": "mini-batches",
            "sweep": "B",
        },
    ).set_coords("batch_size")


def outside(saddle: np.ndarray, direction: np.ndarray) -> Partial:
    """Return whether a walker is beyond the plane through the saddle, a function of its place."""
    return Partial(_beyond, np.float32(saddle), np.float32(direction))


def steps(own: Network, size: int) -> Partial:
    """Return the step of SGD with mini-batches of a size."""
    data = tuple(np.asarray(part, np.float32) for part in (own.inputs, own.targets))
    return minibatch_steps(own.example_loss, data, LEARNING_RATE, size)


def _beyond(top, direction, theta):
    return direction @ (theta - top) > 0


def _measured(times, max_steps):
    escaped = int((times > 0).sum())
    enough = escaped >= FEW
    rate = escape_rate(times, max_steps, LEARNING_RATE, min_escapes=FEW) if enough else None
    total = np.where(times > 0, times, max_steps).sum() * LEARNING_RATE
    return {
        "log_time": math.nan if rate is None else -math.log(rate.rate),
        "log_time_error": math.nan if rate is None else rate.log_rate_error,
        # At this mean time, no escape in so long a time has a chance of 5 %.
        "log_time_bound": math.log(total / 3) if escaped == 0 else math.nan,
        "escaped": escaped,
        "censored": len(times) - escaped,
    }


def census(own: Network, search: Searches, found: xr.Dataset, ends: Ends, key) -> xr.Dataset:
    """Return in which valleys walkers are after the mean time to cross, at one batch size."""
    point = found.isel(point=found.sizes["point"] // 2)
    log_time, size = point["log_time"].item(), int(point["batch_size"])
    unknown = math.isnan(log_time)
    count = int(found["max_steps"] if unknown else math.exp(log_time) / LEARNING_RATE)
    step = steps(own, size)

    @jax.jit
    @jax.vmap
    def walked(key):
        def one(i, theta):
            return step(jax.random.fold_in(key, i), theta)

        return jax.lax.fori_loop(0, count, one, jnp.asarray(ends.start, np.float32))

    settled = search.settle(np.asarray(walked(jax.random.split(key, CENSUS))))
    in_start, in_end = (
        settled.converged & (np.linalg.norm(settled.point - place, axis=1) < SAME)
        for place in (ends.start, ends.end)
    )
    return xr.Dataset(
        {
            "census_steps": count,
            "census_batch_size": size,
            "share_start": in_start.mean(),
            "share_other": in_end.mean(),
            "share_elsewhere": (settled.converged & ~in_start & ~in_end).mean(),
            "share_unsettled": (~settled.converged).mean(),
        }
    )
