r"""Simulate SGD in a landscape of two valleys, and see where it ends and when that is decided.

The walkers of `simulate` go down `theory.freezing.TwoValleys` under noise whose covariance follows
the Hessian. They hop between the valleys until the barrier is too high for them. All learning rates
and all strengths of the noise are one compiled program, and no path is stored.

>>> from sgd_diffusion.theory.freezing import TwoValleys
>>> walks = simulate(
...     jax.random.key(0), [0.01], [0.001, 0.1], walkers=200, steps=1000, start_y=5.0,
...     landscape=TwoValleys(),
... )
>>> walks.flat_fraction.round(1).tolist()
[[0.5, 0.7]]
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float32, Int32

from sgd_diffusion._arrays import floats, integer, is_traced, parameter
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._memory import check_memory
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.freezing import TwoValleys
from sgd_diffusion.walkers.counted_noise import normal_pair
from sgd_diffusion.walkers.valley_steps import NOISES, Place, noisy_step

__all__ = ["NOISES", "TwoValleyWalks", "simulate"]

START_X = 0.01
MOST = 2**31 - 2**10
UNFROZEN = 0.95  # who crosses the ridge in the last twentieth of the steps would go on
# Walkers that go on together. On CPU they stay in the cache; an accelerator wants them all.
AT_ONCE = {"cpu": 4096, "other": 2**20}
KEPT = 3 * 4 * 4  # bytes of each walker: four numbers, and copies of them when they are put in order


@shown_briefly
class TwoValleyWalks(NamedTuple):
    """Where walkers ended, and when that was decided.

    The start is point 1 of a walk, and point T + 1 its end. A walker is in the flat valley where x
    is 0 or above. It is frozen since the first point after the last change of its side.

    Attributes:
        flat_fraction: (R, S) share of the walkers that end in the flat valley.
        unfrozen_fraction: (R, S) share whose freezing step is beyond 0.95 T.
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

    Walker w of the pair (r, s) depends on the key and on r, s and w alone, whatever else is
    simulated with it and on which devices. Pairs have independent noise. Numbers are float32.

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
    rates, strengths = _values("learning_rates", learning_rates), _values("sigmas", sigmas)
    devices = tuple(jax.devices()[:1] if devices is None else devices)
    program = _Program(walkers, steps, record_every, noise, bool(hold_y), devices)
    start_y = parameter("start_y", start_y, at_least=0)
    if not isinstance(landscape, TwoValleys):
        raise invalid("landscape", f"is a {type(landscape).__name__}", "a TwoValleys")
    jax.eval_shape(landscape.loss, START_X, start_y)  # refuses parameters that are out of range
    records = program.steps // program.every
    check_memory(
        rates.size * strengths.size * (KEPT * program.walkers + KEPT * len(devices) * records),
        "the result of simulate",
        "simulate fewer walkers, or record less often",
        devices[0],
    )
    return _simulate(program, key, rates, strengths, jnp.float32(start_y), landscape)


@dataclasses.dataclass(frozen=True)
class _Program:
    """What the program of the walks is compiled for; see `simulate`."""

    walkers: int
    steps: int
    every: int
    noise: str
    hold_y: bool
    devices: tuple[jax.Device, ...]

    def __post_init__(self):
        steps = integer("steps", self.steps, 1, MOST)
        every = steps if self.every is None else integer("record_every", self.every, 1, steps)
        if steps % every:
            raise invalid("record_every", f"is {every}", f"a divisor of steps, which is {steps}")
        if self.noise not in tuple(NOISES):
            raise invalid("noise", f"is {self.noise!r}", f"one of {', '.join(NOISES)}")
        values = {"walkers": integer("walkers", self.walkers, 1, MOST)}
        for name, value in (values | {"steps": steps, "every": every}).items():
            object.__setattr__(self, name, value)

    def dealt(self) -> np.ndarray:
        """Return the numbers of walkers of all devices; each has as many, and the last surplus."""
        return np.arange(self.walkers + -self.walkers % len(self.devices), dtype=np.uint32)


class _Pairs(NamedTuple):
    """Learning rates and strengths of the noise, with the words of their keys."""

    key: tuple[Array, Array]
    learning_rate: Array
    sigma: Array


class _State(NamedTuple):
    """Where walkers are, and since when they are on their side."""

    place: Place
    freezing_step: Array
    freezing_y: Array


