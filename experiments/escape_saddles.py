"""Escapes of a small network over a saddle between two of its minima, measured and predicted."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.tree_util import Partial

from experiments.progress import phase
from experiments.tiny_networks import SAME, Network, aligned, minima, network, settled
from sgd_diffusion import tables
from sgd_diffusion.landscape.saddles import critical_point, nudged_elastic_band
from sgd_diffusion.theory.escape import (
    escape_rate,
    kramers_sgd,
    mean_first_passage_time,
    quasi_potential,
)
from sgd_diffusion.walkers import escape_times, minibatch_steps

STARTS = 8  # of SGD, for the minima
IMAGES = 31
MOST_BAND_STEPS = 3000
NUDGE = 0.05  # from the saddle to either side
TRIALS = 8  # of the other panels, for one here
FEW = 20  # escapes, for a rate
CENSUS = 50  # walkers


class Barrier(NamedTuple):
    """What is escaped from, and how.

    Attributes:
        name: of the network.
        network: hidden units, weight decay and question of `tiny_networks.network`.
        from_lower: whether walkers start at the lower of the two lowest minima.
        learning_rate: eta.
        batch_sizes: B.
        max_steps: steps of a walker.
    """

    name: str
    network: tuple[int, float, str]
    from_lower: bool
    learning_rate: float
    batch_sizes: tuple[int, ...]
    max_steps: int


BARRIERS = (
    Barrier("two units, odd digits", (2, 1e-2, "odd"), False, 0.6, (6, 9, 12, 15), 40_000),
    Barrier("three units, digits from five on", (3, 3e-3, "five or more"), True, 0.3, (8,), 10_000),
)


def network_saddles(options: Any) -> xr.Dataset:
    """Return minima, saddles, paths and noise of networks, with measured and predicted times."""
    rows = []
    for number, barrier in enumerate(BARRIERS[:1] if options.ends else BARRIERS):
        key = jax.random.fold_in(jax.random.key(options.seed), number)
        with phase(f"saddle, {barrier.name}"):
            own = network(*barrier.network)
            geometry, ends = crossing(own, key, from_lower=barrier.from_lower)
        with phase(f"escapes, {barrier.name}"):
            rows.append(geometry.merge(escapes(own, barrier, geometry, ends, key, options)))
    found = xr.concat(rows, "line", coords="all", join="outer").assign_coords(line=range(len(rows)))
    return with_slopes(found).assign_attrs(trials=options.trials // TRIALS)


def with_slopes(found: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the slopes of `tables.escape_rates`, NaN where nothing escaped."""
    crossed = np.isfinite(found["log_time"]).any("point").values
    lines = tables.escape_rates(found.isel(line=crossed))
    return found.merge(lines.drop_vars(found.data_vars).reindex(line=found["line"]))


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


def crossing(own: Network, key: Any, *, from_lower: bool) -> tuple[xr.Dataset, Ends]:
    """Return the way from one minimum over the saddle to the other one, and its points."""
    lowest = minima(own, key, STARTS)[:2]
    first, second = lowest if from_lower else lowest[::-1]
    band = jax.jit(
        lambda a, b: nudged_elastic_band(
            own.loss, a, b, num_images=IMAGES, max_steps=MOST_BAND_STEPS
        )
    )
    found = band(first, aligned(own, second, first))
    top = np.asarray(found.points)[int(found.highest)]
    saddle = jax.tree.map(
        np.asarray, jax.jit(lambda x: critical_point(own.loss, x, max_step=0.05))(top)
    )
    nudge = NUDGE * saddle.direction
    sides = settled(own, saddle.point + np.stack([-nudge, nudge]))
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
    halves = band(start, saddle.point), band(saddle.point, end)
    geometry = xr.Dataset(
        numbers
        | _along(own, halves)
        | {"band_residual": ("part", [float(each.residual) for each in (found, *halves)])},
        coords={"parameter": range(own.size)},  # of which networks have different numbers
    )
    return geometry, Ends(start, saddle.point, end, direction)


def _hessian(own):
    def hessian(theta):
        with jax.enable_x64(True):
            return jax.jacfwd(jax.grad(own.loss))(jnp.asarray(theta, jnp.float64))

    return hessian


def _along(own, halves):
    """Loss, slope and noise along a path of two halves, over the length from the saddle."""
    points, tangents = (
        np.concatenate([np.asarray(getattr(half, name))[skip:] for skip, half in enumerate(halves)])
        for name in ("points", "tangents")
    )
    with jax.enable_x64(True):

        @jax.jit
        @jax.vmap
        def at(point, tangent):
            value, slope = jax.value_and_grad(own.loss)(point)
            along = jax.vmap(lambda x, t: jax.grad(own.example_loss)(point, x, t) @ tangent)(
                own.inputs, own.targets
            )
            return value, slope @ tangent, along.var()

        loss, slope, noise = map(np.asarray, at(points, tangents))
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return {
        name: ("image", values)
        for name, values in {
            "position": np.append(0, np.cumsum(steps)) - steps[: IMAGES - 1].sum(),
            "path_loss": loss,
            "path_slope": slope,
            "path_noise": noise,
        }.items()
    }


