"""Where an ensemble stands, on disk: the carries after each of the last few windows, verified when they are read."""

import hashlib
import pathlib
import warnings

import jax
import numpy as np
import orbax.checkpoint as ocp

from sgd_diffusion.dynamics.sgd import Carry
from sgd_diffusion.errors import StorageError
from sgd_diffusion.results import DamagedResultsWarning

KEPT = 3


class Checkpoints:
    """The newest checkpoints of a run directory; each is complete under its name or absent (Orbax renames it last)."""

    def __init__(self, directory: pathlib.Path):
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False, create=True)
        try:
            self._manager = ocp.CheckpointManager(directory.resolve(), options=options)
        except OSError as error:
            raise StorageError(f"Cannot use {directory}: {error}. Choose another directory.") from error
        self._directory = directory

    def save(self, windows: int, carry: Carry) -> None:
        """Keep the carry after so many windows.

        Raises:
          StorageError: if it cannot be written.
        """
        content = ocp.args.Composite(carry=ocp.args.StandardSave(_named_leaves(carry)),
                                     digest=ocp.args.JsonSave({"sha256": _digest(carry)}))
        try:
            self._manager.save(windows, args=content, force=True)
        except (OSError, ValueError) as error:
            raise StorageError(f"Cannot write a checkpoint to {self._directory}: {error}. The finished windows stay "
                               "readable; free some space and continue with resume (--resume).") from error

    def restore(self, like: Carry, *, at_most: int) -> tuple[int, Carry] | None:
        """The newest sound checkpoint after at most so many windows, with their number; None if there is none.

        All others that are newer are deleted, so that the run can go on from this one.

        Warns:
          DamagedResultsWarning: for every newer checkpoint that cannot be read or fails its digest.
        """
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, _named_leaves(like))
        content = ocp.args.Composite(carry=ocp.args.StandardRestore(template), digest=ocp.args.JsonRestore())
        for windows in sorted(self._manager.all_steps(), reverse=True):
            if windows > at_most:
                self._manager.delete(windows)
                continue
            try:
                restored = self._manager.restore(windows, args=content)
                carry = jax.tree.unflatten(jax.tree.structure(like), list(restored.carry.values()))
                if _digest(carry) != restored.digest["sha256"]:
                    raise ValueError("its content does not match its digest")
            except Exception as error:  # a damaged file surfaces as nearly anything from inside Orbax
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                warnings.warn(f"The checkpoint after {windows} windows in {self._directory} is damaged ({reason[:200]}); an "
                              "earlier one is used.", DamagedResultsWarning, stacklevel=2)
                self._manager.delete(windows)
                continue
            return windows, carry
        return None

    def close(self) -> None:
        """Let go of the directory."""
        self._manager.close()


def _named_leaves(carry: Carry) -> dict[str, jax.Array]:
    """The leaves under names that sort in tree order, so that no container type enters the files."""
    return {f"{number:06d}": leaf for number, leaf in enumerate(jax.tree.leaves(carry))}


def _digest(carry: Carry) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(carry):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array)
    return digest.hexdigest()
