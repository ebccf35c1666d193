"""Processes that work on a sweep: this one, others of this machine, or jobs of a cluster.

All do the same, and know nothing but the directory of the sweep. Jobs are submitted through
`submitit`, an optional package.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable
from typing import Annotated, Any, Literal

from experiments.interrupts import interruptibly
from experiments.options import Checked, within
from sgd_diffusion.errors import invalid

LAUNCHING = ("launcher", "workers", "partition", "hours", "gpus", "cpus")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaunchOptions(Checked):
    """Which processes work on a sweep."""

    launcher: Literal["none", "local", "slurm"] = "none"
    """none: this process; local: so many others on this machine; slurm: jobs of a cluster."""
    workers: Annotated[int, *within(1, 10_000)] = 2
    """Processes or jobs; each takes one cell after the other."""
    partition: str | None = None
    """Partition of the cluster for the jobs; its default if not given."""
    hours: Annotated[float, *within(0.01, 10_000)] = 24.0
    """After which a job is stopped. A job that is stopped is submitted again."""
    gpus: Annotated[int, *within(0, 64)] = 0
    """GPUs of a job."""
    cpus: Annotated[int, *within(1, 1024)] = 2
    """Cores of a job."""


class Worker:
    """What a job does, and does again when the cluster stops it.

    Args:
        work: function of a module, that takes the arguments.
        arguments: plain values.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any):
        self.work, self.arguments = work, arguments

    def __call__(self) -> None:
        """Work in a thread, so that the main one hears when the cluster stops the job."""
        interruptibly(lambda: self.work(*self.arguments))

    def checkpoint(self) -> Any:
        """Return what is submitted when the job was stopped; `submitit` asks for it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def executor(options: LaunchOptions) -> Callable[[pathlib.Path], Any]:
    """Return what makes an executor that submits jobs, from the folder for what the jobs say.

    Raises:
        InputError: `submitit` is not installed, or this machine submits to no such cluster.
    """
    try:
        import submitit
    except ImportError as error:
        raise invalid(
            "--launcher",
            f"is {options.launcher!r} and submitit is not installed",
            "an installed submitit",
            "pip install '.[cluster]', or start the same command several times",
        ) from error
    if options.launcher == "slurm" and shutil.which("sbatch") is None:
        raise invalid(
            "--launcher",
            "is 'slurm', and there is no sbatch here",
            "a machine that submits to Slurm",
            "start the same command several times, in the way that your cluster has",
        )

    def make(logs: pathlib.Path) -> Any:
        made = submitit.AutoExecutor(folder=logs, cluster=options.launcher)
        partition = {"slurm_partition": options.partition} if options.partition else {}
        made.update_parameters(
            name="sweep",
            timeout_min=max(1, round(60 * options.hours)),
            gpus_per_node=options.gpus,
            cpus_per_task=options.cpus,
            **partition,
        )
        return made

    return make
