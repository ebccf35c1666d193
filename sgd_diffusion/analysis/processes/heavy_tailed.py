"""Processes with power laws in steps, durations or waiting times."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import number
from sgd_diffusion._types import IntegerLike, Key, NumberLike
from sgd_diffusion.analysis.draws import open_uniform
from sgd_diffusion.analysis.processes.parts import (
    checked_size,
    positions_from,
    random_directions,
    size_or_speed,
)
from sgd_diffusion.analysis.stable.isotropic import stable_root

__all__ = ["continuous_time_random_walk", "levy_flight", "levy_walk"]


def levy_flight(
    key: Key, steps: IntegerLike, dim: IntegerLike, *, alpha: NumberLike
) -> Float[Array, "point coordinate"]:
    r"""Return a Levy flight: independent, isotropic alpha-stable steps.

    Their lengths have the tail P(> r) ~ r^(-alpha). The characteristic function of a step, in every
    dimension, is E exp(i k.dw) = exp(-|k|^alpha), that is scale 1 per coordinate. alpha = 2 is
    Brownian motion with step_std = sqrt(2). Below 2 the MSD of the ensemble is infinite. The TAMSD
    of a single path is finite, and for lag << T about lag times its mean squared step, so that its
    exponent is near 1. The largest step decides its prefactor, which scatters from path to path
    however long they are. A long tail of steps alone makes no superdiffusive TAMSD.

    A step is sqrt(2 A) times a Gaussian vector, with the root of A from `isotropic.stable_root`.

    Formula:
        Levy flight. $E e^{i k \cdot \Delta w} = e^{-\lVert k \rVert^{\alpha}}$ (definition)

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        alpha: stability index, in (0, 2]. Use 64-bit mode below 1: the largest of T steps is
            T^(1/alpha) long, and beside it float32 forgets the others.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `alpha` outside (0, 2].

    Notes:
        The error of `pairs.block_bootstrap` is too large here, since the block of the largest step
        decides. It was measured for the TAMSD exponent on lags 1 to 100 of T = 1000 steps (dim 20,
        200 paths). As a median it was 1.8, 1.4 and 1.1 of the scatter from path to path for alpha =
        1.2, 1.5 and 1.8, and as a root mean square 2.1 to 2.2.
    """
    steps, dim = checked_size(steps, dim)
    alpha = number("alpha", alpha, above=0, at_most=2, what="which is Brownian motion")
    return _levy_flight(key, alpha, steps, dim)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _levy_flight(key, alpha, steps, dim):
    angle_key, exponential_key, normal_key = jax.random.split(key, 3)
    exponential = -jnp.log(open_uniform(exponential_key, (steps, 1)))
    root = stable_root(open_uniform(angle_key, (steps, 1)), exponential, alpha)
    return positions_from(math.sqrt(2) * root * jax.random.normal(normal_key, (steps, dim)))


def levy_walk(
    key: Key, steps: IntegerLike, dim: IntegerLike, *, alpha: NumberLike, speed: NumberLike = 1.0
) -> Float[Array, "point coordinate"]:
    r"""Return a Levy walk: flights at constant speed, each in a new random direction.

    Their durations have the power law P(> t) = t^(-alpha), t >= 1, with a finite mean (alpha > 1).
    The walk is observed long after its beginning, so that its increments are stationary. So the
    first flight is the rest of one under way, and a velocity lasts for lag with probability lag^(1
    - alpha)/alpha (lag >= 1). Hence, for lag >= 1 and alpha other than 2 or 3,

    E|w_{i+lag} - w_i|^2 = speed^2 [2 lag^(3 - alpha)/(alpha (2 - alpha) (3 - alpha)) - lag (alpha -
    1)/(2 - alpha) + (alpha - 1)/(3 (3 - alpha))]

    and the exponent is 3 - alpha for 1 < alpha < 2 and 1 above (Zaburdaev, Denisov & Klafter, Rev.
    Mod. Phys. 87, 483, 2015). The approach is slow: the linear term is smaller by lag^(alpha - 2)
    only. This is the expected TAMSD too, but few paths show it beyond their longest flight, about
    T^(1/alpha).

    Formula:
        Levy walk. $P(\tau > t) = t^{-\alpha}, \quad \lVert w_{i+\ell} - w_i \rVert^2 \sim \ell^{3 -
        \alpha}, \quad 1 < \alpha < 2$ (Zaburdaev, Denisov & Klafter, Rev. Mod. Phys. 87, 483, 2015)

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        alpha: tail exponent of the durations, above 1.
        speed: distance covered per step between turns.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `alpha` not above 1.

    Notes:
        With alpha = 1.5 and T = 1000 half of the exponents on lags 100-500 are below 1.1. The paths
        with the longest flights make the mean.
    """
    steps, dim = checked_size(steps, dim)
    alpha = number("alpha", alpha, above=1, what="where durations have a mean; use ballistic below")
    return _levy_walk(key, alpha, alpha - 1, size_or_speed("speed", speed), steps, dim)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _levy_walk(key, alpha, excess, speed, steps, dim):
    """The walk, given alpha - 1 as well, with all digits."""
    first_key, duration_key, direction_key = jax.random.split(key, 3)
    chance = open_uniform(first_key, (1,))  # that the flight under way lasts longer
    first = jnp.where(
        chance < 1 / alpha,
        (alpha * chance) ** (-1 / excess),
        (1 - chance) * alpha / excess,
    )
    durations = _within_window(
        jnp.concatenate([first, _pareto(duration_key, steps + 1, alpha)]), steps
    )
    turns = positions_from(
        durations[:, None] * speed * random_directions(direction_key, steps + 2, dim)
    )
    straight = jax.vmap(jnp.interp, in_axes=(None, None, 1), out_axes=1)
    return straight(jnp.arange(steps + 1.0), positions_from(durations), turns)


def continuous_time_random_walk(
    key: Key, steps: IntegerLike, dim: IntegerLike, *, alpha: NumberLike, step_std: NumberLike = 1.0
) -> Float[Array, "point coordinate"]:
    r"""Return a continuous-time random walk: Gaussian jumps after power-law waiting times.

    Waiting times have P(> t) = t^(-alpha), t >= 1, without a mean, and begin anew at time 0. The
    walk is seen at integer times. The mean of the number of jumps n(t) goes to t^alpha sin(pi
    alpha)/(pi alpha), and

    E|w_{t+lag} - w_t|^2 = dim step_std^2 E[n(t + lag) - n(t)].

    From the start the exponent is alpha. The expected TAMSD is linear in lag for lag << T, about
    dim step_std^2 E[n(T)] lag/T. Time averages stay random: the ergodicity-breaking parameter goes
    to 2 Gamma(1 + alpha)^2/Gamma(1 + 2 alpha) - 1 for lag/T -> 0 (Metzler et al., Phys. Chem. Chem.
    Phys. 16, 24128, 2014).

    Formula:
        Continuous-time random walk. $P(\tau > t) = t^{-\alpha}, \quad \mathrm{EB} \to \frac{2
        \Gamma(1+\alpha)^2}{\Gamma(1+2\alpha)} - 1$ (Metzler et al., Phys. Chem. Chem. Phys. 16,
        24128, 2014)

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        alpha: tail exponent of the waiting times, in (0, 1).
        step_std: standard deviation of a jump, per coordinate.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `alpha` outside (0, 1).

    Notes:
        The error of `pairs.block_bootstrap` is too small here, since waiting times are as long as
        the window. Take the spread over paths. The error was measured for the TAMSD exponent on
        lags 1 to 100 of T = 1000 steps (dim 20, 200 paths, without the up to 23 in which nothing
        jumps). As a median it was 0.5, 0.5, 0.6 and 0.8 of the scatter from path to path for alpha
        = 0.3, 0.5, 0.7 and 0.9, and as a root mean square 0.6, 0.6, 0.7 and 0.9.
    """
    steps, dim = checked_size(steps, dim)
    alpha = number("alpha", alpha, above=0, below=1, what="or brownian above")
    step_std = size_or_speed("step_std", step_std)
    return _continuous_time_random_walk(key, alpha, step_std, steps, dim)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _continuous_time_random_walk(key, alpha, step_std, steps, dim):
    waiting_key, jump_key = jax.random.split(key)
    jump_times = jnp.cumsum(_within_window(_pareto(waiting_key, steps, alpha), steps))
    # Numbers of jumps until each time.
    jumps = jnp.searchsorted(jump_times, jnp.arange(steps + 1.0), side="right")
    return positions_from(step_std * jax.random.normal(jump_key, (steps, dim)))[jumps]


def _pareto(key, count, alpha):
    """Return times with P(> t) = t^(-alpha), t >= 1."""
    return open_uniform(key, (count,)) ** (-1 / alpha)


def _within_window(durations, steps):
    """Return durations cut to a little more than the window.

    Nothing in the window changes, and sums keep their digits.
    """
    return jnp.minimum(durations, steps + 1)
