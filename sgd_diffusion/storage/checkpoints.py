"""Where an ensemble stands, on disk: the carries after the last few windows, verified when read."""

import hashlib
import pathlib
import shutil
import warnings
from collections.abc import Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp

from sgd_diffusion._pytrees import is_key, on_host, with_keys_of
from sgd_diffusion._types import PyTree
from sgd_diffusion.errors import StorageError, invalid
from sgd_diffusion.storage.run_directories import DamagedResultsWarning

__all__ = ["KEPT", "Checkpoints", "check_storable", "described", "digest"]

KEPT = 3
"""How many checkpoints stay on disk."""

# Orbax keeps the checkpoints whose numbers are multiples of this; no other number is one than 0.
_ONLY_THE_START = 2**31


def check_storable(carry: PyTree) -> None:
    """Refuse a carry that no checkpoint can hold.

    Args:
        carry: a pytree of arrays or of their shapes.

    Raises:
        InputError: a type has no whole bytes.
    """
    for path, leaf in jax.tree.leaves_with_path(carry):
        if not is_key(leaf) and (
            leaf.dtype.itemsize * 8 != jax.dtypes.itemsize_bits(leaf.dtype) and leaf.dtype != bool
        ):
            raise invalid(
                jax.tree_util.keystr(path, simple=True, separator="."),
                f"is {leaf.dtype}",
                "a type of whole bytes, which checkpoints hold",
                "convert it, for example to int8",
            )


