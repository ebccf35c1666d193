"""The memory that a window needs, from shapes alone: before anything is compiled."""

import bisect
import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import optax

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike
from sgd_diffusion.analysis.gram import COPIES, GRAM_BLOCK
from sgd_diffusion.dynamics.members import default_members_at_once
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.sizes import Sizes, sizes_of
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = ["WindowMemory", "window_memory"]

SKETCH = 4096  # dimensions that are proposed; squared displacements then have an error of 2.2 %
MOST_DEVICES = 1024  # that are proposed for one member
NOTHING = "It does not fit, and no single option makes it fit."
LEAST = 0.9  # of the exact rows, what no compiled program has done without; the least was 0.98


@dataclasses.dataclass(frozen=True)
class WindowMemory:
    """Bytes that a window needs of one memory: that of an accelerator, or the one of all CPUs.

    Attributes:
        num_members: M of the ensemble.
        window: updates T.
        batch_size: examples in a mini-batch.
        sketch_dim: dimension of the projection of the increments, or None.
        members_at_once: members that run side by side on a device, at most.
        num_devices: that the members are dealt out among.
        devices_per_member: how many of them share a member.
        devices_in_one_memory: how many of them have one memory.
        platform: of the devices, "cpu", "gpu" or "tpu".
        sizes: of the problem, and of what a window records.
    """

    num_members: int
    window: int
    batch_size: int
    sketch_dim: int | None
    members_at_once: int
    num_devices: int
    devices_per_member: int
    devices_in_one_memory: int
    platform: str
    sizes: Sizes = dataclasses.field(repr=False)

    @property
    def rows(self) -> dict[str, int]:
        """Return the bytes by what needs them; of "step" and "Gram" only the larger one counts.

        - examples: those of training and of the probe, with a copy on every device.
        - weights: parameters, state, optimizer and average of the members of a device, before and
          after the window, and of those that run, in the loop.
        - increments: members side by side x T x P / devices_per_member x 4 bytes, or their
          sketches; as much for a weight average, and for a twin where several run side by side.
        - copy: as much again in programs for TPU of a single member (see `window_memory`).
        - step: operands and results of all products of a mini-batch, which the gradient needs
          again, over devices_per_member; gradient and update; or the largest product of the probe.
        - Gram: T x T matrices of the increments and of their analysis, and the copy of a block of
          increments in float64.
        - results: what is measured of the members of a device.
        """
        sizes, parts, together = self.sizes, self.devices_per_member, self._side_by_side
        exact = self._exact_rows
        step = 2 * sizes.parameter_bytes + max(
            sizes.activations.total * self.batch_size / parts,
            sizes.activations.largest * sizes.probe_size,
        )
        # Of a sketch, order and signs of the parameters.
        constants = 0 if self.sketch_dim is None else 8 * sizes.num_parameters
        others = {
            "step": together * step + constants,
            "Gram": together * self._gram_bytes,
            "results": self._members_of_a_device * sizes.result_bytes(self.window),
        }
        copy = exact["increments"] * (self.platform == "tpu" and together == 1)
        return exact | {"copy": copy} | self._in_one_memory(others)

    @property
    def total(self) -> int:
        """Return the bytes at the peak."""
        rows = self.rows
        return sum(rows.values()) - min(rows["step"], rows["Gram"])

    def ways_out(self, available: int) -> dict[str, "WindowMemory"]:
        """Return the single changes that make the window fit, by the argument that is changed.

        They are fewer members at once, more devices for each member, a shorter window, a sketch,
        and a smaller batch: of each the mildest that is enough, by the same formula. On
        accelerators more devices for a member are more devices in all; a CPU has no others.

        Args:
            available: bytes that there are.
        """
        cpu = self.platform == "cpu"
        most = self.num_devices if cpu else MOST_DEVICES
        candidates: dict[str, Sequence[int]] = {
            "members_at_once": range(self._side_by_side - 1, 0, -1),
            "devices_per_member": range(self.devices_per_member + 1, most + 1),
            "window": range(self.window - 1, 1, -1),
            "sketch_dim": range(SKETCH, SKETCH + self._can_be_sketched),
            "batch_size": range(self.batch_size - 1, 0, -1),
        }

        def changed(name, value):
            changes = {name: value}
            if name == "devices_per_member" and not cpu:
                changes["num_devices"] = self._groups * value
            return dataclasses.replace(self, **changes)

        ways = {}
        for name, values in candidates.items():
            place = bisect.bisect_left(
                values, True, key=lambda value: changed(name, value).total <= available
            )
            if place < len(values):
                ways[name] = changed(name, values[place])
        return ways

    def check(self, available: int | None) -> None:
        """Refuse a window that certainly does not fit.

        Args:
            available: bytes that there are, or None where nobody says.

        Raises:
            InputError: examples, weights and increments alone are more.
        """
        rows = self._exact_rows
        if available is None or LEAST * sum(rows.values()) <= available:
            return
        parts = ", ".join(f"{name} {_amount(value)}" for name, value in rows.items())
        raise invalid(
            f"a window of {self.window} updates of {self.sizes.num_parameters} parameters",
            f"needs {_amount(self.total)} of memory ({parts})",
            f"at most the {_amount(available)} that are free",
            "; or ".join(self._changes(available)) or "no single option makes it fit",
        )

    def table(self, available: int | None = None) -> str:
        """Return the rows as a text of at most 88 columns, and what would make the window fit.

        Args:
            available: bytes that there are, or None where nobody says.
        """
        rows, together = self.rows, self._side_by_side
        sizes = self.sizes
        sharing = f" over {self.devices_per_member} devices" * (self.devices_per_member > 1)
        kept = f"a sketch of {self.sketch_dim}" if self.sketch_dim else f"{sizes.num_parameters:,}"
        notes = {
            "examples": f"{sizes.num_examples:,} for training, {sizes.probe_size:,} of the probe",
            "weights": f"{self._members_of_a_device} members of {sizes.num_parameters:,} "
            "parameters, before and after",
            "increments": f"{together} at once x {self.window:,} updates x {kept}{sharing}",
            "copy": "of the increments, in a program of one member",
            "step": f"activations of {self.batch_size} examples{sharing}, gradient",
            "Gram": "matrices of the updates, with their analysis",
            "results": "what is measured",
        }
        shared = "which share a memory" if self.platform == "cpu" else "each of them"
        devices = f"{self.num_devices} x {self.platform}, {shared}"
        lines = [f"A window of {self.num_members} members on {devices}:"]
        lines += [
            f"  {name:<12}{_amount(rows[name]):>10}  {note}"
            for name, note in notes.items()
            if rows[name]
        ]
        lines.append(f"  {'in all':<12}{_amount(self.total):>10}  step or Gram, the larger one")
        if available is None:
            return "\n".join(lines)
        lines.append(f"  {'free':<12}{_amount(available):>10}")
        if self.total <= available:
            return "\n".join([*lines, "It fits."])
        changes = self._changes(available)
        lines.append("It does not fit. One of these makes it fit:" if changes else NOTHING)
        return "\n".join([*lines, *(f"  {change}" for change in changes)])

    def _changes(self, available: int) -> list[str]:
        """Return the ways out in words."""
        return [
            f"{name} {getattr(way, name)}"
            + f" ({way.num_devices} devices)" * (way.num_devices != self.num_devices)
            + f": {_amount(way.total)}"
            for name, way in self.ways_out(available).items()
        ]

    @property
    def _exact_rows(self):
        """The rows that are known without a look at the loss, which takes long to trace."""
        sizes, together = self.sizes, self._side_by_side
        paths = 1 + sizes.average + (sizes.twin and together > 1)
        return self._in_one_memory(
            {
                "examples": sizes.example_bytes,
                "weights": (2 * self._members_of_a_device + together) * sizes.carry_bytes,
                "increments": together * paths * self.window * self._increment_bytes,
            }
        )

    def _in_one_memory(self, rows):
        return {name: math.ceil(self.devices_in_one_memory * value) for name, value in rows.items()}

    @property
    def _groups(self):
        return max(1, self.num_devices // self.devices_per_member)

    @property
    def _members_of_a_device(self):
        return -(-self.num_members // self._groups)

    @property
    def _side_by_side(self):
        return min(self.members_at_once, self._members_of_a_device)

    @property
    def _can_be_sketched(self):
        large = self.sizes.num_parameters >= SKETCH
        return self.sketch_dim is None and not self.sizes.by_layer and large

    @property
    def _increment_bytes(self):
        """Bytes that a device keeps of one update of a member."""
        if self.sketch_dim is not None:
            return 4 * self.sketch_dim
        return self.sizes.increment_bytes / self.devices_per_member

    @property
    def _gram_bytes(self):
        """Bytes of a member on a device while Gram matrices are made and analyzed."""
        wide = 4 if self.platform == "tpu" else 8
        matrices = self.sizes.num_grams + COPIES
        return wide * matrices * self.window**2 + self.window * self._copied_bytes

    @property
    def _copied_bytes(self):
        """Bytes of an update of a member in the copies that the products of a Gram matrix need.

        TPUs multiply the increments as they are. A CPU transposes a block of them too, and where
        members run side by side it copies all blocks before it multiplies the first.
        """
        if self.platform == "tpu":
            return 0
        parts = self.devices_per_member
        largest = self.sketch_dim or self.sizes.largest_leaf / parts
        block = min(GRAM_BLOCK, largest)
        if self.platform != "cpu":
            return 8 * block
        every = self.sketch_dim or self.sizes.num_parameters / parts
        return 12 * (block if self._side_by_side == 1 else every)


def window_memory(
    problem: Problem,
    plan: Plan,
    *,
    optimizer: optax.GradientTransformation | None = None,
    measured: Mapping[str, jax.ShapeDtypeStruct] | None = None,
    members_at_once: IntegerLike | None = None,
    num_devices: IntegerLike = 1,
    devices_per_member: IntegerLike = 1,
    devices_in_one_memory: IntegerLike | None = None,
    platform: str = "cpu",
) -> WindowMemory:
    """Return the memory that a window needs, from shapes alone, for any number of devices.

    Nothing is compiled, and the devices need not be at hand. `WindowMemory.table` shows it.

    Args:
        problem: what SGD optimizes.
        plan: the members, and what their windows record.
        optimizer: in place of that of the plan (see `run_ensemble`).
        measured: shapes of what is measured of a window, with a leading axis of M members (see
            `Ensemble.values`); None leaves it out.
        members_at_once: as in `run_ensemble`.
        num_devices: among which the members are dealt out.
        devices_per_member: how many of them share a member.
        devices_in_one_memory: how many of them have one memory; by default all those of a CPU.
        platform: of the devices, "cpu", "gpu" or "tpu".

    Raises:
        InputError: a number is less than 1, or there are fewer devices than a member has.

    Notes:
        The total over the peak of compiled programs (JAX 0.10.2). On CPU, 0.6 to 1.8 for small
        networks (fully connected, ResNet-8; with an average, a twin, layers, a sketch, several
        devices, a probe). On accelerators, 0.93 to 1.05 for six ResNet-14 side by side (TPU v5e and
        v6e, H100), and for ResNet-18 and ViT-S on eight H100; 0.98 for one ResNet-14 with batches
        of 1024 on H100. Programs for v5e of a single member took 0.5 to 1.6 times their increments
        besides, for reasons of the compiler. The row "copy" stands for that: 0.81 for ResNet-18 on
        16 chips, 0.87 for ResNet-14 with batches of 1024, 1.26 for ViT-S on 16 chips.

    >>> import jax.numpy as jnp
    >>> line = Problem(
    ...     init=lambda key: ({"slope": jnp.zeros(1000)}, ()),
    ...     loss=lambda params, state, batch, train: (
    ...         jnp.mean((batch["x"] @ params["slope"]) ** 2), (state, None)),
    ...     examples={"x": jnp.ones((32, 1000))},
    ... )
    >>> window_memory(line, Plan(window=100, batch_size=8)).rows["increments"]
    400000
    """
    at_once = (
        default_members_at_once(plan.num_members, platform)
        if members_at_once is None
        else integer("members_at_once", members_at_once, 1)
    )
    together = integer("devices_per_member", devices_per_member, 1)
    present = integer("num_devices", num_devices, together, what="(devices_per_member or more)")
    if devices_in_one_memory is None:
        devices_in_one_memory = present if platform == "cpu" else 1
    return WindowMemory(
        plan.num_members,
        plan.window,
        plan.batch_size,
        plan.sketch_dim,
        at_once,
        present,
        together,
        integer("devices_in_one_memory", devices_in_one_memory, 1),
        platform,
        sizes_of(problem, plan, optimizer, measured or {}),
    )


def _amount(number: float) -> str:
    """Return bytes in words."""
    unit, name = (2**30, "GiB") if number >= 2**30 else (2**20, "MiB")
    return f"{number / unit:.{2 if unit == 2**30 else 1}f} {name}"
