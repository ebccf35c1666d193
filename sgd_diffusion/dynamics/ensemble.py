"""Members side by side: seeds times learning rates in one compiled program."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sgd_diffusion._arrays import integer, is_traced
from sgd_diffusion._memory import available_bytes, check_memory
from sgd_diffusion._platforms import run_once
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import IntegerLike, PyTree
from sgd_diffusion.dynamics.batches import batch_indices
from sgd_diffusion.dynamics.gradient_coordinates import draw_coordinates
from sgd_diffusion.dynamics.members import default_members_at_once, member_keys
from sgd_diffusion.dynamics.memory import WindowMemory, window_memory
from sgd_diffusion.dynamics.parameters import count, initial_shapes
from sgd_diffusion.dynamics.placement import Placement
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

__all__ = ["Ensemble"]


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
        members_at_once: see `map_members`; None for the default of the platform.
        devices: among which the members are dealt out, of this process or of all; None for JAX's
            default one.
        devices_per_member: how many of these share a member (see `shards`).
        report: host function `report(step, loss)` called from running windows, or None.

    Raises:
        InputError: the batch is larger than the data, the layers cannot give the gradient samples
            (see `draw_coordinates`), a projection has more dimensions than there are parameters,
            the noise of the plan does not fit the problem, or the devices belong to some of several
            processes, or cannot be grouped or cannot share a batch as asked.
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
        devices_per_member: IntegerLike = 1,
        report: Callable[[Any, Any], None] | None = None,
    ):
        self.problem, self.plan, self.report = problem, plan, report
        self._optimizer = optimizer
        self.measure_path, self.measure_state = measure_path, measure_state
        self.rule = step_rule(plan, optimizer)
        self.placement = Placement(plan.num_members, devices, devices_per_member=devices_per_member)
        self._at_once = (
            default_members_at_once(plan.num_members, self.placement.platform)
            if members_at_once is None
            else members_at_once
        )
        self._check()
        self._coordinates = draw_coordinates(
            problem, plan.gradient_samples, layers=plan.gradient_layers
        ).indices
        # The members start one by one. That is cheap, and their start cannot depend on how the
        # windows are executed.
        self._start = self.placement.program(self._start_member, 1)
        self._window = self.placement.program(self._window_member, self._at_once)
        self._advance = self.placement.program(self._advance_member, self._at_once)
        self._states = self.placement.program(self._states_of_member, 1)
        self._compiled: Any = None

    def start(self, points: tuple[PyTree, PyTree] | None = None) -> Carry:
        """Return the carries of all members before the first update, along a leading axis.

        They are dealt out over the devices (see `Placement`).

        Args:
            points: parameters and states at which the members start, at rest, with a leading axis
                of M in the order of `Plan.members`; None for those of `Problem.init`.

        Raises:
            InputError: the points have other names, shapes or dtypes than those of `Problem.init`,
                or the members need more memory than there is.
        """
        self._check_start(points)
        return self._started(points)

    def start_and_compile(self, points: tuple[PyTree, PyTree] | None = None) -> Carry:
        """Do what `start` does, and `compile` at the same time.

        Raises:
            InputError: as for `start` and `compile`.
        """
        self._check_start(points)
        lowered = self._lowered_window()
        with ThreadPoolExecutor(max_workers=1) as aside:
            compiling = aside.submit(lowered.compile)
            carry = self._started(points)
            self._compiled = compiling.result()
        self._check_peak()
        return carry

    def window(self, carry: Carry, start: int) -> tuple[Carry, dict[str, np.ndarray]]:
        """Run one window of all members from `carry` at waiting time `start`.

        Returns:
            The carries after the window, dealt out, and the measurements of the M members.
        """
        if self._compiled is None and not jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            self.compile()
        with _nan_is_a_value():
            run = self._compiled or self._window
            carry, values = run(*self._arguments(carry, start))
        return carry, self.placement.collect(values)

    def advance(self, carry: Carry, start: int, stop: int) -> Carry:
        """Return the carries after the updates start, ..., stop - 1, without any record of them."""
        for first in range(start, stop, self.plan.window):
            count = min(self.plan.window, stop - first)
            shared = (self._data[0], *self.placement.copy((jnp.int32(first), jnp.int32(count))))
            with _nan_is_a_value():
                carry = self._advance(shared, (*self._members(), self.placement.deal(carry)))
        return carry

    def states(self, carry: Carry, window: int) -> dict[str, np.ndarray]:
        """Return what `measure_state` finds at the end of a window; NaN for diverged members."""
        with _nan_is_a_value():
            return self.placement.collect(self._states(*self._state_arguments(carry, window)))

    def memory(self) -> WindowMemory:
        """Return the memory that a window needs, but for what is measured, before compilation."""
        placement = self.placement
        return window_memory(
            self.problem,
            self.plan,
            optimizer=self._optimizer,
            members_at_once=self._at_once,
            num_devices=placement.groups * placement.devices_per_member,
            devices_per_member=placement.devices_per_member,
            devices_in_one_memory=placement.devices_in_one_memory,
            platform=placement.platform,
        )

    def compile(self) -> int:
        """Compile the window program.

        Returns:
            The bytes that it needs at its peak of the memory of a device.

        Raises:
            InputError: that is more than there is. Where this is certain before, nothing is
                compiled.
        """
        self._compiled = self._lowered_window().compile()
        return self._check_peak()

    def values(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return shapes and dtypes of all that is measured, with a leading axis of M members."""
        programs = self.programs()
        shapes = {
            name: jax.eval_shape(programs[name][0], *programs[name][1])
            for name in ("window", "states")
        }
        found = shapes["window"][1] | shapes["states"]
        members = self.plan.num_members
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape[1:]), leaf.dtype), found
        )

    def programs(self) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
        """Return all programs by name, each a jitted function with the shapes of its arguments.

        They are `start`, `window`, `advance`, which trains without a record, and `states`, which
        measures where a window ends. With them a program is lowered or compiled without data, also
        for devices that are not at hand (see `jax.experimental.topologies`).
        """
        placement, problem = self.placement, self.problem
        data, members, number = jax.eval_shape(
            lambda *given: given,
            (problem.examples, problem.probe, problem.test_examples),
            self.plan.members(),
            jnp.int32(0),
        )
        data, number = placement.copy((data, number))
        seeds, rates = placement.deal(members)
        carry = jax.eval_shape(self._start, (), (seeds, None))
        carry = jax.tree.map(lambda leaf: leaf.update(sharding=seeds.sharding), carry)
        every = seeds, rates, carry
        return {
            "start": (self._start, ((), (seeds, None))),
            "window": (self._window, ((*data[:2], number), every)),
            "advance": (self._advance, ((data[0], number, number), every)),
            "states": (self._states, ((*data, number, number), every)),
        }

    def _started(self, points):
        arguments = (), (self._members()[0], self.placement.deal(points))
        disabled = jax.config.jax_disable_jit  # type: ignore[attr-defined]
        if disabled or is_traced(arguments):
            return self._start(*arguments)
        return run_once(self._start, *arguments, platform=self.placement.platform)

    def _lowered_window(self):
        """Return the window program, lowered, unless it is certain not to fit into memory."""
        self.memory().check(available_bytes(self.placement.device))
        program, shapes = self.programs()["window"]
        return program.lower(*shapes)

    def _check_peak(self):
        """Return the bytes that a window needs, and refuse more than there is."""
        stats = self._compiled.memory_analysis()  # of the program on one device
        needed = self.placement.devices_in_one_memory * (
            stats.temp_size_in_bytes + stats.argument_size_in_bytes + stats.output_size_in_bytes
        )
        check_memory(
            needed,
            "a window",
            "run fewer members at once, use a shorter window, or set sketch_dim (a few "
            "thousand) to keep a random projection of the increments in place of all of them",
            self.placement.device,
        )
        return needed

    @functools.cached_property
    def _data(self):
        """The examples, the probe and the test examples, on every device.

        They are arguments of the programs, because closed over they would be constants of them.
        """
        problem = self.problem
        return self.placement.copy((problem.examples, problem.probe, problem.test_examples))

    def _members(self):
        return self.placement.deal(tuple(map(jnp.asarray, self.plan.members())))

    def _arguments(self, carry, start):
        examples, probe, _ = self._data
        shared = examples, probe, self.placement.copy(jnp.int32(start))
        return shared, (*self._members(), self.placement.deal(carry))

    def _state_arguments(self, carry, window):
        waiting_time = self.plan.starts()[window] + self.plan.window
        times = self.placement.copy((jnp.int32(window), jnp.int32(waiting_time)))
        return (*self._data, *times), (*self._members(), self.placement.deal(carry))

    def _start_member(self, shared, member):
        del shared
        seed, point = member
        return self.rule.first_carry(self.problem, member_keys(seed).initialization, point)

    def _window_member(self, shared, member):
        examples, probe, waiting_time = shared
        seed, learning_rate, carry = member
        plan, keys = self.plan, member_keys(seed)
        problem = replace(self.problem, examples=examples, probe=probe)
        rows = self._rows(keys.order, waiting_time, plan.window + 1)
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
        rows = self._rows(keys.order, start, self.plan.window)
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

    def _rows(self, key, start, steps):
        """Return the examples of so many batches in the order of a member."""
        return batch_indices(
            key,
            start,
            steps,
            num_examples=self.problem.num_examples,
            batch_size=self.plan.batch_size,
            sampling=self.plan.sampling,
        )

    def _precision(self):
        """Return the context of what is training; measurements that promise more have their own."""
        return full_precision() if self.plan.precision == "float32" else contextlib.nullcontext()

    def _check_start(self, points):
        if points is not None:
            self._check_points(*points)
        self._check_memory()

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
        jax.eval_shape(lambda key: self._rows(key, 0, 1), jax.random.key(0))
        params, _ = initial_shapes(self.problem)
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

    def _check_memory(self):
        """Refuse members that do not fit, with their optimizers, before a window and after it."""
        point = initial_shapes(self.problem)
        members = self.placement.members_in_one_memory
        carry = jax.eval_shape(self._start_member, (), (jnp.uint32(0), point))
        kept = jax.tree.leaves((carry.params, carry.optimizer_state, carry.average))
        numbers = count([leaf for leaf in kept if jnp.issubdtype(leaf.dtype, jnp.inexact)])
        check_memory(
            2 * members * 4 * numbers,
            f"training {self.plan.num_members} members of {count(point[0])} parameters",
            "take a smaller model, or fewer seeds and learning rates",
            self.placement.device,
        )


@contextlib.contextmanager
def _nan_is_a_value():
    """Keep JAX from stopping at NaN, which marks diverged members and missing quantities."""
    with jax.debug_nans(False), jax.debug_infs(False):
        yield
