"""How the members of a plan move: optimizer, learning rate, gradient and average in one."""

from typing import NamedTuple

import optax

from sgd_diffusion._types import ArrayLike, Key, PyTree
from sgd_diffusion.dynamics.averages import DECAY, Average, start_average
from sgd_diffusion.dynamics.optimizers import optimizer
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.schedules import LearningRate, learning_rate
from sgd_diffusion.dynamics.sgd import Carry, initial_carry, resting_carry
from sgd_diffusion.dynamics.step_gradients import StepGradient
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = ["StepRule", "step_rule"]


class StepRule(NamedTuple):
    """How the members of a plan move.

    Attributes:
        optimizer: gradients in, updates up to the learning rate out.
        gradient: by which gradient the steps are made.
        average: of the weights, or None.
        schedule: name and length of the schedule of the learning rate.
    """

    optimizer: optax.GradientTransformation
    gradient: StepGradient
    average: Average | None
    schedule: tuple[str, int | None]

    def learning_rate(self, scale: ArrayLike) -> LearningRate:
        """Return the learning rate of a member, whose own one is the scale of the schedule."""
        return learning_rate(*self.schedule, scale)

    def first_carry(
        self, problem: Problem, key: Key, point: tuple[PyTree, PyTree] | None = None
    ) -> Carry:
        """Return the carry of a member before the first update.

        Args:
            problem: what is optimized.
            key: of the initialization.
            point: parameters and state at which the member starts; None for those of the problem.
        """
        carry = (
            initial_carry(problem, self.optimizer, key)
            if point is None
            else resting_carry(self.optimizer, *point)
        )
        return start_average(self.average, carry)


def step_rule(plan: Plan, own: optax.GradientTransformation | None = None) -> StepRule:
    """Return how the members of a plan move.

    Args:
        plan: of the members.
        own: an optimizer in place of that of the plan; gradients are clipped before it.

    Raises:
        InputError: the plan asks for another optimizer, or for what its own one cannot take.
    """
    if own is None:
        chosen = optimizer(
            plan.optimizer,
            momentum=plan.momentum,
            weight_decay=plan.weight_decay,
            clip_norm=plan.clip_norm,
        )
    else:
        _check_unused(plan)
        clip = [] if plan.clip_norm is None else [optax.clip_by_global_norm(plan.clip_norm)]
        chosen = optax.chain(*clip, own)
    decay = DECAY if plan.average_decay is None else plan.average_decay
    return StepRule(
        chosen,
        StepGradient(plan.noise, plan.noise_variance, plan.sampling, plan.sam_radius or 0.0),
        None if plan.average is None else Average(plan.average, decay),
        (plan.schedule, plan.schedule_steps),
    )


def _check_unused(plan: Plan) -> None:
    for name, default in (("optimizer", "sgd"), ("momentum", 0.0), ("weight_decay", 0.0)):
        if getattr(plan, name) != default:
            raise invalid(
                name,
                f"is {getattr(plan, name)!r} in the plan of a run with an optimizer of one's own",
                f"{default!r}",
                "what it is to do belongs into the transformation",
            )
