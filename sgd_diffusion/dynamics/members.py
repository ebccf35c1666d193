"""The members of an ensemble: their keys, and how a function is mapped over them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, PartitionSpec

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import IntegerLike, Key

__all__ = ["MEMBERS", "MemberKeys", "default_members_at_once", "map_members", "member_keys"]

MEMBERS = "members"
"""Axis of a mesh among whose devices members are dealt out."""


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
        not been measured there yet (`python -m experiments.benchmarks.accelerator` does that).
    """
    return 1 if platform == "cpu" else num_members


def map_members(
    function: Callable[..., Any],
    *,
    members_at_once: IntegerLike,
    mesh: Mesh | None = None,
) -> Callable[..., Any]:
    """Return a function that maps `function(shared, member)` over the leading axis of the members.

    Args:
        function: takes a pytree that all members share and one of the member's own, and returns a
            pytree of arrays.
        members_at_once: members that run side by side on a device. 1 is `lax.map`, all of them is
            `vmap`. In between, groups of so many are vmapped one after the other.
        mesh: of the devices among which members are dealt out in equal parts, along its axis
            `MEMBERS`; None for the default device. XLA distributes the work along other axes.

    Returns:
        `mapped(shared, members)`; with a mesh, for a multiple of the size of that axis.

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

    if mesh is None:
        return on_one_device
    return jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(MEMBERS)),
        out_specs=PartitionSpec(MEMBERS),
        axis_names={MEMBERS},
        check_vma=False,
    )