@functools.partial(jax.jit, static_argnums=0)
def _simulate(program, key, rates, strengths, start_y, landscape):
    """`simulate` for arguments that have been checked."""
    shape = (len(rates), len(strengths))
    split = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(shape[0]))
    words = jax.random.key_data(split(keys, jnp.arange(shape[1])))[..., :2].reshape(-1, 2)
    rates, strengths = jnp.meshgrid(rates, strengths, indexing="ij")
    pairs = _Pairs((words[:, 0], words[:, 1]), rates.ravel(), strengths.ravel())
    walk = functools.partial(_walk, program)
    if len(program.devices) > 1:
        walk = jax.shard_map(
            walk,
            mesh=jax.sharding.Mesh(np.asarray(program.devices), ("walkers",)),
            in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(), PartitionSpec("walkers")),
            out_specs=(PartitionSpec(None, "walkers"), PartitionSpec("walkers")),
            check_vma=False,
        )
    ends, records = walk(pairs, start_y, landscape, program.dealt())
    ends = jax.tree.map(lambda each: each[:, : program.walkers].reshape(*shape, -1), ends)
    records = [each.reshape(*shape, -1) for each in _merged(program, *records)]
    late = ends.freezing_step > UNFROZEN * program.steps
    return TwoValleyWalks(
        flat_fraction=records[0][..., -1],
        unfrozen_fraction=late.mean(axis=-1, dtype=jnp.float32),
        freezing_step=ends.freezing_step,
        freezing_y=ends.freezing_y,
        final_x=ends.place.x,
        final_y=ends.place.y,
        recorded_step=jnp.arange(
            program.every, program.steps + 1, program.every, dtype=jnp.int32
        ),
        recorded_flat_fraction=records[0],
        recorded_y=records[1],
        recorded_y_std=jnp.sqrt(records[2]),
    )


def _walk(program, pairs, start_y, landscape, numbers):
    """Return ends (P, W) and records (1, P, K) of some walkers of all pairs, on one device."""
    count, of_pairs = len(numbers), len(pairs.sigma)
    kind = "cpu" if program.devices[0].platform == "cpu" else "other"
    groups = -(-of_pairs // max(1, AT_ONCE[kind] // count))
    size = -(-of_pairs // groups)

    def walk_group(chosen):
        group = jax.tree.map(lambda each: jnp.repeat(each[chosen], count), pairs)
        end, records = _walk_together(program, group, start_y, landscape, numbers)
        return jax.tree.map(lambda each: each.reshape(size, count), end), records

    # Numbers beyond the last pair stand for it.
    chosen = jnp.minimum(jnp.arange(groups * size, dtype=jnp.int32), of_pairs - 1)
    ends, records = jax.lax.map(walk_group, chosen.reshape(groups, size))
    in_order = functools.partial(
        jax.tree.map, lambda each: each.reshape(groups * size, -1)[:of_pairs]
    )
    records = in_order([jnp.swapaxes(each, 1, 2) for each in records])
    return in_order(ends), [each[None] for each in records]


def _walk_together(program, group, start_y, landscape, numbers):
    """Return the ends of the walkers of a group of pairs, and records (K, pairs of the group)."""
    number = jnp.tile(numbers, len(group.sigma) // len(numbers))
    inside = (numbers < program.walkers)[None]

    def step(state, time):
        normal = normal_pair(group.key, time.astype(jnp.uint32), number)
        x, y = noisy_step(
            landscape, program.noise, state.place, group.learning_rate, group.sigma, normal
        )
        y = state.place.y if program.hold_y else y
        crosses = (x >= 0) != (state.place.x >= 0)
        return _State(
            Place(x, y),
            jnp.where(crosses, time + 1, state.freezing_step),
            jnp.where(crosses, y, state.freezing_y),
        ), None

    def record(state, first):
        times = first + jnp.arange(program.every, dtype=jnp.int32)
        state, _ = jax.lax.scan(step, state, times)
        x, y = (each.reshape(-1, len(numbers)) for each in state.place)

        def mean(values):
            return jnp.where(inside, values, 0).sum(axis=-1) / jnp.maximum(inside.sum(), 1)

        mean_y = mean(y)
        return state, (mean(jnp.float32(x >= 0)), mean_y, mean((y - mean_y[:, None]) ** 2))

    start = Place(
        jnp.where(number % 2 == 0, jnp.float32(-START_X), jnp.float32(START_X)),
        jnp.full(number.shape, start_y),
    )
    start = _State(start, jnp.ones(number.shape, jnp.int32), start.y)
    firsts = jnp.arange(1, program.steps + 1, program.every, dtype=jnp.int32)
    return jax.lax.scan(record, start, firsts)


def _merged(program, flat, mean, variance):
    """Return shares, means and variances of all walkers from those (D, P, K) of the devices."""
    dealt = program.dealt().reshape(len(program.devices), -1) < program.walkers
    weights = (dealt.sum(axis=1, dtype=np.float32) / program.walkers).reshape(-1, 1, 1)

    def average(values):
        return (weights * values).sum(axis=0)

    return average(flat), average(mean), average(variance + (mean - average(mean)[None]) ** 2)


def _values(name, values):
    """Return values of a parameter, (R,) float32: finite and at least 0, where they are known."""
    values = jnp.atleast_1d(floats(name, values))
    if values.ndim > 1 or not values.size:
        raise invalid(name, f"has shape {values.shape}", "one or more numbers, (R,)")
    if not is_traced(values) and not (np.isfinite(values) & (np.asarray(values) >= 0)).all():
        raise invalid(name, f"is {np.asarray(values).tolist()}", "finite numbers of at least 0")
    return jnp.where(values >= 0, values, jnp.nan).astype(jnp.float32)
