"""One member on several devices: its batches and its increments are spread over them.

The devices of a member are an axis of the mesh that XLA distributes by itself (it is "auto"). So a
loss needs to know nothing of it: every device gets a part of each batch, and batch norm, gradients
and everything else are those of the whole batch, up to the order of sums. Weights have a copy on
every device. Increments do not: each device keeps its part of the coordinates for the Gram matrix.
"""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from sgd_diffusion._types import PyTree
from sgd_diffusion.analysis.gram import increment_gram

__all__ = ["SHARDS", "cut", "gram_of_shards", "spread"]

SHARDS = "shards"
"""Axis of a mesh along which the devices of one member lie."""


def shards() -> int:
    """Return how many devices the member has whose program is traced."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[SHARDS] if SHARDS in mesh.axis_names else 1


def spread(tree: PyTree) -> PyTree:
    """Spread arrays along their first axis over the devices of the member."""
    if shards() == 1:
        return tree
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, PartitionSpec(SHARDS)), tree
    )


def cut(increment: PyTree) -> PyTree:
    """Return vectors cut into parts of equal length (shards, ...), which are spread.

    Zeros fill the last part. A member on one device keeps its vectors as they are.
    """
    count = shards()
    if count == 1:
        return increment
    return spread(
        jax.tree.map(
            lambda leaf: jnp.pad(leaf, (0, -leaf.size % count)).reshape(count, -1), increment
        )
    )


def gram_of_shards(increments: PyTree) -> Float[Array, "step step"]:
    """Return `increment_gram` of increments that are kept so: the sum of those of the devices."""
    if shards() == 1:
        return increment_gram(increments)

    def of_one(increments):
        gram = increment_gram(increments)
        with jax.enable_x64(True):
            return jax.lax.psum(gram, SHARDS)

    return jax.shard_map(
        of_one,
        in_specs=PartitionSpec(None, SHARDS),
        out_specs=PartitionSpec(),
        axis_names={SHARDS},
        check_vma=False,
    )(increments)
