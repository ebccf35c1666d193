"""All that is measured of one cell: repeats of one training at one step size and batch size."""

import itertools
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from experiments.block_flatness import with_unit_norms
from experiments.checkpointed_training import Setting, by_batches, training
from experiments.freezing_branches import ALIKE, branches
from experiments.late_training import BLOCK
from experiments.network_instruments import Instruments
from experiments.progress import phase
from sgd_diffusion._types import Key
from sgd_diffusion.analysis.freezing import jaccard_similarity

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

    def noise(self, num_examples: int) -> float:
        """Return the covariance of normal noise over that of single gradients.

        Mini-batches of an epoch are drawn without replacement.
        """
        share = (num_examples - self.batch_size) / max(num_examples - 1, 1)
        return (self.noise_scale or 0.0) * share / self.batch_size

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
    """Train the repeats of a cell, and return what is measured of them, over one cell.

    Args:
        own: of the problem.
        cell: what is trained.
        schedule: for how long.
        begin: the weights at which all repeats begin.
        key: of the orders of the data.
    """
    rate, steps = cell.learning_rate, schedule.steps(cell.learning_rate)
    setting = Setting(rate, steps, cell.noise(own.problem.num_examples))
    of_repeats, of_clones = jax.random.split(key)
    with phase(f"{cell}: training"):
        if cell.motion == "sgd":
            stride = by_batches(own.problem, batch_size=cell.batch_size, steps=steps)
            train = training(stride, schedule.strides)
        else:
            train = own.noisy_training
        keys = jax.random.split(of_repeats, schedule.repeats)
        path = jax.tree.map(np.asarray, train(begin, keys, 0, setting))
        found = _of_path(own, path, schedule.branches)
    if cell.motion == "sgd":  # of the controls that would take longer than all else
        with phase(f"{cell}: descents"):
            found |= branches(own, path, schedule.branches, setting)
        if schedule.clones:
            with phase(f"{cell}: clones"):
                shares = _clone_shares(own, train, path, schedule, setting, of_clones)
                found["clone_share"] = "clone_branch", shares
    facts = {
        "learning_rate": rate,
        "batch_size": cell.batch_size,
        "temperature": cell.temperature,
        "motion": cell.motion,
        "time_of_point": steps * rate,
    }
    return (
        xr.Dataset(found)
        .expand_dims("cell")
        .assign_coords(
            {name: ("cell", [value]) for name, value in facts.items()}
            | {
                "branch": schedule.branches,
                "clone_branch": schedule.branches[:-1:CLONES_EVERY],
            }
        )
    )


def _of_path(own: Instruments, path: Any, places: np.ndarray) -> dict[str, Any]:
    """What there is of all checkpoints, of those of branches, and of the ends."""
    read = _at_all(own.read, path)
    end, at_branches = (jax.tree.map(lambda leaf, at=at: leaf[at], path) for at in (-1, places))
    flat = _at_all(own.flatness, at_branches)
    normalized = _at_all(own.flatness, jax.jit(jax.vmap(jax.vmap(with_unit_norms)))(at_branches))
    dims = ("point", "repeat")
    return {
        "train_loss": (dims, read.train_loss),
        "train_accuracy": (dims, read.train_accuracy),
        "test_loss": (dims, read.test_loss),
        "test_accuracy": (dims, 1 - read.wrong.mean(axis=-1)),
        "path_flatness": (("branch", "repeat"), flat.flatness),
        **{name: ("repeat", values[-1]) for name, values in flat._asdict().items()},
        "normalized_flatness": ("repeat", normalized.flatness[-1]),
        **_pairs(own, end, read.wrong[-1]),
    }


def _at_all(measure, points):
    """What is measured at points (point, repeat, ...)."""
    shape = jax.tree.leaves(points)[0].shape[:2]
    found = measure(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), points))
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), found)


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
        "barrier": ("pair", own.barrier(first, second)),
    }


def _clone_shares(own, train, path, schedule, setting, key):
    """The share of clones in their most common valley, by where they begin.

    As many are trained at once as there are repeats, by the same program.
    """
    at_once = schedule.repeats
    keys = jax.random.split(key, (-(-schedule.clones // at_once), at_once))
    shares = []
    for point in schedule.branches[:-1:CLONES_EVERY].tolist():  # another type compiles again
        begin = jax.tree.map(lambda leaf, point=point: leaf[point, 0], path)
        wrong = np.concatenate(
            [
                own.read(jax.tree.map(_last, train(begin, some, point, setting))).wrong
                for some in keys
            ]
        )
        alike = jaccard_similarity(wrong[: schedule.clones]) >= ALIKE
        shares.append(alike.mean(axis=0).max())
    return np.array(shares)


def _last(leaf):
    return leaf[-1]
