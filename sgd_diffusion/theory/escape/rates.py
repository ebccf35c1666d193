"""The rate of escape from the times of trials, some of which did not escape."""

from typing import NamedTuple

import numpy as np

from sgd_diffusion._arrays import integer, integer_array, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike, NumberLike
from sgd_diffusion.errors import invalid

__all__ = ["EscapeRate", "escape_rate"]

MOST = 2**40  # steps of a trial, so that sums over trials are whole numbers


@shown_briefly
class EscapeRate(NamedTuple):
    """The rate of escape of many trials.

    Attributes:
        rate: escapes per unit of time t = learning_rate * steps.
        log_rate_error: standard error of the natural logarithm of the rate.
        escaped: number of trials that escaped.
        censored: number of trials that did not.
    """

    rate: float
    log_rate_error: float
    escaped: int
    censored: int


def escape_rate(
    times: ArrayLike,
    max_steps: IntegerLike,
    learning_rate: NumberLike,
    *,
    min_escapes: IntegerLike = 200,
) -> EscapeRate:
    r"""Return the rate of escape by maximum likelihood, with trials that did not escape.

    Every step is taken to have the same chance. So leave out trials whose mean time is no longer
    than about 20 relaxation times, 1 / (learning_rate * curvature) steps. The mean of the times
    that are known would be too short, as it leaves out the long ones.

    Formula:
        Rate of escape. $\hat{\Gamma} = \frac{p}{\eta}, \quad p = \frac{N}{\sum_r \min(t_r,
        t_{\max})}, \quad \mathrm{se}(\ln \hat{\Gamma}) = \sqrt{\frac{1 - p}{N}}$ (maximum
        likelihood of geometric times that are censored)

    Args:
        times: (R,) integers, the steps after which each trial escaped, in 1..max_steps; -1 where it
            had not after `max_steps`.
        max_steps: steps of a trial that did not escape.
        learning_rate: eta, the time of a step; 1 for the rate per step.
        min_escapes: with fewer escapes than these the rate is refused.

    Returns:
        `EscapeRate` of Python numbers.

    Raises:
        InputError: an argument is not as stated, or too few trials escaped.

    >>> escape_rate([3, 5, -1, 2], 10, learning_rate=0.1, min_escapes=3)
    EscapeRate(rate=1.5, log_rate_error=0.5323, escaped=3, censored=1)
    """
    most = integer("max_steps", max_steps, 1, MOST)
    steps = integer_array("times", times, -1, most)
    eta = number("learning_rate", learning_rate, above=0)
    least = integer("min_escapes", min_escapes, 1, MOST)
    if (steps == 0).any():
        raise invalid(
            "times",
            "has entries of 0",
            f"steps in 1..{most}, or -1",
            "start the trials inside of the valley",
        )
    inside = steps == -1
    censored = int(inside.sum())
    escaped = len(steps) - censored
    if escaped < least:
        raise invalid(
            "times",
            f"has {escaped} escapes",
            f"at least {least}, as the rate is too uncertain otherwise",
            "run more trials or longer ones, or set min_escapes",
        )
    chance = escaped / float(np.where(inside, most, steps).sum())
    return EscapeRate(chance / eta, ((1 - chance) / escaped) ** 0.5, escaped, censored)
