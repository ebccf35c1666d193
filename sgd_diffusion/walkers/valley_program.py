"""The compiled program of walkers in two valleys: groups of them, one after the other, on devices.

Every device takes some of the walkers of all pairs of a learning rate and a strength of the noise.
It goes through the pairs in groups that are large enough for a step to cost more than its start.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float32, Int32, UInt32

from sgd_diffusion._platforms import platform
from sgd_diffusion._types import Key
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers.counted_noise import normal_pair
from sgd_diffusion.walkers.valley_steps import Place, noisy_step

__all__ = ["START_X", "Ends", "Program", "Records", "run"]

START_X = 0.01
# Walkers that go on together. On CPU they stay in the cache; an accelerator wants them all.
AT_ONCE = {"cpu": 4096, "other": 2**20}


@dataclasses.dataclass(frozen=True)
class Program:
    """What the walks are compiled for; see `two_valleys.simulate`."""

    walkers: int
    steps: int
    every: int
    noise: str
    hold_y: bool
    devices: tuple[jax.Device, ...]

    def records(self) -> Int32[np.ndarray, "record"]:
        """Return the numbers of steps after which there are records."""
        return np.arange(self.every, self.steps + 1, self.every, dtype=np.int32)

    def dealt(self) -> UInt32[np.ndarray, "walker"]:
        """Return the numbers of all walkers, with surplus ones so that devices have equal parts."""
        surplus = -self.walkers % len(self.devices)
        return np.arange(self.walkers + surplus, dtype=np.uint32)


class Ends(NamedTuple):
    """Where walkers are, and since when they are on their side; (R, S, W) in the end."""

    place: Place
    freezing_step: Int32[Array, "*walks"]
    freezing_y: Float32[Array, "*walks"]


class Records(NamedTuple):
    """The share in the flat valley, and mean and variance of y; (R, S, K) in the end."""

    flat: Float32[Array, "*records"]
    mean: Float32[Array, "*records"]
    variance: Float32[Array, "*records"]


class _Pairs(NamedTuple):
    """Learning rates and strengths of the noise, with the words of their keys."""

    key: tuple[Array, Array]
    learning_rate: Array
    sigma: Array


def run(
    program: Program,
    key: Key,
    learning_rates: Float32[Array, "learning_rate"],
    sigmas: Float32[Array, "sigma"],
    start_y: Float32[Array, ""],
    landscape: TwoValleys,
) -> tuple[Ends, Records]:
    """Return ends (R, S, W) and records (R, S, K) of the walkers of all pairs, within a program.

    Args:
        program: what is compiled.
        key: PRNG key.
        learning_rates: (R,) values.
        sigmas: (S,) strengths of the noise.
        start_y: y of the start.
        landscape: the loss.

    Returns:
        `Ends` and `Records`.
    """
    walk, shape = functools.partial(_walk, program), (len(learning_rates), len(sigmas))
    if len(program.devices) > 1:
        walk = jax.shard_map(
            walk,
            mesh=jax.sharding.Mesh(np.asarray(program.devices), ("walkers",)),
            in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(), PartitionSpec("walkers")),
            out_specs=(PartitionSpec(None, "walkers"), PartitionSpec("walkers")),
            check_vma=False,
        )
    pairs = _pairs(key, learning_rates, sigmas)
    ends, records = walk(pairs, start_y, landscape, jnp.asarray(program.dealt()))
    ends = jax.tree.map(lambda each: each[:, : program.walkers], ends)
    by_pair = functools.partial(jax.tree.map, lambda each: each.reshape(*shape, -1))
    return by_pair(ends), by_pair(_merged(program, records))


def _pairs(key, learning_rates, sigmas):
    """Return all pairs (P,), each with a key that depends on its two numbers alone."""
    rows, columns = (jnp.arange(len(each), dtype=jnp.int32) for each in (learning_rates, sigmas))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys, columns)
    words = jax.random.key_data(keys)
    rates, strengths = jnp.meshgrid(learning_rates, sigmas, indexing="ij")
    return _Pairs((words[..., 0].ravel(), words[..., 1].ravel()), rates.ravel(), strengths.ravel())


def _walk(program, pairs, start_y, landscape, numbers):
    """Return ends (P, W) and records (1, P, K) of the walkers of one device, by their numbers."""
    count, of_pairs = len(numbers), len(pairs.sigma)
    at_once = AT_ONCE["cpu" if platform() == "cpu" else "other"]
    groups = -(-of_pairs // max(1, at_once // count))
    size = -(-of_pairs // groups)

    def walk_group(chosen):
        group = jax.tree.map(lambda each: jnp.repeat(each[chosen], count), pairs)
        ends, records = _walk_group(program, group, start_y, landscape, jnp.tile(numbers, size))
        return (
            jax.tree.map(lambda each: each.reshape(size, count), ends),
            jax.tree.map(jnp.transpose, records),
        )

    # The last pair fills up the last group.
    chosen = jnp.minimum(jnp.arange(groups * size, dtype=jnp.int32), of_pairs - 1)
    found = jax.lax.map(walk_group, chosen.reshape(groups, size))
    ends, records = jax.tree.map(
        lambda each: each.reshape(groups * size, each.shape[-1])[:of_pairs], found
    )
    return ends, jax.tree.map(lambda each: each[None], records)


def _walk_group(program, group, start_y, landscape, numbers):
    """Return the ends of walkers (n,) that go on together, and records (K, n / W) of them."""

    def step(state, time):
        normal = normal_pair(group.key, time.astype(jnp.uint32), numbers)
        x, y = noisy_step(
            landscape, program.noise, state.place, group.learning_rate, group.sigma, normal
        )
        y = state.place.y if program.hold_y else y
        crosses = (x >= 0) != (state.place.x >= 0)
        return Ends(
            Place(x, y),
            jnp.where(crosses, time + 1, state.freezing_step),
            jnp.where(crosses, y, state.freezing_y),
        ), None

    def record(state, last):
        times = last - jnp.arange(program.every, dtype=jnp.int32)[::-1]
        state, _ = jax.lax.scan(_as_one_function(step), state, times)
        return state, _record(program, state.place, numbers)

    x = jnp.where(numbers % 2 == 0, jnp.float32(-START_X), jnp.float32(START_X))
    y = jnp.full(numbers.shape, start_y)
    start = Ends(Place(x, y), jnp.ones(numbers.shape, jnp.int32), y)
    return jax.lax.scan(record, start, jnp.asarray(program.records()))


def _as_one_function(step):
    """Let XLA compile a step for a CPU as one function of machine code.

    Otherwise its thirty loops over the walkers are handed to the threads one by one. A step of 512
    walkers takes three times as long then, and one of 4096 one and a half. XLA marks small loops so
    by itself. An XLA that does not know the mark leaves it aside.
    """
    if platform() != "cpu":
        return step
    compiled = jax.jit(step)

    def marked(state, time):
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return compiled(state, time)

    return marked


def _record(program, place, numbers):
    """Return the means over the walkers of each pair, without those that are surplus."""
    by_pair = (-1, len(program.dealt()) // len(program.devices))
    inside = numbers.reshape(by_pair) < program.walkers
    x, y = (each.reshape(by_pair) for each in place)
    count = jnp.maximum(inside.sum(axis=1, dtype=x.dtype), 1)

    def mean(values):
        return jnp.where(inside, values, 0).sum(axis=1) / count

    mean_y = mean(y)
    flat = where_known(x == x, (x >= 0).astype(x.dtype))
    return Records(mean(flat), mean_y, mean((y - mean_y[:, None]) ** 2))


def _merged(program, records):
    """Return the records (P, K) of all walkers from those of the devices (D, P, K)."""
    inside = program.dealt().reshape(len(program.devices), -1) < program.walkers
    weights = (inside.sum(axis=1) / program.walkers).astype(np.float32)[:, None, None]

    def average(values):
        return (weights * values).sum(axis=0)

    mean = average(records.mean)
    variance = average(records.variance + (records.mean - mean[None]) ** 2)
    return Records(average(records.flat), mean, variance)
