"""Where members start that do not start at `Problem.init`: where those of another run stand."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from sgd_diffusion._platforms import host
from sgd_diffusion._pytrees import on_host, with_keys_of
from sgd_diffusion._types import PyTree
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.sgd import ALIVE, Carry
from sgd_diffusion.dynamics.step_rules import step_rule
from sgd_diffusion.errors import InputError, StorageError, invalid
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.storage.checkpoints import Checkpoints, described, digest
from sgd_diffusion.storage.run_directories import RunDirectory, digest_of

__all__ = ["ARGUMENT", "StartingPoints", "check_another", "first_points", "last_points"]

ARGUMENT = "start_from (--start-from)"
"""What messages call the directory of the other run, in the library and on the command line."""

OPTIMIZER_STATE = "optimizer_state"
ARRAY = re.compile(r".* (?P<dtype>\w+)\[(?P<shape>[\d, ]*)\]")  # see `checkpoints.described`


class StartingPoints(NamedTuple):
    """Where the M members of an ensemble start.

    Attributes:
        params: pytree of arrays like the parameters, with a leading axis of M.
        state: the same of the problem's state.
        facts: JSON-like: the run that they are from, the number of its updates, and the SHA-256 of
            parameters and states.
    """

    params: PyTree
    state: PyTree
    facts: dict[str, Any]


def last_points(directory: str | os.PathLike, problem: Problem, plan: Plan) -> StartingPoints:
    """Return the points at the newest checkpoint of a run, for the members of another ensemble.

    Every member gets the point of the member of the same seed, and of the same learning rate. If
    the run has a single learning rate, it gives the points of all. Members that were added to the
    run count once they have as many windows as the run.

    Args:
        directory: of the run, which may be finished or not; it is only read.
        problem: what the ensemble optimizes; its parameters and state have the names and shapes of
            those of the run.
        plan: of the ensemble.

    Raises:
        InputError: the directory holds no run of an ensemble, no checkpoint, another model, not all
            of the members, or one of these has diverged.

    Warns:
        DamagedResultsWarning: a checkpoint is damaged, and an earlier one is used.
    """
    run = RunDirectory(directory)
    source, newest = _plan(run), _restored(run, problem)
    if newest is None:
        raise invalid(
            ARGUMENT,
            f"is {str(run.path)!r}, which holds no checkpoint that can be read",
            "a run that was begun, of the same model",
            "choose another run, or continue that one with resume (--resume)",
        )
    windows, carry = newest
    plans, carries = [source], [carry]
    later = ""
    for added in map(RunDirectory, run.added()):
        found = _restored(added, problem, at_most=windows)
        if found is not None and found[0] == windows:
            plans.append(_plan(added))
            carries.append(found[1])
        else:
            later = "; continue that run with resume (--resume), some of its members are behind"
    rows = _rows(run.path, plans, plan, later)
    params, state, stopped = jax.tree.map(
        lambda *leaves: _chosen(leaves, rows),
        *((carry.params, carry.state, carry.diverged_at) for carry in carries),
    )
    _check_finite(run.path, plan, params, stopped)
    facts = {
        "directory": os.path.abspath(run.path),
        "updates": _updates(source, windows),
        "sha256": digest((params, state)),
    }
    return StartingPoints(params, state, facts)


def first_points(
    directory: str | os.PathLike, problem: Problem, plan: Plan
) -> tuple[PyTree, PyTree]:
    """Return parameters and states at which the members of a run began that started from another.

    Args:
        directory: of the run itself, not of the other.
        problem: what it optimizes.
        plan: its members.

    Returns:
        Both with a leading axis of M, in the order of `Plan.members`.

    Raises:
        StorageError: its first checkpoint is not there.
    """
    run = RunDirectory(directory)
    with contextlib.closing(_checkpoints(run)) as checkpoints:
        like = _carry_like(problem, plan, _own_state(run, checkpoints.arrays()))
        found = checkpoints.restore(like, at_most=0)
    if found is None:
        raise StorageError(
            f"{run.checkpoints / '0'} cannot be read, which says where the members of this run "
            "started. Put a copy of it back, or start the run again in another directory."
        )
    params, state, *_ = jax.tree.map(lambda leaf: _chosen([leaf], slice(None)), found[1])
    return params, state


def check_another(start_from: str | os.PathLike, run: RunDirectory) -> None:
    """Refuse to start a run from itself.

    Raises:
        InputError: the directory is that of the run.
    """
    if os.path.realpath(RunDirectory(start_from).path) == os.path.realpath(run.path):
        raise invalid(
            ARGUMENT,
            f"is {str(start_from)!r}, the directory of the run itself",
            "the directory of another run",
            "continue a run with resume (--resume), or choose another directory for this one",
        )


def _plan(run: RunDirectory) -> Plan:
    stored: Any = (run.configuration() or {}).get("plan")
    names = {field.name for field in dataclasses.fields(Plan)}
    try:
        return Plan(**{name: value for name, value in stored.items() if name in names})
    except (AttributeError, TypeError, InputError) as error:
        raise invalid(
            ARGUMENT,
            f"is {str(run.path)!r}, which holds no run of an ensemble (no config.json with its "
            "plan)",
            "the directory of a run",
        ) from error


def _rows(
    path: pathlib.Path, sources: Sequence[Plan], plan: Plan, later: str
) -> Int[np.ndarray, "member"]:
    """Return which members of a run give the points of those of a plan.

    Args:
        path: of the run.
        sources: its members, and those that were added to it.
        plan: the members that get the points.
        later: how more members can come, for the message.
    """
    members: dict[tuple[int, float], int] = {}
    for row, member in enumerate(member for source in sources for member in _members(source)):
        members.setdefault(member, row)  # one that kept others company is there twice
    seeds, rates = (list(dict.fromkeys(values)) for values in zip(*members, strict=True))
    lacking = sorted(set(plan.seeds) - set(seeds))
    if lacking:
        raise invalid(
            ARGUMENT,
            f"is {str(path)!r}, whose run has no seed {_listed(lacking)}",
            "a run with a member of every seed",
            f"choose seeds among {_listed(seeds)}{later}",
        )
    several = len(rates) > 1
    wanted = [(seed, rate if several else rates[0]) for seed, rate in _members(plan)]
    absent = dict.fromkeys(rate for seed, rate in wanted if (seed, rate) not in members)
    if absent:
        common = [rate for rate in rates if all((seed, rate) in members for seed in plan.seeds)]
        raise invalid(
            ARGUMENT,
            f"is {str(path)!r}, whose run has several learning rates, and not "
            f"{_listed(map(np.float32, absent))}",
            "a run of one learning rate, or one with the same",
            f"choose learning rates among {_listed(map(np.float32, common))}{later}",
        )
    return np.array([members[member] for member in wanted])


def _members(plan: Plan) -> list[tuple[int, float]]:
    """Return seed and learning rate of every member, as on the device."""
    seeds, learning_rates = plan.members()
    return list(zip(seeds.tolist(), learning_rates.tolist(), strict=True))


def _restored(
    run: RunDirectory, problem: Problem, *, at_most: int | None = None
) -> tuple[int, Carry] | None:
    """Return the newest sound checkpoint of a run, and after how many windows it is, or None.

    Args:
        run: the directory.
        problem: what starts there.
        at_most: of so many windows, if not of all.
    """
    if not run.checkpoints.is_dir():
        return None
    with contextlib.closing(_checkpoints(run)) as checkpoints:
        stored = checkpoints.arrays()
        own = _own_state(run, stored)
        like = _carry_like(problem, _plan(run), own)
        _check_model(run, stored, described(like), but="" if own is None else OPTIMIZER_STATE)
        return checkpoints.restore(like, at_most=at_most)


def _checkpoints(run: RunDirectory) -> Checkpoints:
    return Checkpoints(run.checkpoints, digest_of(run.configuration()), read_only=True)


def _carry_like(
    problem: Problem, plan: Plan, own_state: list[jax.ShapeDtypeStruct] | None
) -> Carry:
    """Return carries of the members of a plan on the host, of which only names and shapes count.

    Args:
        problem: what they optimize.
        plan: the members.
        own_state: arrays of an optimizer that the plan does not name, see `_own_state`.
    """
    rule = step_rule(plan)
    one = jax.eval_shape(lambda key: rule.first_carry(problem, key), jax.random.key(0))
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((plan.num_members, *leaf.shape), leaf.dtype), one
    )
    if own_state is not None:
        like = like._replace(optimizer_state=own_state)
    with jax.default_device(host()):
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)


def _own_state(run: RunDirectory, stored: list[str] | None) -> list[jax.ShapeDtypeStruct] | None:
    """Return the arrays of an optimizer that was given to a run, as its checkpoint describes them.

    It is None for optimizers that a plan names.

    Raises:
        InputError: the checkpoint does not describe them, or has random keys among them.
    """
    if not (run.configuration() or {}).get("optimizer"):
        return None
    lines = [line for line in stored or [] if line.startswith(OPTIMIZER_STATE)]
    found = [ARRAY.fullmatch(line) for line in lines]
    if stored is None or not all(found):
        raise invalid(
            ARGUMENT,
            f"is {str(run.path)!r}, whose optimizer was one of its own, with a state that its "
            "checkpoint does not describe",
            "a run of an optimizer that a plan names, or one without random keys",
        )
    return [
        jax.ShapeDtypeStruct(tuple(map(int, re.findall(r"\d+", each["shape"]))), each["dtype"])
        for each in found
        if each
    ]


def _check_model(
    run: RunDirectory, stored: list[str] | None, wanted: list[str], *, but: str
) -> None:
    """Refuse a run of other parameters, as far as its newest checkpoint tells.

    Arrays whose names begin with `but` are not looked at, if there is any such.
    """
    if stored is None:
        return
    there_and_here = (
        [line for line in lines if not (but and line.startswith(but))] for lines in (stored, wanted)
    )
    for there, here in itertools.zip_longest(*there_and_here, fillvalue="nothing"):
        if there != here:
            model = ((run.configuration() or {}).get("problem") or {}).get("model")
            raise invalid(
                ARGUMENT,
                f"is {str(run.path)!r}, whose members have {there} where this model has {here}",
                "a run of the same model, in the same precision",
                f"that of the run is {model}" if model else "",
            )


def _chosen(leaves: Sequence[jax.Array], rows: Any) -> jax.Array | np.ndarray:
    """Return rows of arrays one after the other, on no device in particular."""
    return with_keys_of(leaves[0], np.concatenate([on_host(leaf) for leaf in leaves])[rows])


def _check_finite(path: pathlib.Path, plan: Plan, params: PyTree, stopped: np.ndarray) -> None:
    finite = np.all(
        [
            np.isfinite(leaf).reshape(plan.num_members, -1).all(axis=1)
            for leaf in jax.tree.leaves(params)
        ],
        axis=0,
    )
    gone = [
        f"seed {seed}"
        for (seed, _), sound, step in zip(
            itertools.product(plan.seeds, plan.learning_rates), finite, stopped, strict=True
        )
        if step != ALIVE or not sound
    ]
    if gone:
        raise invalid(
            ARGUMENT,
            f"is {str(path)!r}, whose run diverged for {', '.join(dict.fromkeys(gone))}",
            "members that have not diverged",
            "leave these seeds out, or choose a run of a smaller learning rate",
        )


def _updates(plan: Plan, windows: int) -> int:
    """Return the number of updates made when so many windows are finished."""
    if windows and plan.waiting_times is not None:
        return plan.waiting_times[windows - 1] + plan.window
    return windows * plan.window


def _listed(values: Any) -> str:
    return ", ".join(map(str, values))
