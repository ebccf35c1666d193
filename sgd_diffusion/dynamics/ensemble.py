"""Members side by side: seeds times learning rates in one compiled program."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from sgd_diffusion._arrays import integer
from sgd_diffusion._memory import check_memory
from sgd_diffusion._platforms import platform
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import IntegerLike, Key, PyTree
from sgd_diffusion.dynamics.batches import batch_indices
from sgd_diffusion.dynamics.gradient_coordinates import draw_coordinates
from sgd_diffusion.dynamics.parameters import count, initial_shapes
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.sgd import Carry
from sgd_diffusion.dynamics.step_gradients import check_noise
from sgd_diffusion.dynamics.step_rules import step_rule
from sgd_diffusion.dynamics.window import (
    Recording,
    WindowRecord,
    advance,
    mask_diverged,
    record_window,
)
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.storage.checkpoints import described

__all__ = ["Ensemble", "MemberKeys", "default_members_at_once", "map_members", "member_keys"]


class MemberKeys(NamedTuple):
    """Independent keys of a member.

    Attributes:
        initialization: of the parameters.
        order: of the data.
        augmentation: of the images, and of random layers.
        measurement: of what is measured.
    """

    initialization: Key
    order: Key
    augmentation: Key
    measurement: Key


def member_keys(seed: IntegerLike) -> MemberKeys:
    """Return the keys that belong to a seed, the same in every ensemble."""
    return MemberKeys(*jax.random.split(jax.random.key(seed), 4))


def default_members_at_once(num_members: int, platform: str) -> int:
    """Return how many members run side by side by default: one on CPU, all on an accelerator.

    Args:
        num_members: of the ensemble.
        platform: of the devices that run it, such as "cpu".

    Notes:
        On CPU a step of one member already fills the cores. Members one after the other (`lax.map`)
        were faster than vmapped ones for every network measured (`python -m
        experiments.benchmarks.training`). Accelerators are made for parallel work; the choice has
        not been measured there yet.
    """
    return 1 if platform == "cpu" else num_members


def map_members(
    function: Callable[..., Any],
    *,
    members_at_once: IntegerLike,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[..., Any]:
    """Return a function that maps `function(shared, member)` over the leading axis of the members.

    Args:
        function: takes a pytree that all members share and one of the member's own, and returns a
            pytree of arrays.
        members_at_once: members that run side by side on a device. 1 is `lax.map`, all of them is
            `vmap`. In between, groups of so many are vmapped one after the other.
        devices: devices among which members are dealt out in equal parts; the default one if None.

    Returns:
        `mapped(shared, members)`.

    Raises:
        InputError: `members_at_once` is less than 1.
    """
    members_at_once = integer(
        "members_at_once", members_at_once, 1, what="(1 for one after the other)"
    )

    def on_one_device(shared, members):
        def single(member):
            return function(shared, member)

        # Also for a single member, which then computes what it would in company.
        if members_at_once == 1:
            return jax.lax.map(single, members)
        # This is vmap, if one batch takes them all.
        return jax.lax.map(single, members, batch_size=members_at_once)

    if devices is None:
        return on_one_device
    mesh = Mesh(np.asarray(devices), ("members",))
    spread = jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("members")),
        out_specs=PartitionSpec("members"),
        check_vma=False,
    )

    def on_all_devices(shared, members):
        count = jax.tree.leaves(members)[0].shape[0]
        # The last member is run again on devices that would be left over.
        surplus = -count % len(devices)
        if not surplus:
            return spread(shared, members)
        padded = jax.tree.map(lambda leaf: jnp.concatenate([leaf] + [leaf[-1:]] * surplus), members)
        return jax.tree.map(lambda leaf: leaf[:count], spread(shared, padded))

    return on_all_devices


class Ensemble:
    """The compiled programs of an ensemble: start, windows, and measurements where windows end.

    Args:
        problem: what SGD optimizes.
        plan: which members there are.
        measure_path: pure function `WindowRecord -> dict of arrays`, applied on the device to every
            member's window.
        optimizer: in place of that of the plan (see `run_ensemble`).
        measure_state: pure function `(window, problem, params, state, key) -> dict of arrays`, for
            the end of a window.
        members_at_once: see `map_members`; None for the default of the backend.
        devices: see `map_members`.
        report: host function `report(step, loss)` called from running windows, or None.

    Raises:
        InputError: the batch is larger than the data, the layers cannot give the gradient samples
            (see `draw_coordinates`), a projection has more dimensions than there are parameters, or
            the noise of the plan does not fit the problem.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        *,
        measure_path: Callable[[WindowRecord], dict[str, Any]],
        optimizer: optax.GradientTransformation | None = None,
        measure_state: Callable[..., dict[str, Any]] = lambda *_: {},
        members_at_once: IntegerLike | None = None,
        devices: Sequence[jax.Device] | None = None,
        report: Callable[[Any, Any], None] | None = None,
    ):
        self.problem, self.plan, self.report = problem, plan, report
        self.measure_path, self.measure_state = measure_path, measure_state
        self.rule = step_rule(plan, optimizer)
        self._devices = jax.local_devices()[:1] if devices is None else list(devices)
        where = platform() if devices is None else self._devices[0].platform
        at_once = (
            default_members_at_once(plan.num_members, where)
            if members_at_once is None
            else members_at_once
        )
        self._check()
        self._coordinates = draw_coordinates(
            problem, plan.gradient_samples, layers=plan.gradient_layers
        ).indices
        # The members start one by one. That is cheap, and their start cannot depend on how the
        # windows are executed.
        self._start = jax.jit(map_members(self._start_member, members_at_once=1))
        self._window = jax.jit(
            map_members(self._window_member, members_at_once=at_once, devices=devices)
        )
        self._advance = jax.jit(
            map_members(self._advance_member, members_at_once=at_once, devices=devices)
        )
        self._states = jax.jit(
            map_members(self._states_of_member, members_at_once=1, devices=devices)
        )
        self._compiled: Any = None

    def start(self, points: tuple[PyTree, PyTree] | None = None) -> Carry:
        """Return the carries of all M members before the first update, along a leading axis.

        Args:
            points: parameters and states at which the members start, at rest, with a leading axis
                of M in the order of `Plan.members`; None for those of `Problem.init`.

        Raises:
            InputError: the points have other names, shapes or dtypes than those of `Problem.init`.
        """
        if points is not None:
            self._check_points(*points)
        return self._start((), (self._members()[0], points))

    def window(self, carry: Carry, start: int) -> tuple[Carry, dict[str, jax.Array]]:
        """Run one window of all members from `carry` at waiting time `start`.

        Returns:
            The carries after the window, and the measurements.
        """
        arguments = self._arguments(carry, start)
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return self._window(*arguments)
        if self._compiled is None:
            self.compile(carry)
        with _nan_is_a_value():
            # The window before leaves the carry spread over the devices. The program wants it where
            # it was at the start.
            return self._compiled(*jax.device_put(arguments, self._compiled.input_shardings[0]))

    def advance(self, carry: Carry, start: int, stop: int) -> Carry:
        """Return the carries after the updates start, ..., stop - 1, without any record of them."""
        for first in range(start, stop, self.plan.window):
            shared = (
                self.problem.examples,
                jnp.int32(first),
                jnp.int32(min(self.plan.window, stop - first)),
            )
            with _nan_is_a_value():
                carry = self._advance(shared, (*self._members(), carry))
        return carry

    def states(self, carry: Carry, window: int) -> dict[str, jax.Array]:
        """Return what `measure_state` finds at the end of a window; NaN for diverged members."""
        with _nan_is_a_value():
            return self._states(*self._state_arguments(carry, window))

    def compile(self, carry: Carry) -> int:
        """Compile the window program.

        Returns:
            The bytes that it needs at its peak of the memory of a device.

        Raises:
            InputError: that is more than there is.
        """
        self._compiled = self._window.lower(*self._arguments(carry, 0)).compile()
        needed = self._peak_bytes()
        check_memory(
            needed,
            "a window",
            "run fewer members at once, use a shorter window, or set sketch_dim (a few "
            "thousand) to keep a random projection of the increments in place of all of them",
            self._devices[0],
        )
        return needed

    def values(self, carry: Carry) -> dict[str, jax.ShapeDtypeStruct]:
        """Return shapes and dtypes of all that is measured, with a leading axis of M members."""
        _, of_window = jax.eval_shape(self._window, *self._arguments(carry, 0))
        return of_window | jax.eval_shape(self._states, *self._state_arguments(carry, 0))

    def programs(self) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
        """Return all programs by name, each a jitted function with the shapes of its arguments.

        They are `start`, `window`, `advance`, which trains without a record, and `states`, which
        measures where a window ends. With them a program is lowered or compiled without data, also
        for devices that are not at hand (see `jax.experimental.topologies`).
        """
        members, count = self._members(), jnp.int32(0)
        carry = jax.eval_shape(self._start, (), (members[0], None))
        programs = {
            "start": (self._start, ((), (members[0], None))),
            "window": (self._window, self._arguments(carry, 0)),
            "advance": (self._advance, ((self.problem.examples, count, count), (*members, carry))),
            "states": (self._states, self._state_arguments(carry, 0)),
        }
        return {
            name: (program, jax.eval_shape(lambda *given: given, *arguments))
            for name, (program, arguments) in programs.items()
        }

    def _peak_bytes(self) -> int:
        stats = self._compiled.memory_analysis()  # of the program on one device
        return self._sharing() * (
            stats.temp_size_in_bytes + stats.argument_size_in_bytes + stats.output_size_in_bytes
        )

    def _sharing(self) -> int:
        """Return how many devices have one memory: those of a CPU."""
        return len(self._devices) if self._devices[0].platform == "cpu" else 1

    def _members(self) -> tuple[jax.Array, jax.Array]:
        seeds, learning_rates = self.plan.members()
        return jnp.asarray(seeds), jnp.asarray(learning_rates)

    def _arguments(self, carry, start):
        # The data are arguments, because closed over they would be constants of the program.
        shared = self.problem.examples, self.problem.probe, jnp.int32(start)
        return shared, (*self._members(), carry)

    def _state_arguments(self, carry, window):
        waiting_time = self.plan.starts()[window] + self.plan.window
        shared = (
            self.problem.examples,
            self.problem.probe,
            self.problem.test_examples,
            jnp.int32(window),
            jnp.int32(waiting_time),
        )
        return shared, (*self._members(), carry)

    def _start_member(self, shared, member):
        del shared
        seed, point = member
        return self.rule.first_carry(self.problem, member_keys(seed).initialization, point)

    def _window_member(self, shared, member):
        examples, probe, waiting_time = shared
        seed, learning_rate, carry = member
        plan, keys = self.plan, member_keys(seed)
        problem = replace(self.problem, examples=examples, probe=probe)
        rows = batch_indices(
            keys.order,
            waiting_time,
            plan.window + 1,
            num_examples=problem.num_examples,
            batch_size=plan.batch_size,
            sampling=plan.sampling,
        )
        recording = Recording(
            self._coordinates, plan.by_layer, plan.sketch_dim, plan.full_batch_twin
        )
        with self._precision():
            carry, record = record_window(
                problem,
                self.rule.optimizer,
                carry,
                self.rule.learning_rate(learning_rate),
                rows,
                keys.augmentation,
                waiting_time,
                gradient=self.rule.gradient,
                average=self.rule.average,
                recording=recording,
                report=self.report,
            )
        with full_precision():
            return carry, self.measure_path(record)

    def _advance_member(self, shared, member):
        examples, start, count = shared
        seed, learning_rate, carry = member
        keys = member_keys(seed)
        problem = replace(self.problem, examples=examples)
        rows = batch_indices(
            keys.order,
            start,
            self.plan.window,
            num_examples=problem.num_examples,
            batch_size=self.plan.batch_size,
            sampling=self.plan.sampling,
        )
        with self._precision():
            return advance(
                problem,
                self.rule.optimizer,
                carry,
                self.rule.learning_rate(learning_rate),
                rows,
                keys.augmentation,
                start,
                count,
                gradient=self.rule.gradient,
                average=self.rule.average,
                report=self.report,
            )

    def _states_of_member(self, shared, member):
        examples, probe, test_examples, window, waiting_time = shared
        seed, _, carry = member
        problem = replace(self.problem, examples=examples, probe=probe, test_examples=test_examples)
        key = jax.random.fold_in(member_keys(seed).measurement, waiting_time)
        with self._precision():
            measured = self.measure_state(window, problem, carry.params, carry.state, key)
        return mask_diverged(measured, carry.diverged_at)

    def _precision(self):
        """Return the context of what is training; measurements that promise more have their own."""
        return full_precision() if self.plan.precision == "float32" else contextlib.nullcontext()

    def _check_points(self, params, state):
        expected = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.plan.num_members, *leaf.shape), leaf.dtype),
            initial_shapes(self.problem),
        )
        for name, found, wanted in zip(("params", "state"), (params, state), expected, strict=True):
            if jax.tree.structure(found) != jax.tree.structure(wanted) or (
                described(found) != described(wanted)
            ):
                raise invalid(
                    "points",
                    f"have {name} {described(found)}",
                    f"{described(wanted)}, those of the problem for every member",
                )

    def _check(self):
        # Only for what it refuses; the indices themselves would be a program to compile.
        jax.eval_shape(
            lambda key: batch_indices(
                key,
                0,
                1,
                num_examples=self.problem.num_examples,
                batch_size=self.plan.batch_size,
                sampling=self.plan.sampling,
            ),
            jax.random.key(0),
        )
        point = initial_shapes(self.problem)
        params, _ = point
        if self.plan.sketch_dim is not None:
            integer(
                "sketch_dim",
                self.plan.sketch_dim,
                1,
                count(params),
                what="(at most the number of parameters)",
            )
        twin = self.plan.full_batch_twin
        check_noise(self.rule.gradient, self.problem, self.plan.batch_size, full_batch_twin=twin)
        members = -(-self.plan.num_members // len(self._devices)) * self._sharing()
        # Where the members stand before a window and after it, with their optimizers.
        carry = jax.eval_shape(self._start_member, (), (jnp.uint32(0), point))
        kept = jax.tree.leaves((carry.params, carry.optimizer_state, carry.average))
        numbers = count([leaf for leaf in kept if jnp.issubdtype(leaf.dtype, jnp.inexact)])
        needed = 2 * members * 4 * numbers
        check_memory(
            needed,
            f"training {self.plan.num_members} members of {count(params)} parameters",
            "take a smaller model, or fewer seeds and learning rates",
            self._devices[0],
        )


@contextlib.contextmanager
def _nan_is_a_value():
    """Keep JAX from stopping at NaN, which marks diverged members and missing quantities."""
    with jax.debug_nans(False), jax.debug_infs(False):
        yield
