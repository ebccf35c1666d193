"""How the learning rate of a member changes with the number of its updates."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sgd_diffusion._types import ArrayLike

__all__ = ["ENDING", "SCHEDULES", "LearningRate", "learning_rate"]

LearningRate = ArrayLike | Callable[[ArrayLike], ArrayLike]
"""A step size, or a function of the number of the update."""

WARMUP = 20  # of a schedule one part in so many
STEP = 0.1

SHAPES: dict[str, Callable[[int], optax.Schedule]] = {
    "cosine": lambda steps: optax.cosine_decay_schedule(1.0, steps),
    "step": lambda steps: optax.piecewise_constant_schedule(
        1.0, {max(steps // 2, 1): STEP, max(3 * steps // 4, 2): STEP}
    ),
    "warmup-cosine": lambda steps: optax.warmup_cosine_decay_schedule(
        0.0, 1.0, max(steps // WARMUP, 1), steps
    ),
}
SCHEDULES = ("constant", *SHAPES)
"""The names that `learning_rate` knows."""

ENDING = ("cosine", "warmup-cosine")
"""Those whose learning rate is 0 after their length."""


def learning_rate(schedule: str, steps: int | None, scale: ArrayLike) -> LearningRate:
    r"""Return the learning rate of a member under a schedule.

    Formula:
        Learning-rate schedules. $\eta_t = \eta \, s(t)$ with $s = 1$ (constant),
        $\frac{1}{2} (1 + \cos(\pi t / S))$ (cosine), or $1, 0.1, 0.01$ from $t = 0, S/2, 3S/4$ on
        (step) (Loshchilov & Hutter, arXiv:1608.03983; He et al., arXiv:1512.03385, section 4.2)

    "warmup-cosine" rises linearly from 0 over the first S/20 updates, and falls as a cosine over
    the others.

    Args:
        schedule: one of `SCHEDULES`.
        steps: S, its length; None for "constant".
        scale: eta, the member's learning rate, may be traced.

    Returns:
        The scale itself for "constant", or a function of the number t of the update, from 0 on.
    """
    if schedule == "constant" or steps is None:
        return scale
    shape = SHAPES[schedule](steps)

    def of_update(step: ArrayLike) -> Float[Array, ""]:
        return jnp.asarray(scale, jnp.float32) * jnp.asarray(shape(step), jnp.float32)

    return of_update
