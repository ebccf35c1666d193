"""Averages of the weights along the way: a second path, smoother than that of the walker."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._types import ArrayLike, PyTree
from sgd_diffusion.dynamics.parameters import computing_dtype, real_parts
from sgd_diffusion.dynamics.sgd import ALIVE, Carry

__all__ = ["AVERAGES", "DECAY", "Average", "advance_average", "start_average"]

AVERAGES = ("ema", "swa")
"""The averages that there are."""

DECAY = 0.999
"""The decay of "ema" unless given."""


class Average(NamedTuple):
    """What is averaged over.

    Attributes:
        kind: "ema" for an exponential moving average, or "swa" for the mean of all points.
        decay: of the exponential moving average.
    """

    kind: str
    decay: float = DECAY


def start_average(average: Average | None, carry: Carry) -> Carry:
    """Return a carry whose average is where it stands; the same carry without an average."""
    if average is None:
        return carry

    def like(leaf):
        return leaf.astype(computing_dtype(leaf.dtype))

    return carry._replace(average=jax.tree.map(like, carry.params))


def advance_average(average: Average, carry: Carry, step: ArrayLike) -> tuple[Carry, PyTree]:
    r"""Take the weights after an update into the average.

    Formula:
        Averaged weights. $a_{t+1} = a_t + c_t (w_{t+1} - a_t), \quad a_0 = w_0$, with $c_t = 1 - d$
        (ema) or $\frac{1}{t + 2}$ (swa, the mean of $w_0, \dots, w_{t+1}$) (Polyak & Juditsky, SIAM
        J. Control Optim. 30, 838, 1992; Izmailov et al., arXiv:1803.05407)

    Args:
        average: which.
        carry: after the update.
        step: () number t of the update, may be traced.

    Returns:
        The carry with the average, and a_{t+1} - a_t, like the real parts of params, as it was
        rounded. Both stay where they are for a member that has diverged.
    """
    share: Float[Array, ""] = (
        jnp.float32(1 - average.decay)
        if average.kind == "ema"
        else 1 / (jnp.asarray(step, jnp.float32) + 2)
    )

    def toward(mean, leaf):
        moved = mean + share.astype(mean.dtype) * (leaf.astype(mean.dtype) - mean)
        return jnp.where(carry.diverged_at == ALIVE, moved, mean)

    # The barrier is there for the reason that it is in `sgd.update`.
    following = jax.lax.optimization_barrier(jax.tree.map(toward, carry.average, carry.params))
    increment = jax.tree.map(jnp.subtract, real_parts(following), real_parts(carry.average))
    return carry._replace(average=following), increment
