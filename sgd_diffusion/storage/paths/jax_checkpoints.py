"""Checkpoints of flax (`.msgpack`) and of Orbax (directories), which are read as a whole."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from sgd_diffusion._memory import check_memory
from sgd_diffusion.errors import invalid
from sgd_diffusion.storage.paths.leaves import named_arrays
from sgd_diffusion.storage.paths.stored_path import Arrays, reading

__all__ = ["is_orbax", "open_msgpack", "open_orbax", "orbax_item"]

MSGPACK = "a pytree of arrays as flax.serialization.to_bytes or msgpack_serialize writes it"
ORBAX = "a checkpoint that Orbax has finished"
METADATA = "_METADATA"  # what every checkpoint of a pytree has
CHECKPOINT = "_CHECKPOINT_METADATA"  # what a checkpoint of several items has
UNFINISHED = ".orbax-checkpoint-tmp"


@contextlib.contextmanager
def open_msgpack(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the arrays of a file of flax by their names.

    Raises:
        InputError: the file cannot be read, or does not fit into the memory.
    """
    from flax import serialization

    with reading(path, MSGPACK):
        check_memory(2 * path.stat().st_size, str(path), "use a machine with more", "host")
        arrays = named_arrays(serialization.msgpack_restore(path.read_bytes()))
    yield arrays


@contextlib.contextmanager
def open_orbax(path: pathlib.Path) -> Iterator[Arrays]:
    """Yield the arrays of a checkpoint of Orbax by their names, as NumPy arrays.

    Raises:
        InputError: the checkpoint cannot be read, or does not fit into the memory.
    """
    import orbax.checkpoint as ocp
    from etils import epath  # Orbax brings it, and takes no other paths here

    item = orbax_item(path)
    with reading(path, ORBAX):
        handler = ocp.PyTreeCheckpointHandler()
        tree: Any = handler.metadata(epath.Path(item.absolute())).tree
        needed = sum(
            np.prod(leaf.shape, dtype=float) * leaf.dtype.itemsize
            for leaf in named_arrays(tree).values()
        )
        check_memory(2 * needed, str(path), "use a machine with more", "host")
        to_numpy = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        restore = ocp.args.PyTreeRestore(restore_args=to_numpy)
        arrays = named_arrays(handler.restore(epath.Path(item.absolute()), args=restore))
    yield arrays


def is_orbax(path: pathlib.Path) -> bool:
    """Return whether a directory is a checkpoint of Orbax, or holds items that are."""
    if (path / METADATA).is_file():
        return True
    return (path / CHECKPOINT).is_file() and any(path.glob(f"*/{METADATA}"))


def orbax_item(path: pathlib.Path) -> pathlib.Path:
    """Return the directory of the pytree in a checkpoint.

    Raises:
        InputError: there are several, and none is called "default".
    """
    if (path / METADATA).is_file():
        return path
    items = sorted(found.parent for found in path.glob(f"*/{METADATA}"))
    if path / "default" in items:
        return path / "default"
    if len(items) != 1:
        names = ", ".join(item.name for item in items) or "none"
        raise invalid(
            str(path),
            f"has the items {names}",
            "one, or one that is called default",
            "give a pattern in quotes, such as 'DIR/*/params'",
        )
    return items[0]
