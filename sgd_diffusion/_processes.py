"""The processes that work on something together, each on devices of its own.

JAX joins the processes of a job (`jax.distributed.initialize`). All of them run the same program,
and a program over the devices of all runs only when all start it. Files belong to the first
process: it reads and writes them, and what it found or what stopped it reaches all others. So they
go on together or stop together.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from sgd_diffusion.errors import invalid

__all__ = ["Processes"]

Found = TypeVar("Found")
PIECE = 2**28  # bytes that travel at once


class Processes:
    """The processes that own some devices: this one alone, or all that JAX has joined.

    Args:
        devices: of the program; None for those of this process.

    Attributes:
        several: whether there are others.
        first: whether this one is the first, whose files they are.

    Raises:
        InputError: the devices are those of another process, or of some processes of several.
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        owners = {device.process_index for device in devices or jax.local_devices()}
        self.several = len(owners) > 1
        self.first = not self.several or jax.process_index() == 0
        present = set(range(jax.process_count()))
        if owners != {jax.process_index()} and owners != present:
            raise invalid(
                "devices",
                f"belong to the processes {sorted(owners)} of {len(present)}",
                "those of this process (jax.local_devices()) or of all (jax.devices())",
            )

    def by_first(self, name: str, work: Callable[[], Found]) -> Found:
        """Let the first process do something, and return in all what it returned.

        Args:
            name: of the moment. All processes come here under the same name.
            work: what is done; its result can be pickled.

        Raises:
            Exception: what `work` raised in the first process, in all of them.
        """
        if not self.several:
            return work()
        outcome = _tried(work) if self.first else None
        return _given_back(_spread(name, outcome, self.first))

    def by_all(self, name: str, work: Callable[[], Found]) -> Found:
        """Do something in every process, and return what it returned here.

        Args:
            name: of the moment. All processes come here under the same name.
            work: what is done.

        Raises:
            Exception: what `work` raised, or what it raised in another process.
        """
        if not self.several:
            return work()
        done, result = _tried(work)
        multihost_utils.sync_global_devices(name)
        failed = np.flatnonzero(~multihost_utils.process_allgather(np.array(done)))
        if len(failed):
            source = jax.process_index() == failed[0]
            _given_back(_spread(f"{name}, failed", (done, result) if source else None, source))
        return result

    @contextlib.contextmanager
    def held_by_first(
        self, name: str, context: Callable[[], contextlib.AbstractContextManager[Any]]
    ) -> Iterator[None]:
        """Let the first process hold something while the context lasts in all of them."""
        with contextlib.ExitStack() as stack:

            def enter():
                stack.enter_context(context())

            self.by_first(name, enter)
            yield


def _tried(work):
    """Return whether something could be done, and its result or what stopped it."""
    try:
        return True, work()
    except Exception as error:
        return False, error


def _given_back(outcome):
    done, result = outcome
    if not done:
        raise result
    return result


def _spread(name, value, is_source):
    """Return a value of one process in all of them. The others give None."""
    multihost_utils.sync_global_devices(name)
    content = np.frombuffer(pickle.dumps(value), np.uint8) if is_source else np.empty(0, np.uint8)
    size = np.array(divmod(content.size, PIECE), np.int32)
    pieces, rest = multihost_utils.broadcast_one_to_all(size, is_source)
    lengths = [PIECE] * int(pieces) + [int(rest)]
    if not is_source:
        content = np.zeros(sum(lengths), np.uint8)
    ends = np.cumsum(lengths)
    found = [
        multihost_utils.broadcast_one_to_all(content[end - length : end], is_source)
        for end, length in zip(ends, lengths, strict=True)
        if length
    ]
    return pickle.loads(np.concatenate(found).tobytes())
