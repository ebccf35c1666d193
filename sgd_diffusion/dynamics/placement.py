"""Where the members of an ensemble are: dealt out over devices, of one process or of several."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sgd_diffusion._arrays import integer
from sgd_diffusion._platforms import platform
from sgd_diffusion._processes import Processes
from sgd_diffusion._pytrees import is_key, on_host, with_keys_of
from sgd_diffusion._types import IntegerLike, PyTree
from sgd_diffusion.dynamics.members import MEMBERS, map_members
from sgd_diffusion.dynamics.shards import SHARDS
from sgd_diffusion.errors import invalid

__all__ = ["Placement"]


class Placement:
    """How M members are dealt out over devices, in equal parts.

    Where M is no multiple of the groups of devices, the last member is run again on those that
    would be left over. A pytree that is dealt out has these surplus members too.

    Args:
        num_members: M.
        devices: of one process or of all; None for JAX's default one.
        devices_per_member: how many of them, one after the other, share a member (see `shards`).

    Attributes:
        groups: number of groups of devices, which run members at the same time.
        devices_per_member: number of devices in a group.
        device: one of those of this process.
        processes: that own the devices.
        platform: of the devices.

    Raises:
        InputError: the devices belong to some of several processes, or cannot be grouped so.
    """

    def __init__(
        self,
        num_members: int,
        devices: Sequence[jax.Device] | None = None,
        *,
        devices_per_member: IntegerLike = 1,
    ):
        self.processes = Processes(devices)
        self._members = num_members
        self._devices = jax.local_devices()[:1] if devices is None else list(devices)
        together = integer("devices_per_member", devices_per_member, 1)
        self.devices_per_member = together
        if len(self._devices) % together:
            raise invalid(
                "devices_per_member",
                f"is {together} for {len(self._devices)} devices",
                "a divisor of their number",
            )
        self.groups = len(self._devices) // together
        self._mesh = None
        if devices is not None:
            grid = np.asarray(self._devices)
            self._mesh = (
                Mesh(grid, (MEMBERS,))
                if together == 1
                else Mesh(grid.reshape(self.groups, together), (MEMBERS, SHARDS))
            )
        self._surplus = -num_members % self.groups
        self._own = [each for each in self._devices if each.process_index == jax.process_index()]
        self.device = self._own[0]
        self.platform = platform() if devices is None else self.device.platform

    @property
    def members_in_one_memory(self) -> int:
        """Return how many members have one memory: those of a device, or of the CPU."""
        return (self._members + self._surplus) // self.groups * self.devices_in_one_memory

    @property
    def devices_in_one_memory(self) -> int:
        """Return how many devices have one memory: those of a CPU."""
        return len(self._own) if self.device.platform == "cpu" else 1

    def program(self, function: Callable[..., Any], members_at_once: IntegerLike) -> Any:
        """Return the jitted program that maps `function(shared, member)` over members.

        They are dealt out, and so are its results. See `map_members`.
        """
        mapped = map_members(function, members_at_once=members_at_once, mesh=self._mesh)
        return jax.jit(mapped, out_shardings=self._sharding(MEMBERS))

    def deal(self, tree: PyTree) -> PyTree:
        """Return a pytree with a leading axis of M members dealt out, for the program.

        One that is dealt out already stays as it is. All processes give the same one. Of shapes in
        place of arrays, the shapes that they have then are returned.
        """

        def with_surplus(leaf):
            if not self._surplus or self._is_placed(leaf, MEMBERS):
                return leaf
            if isinstance(leaf, jax.ShapeDtypeStruct):
                return leaf.update(shape=(self._members + self._surplus, *leaf.shape[1:]))
            host = on_host(leaf)
            return with_keys_of(leaf, np.concatenate([host, *[host[-1:]] * self._surplus]))

        return self._placed(jax.tree.map(with_surplus, tree), MEMBERS)

    def copy(self, tree: PyTree) -> PyTree:
        """Return a pytree with a copy on every device. All processes give the same one."""
        return self._placed(tree)

    def collect(self, tree: PyTree) -> PyTree:
        """Return a pytree that is dealt out with its M members on the host, in all processes."""

        def collect(leaf):
            numbers = jax.random.key_data(leaf) if is_key(leaf) else leaf
            if not numbers.is_fully_addressable:
                numbers = multihost_utils.process_allgather(numbers, tiled=True)
            return with_keys_of(leaf, np.asarray(numbers)[: self._members])

        return jax.tree.map(collect, tree)

    def _placed(self, tree, *axes):
        sharding = self._sharding(*axes)

        def place(leaf):
            if isinstance(leaf, jax.ShapeDtypeStruct):
                return leaf.update(sharding=sharding)
            if self._mesh is None:
                return jnp.asarray(leaf)
            if self._is_placed(leaf, *axes):
                return leaf
            if not self.processes.several:
                return jax.device_put(leaf, sharding)
            host = on_host(leaf)
            placed = jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
            return with_keys_of(leaf, placed)

        return jax.tree.map(place, tree)

    def _is_placed(self, leaf, *axes):
        return isinstance(leaf, jax.Array) and leaf.sharding == self._sharding(*axes)

    def _sharding(self, *axes):
        return None if self._mesh is None else NamedSharding(self._mesh, PartitionSpec(*axes))
