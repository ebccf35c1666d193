"""What is measured of many networks of one problem, each measurement compiled once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.block_flatness import Flatness, block_flatness
from experiments.checkpointed_training import Training, by_matched_noise, training
from experiments.continued_descent import Looks, descent
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion.landscape import evaluate_line
from sgd_diffusion.problems.objectives import Problem

PLACES = 25  # on the line between two networks


class Reading(NamedTuple):
    """What a network does.

    Attributes:
        train_loss: mean over the training examples.
        train_accuracy: share of these that it labels correctly.
        test_loss: mean over the test examples.
        wrong: (example,) which of these it labels wrongly.
    """

    train_loss: Any
    train_accuracy: Any
    test_loss: Any
    wrong: Any


class Instruments(NamedTuple):
    """Measurements of networks with weights (n, ...), one after the other.

    Attributes:
        problem: as `late_training.network` returns it.
        read: `params -> Reading` (n, ...).
        flatness: `params -> Flatness` (n,).
        barrier: `(params, params) -> (n,)`, the rise of the training loss between two networks.
        descend: `continued_descent.descent`, side by side.
        noisy_training: of the control, by full gradients with normal noise.
    """

    problem: Problem
    read: Callable[[Any], Reading]
    flatness: Callable[[Any], Flatness]
    barrier: Callable[[Any, Any], Any]
    descend: Callable[[Any, Any, Any, Looks], tuple[Any, Any]]
    noisy_training: Training


def instruments(problem: Problem, strides: int) -> Instruments:
    """Return what measures networks from `late_training.network`, in trainings of some strides."""

    def one_by_one(measure):
        """A loop on the host, so that one program serves any number of networks."""
        compiled = instrument(problem, measure)

        def measured(*many):
            many = jax.tree.map(np.asarray, many)
            found = [
                jax.tree.map(np.asarray, compiled(*jax.tree.map(lambda leaf, i=i: leaf[i], many)))
                for i in range(len(jax.tree.leaves(many)[0]))
            ]
            return jax.tree.map(lambda *leaves: np.stack(leaves), *found)

        return measured

    return Instruments(
        problem,
        *map(one_by_one, MEASURES),
        descend=descent(problem),
        noisy_training=training(by_matched_noise(problem), strides),
    )


def instrument(problem: Problem, measure: Callable[..., Any]) -> Callable[..., Any]:
    """Return one of the `MEASURES` of one network, or of two, as a program."""

    @jax.jit
    def measured(*points):
        with full_precision():
            return measure(problem, *points)

    return measured


def reading(problem: Problem, params: Any) -> Reading:
    """Return what a network does with its training and test examples."""
    train, test = problem.examples, problem.test_examples
    (train_loss, (_, logits)), (test_loss, (_, test_logits)) = (
        problem.loss(params, (), examples, False) for examples in (train, test)
    )
    right = logits.argmax(axis=-1) == train.labels
    return Reading(train_loss, right.mean(), test_loss, test_logits.argmax(axis=-1) != test.labels)


def barrier(problem: Problem, start: Any, end: Any) -> Any:
    """Return how far the loss rises on the line through all weights, over the mean of its ends."""
    fractions = np.linspace(0, 1, PLACES)
    losses = evaluate_line(
        lambda params: problem.loss(params, (), problem.examples, False)[0], start, end, fractions
    )
    return losses.max() - (losses[0] + losses[-1]) / 2


MEASURES = reading, block_flatness, barrier
