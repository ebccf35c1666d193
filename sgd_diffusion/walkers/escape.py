"""Simulate walkers that start in a valley, and count the steps until they leave it.

`escape_times` repeats a walk many times in one compiled program. The walk is any function
`step(key, theta) -> theta`, such as those of `walkers.steps`.

The times are those that `theory.escape` predicts and `theory.escape.escape_rate` reads. A barrier
that is crossed at its top is crossed twice as often as the other valley is reached.

>>> from sgd_diffusion.theory.escape import escape_rate
>>> from sgd_diffusion.walkers import langevin_steps
>>> step = langevin_steps(lambda x: x**3 - x, diffusion=0.1, learning_rate=0.05)
>>> times = escape_times(
...     jax.random.key(0), step, -1.0, lambda x: x > 1, repeats=1000, max_steps=100_000
... )
>>> escape_rate(times, 100_000, learning_rate=0.05).escaped
1000
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int32

from sgd_diffusion._arrays import floats, integer, is_traced
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, PyTree
from sgd_diffusion.errors import invalid
from sgd_diffusion.walkers.steps import Step, as_pytree

__all__ = ["escape_times"]

MOST = 2**31 - 2**10
# Steps from one look at who is left to the next. The keys of all of them are made at once.
CHUNK = 16
# Lanes: at least so many, and one for so many trials. More lanes wait longer for the last trials.
# With fewer, a step of all lanes costs less than to begin it.
FEWEST_LANES, TRIALS_OF_A_LANE = 64, 16


def escape_times(
    key: Key,
    step: Step,
    start: PyTree,
    is_outside: Callable[[PyTree], ArrayLike],
    *,
    repeats: IntegerLike,
    max_steps: IntegerLike,
    devices: Sequence[jax.Device] | None = None,
) -> Int32[Array, "trial"]:
    """Return the number of steps after which walkers are first outside, one for each trial.

    All trials run in one compiled program until the last has left. The same functions are compiled
    once for all keys, starts and values of `max_steps`, and the steps of one maker for all its
    numbers. Trial r depends on the key and on r alone, not on how many others there are.

    A walker stays where it was first outside. One that has become NaN is inside unless `is_outside`
    says otherwise.

    Args:
        key: PRNG key.
        step: a function `step(key, theta)` that returns the next theta. It has to be hashable, or a
            pytree as `jax.tree_util.Partial` makes it, whose arrays may be traced.
        start: theta of all trials, an array or a pytree of arrays, in which a list is an array. The
            walk has its precision: at least float32, and JAX's default for integers.
        is_outside: a function of theta that returns one boolean, of the same kind as `step`.
        repeats: R, the number of trials.
        max_steps: the number of steps after which the others are given up.
        devices: devices that share the trials; the default one if None.

    Returns:
        (R,) int32 in 1..max_steps; -1 for a walker that was never outside.

    Raises:
        InputError: `step` or `is_outside` is no function, or returns something else; the start is
            outside already, or has no numbers; or `repeats` or `max_steps` is out of range.
    """
    count, most = integer("repeats", repeats, 1, MOST), integer("max_steps", max_steps, 1, MOST)
    step, is_outside = as_pytree("step", step), as_pytree("is_outside", is_outside)
    start = jax.tree.map(
        functools.partial(floats, "start"), start, is_leaf=lambda part: isinstance(part, list)
    )
    if not jax.tree.leaves(start):
        raise invalid("start", f"is {start!r}", "an array, or a pytree of arrays")
    _check_results(key, step, start, is_outside)
    shared = (key, step, start, is_outside, jnp.int32(most))
    return _on_devices(shared, count, None if devices is None else tuple(devices))


@functools.partial(jax.jit, static_argnames=("count", "devices"))
def _on_devices(shared, count, devices):
    """Deal out the trials in equal parts. A device goes on until the last of its own has left."""
    if devices is None or len(devices) == 1:
        return _escape_times(shared, jnp.arange(count, dtype=jnp.int32))
    spread = jax.shard_map(
        _escape_times,
        mesh=jax.sharding.Mesh(np.asarray(devices), ("trials",)),
        in_specs=(PartitionSpec(), PartitionSpec("trials")),
        out_specs=PartitionSpec("trials"),
        check_vma=False,
    )
    surplus = -count % len(devices)
    return spread(shared, jnp.arange(count + surplus, dtype=jnp.int32))[:count]


def _escape_times(shared, trials):
    """Return the times of some trials, by their numbers, on one device.

    So many lanes walk side by side. A lane whose walker has left takes the next trial. The times of
    most processes are exponential: the last of 1000 takes 7 times the mean, for which the other
    lanes would wait.
    """
    key, step, start, is_outside, most = shared
    count = len(trials)
    lanes = _lanes(count)

    def work_is_left(state):
        index, *_ = state
        return (index < count).any()

    def chunk(state):
        index, now, theta, times, waiting = state
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(trials[index])
        steps = now[None] + 1 + jnp.arange(CHUNK, dtype=jnp.int32)[:, None]
        fresh = jax.vmap(jax.vmap(jax.random.fold_in), (None, 0))(keys, steps)
        inside = jnp.full(lanes, -1, jnp.int32)
        (theta, time), _ = jax.lax.scan(one_step, (theta, inside), (fresh, steps))
        now = now + CHUNK
        done = (time > 0) | (now >= most)
        times = times.at[jnp.where(done, index, count)].set(time, mode="drop")
        taken = jnp.cumsum(done, dtype=jnp.int32)
        index = jnp.where(done, jnp.minimum(waiting + taken - 1, count), index)
        theta = jax.tree.map(functools.partial(jnp.where, done), first, theta)
        return index, jnp.where(done, 0, now), theta, times, waiting + taken[-1]

    def one_step(state, inputs):
        (theta, time), (keys, now) = state, inputs
        left = time > 0
        moved = jax.vmap(step, (0, -1), -1)(keys, theta)
        theta = jax.tree.map(
            lambda old, new: jnp.where(left, old, new.astype(old.dtype)), theta, moved
        )
        leaves = ~left & jax.vmap(is_outside, -1)(theta) & (now <= most)
        return (theta, jnp.where(leaves, now, time)), None

    # The lanes are the last axis, over which all arithmetic is contiguous.
    first = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[..., None], (*leaf.shape, lanes)), start
    )
    zero, never = jnp.zeros(lanes, jnp.int32), jnp.full(count, -1, jnp.int32)
    begin = (jnp.arange(lanes, dtype=jnp.int32), zero, first, never, jnp.int32(lanes))
    with full_precision():  # of products in the steps
        return jax.lax.while_loop(work_is_left, chunk, begin)[3]


def _lanes(count):
    """Return how many trials walk side by side."""
    return min(count, max(FEWEST_LANES, count // TRIALS_OF_A_LANE))


# Arguments


def _check_results(key, step, start, is_outside):
    """Refuse functions that do not fit the start, and a start that is outside.

    Raises:
        InputError: as said.
    """
    found, expected = jax.eval_shape(step, key, start), jax.eval_shape(lambda x: x, start)
    if _shapes(found) != _shapes(expected):
        raise invalid("step", f"returns {_shown(found)}", f"{_shown(expected)}, as the start is")
    outside = jax.eval_shape(is_outside, start)
    if getattr(outside, "shape", None) != () or outside.dtype != bool:
        raise invalid(
            "is_outside", f"returns {_shown(outside)}", "one boolean", "reduce it with .any()"
        )
    begins_outside = is_outside(start)
    if not is_traced(begins_outside) and bool(begins_outside):
        raise invalid("start", "is outside already", "a place inside of the valley")


def _shapes(tree):
    return jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]


def _shown(tree):
    return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)
