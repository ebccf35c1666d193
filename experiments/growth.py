"""Members that are added to a run: each group of them is a run of its own, within the directory.

The groups are in `added/NNNNN`. Their windows and checkpoints are as safe as those of any run, and
the files of the run itself stay as they are.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.errors import StorageError
from sgd_diffusion.storage.run_directories import RunDirectory


class Group(NamedTuple):
    """Members that are trained together, after those of the run.

    Attributes:
        directory: of their run.
        plan: their members.
    """

    directory: pathlib.Path
    plan: Plan


def groups(
    directory: pathlib.Path,
    plan: Plan,
    seeds: Sequence[int] = (),
    learning_rates: Sequence[float] = (),
) -> Iterator[Group]:
    """Yield the groups that a run has already, then those that are still to be added.

    New seeds are added with all learning rates so far, then new learning rates with all seeds.

    Args:
        directory: of the run.
        plan: of the run, when it began.
        seeds: to be added; those that the run has are passed over.
        learning_rates: the same.

    Raises:
        StorageError: a group cannot be read.
    """
    members, found = plan, RunDirectory(directory).added()
    for path in found:
        group = _stored(path, plan)
        members = _joined(members, group)
        yield Group(path, group)
    number = max((int(path.name) for path in found if path.name.isdigit()), default=0)
    for name, wanted in (("seeds", seeds), ("learning_rates", learning_rates)):
        present = getattr(members, name)
        new = tuple(value for value in wanted if value not in present)
        if not new:
            continue
        group = dataclasses.replace(members, **{name: new})
        members = _joined(members, group)
        number += 1
        yield Group(directory / "added" / f"{number:05d}", group)


def _joined(members: Plan, group: Plan) -> Plan:
    """Return the plan of the members of both."""
    names = ("seeds", "learning_rates")
    both = {name: dict.fromkeys((*getattr(members, name), *getattr(group, name))) for name in names}
    return dataclasses.replace(members, **{name: tuple(values) for name, values in both.items()})


def _stored(path: pathlib.Path, plan: Plan) -> Plan:
    """Return the plan of a group: that of the run, for other members."""
    stored = (RunDirectory(path).configuration() or {}).get("plan") or {}
    try:
        return dataclasses.replace(
            plan, seeds=stored["seeds"], learning_rates=stored["learning_rates"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{path / 'config.json'} cannot be read, which says which members were added to the "
            "run. Put a copy of it back, or move this directory away and add them again."
        ) from error