class Checkpoints:
    """The newest checkpoints of a run directory.

    Each is complete under its name or absent, since Orbax renames it last.

    Args:
        directory: where they are.
        run: what they belong to. It tells a checkpoint of another run, or of another number of
            windows.
        keep_start: keep the one before the first window for good, beside the newest.
        read_only: change nothing, for the directory of another run, which may be going on.

    Raises:
        StorageError: the directory cannot be used.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        run: str = "",
        *,
        keep_start: bool = False,
        read_only: bool = False,
    ):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT,
            # Orbax asks all processes of a job otherwise.
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=jax.process_index(), active_processes={jax.process_index()}
            ),
            keep_period=_ONLY_THE_START if keep_start else None,
            enable_async_checkpointing=False,
            create=False,
        )
        try:
            if not read_only:
                directory.mkdir(parents=True, exist_ok=True)
                _remove_unfinished(directory)
            self._manager = ocp.CheckpointManager(
                directory.resolve(),
                options=options,
                item_handlers={
                    "carry": ocp.StandardCheckpointHandler(),
                    "digest": ocp.JsonCheckpointHandler(),
                },
            )
        except OSError as error:
            raise StorageError(
                f"Cannot use {directory}: {error}. Choose another directory."
            ) from error
        self._directory, self._run, self._read_only = directory, run, read_only

    def save(self, windows: int, carry: PyTree) -> None:
        """Keep the carry after so many windows.

        Raises:
            StorageError: it cannot be written.
        """
        facts = {
            "sha256": digest(carry),
            "identity": self._identity(windows),
            "arrays": described(carry),
        }
        content = ocp.args.Composite(
            carry=ocp.args.StandardSave(_named_leaves(carry)), digest=ocp.args.JsonSave(facts)
        )
        try:
            self._manager.save(windows, args=content, force=True)
        except (OSError, ValueError) as error:
            raise StorageError(
                f"Cannot write a checkpoint to {self._directory}: {error}. The finished windows "
                "stay readable; free some space and continue with resume (--resume)."
            ) from error

    def save_start(self, carry: PyTree) -> None:
        """Keep the carry before the first window, if there is no checkpoint yet.

        So what cannot be kept shows before the run trains.
        """
        if not self._manager.all_steps():
            self.save(0, carry)

    def arrays(self) -> list[str] | None:
        """Return what the newest checkpoint says of its arrays (see `described`).

        It is None if there is no checkpoint, or none that says so.
        """
        newest = self._manager.latest_step()
        if newest is None:
            return None
        content = ocp.args.Composite(digest=ocp.args.JsonRestore())
        try:
            return self._manager.restore(newest, args=content).digest.get("arrays")
        except Exception:  # Orbax raises nearly anything for a damaged file; `restore` says it
            return None

    def restore(self, like: PyTree, *, at_most: int | None = None) -> tuple[int, PyTree] | None:
        """Return the newest sound checkpoint after at most so many windows, with their number.

        All others that are newer are deleted, unless this is read-only, so that the run can go on
        from this one.

        Returns:
            The number of windows and the carry; None if there is no sound checkpoint.

        Warns:
            DamagedResultsWarning: for every newer checkpoint that cannot be read, fails its digest,
                or is of another run.
        """
        template = _named_leaves(like)
        content = ocp.args.Composite(
            carry=ocp.args.StandardRestore(template), digest=ocp.args.JsonRestore()
        )
        for windows in sorted(self._manager.all_steps(), reverse=True):
            if at_most is not None and windows > at_most:
                self._delete(windows)
                continue
            try:
                self._check_shapes(windows, template)
                restored = self._manager.restore(windows, args=content)
                carry = _with_leaves(like, restored.carry)
                if digest(carry) != restored.digest["sha256"]:
                    raise ValueError("its content does not match its digest")
                if restored.digest.get("identity", self._identity(windows)) != self._identity(
                    windows
                ):
                    raise ValueError("it is of another run, or after another window")
            except Exception as error:  # Orbax raises nearly anything for a damaged file
                reason = (
                    str(error).strip().splitlines()[0]
                    if str(error).strip()
                    else type(error).__name__
                )
                warnings.warn(
                    f"The checkpoint after {windows} windows in {self._directory} is damaged "
                    f"({reason[:200]}); an earlier one is used.",
                    DamagedResultsWarning,
                    stacklevel=2,
                )
                self._delete(windows)
                continue
            return windows, carry
        return None

    def close(self) -> None:
        """Let go of the directory."""
        self._manager.close()

    def _check_shapes(self, windows: int, template: Mapping[str, np.ndarray]) -> None:
        """Refuse a checkpoint of other shapes, which Orbax begins to read and then leaves."""
        found = self._manager.item_metadata(windows)["carry"]
        if found is not None and {name: leaf.shape for name, leaf in found.items()} != {
            name: leaf.shape for name, leaf in template.items()
        }:
            raise ValueError("its arrays have other shapes")

    def _delete(self, windows: int) -> None:
        if not self._read_only:
            self._manager.delete(windows)

    def _identity(self, windows: int) -> str:
        return f"after {windows} windows of {self._run}"


def _remove_unfinished(directory: pathlib.Path) -> None:
    """Delete what a process left that was killed while it wrote; it never was a checkpoint."""
    for path in directory.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)


def _named_leaves(carry: PyTree) -> dict[str, np.ndarray]:
    """Return the leaves under names that sort in tree order, so files know no container types.

    Random keys become their numbers. Arrays without entries are left out, since Orbax refuses them.
    """
    return {
        f"{number:06d}": on_host(leaf)
        for number, leaf in enumerate(jax.tree.leaves(carry))
        if leaf.size
    }


def _with_leaves(like: PyTree, named: Mapping[str, np.ndarray]) -> PyTree:
    """Return the inverse of `_named_leaves`.

    The kinds of random keys and the arrays without entries are those of `like`. All are on the
    host, since the run may go on with other devices.
    """

    def restored(number, leaf):
        if not leaf.size:
            return leaf
        return with_keys_of(leaf, np.asarray(named[f"{number:06d}"]))

    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(
        structure, [restored(number, leaf) for number, leaf in enumerate(leaves)]
    )


def described(carry: PyTree) -> list[str]:
    """Return the name, dtype and shape of every array of a pytree, in order, as text."""
    return [
        f"{jax.tree_util.keystr(path, simple=True, separator='.')} {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(carry)
    ]


def digest(carry: PyTree) -> str:
    """Return the SHA-256 of the arrays of a pytree, in order."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(carry):
        array = np.ascontiguousarray(on_host(leaf))
        found.update(f"{leaf.dtype if is_key(leaf) else array.dtype}{array.shape}".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()
