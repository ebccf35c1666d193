"""Networks whose state stays as it is, so that every example has a gradient of its own."""

import dataclasses

from sgd_diffusion.problems.objectives import Problem

__all__ = ["with_frozen_state"]


def with_frozen_state(problem: Problem) -> Problem:
    """Return the problem with its loss in evaluation mode always, and a state that stays.

    Batch normalization in training mode makes the examples of a batch depend on each other, so
    that the gradient of a batch is no mean of gradients of examples. Frozen, it is a linear layer
    with the averages that the state holds. Theories of independent examples then hold for the
    network (`theory.limiting`). Random layers, such as dropout, are off.

    Args:
        problem: a member that starts from a trained network (`run_ensemble(start_from=...)`) has
            its averages; one that starts from `Problem.init` has those of no data.

    Returns:
        A `Problem` with "frozen_state" in its description. A problem without a state is the same
        but for that.
    """

    def loss(params, state, batch, train):
        del train
        value, (_, outputs) = problem.loss(params, state, batch, False)
        return value, (state, outputs)

    return dataclasses.replace(
        problem, loss=loss, description={**problem.description, "frozen_state": True}
    )
