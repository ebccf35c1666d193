r"""Simulate SGD in a landscape of two valleys, and see where it ends and when that is decided.

The walkers of `simulate` go down `theory.freezing.TwoValleys` under noise whose covariance follows
the Hessian. They hop between the valleys until the barrier is too high for them. All learning rates
and all strengths of the noise are one compiled program, and no path is stored.

>>> from sgd_diffusion.theory.freezing import TwoValleys
>>> options = {"walkers": 200, "steps": 1000, "start_y": 1.0, "landscape": TwoValleys()}
>>> walks = simulate(jax.random.key(0), [0.1], [0.0, 0.1], **options)
>>> (walks.flat_fraction > 0.6).tolist()
[[False, True]]
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from sgd_diffusion._arrays import integer, nonnegative, parameter
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._memory import check_memory
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers.valley_program import START_X, Program, run
from sgd_diffusion.walkers.valley_steps import NOISES

__all__ = ["NOISES", "TwoValleyWalks", "simulate"]

MOST = 2**31 - 2**10
COPIES = 3  # of the result, while its parts are put in order


@shown_briefly
class TwoValleyWalks(NamedTuple):
    """Where walkers ended, and when that was decided.

    The start is point 1 of a walk, and point T + 1 its end. A walker is in the flat valley where x
    is 0 or above. It is frozen since the first point after the last change of its side.

    Attributes:
        flat_fraction: (R, S) share of the walkers that end in the flat valley.
        unfrozen_fraction: (R, S) share whose freezing step is beyond 0.95 T. They would go on.
        freezing_step: (R, S, W) number of the point since which they are frozen, in 1..T + 1; 1 for
            those that never change sides.
        freezing_y: (R, S, W) y of that point.
        final_x: (R, S, W) x of the end.
        final_y: (R, S, W) y of the end.
        recorded_step: (K,) steps taken at each record; the last is T.
        recorded_flat_fraction: (R, S, K) share in the flat valley there.
        recorded_y: (R, S, K) mean y there.
        recorded_y_std: (R, S, K) standard deviation of y over the walkers there.
    """

    flat_fraction: Float32[Array, "learning_rate sigma"]
    unfrozen_fraction: Float32[Array, "learning_rate sigma"]
    freezing_step: Int32[Array, "learning_rate sigma walker"]
    freezing_y: Float32[Array, "learning_rate sigma walker"]
    final_x: Float32[Array, "learning_rate sigma walker"]
    final_y: Float32[Array, "learning_rate sigma walker"]
    recorded_step: Int32[Array, "record"]
    recorded_flat_fraction: Float32[Array, "learning_rate sigma record"]
    recorded_y: Float32[Array, "learning_rate sigma record"]
    recorded_y_std: Float32[Array, "learning_rate sigma record"]


def simulate(
    key: Key,
    learning_rates: ArrayLike,
    sigmas: ArrayLike,
    *,
    walkers: IntegerLike,
    steps: IntegerLike,
    start_y: NumberLike,
    landscape: TwoValleys,
    noise: str = "hessian",
    record_every: IntegerLike | None = None,
    hold_y: bool = False,
    devices: Sequence[jax.Device] | None = None,
) -> TwoValleyWalks:
    r"""Return where and when walkers freeze, for all learning rates and all strengths of the noise.

    The walkers start beside the ridge, at x = -0.01 and 0.01 in turn. H_+ is the Hessian with
    negative eigenvalues set to 0. The noise is that of the place where a step begins, as Ito's
    reading has it. Its covariance is 2 sigma times

    - H_+ for `"hessian"`, as that of mini-batches with sigma = 1 / batch size,
    - H_+^2 for `"hessian-squared"`,
    - 7 I for `"isotropic"`, a control. The curvatures of the valleys along x are 4 to 10.

    Walker w of the pair (r, s) depends on the key and on r, s and w alone, up to rounding, whatever
    else is simulated with it and on which devices. Pairs have independent noise. Step t uses the
    noise of t alone, so that longer walks begin like shorter ones. Numbers are float32.

    Formula:
        SGD in two valleys. $\theta_{t+1} = \theta_t - \eta (\nabla L(\theta_t) + \xi_t), \quad
        \xi_t \sim N(0, 2 \sigma H_+(\theta_t))$ (Yang et al., arXiv:2601.10962)

    Args:
        key: PRNG key.
        learning_rates: (R,) values of eta, at least 0.
        sigmas: (S,) values of sigma, at least 0.
        walkers: W, their number for each pair.
        steps: T.
        start_y: y of the start, at least 0; may be traced.
        landscape: the loss; its parameters may be traced.
        noise: one of `NOISES`.
        record_every: k, steps from one record to the next; divides `steps`. None for one record, of
            the end.
        hold_y: whether y stays where it starts, for comparison with theories at fixed y.
        devices: devices that share the walkers; the default one if None.

    Returns:
        `TwoValleyWalks`.

    Raises:
        InputError: an argument is not as stated, or the result does not fit into memory. Traced
            learning rates and sigmas below 0 give NaN instead.

    Notes:
        The programs of the paper add 10^-8 I to the covariance; it has no visible effect.
    """
    rates, strengths = nonnegative("learning_rates", learning_rates), nonnegative("sigmas", sigmas)
    program = _program(walkers, steps, record_every, noise, hold_y, devices)
    start_y = parameter("start_y", start_y, at_least=0)
    if not isinstance(landscape, TwoValleys):
        raise invalid("landscape", f"is a {type(landscape).__name__}", "a TwoValleys")
    jax.eval_shape(landscape.loss, START_X, start_y)  # refuses parameters that are out of range
    numbers = 4 * program.walkers + 3 * (program.steps // program.every)  # of each pair
    check_memory(
        COPIES * 4 * numbers * rates.size * strengths.size,
        "the result of simulate",
        "simulate fewer walkers, or record less often",
        program.devices[0],
    )
    return _walks(program, key, rates, strengths, start_y, landscape)


@functools.partial(jax.jit, static_argnums=0)
def _walks(program, key, rates, strengths, start_y, landscape):
    """`simulate` for arguments that have been checked."""
    rates, strengths = (
        jnp.where(values >= 0, values, jnp.nan).astype(jnp.float32) for values in (rates, strengths)
    )
    ends, means = run(program, key, rates, strengths, jnp.float32(start_y), landscape)
    late = ends.freezing_step > last_frozen_step(program.steps)
    return TwoValleyWalks(
        flat_fraction=means.flat[..., -1],
        unfrozen_fraction=late.mean(axis=-1, dtype=jnp.float32),
        freezing_step=ends.freezing_step,
        freezing_y=ends.freezing_y,
        final_x=ends.place.x,
        final_y=ends.place.y,
        recorded_step=jnp.asarray(program.records()),
        recorded_flat_fraction=means.flat,
        recorded_y=means.mean,
        recorded_y_std=jnp.sqrt(means.variance),
    )


def last_frozen_step(steps: int) -> int:
    """Return 0.95 T, rounded down: who freezes later would go on."""
    return 19 * steps // 20


def _program(walkers, steps, record_every, noise, hold_y, devices):
    """Return what the walks are compiled for.

    Raises:
        InputError: an argument is not as stated.
    """
    count = integer("walkers", walkers, 1, MOST)
    steps = integer("steps", steps, 1, MOST)
    every = steps if record_every is None else integer("record_every", record_every, 1, steps)
    if steps % every:
        raise invalid("record_every", f"is {every}", f"a divisor of steps, which is {steps}")
    if noise not in tuple(NOISES):
        raise invalid("noise", f"is {noise!r}", f"one of {', '.join(NOISES)}")
    devices = tuple(jax.devices()[:1] if devices is None else devices)
    if not devices:
        raise invalid("devices", "is empty", "at least one device, or None")
    return Program(count, steps, every, noise, bool(hold_y), devices)
