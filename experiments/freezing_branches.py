"""Descents from the checkpoints of a training: which valley each reaches, and when that is decided.

Two networks are in one valley if they err on nearly the same test examples. Descents branch off at
equal distances. Between the last that leads elsewhere and the next one, each checkpoint is tried,
from the later ones back to the first that leads elsewhere.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.checkpointed_training import Setting
from experiments.continued_descent import looks
from experiments.network_instruments import Instruments
from sgd_diffusion.analysis.freezing import freezing_index, jaccard_similarity

ALIKE = 0.9  # least similarity within a valley


def branches(own: Instruments, path: Any, points: np.ndarray, setting: Setting) -> dict[str, Any]:
    """Return where the descents from some checkpoints end, and the freezing times.

    Args:
        own: of the problem.
        path: weights (point, repeat, ...) of a training.
        points: (branch,) checkpoints where descents begin, from 0 to the last.
        setting: of the training, and of the descents.
    """
    last, repeats = int(points[-1]), jax.tree.leaves(path)[0].shape[1]
    rate, rule = setting.learning_rate, looks(setting.learning_rate)

    def descended(starts):
        """Weights (repeat, ...) at the ends of descents from these checkpoints, and their steps."""
        begin = jax.tree.map(lambda leaf: leaf[starts, np.arange(repeats)], path)
        found = own.descend(begin, (last - starts) * setting.steps, rate, rule)
        return jax.tree.map(np.asarray, found)

    def wrong_from(starts):
        return own.read(descended(starts)[0]).wrong

    found = [descended(np.full(repeats, point)) for point in points]
    ends, made = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    shape = (len(points), repeats)
    read, flat = (
        jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), measure(ends))
        for measure in (own.read, own.flatness)
    )
    wrong = np.moveaxis(read.wrong, 0, 1)
    similarity = jaccard_similarity(wrong)
    dims = ("branch", "repeat")
    return {
        "similarity": (("repeat", "branch", "other_branch"), similarity),
        "end_train_loss": (dims, read.train_loss),
        "end_test_loss": (dims, read.test_loss),
        "end_test_accuracy": (dims, 1 - read.wrong.mean(axis=-1)),
        "end_flatness": (dims, flat.flatness),
        "end_steps": (dims, made.reshape(shape)),
        "freezing_point": (
            "repeat",
            freezing_points(points, similarity, wrong[:, -1], wrong_from),
        ),
    }


def freezing_points(
    points: np.ndarray,
    similarity: np.ndarray,
    reference: np.ndarray,
    wrong_from: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The first checkpoint (repeat,) from which on all lead to the valley of the last one.

    Args:
        points: checkpoints of the branches.
        similarity: (repeat, branch, branch) of these.
        reference: (repeat, example) test examples that the last one has wrong.
        wrong_from: `points (repeat,) -> (repeat, example)`, those of descents from there.
    """
    branch = freezing_index(similarity, threshold=ALIKE)
    frozen = points[branch].copy()
    elsewhere = np.where(branch > 0, points[branch - 1], frozen)  # the branch before
    alike = np.ones(len(frozen), bool)
    while (tried := alike & (frozen - 1 > elsewhere)).any():
        wrong = wrong_from(np.where(tried, frozen - 1, points[-1]))
        similar = jaccard_similarity(np.stack([wrong, reference], axis=1))[:, 0, 1]
        alike = tried & (similar >= ALIKE)
        frozen = frozen - alike
    return frozen
