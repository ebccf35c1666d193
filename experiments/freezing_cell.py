"""All that is measured of one cell: repeats of one training at one step size and batch size."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.block_flatness import with_unit_norms
from experiments.checkpointed_training import Stride, by_batches, by_matched_noise, checkpoints, ends
from experiments.freezing_branches import THRESHOLDS, branches
from experiments.late_training import BLOCK
from experiments.network_instruments import Instruments, Reading
from experiments.progress import phase
from sgd_diffusion._types import Key
from sgd_diffusion.analysis.freezing import jaccard_similarity
from sgd_diffusion.problems.objectives import Problem

MOTIONS = ("sgd", "matched noise")
CLONES_EVERY = 2  # branches from one set of clones to the next


class Cell(NamedTuple):
    """Where in the diagram, and how the weights move.

    Attributes:
        learning_rate: eta.
        batch_size: B, of the batches whose covariance the noise has.
        noise_scale: what this covariance is multiplied with; None for mini-batches.
    """

    learning_rate: float
    batch_size: int
    noise_scale: float | None = None

    @property
    def motion(self) -> str:
        """Return the name of what moves the weights."""
        return MOTIONS[self.noise_scale is not None]

    @property
    def temperature(self) -> float:
        """Return eta / B of SGD that has the same noise in the same time eta t."""
        scale = 1.0 if self.noise_scale is None else self.noise_scale
        return scale * self.learning_rate / self.batch_size

    def stride(self, problem: Problem, steps: int) -> Stride:
        """Return the steps from one checkpoint to the next."""
        if self.noise_scale is None:
            return by_batches(problem, batch_size=self.batch_size, steps=steps)
        return by_matched_noise(
            problem, batch_size=self.batch_size, scale=self.noise_scale, steps=steps
        )

    def __str__(self) -> str:
        """Return the name of the cell for a progress bar."""
        return f"{self.motion}, eta {self.learning_rate:g}, B {self.batch_size}"


class Schedule(NamedTuple):
    """How long the repeats of a cell train, and where others branch off.

    Attributes:
        repeats: R.
        strides: checkpoints after the first.
        duration: eta t at the end.
        branch_every: checkpoints from one branch to the next.
        clones: from every second branch; 0 for none.
    """

    repeats: int
    strides: int
    duration: float
    branch_every: int
    clones: int

    def steps(self, learning_rate: float) -> int:
        """Return the steps from one checkpoint to the next."""
        return max(1, round(self.duration / learning_rate / self.strides))

    @property
    def branches(self) -> np.ndarray:
        """Return the checkpoints where descents branch off, the last one among them."""
        return np.append(np.arange(0, self.strides, self.branch_every), self.strides)


def measured(own: Instruments, cell: Cell, schedule: Schedule, begin: Any, key: Key) -> xr.Dataset:
    """Train the repeats of a cell, and return what is measured of them.

    Args:
        own: of the problem.
        cell: what is trained.
        schedule: for how long.
        begin: the weights at which all repeats begin.
        key: of the orders of the data.
    """
    rate, steps = cell.learning_rate, schedule.steps(cell.learning_rate)
    stride = cell.stride(own.problem, steps)
    of_repeats, of_clones = jax.random.split(key)
    with phase(f"{cell}: training"):
        keys = jax.random.split(of_repeats, schedule.repeats)
        path = checkpoints(stride, schedule.strides)(begin, keys, rate)
        found = _of_path(own, path, schedule)
    with phase(f"{cell}: descents"):
        found |= branches(own, path, schedule.branches, learning_rate=rate, steps=steps)
    with phase(f"{cell}: clones"):
        found["clone_share"] = "clone_branch", _clone_shares(
            own, cell, schedule, stride, path, of_clones
        )
    return xr.Dataset(
        found,
        coords={
            "branch": schedule.branches,
            "threshold": list(THRESHOLDS),
            "clone_branch": schedule.branches[:-1:CLONES_EVERY],
            "learning_rate": rate,
            "batch_size": cell.batch_size,
            "temperature": cell.temperature,
            "motion": cell.motion,
            "time_of_point": steps * rate,
        },
    )


def _of_path(own: Instruments, path: Any, schedule: Schedule) -> dict[str, Any]:
    """What there is of checkpoints, of the first repeat's flatness, and of the ends."""
    shape = jax.tree.leaves(path)[0].shape[:2]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), path)
    read: Reading = jax.tree.map(
        lambda leaf: np.asarray(leaf).reshape(*shape, *leaf.shape[1:]), own.read(flat)
    )
    first = jax.tree.map(lambda leaf: leaf[schedule.branches, 0], path)
    end = jax.tree.map(lambda leaf: leaf[-1], path)
    of_end = own.flatness(end)
    normalized = own.flatness(jax.vmap(with_unit_norms)(end))
    dims = ("point", "repeat")
    return {
        "train_loss": (dims, read.train_loss),
        "train_accuracy": (dims, read.train_accuracy),
        "test_loss": (dims, read.test_loss),
        "test_accuracy": (dims, 1 - read.wrong.mean(axis=-1)),
        "path_flatness": ("branch", np.asarray(own.flatness(first).flatness)),
        **{name: ("repeat", np.asarray(value)) for name, value in of_end._asdict().items()},
        "normalized_flatness": ("repeat", np.asarray(normalized.flatness)),
        **_pairs(own, end, read.wrong[-1]),
    }


def _pairs(own: Instruments, end: Any, wrong: np.ndarray) -> dict[str, Any]:
    """Distances, similarities and barriers between the ends of repeats."""
    weights = np.asarray(end[BLOCK]["kernel"], np.float64).reshape(len(wrong), -1)
    apart = weights[:, None] - weights[None]
    pairs = np.array(list(itertools.combinations(range(len(wrong)), 2))).reshape(-1, 2)
    first, second = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], end) for rows in pairs.T)
    similarity = jaccard_similarity(wrong)
    return {
        "squared_distance": (("repeat", "other_repeat"), (apart**2).sum(axis=-1)),
        "pair_similarity": ("pair", similarity[pairs[:, 0], pairs[:, 1]]),
        "barrier": ("pair", np.asarray(own.barrier(first, second))),
    }


def _clone_shares(own, cell, schedule, stride, path, key):
    """The share of clones in their most common valley, by where they begin; NaN without clones."""
    begins = schedule.branches[:-1:CLONES_EVERY]
    if not schedule.clones or cell.motion != "sgd":
        return np.full(len(begins), np.nan)
    if cell.batch_size == own.problem.num_examples:
        return np.ones(len(begins))  # they have no noise
    train = ends(stride, schedule.strides)
    keys = jax.random.split(key, schedule.clones)
    shares = []
    for point in begins:
        begin = jax.tree.map(lambda leaf, point=point: leaf[point, 0], path)
        wrong = own.read(train(begin, keys, jnp.int32(point), cell.learning_rate)).wrong
        alike = jaccard_similarity(wrong) >= THRESHOLDS[0]
        shares.append(alike.mean(axis=0).max())
    return np.array(shares)
