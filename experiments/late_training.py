"""Training until the loss is small, and the path of one layer over its last epochs.

The network has ReLU and two hidden layers, and no biases unless asked for. Its layer between them
is the block that is followed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments import data_sets
from experiments.options import flag
from experiments.plain_sgd import sgd_steps
from experiments.progress import phase
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import Key
from sgd_diffusion.dynamics.batches import mean_over_batches
from sgd_diffusion.dynamics.sgd import Carry, initial_carry, sgd
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.datasets import Dataset, Examples
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.objectives import Problem, accuracy

BLOCK = "linear2"
PART = 5000  # examples whose loss is computed at a time


class LatePath(NamedTuple):
    """The last epochs of a training.

    Attributes:
        params: of the network where it ended.
        path: (point, parameter) float32 weights of the block, the last are those of `params`.
        losses: (epoch,) on all training examples, after each epoch.
        test_accuracy: where it ended.
    """

    params: Any
    path: np.ndarray
    losses: np.ndarray
    test_accuracy: float


@jax.jit
def margin_cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the cross-entropy (example,) of logits (example, label), exact however small it is.

    It is ln(1 + sum over other classes of exp(z_c - z_y)). The difference of a logarithm of a sum
    and the logit would be rounded at the size of the logits.
    """
    own = jnp.arange(logits.shape[-1])[None] == labels[:, None]
    apart = logits - jnp.take_along_axis(logits, labels[:, None], axis=-1)
    return jax.nn.softplus(jax.nn.logsumexp(jnp.where(own, -jnp.inf, apart), axis=-1))


def network(
    data: Dataset, width: int, *, bias: bool = False, initialization: str = "pytorch"
) -> Problem:
    """Return the problem of classifying images, scaled by the largest, with two hidden layers."""
    scale = np.float32(np.abs(data.train.images).max())
    model = MLP((width, width, data.num_classes), bias=bias, initialization=initialization)

    def loss(params, state, batch, train):
        logits = model.apply({"params": params}, batch.images, train=train)
        return margin_cross_entropy(logits, batch.labels).mean(), (state, logits)

    def scaled(examples):
        images = examples.images.reshape(len(examples.labels), -1).astype(np.float32)
        return Examples(images / scale, examples.labels)

    @jax.jit
    def init(key):
        return model.init(key, jnp.zeros((1, data.train.images[0].size)), train=False)["params"], ()

    return Problem(
        init=init,
        loss=loss,
        examples=scaled(data.train),
        test_examples=scaled(data.test),
        description={"dataset": data.name, "width": width},
    )


def loaded(
    options: Any,
    batch_sizes: str,
    *,
    part: Callable[[Dataset], Dataset] = lambda data: data,
    **network_options: Any,
) -> Problem:
    """Return the problem of an experiment on such a network, and say that it is being loaded.

    Args:
        options: with `dataset`, `data_dir` and `width`.
        batch_sizes: name of the option that has the batch size, or several of them.
        part: what is taken of the data set.
        network_options: of `network`.

    Raises:
        InputError: there are fewer examples than in a mini-batch.
    """
    with phase(f"loading {options.dataset}"):
        data = part(data_sets.load(options.dataset, options.data_dir))
        problem = network(data, options.width, **network_options)
    given = getattr(options, batch_sizes)
    largest, found = (given, "is") if isinstance(given, int) else (max(given), "has")
    if largest > problem.num_examples:
        raise invalid(
            flag(batch_sizes),
            f"{found} {largest}",
            f"no more than {problem.num_examples}, all training examples",
        )
    return problem


def one_epoch(
    problem: Problem, key: Key, *, learning_rate: float, batch_size: int, sampling: str
) -> Callable[[Carry, int], tuple[Carry, Array, Array]]:
    """Return `(carry, number) -> (carry, path, loss)`: one epoch of SGD, compiled.

    The path (step, parameter) is that of the block, before each step. The loss is that on all
    training examples, after the last one.

    Args:
        problem: as `network` returns it.
        key: of the order of the data.
        learning_rate: as for `sgd_steps`.
        batch_size: likewise.
        sampling: likewise.
    """
    steps = problem.num_examples // batch_size

    @jax.jit
    def epoch(carry, number):
        carry, path = sgd_steps(
            problem,
            carry,
            key,
            number * steps,
            steps,
            learning_rate,
            batch_size=batch_size,
            sampling=sampling,
            watch=lambda carry: carry.params[BLOCK]["kernel"].ravel(),
        )
        return carry, path, total_loss(problem, carry.params)

    return epoch


def train_until(
    problem: Problem,
    key: Key,
    *,
    learning_rate: float,
    batch_size: int,
    sampling: str,
    stop_loss: float,
    window_epochs: int,
    max_epochs: int,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> LatePath:
    """Train by SGD until the loss on all training examples is small after an epoch.

    Args:
        problem: as `network` returns it.
        key: of the initial weights and of the order of the data.
        learning_rate: as for `sgd_steps`.
        batch_size: likewise.
        sampling: likewise.
        stop_loss: the loss below which the training ends.
        window_epochs: epochs at the end whose path is kept; no fewer are made.
        max_epochs: after so many the training ends in any case.
        report: called with the number of epochs and the loss after each.

    Raises:
        InputError: the training diverges.
    """
    of_weights, of_order = jax.random.split(key)
    epoch = one_epoch(
        problem, of_order, learning_rate=learning_rate, batch_size=batch_size, sampling=sampling
    )
    carry = initial_carry(problem, sgd(), of_weights)
    paths: list[np.ndarray] = []
    losses: list[float] = []
    while len(losses) < max_epochs:
        carry, path, loss = epoch(carry, len(losses))
        paths = [*paths, np.asarray(path)][-window_epochs:]
        losses.append(float(loss))
        if not np.isfinite(losses[-1]):
            raise invalid(
                "learning_rate (--learning-rate)",
                f"is {learning_rate:g}, and the loss is not finite after {len(losses)} epochs",
                "one with which the training converges",
                "take a smaller one",
            )
        report(len(losses), losses[-1])
        if losses[-1] < stop_loss and len(losses) >= window_epochs:
            break
    end = np.asarray(carry.params[BLOCK]["kernel"]).reshape(1, -1)
    return LatePath(
        jax.tree.map(np.asarray, carry.params),
        np.concatenate([*paths, end]),
        np.array(losses),
        float(jax.jit(lambda params: accuracy(problem, params, ()))(carry.params)),
    )


def total_loss(problem: Problem, params: Any) -> Array:
    """Return the mean loss over all training examples, part by part."""
    rows = jnp.arange(problem.num_examples)
    with full_precision():
        loss, _ = mean_over_batches(
            problem,
            lambda batch: problem.loss(params, (), batch, False)[0],
            rows,
            batch_size=min(PART, len(rows)),
            augmentation_key=jax.random.key(0),
        )
    return loss
