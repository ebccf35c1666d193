"""Processes of one job that train together: the options that name them, and how they join."""

import contextlib
import dataclasses
import os
import sys
from typing import Annotated

import tyro

from experiments import progress
from experiments.options import Checked, within
from experiments.output import Output
from sgd_diffusion.errors import InputError, StorageError, invalid

JOB = ("distributed", "coordinator", "num_processes", "process_id")
"""Options that say which processes there are, not what they do."""
HEARTBEAT = 20  # seconds after which the others know that a process is gone
PATIENCE = 120  # seconds that a process waits for the others at the start, and at the end


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobOptions(Checked):
    """Which processes train together."""

    distributed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Train together with the other processes of this job: the same command is started once for
    each of them. JAX finds them under SLURM, Open MPI and on TPU pods.
    """
    coordinator: str | None = None
    """Elsewhere: HOST:PORT of the first process, with --num-processes and --process-id."""
    num_processes: Annotated[int | None, *within(1, 100_000)] = None
    """How many processes there are."""
    process_id: Annotated[int | None, *within(0, 99_999)] = None
    """Which one this is, from 0; the first one has the files."""

    def check(self) -> None:
        """Refuse processes that are named in part."""
        super().check()
        named = {name: getattr(self, name) for name in JOB[1:]}
        given = {name: value for name, value in named.items() if value is not None}
        if given and not self.distributed:
            raise invalid(
                f"--{min(given).replace('_', '-')}",
                "was given without --distributed",
                "both, or none",
            )
        if given and len(given) < len(named):
            raise invalid(
                "--distributed",
                f"was given with {' and '.join(f'--{name}'.replace('_', '-') for name in given)}",
                "all of --coordinator, --num-processes and --process-id, or none of them",
            )
        if self.num_processes is not None and self.process_id >= self.num_processes:
            raise invalid(
                "--process-id",
                f"is {self.process_id}",
                f"0 to {self.num_processes - 1}, since --num-processes is {self.num_processes}",
            )


def join(options: Checked) -> None:
    """Let this process join its job, if it is one of several. Only the first one is heard then.

    Raises:
        InputError: there is no job, or its first process is not found.
    """
    if not getattr(options, "distributed", False):
        return
    import jax

    try:
        jax.distributed.initialize(
            options.coordinator,
            options.num_processes,
            options.process_id,
            initialization_timeout=PATIENCE,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        raise invalid(
            "--distributed",
            f"was given, and this process cannot join a job ({str(error).splitlines()[0][:200]})",
            "a process that was started by SLURM, Open MPI or on a TPU pod",
            "elsewhere give --coordinator HOST:PORT --num-processes N --process-id I",
        ) from error
    if jax.process_index() > 0:
        progress.STYLE["disable"] = True
        sys.stdout = Output(None)


def name_in_job() -> str:
    """Return what a message begins with, in processes that are not the first of a job."""
    import jax

    if not jax.distributed.is_initialized() or jax.process_index() == 0:
        return ""
    return f"process {jax.process_index()} of {jax.process_count()}: "


def leave_to_first() -> None:
    """End all processes of a job but the first, which goes on alone.

    Raises:
        SystemExit: in the others, with code 0.
    """
    import jax

    if not jax.distributed.is_initialized():
        return
    jax.distributed.shutdown()  # when all have come here
    if jax.process_index() > 0:
        sys.exit(0)


@contextlib.contextmanager
def ending_together():
    """End this process at once when something goes wrong in a job, so that the others learn of it.

    Otherwise it would wait for them at its end, and they for it.
    """
    try:
        yield
    except Exception as error:
        import jax

        if not jax.distributed.is_initialized() or isinstance(error, InputError | StorageError):
            raise  # those that have a message reach all of them
        sys.excepthook(*sys.exc_info())
        print(
            "The processes of this job cannot go on together: this one or another has ended. "
            "Finished windows are kept: start all again with --resume --directory DIR.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)
