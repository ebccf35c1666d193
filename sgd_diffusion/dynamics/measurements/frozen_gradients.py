"""Gradient noise at a point: mini-batch gradients of an epoch at frozen weights, and their mean.

Along a path, mini-batch gradients also differ from their mean over an epoch because the weights
drift during the epoch. Here the weights stand still. What differs between batches is noise, and
what they share is the exact gradient of all examples.
"""

import jax

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.dynamics.batches import mean_over_batches
from sgd_diffusion.dynamics.gradient_coordinates import GradientCoordinates
from sgd_diffusion.dynamics.measurements.schema import StateMeasurement
from sgd_diffusion.dynamics.parameters import flatten
from sgd_diffusion.dynamics.sgd import loss_and_gradient

__all__ = ["frozen_gradients"]


def frozen_gradients(
    coordinates: GradientCoordinates, *, num_passes: IntegerLike, batch_size: IntegerLike
) -> StateMeasurement:
    """Measure gradients of the loss in training mode at the weights where a window ends.

    `frozen_gradient(frozen_pass, frozen_batch, coordinate)` and `full_gradient(frozen_pass,
    coordinate)` are the gradient of the mean loss at some of its coordinates.

    Each of the E passes goes through the N training examples in an order and with an augmentation
    of its own. The first variable is the gradient of each of the N // B full batches of a pass. The
    second is the mean over all batches of the pass, weighted by their examples (the last one has
    fewer where B does not divide N). So the noise, their difference, adds up to zero over the
    batches of a pass, apart from that last batch. The problem's state stays as it is.

    A window costs E N / B evaluations of the gradient, as much as E epochs of training. S numbers
    are kept of each.

    Args:
        coordinates: S coordinates of the gradient, as from `draw_coordinates`.
        num_passes: E.
        batch_size: B, examples in a batch.
    """
    num_passes, batch_size = (
        integer("num_passes", num_passes, 1, 2**31 - 1),
        integer("batch_size", batch_size, 1, 2**31 - 1),
    )

    def measure(problem, params, state, key):
        def gradient(batch):
            return flatten(loss_and_gradient(problem, params, state, batch)[1])[coordinates.indices]

        def one_pass(key):
            order_key, augmentation_key = jax.random.split(key)
            rows = jax.random.permutation(order_key, problem.num_examples)
            mean, gradients = mean_over_batches(
                problem,
                gradient,
                rows,
                batch_size=batch_size,
                augmentation_key=augmentation_key,
                keep=lambda gradient: gradient,
            )
            return {"frozen_gradient": gradients, "full_gradient": mean}

        return jax.lax.map(one_pass, jax.random.split(key, num_passes))

    dims = {
        "frozen_gradient": ("frozen_pass", "frozen_batch", "coordinate"),
        "full_gradient": ("frozen_pass", "coordinate"),
    }
    return StateMeasurement(measure, dims, coordinates.labels())
