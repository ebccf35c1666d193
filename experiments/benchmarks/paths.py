"""Measure what the analysis of a window costs, and compare it with peers.

The program prints JSON: the seconds of each part, of all of it, and of several members at once. The
window has T = 1000 steps. Its Gram matrix is that of a random walk, whose values do not matter.
Peers get the positions of random walks, and so do we: the TAMSD at all lags of short paths of many
parameters and of long ones of few. tidynamics, NumPy's loop over lags, trackpy and andi_datasets,
where they are installed, take turns with ours on the machine; all but the first at 1000 steps
alone, since their time grows with the square. Run from the checkout: python -m
experiments.benchmarks.paths
"""

import dataclasses
import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion.analysis import positions
from sgd_diffusion.analysis.displacement import (
    displacement_from_start,
    step_autocorrelation,
    time_averaged_msd,
)
from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.dynamics.measurements import path_statistics
from sgd_diffusion.dynamics.window import WindowRecord
from sgd_diffusion.errors import invalid

PEERS = {name: name for name in ("tidynamics", "trackpy", "andi_datasets")}
FEW_STEPS = 1000  # up to which peers are asked whose time grows with the square
GOALS = {1000: 2.3}  # others are not to be slower


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    window: Annotated[int, *within(10, 10_000)] = 1000
    """Steps T of the window."""
    members: Annotated[int, *within(1, 100)] = 2
    """Members that are analyzed at once, vmapped."""
    steps: Annotated[tuple[int, ...], *within(2, 100_000, fewest=1)] = (
        100,
        300,
        1000,
        3000,
        10_000,
        20_000,
    )
    """Steps T of the paths on which peers are compared."""
    dims: Annotated[tuple[int, ...], *within(2, 100_000, fewest=1, repeats=True)] = (
        2000,
        2000,
        2000,
        600,
        200,
        100,
    )
    """Parameters of these paths, for each number of steps."""
    repeats: Annotated[int, *within(1, 1000)] = 5
    """Timed runs of each candidate."""

    def check(self) -> None:
        """Refuse also numbers of parameters that do not belong to the numbers of steps."""
        super().check()
        if len(self.dims) != len(self.steps):
            raise invalid(
                "--dims",
                f"has {len(self.dims)} values and --steps {len(self.steps)}",
                "as many",
                "give both",
            )


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    window = window_analysis(options)
    compared = [
        against_peers(options, steps, dim)
        for steps, dim in zip(options.steps, options.dims, strict=True)
    ]
    return {
        "peers": group.versions(PEERS),
        "window": window,
        "tamsd_from_positions": compared,
        "rows": [
            group.row(
                f"all that is derived from a window of {options.window} steps",
                window["everything"]["rounds"],
            ),
            *(row for found in compared for row in rows(found)),
        ],
    }


def rows(found: dict) -> list[group.Row]:
    """Return the TAMSD at all lags beside the peers that can be asked for so many steps."""
    steps, seconds = found["steps"], found["seconds"]
    peers = ["tidynamics"]
    if steps == FEW_STEPS:
        peers += ["NumPy", "trackpy", "andi_datasets"]
    return [
        group.row(
            f"TAMSD at all lags of a path of {steps + 1} x {found['parameters']}",
            seconds["sgd_diffusion"]["rounds"],
            peer,
            seconds[peer]["rounds"] if peer in seconds else None,
            goal=GOALS.get(steps, 1.0),
        )
        for peer in peers
    ]


def window_analysis(options: Options) -> dict:
    """Return seconds of each part of a window's analysis for one member, and of all of it.

    All of it is timed for one and for several members.
    """
    window = options.window
    losses = jnp.linspace(1.0, 0.0, window + 1)
    parts = {
        "displacements": lambda record: (
            time_averaged_msd(record.step_gram),
            displacement_from_start(record.step_gram),
            step_autocorrelation(record.step_gram),
        ),
        "controls": path_statistics.controls(window).function,
        "shape": path_statistics.path_shape(window).function,
        "roughness": path_statistics.loss_roughness(window, probe=True).function,
    }
    parts["everything"] = lambda record, parts=dict(parts): [
        part(record) for part in parts.values()
    ]
    with jax.enable_x64(True):
        walk = jax.random.normal(jax.random.key(0), (window + 1, window)).cumsum(axis=0)
        record = WindowRecord(
            step_gram(walk),
            losses,
            losses,
            losses[1:],
            jnp.zeros((window, 0)),
            {},
            None,
            jnp.int32(-1),
        )
        several = jax.tree.map(lambda leaf: jnp.stack([leaf] * options.members), record)
        candidates = {
            name: functools.partial(jax.jit(part), record) for name, part in parts.items()
        }
        together = f"everything, {options.members} members vmapped"
        candidates[together] = functools.partial(jax.jit(jax.vmap(parts["everything"])), several)
        found = timing.seconds(candidates, repeats=options.repeats)
    found[together]["median per member"] = found[together]["median"] / options.members
    return found


def against_peers(options: Options, steps: int, dim: int) -> dict:
    """Return seconds for the TAMSD at all lags from the positions, compared with peers.

    With them is how much values differ from the definition at some lags.
    """
    path = np.random.default_rng(0).normal(size=(steps + 1, dim)).cumsum(axis=0)
    candidates = {"sgd_diffusion": lambda: positions.time_averaged_msd(path)} | _peers(path)
    found = timing.seconds(candidates, repeats=options.repeats)
    some = np.unique(np.geomspace(1, steps - 1, 9).astype(int))
    exact = _by_definition(path, some)
    return {
        "steps": steps,
        "parameters": dim,
        "seconds": found,
        "largest_relative_difference": {
            name: float(np.abs(np.asarray(candidate())[some - 1] / exact - 1).max())
            for name, candidate in candidates.items()
        },
    }


def _by_definition(path, lags):
    return np.array([((path[lag:] - path[:-lag]) ** 2).sum(axis=1).mean() for lag in lags])


def _peers(path):
    """Return the TAMSD of the installed peers as functions without arguments."""
    installed, found, lags = group.versions(PEERS), {}, np.arange(1, len(path))
    if "tidynamics" in installed:
        import tidynamics

        found["tidynamics"] = lambda: tidynamics.msd(path)[1:]
    if len(lags) != FEW_STEPS:
        return found
    found["NumPy"] = lambda: _by_definition(path, lags)
    if "trackpy" in installed:
        import pandas
        import trackpy

        names = [f"x{index}" for index in range(path.shape[1])]
        table = pandas.DataFrame(path, columns=names).assign(frame=np.arange(len(path)))
        found["trackpy"] = lambda: (
            trackpy.motion.msd(table, 1, 1, max_lagtime=len(lags), pos_columns=names)["msd"].values
        )
    if "andi_datasets" in installed:
        from andi_datasets.analysis import msd_analysis

        found["andi_datasets"] = lambda: msd_analysis().tamsd(path[None], lags)[:, 0]
    return found


if __name__ == "__main__":
    group.program(measure, Options, __doc__)