def escapes(own: Network, barrier: Barrier, geometry, ends, key, options: Any) -> xr.Dataset:
    """Return measured times of crossing the plane through the saddle, beside predicted ones."""
    eta, trials = barrier.learning_rate, options.trials // TRIALS
    sizes = options.some(barrier.batch_sizes)
    data = tuple(np.asarray(part, np.float32) for part in (own.inputs, own.targets))
    is_outside = Partial(_beyond, np.float32(ends.saddle), np.float32(ends.direction))
    points = []
    for number, size in enumerate(sizes):
        step = minibatch_steps(own.example_loss, data, eta, size)
        times = escape_times(
            jax.random.fold_in(key, number),
            step,
            np.float32(ends.start),
            is_outside,
            repeats=trials,
            max_steps=barrier.max_steps,
        )
        points.append(_measured(np.asarray(times), barrier, eta) | predicted(geometry, size, eta))
    columns = {name: ("point", [point[name] for point in points]) for name in points[0]}
    exponents = {
        name: float(
            kramers_sgd(*_corners(geometry), batch_size=2, learning_rate=1, path=share)
            - kramers_sgd(*_corners(geometry), batch_size=1, learning_rate=1, path=share)
        )
        for name, share in (("exponent_of_curvature", 0.5), ("exponent_of_minimum", 1.0))
    }
    force, noise = _functions(geometry)
    limit = quasi_potential(force, noise, float(geometry.position[0]), 0.0)
    middle = len(sizes) // 2
    return xr.Dataset(
        columns
        | exponents
        | {"exponent_limit": float(limit)}
        | census(own, barrier, sizes[middle], points[middle], ends, key, trials),
        coords={
            "learning_rate": ("point", np.full(len(sizes), eta)),
            "batch_size": ("point", np.array(sizes, float)),
            "coldness": ("point", np.array(sizes) / eta),
            "sharpness": ("point", np.ones(len(sizes))),
            "diffusion": ("point", np.full(len(sizes), np.nan)),
            "point": range(len(sizes)),
            "loss": barrier.name,
            "noise": "mini-batches",
            "sweep": "B",
        },
    )


def _beyond(top, direction, theta):
    return direction @ (theta - top) > 0


def _measured(times, barrier, eta):
    escaped = int((times > 0).sum())
    rate = escape_rate(times, barrier.max_steps, eta, min_escapes=FEW) if escaped >= FEW else None
    total = np.where(times > 0, times, barrier.max_steps).sum() * eta
    return {
        "log_time": math.nan if rate is None else -math.log(rate.rate),
        "log_time_error": math.nan if rate is None else rate.log_rate_error,
        # No escape in so long a time has a chance of 5 % at this mean time.
        "log_time_bound": math.log(total / 3) if escaped == 0 else math.nan,
        "escaped": escaped,
        "censored": len(times) - escaped,
    }


def _corners(geometry):
    return (float(geometry[name]) for name in ("curvature_minimum", "curvature_saddle", "barrier"))


def _functions(geometry):
    """Slope and noise along the path as functions, a parabola of the same noise behind it."""
    position, slope, noise = (
        geometry[name].values for name in ("position", "path_slope", "path_noise")
    )
    curvature = float(geometry["curvature_minimum"])

    def force(x):
        behind = curvature * (x - position[0])
        return jnp.where(x < position[0], behind, jnp.interp(x, position, slope))

    return force, lambda x: jnp.interp(x, position, noise)


def predicted(geometry: xr.Dataset, size: int, eta: float) -> dict[str, float]:
    """Return logarithms of the mean time to the saddle, by quadrature and in closed form."""
    force, noise = _functions(geometry)
    first = float(geometry["position"][0])
    time = mean_first_passage_time(
        force, lambda x: eta / (2 * size) * noise(x), first, 0.0, 3 * first, num_points=20_001
    )
    closed = kramers_sgd(*_corners(geometry), batch_size=size, learning_rate=eta)
    return {
        "log_time_predicted": math.log(float(time)),
        # The first passage to the saddle takes half of the time.
        "log_time_closed_form": float(closed) - math.log(2),
    }


def census(own: Network, barrier: Barrier, size, point, ends, key, trials) -> dict[str, float]:
    """Return where walkers are after the mean time to cross: in which valley, by descent."""
    eta = barrier.learning_rate
    log_time = point["log_time"]
    steps = barrier.max_steps if math.isnan(log_time) else int(math.exp(log_time) / eta)
    data = tuple(np.asarray(part, np.float32) for part in (own.inputs, own.targets))
    step = minibatch_steps(own.example_loss, data, eta, size)

    @jax.jit
    @jax.vmap
    def walked(key):
        def one(i, theta):
            return step(jax.random.fold_in(key, i), theta)

        return jax.lax.fori_loop(0, steps, one, jnp.asarray(ends.start, np.float32))

    walkers = min(trials, CENSUS)
    found = settled(own, walked(jax.random.split(jax.random.fold_in(key, 99), walkers)))
    in_start, in_end = (
        found.converged & (np.linalg.norm(found.point - place, axis=1) < SAME)
        for place in (ends.start, ends.end)
    )
    return {
        "census_steps": steps,
        "census_batch_size": size,
        "share_start": in_start.mean(),
        "share_other": in_end.mean(),
        "share_elsewhere": (found.converged & ~in_start & ~in_end).mean(),
        "share_unsettled": (~found.converged).mean(),
    }
