"""Measure what the analysis of a window costs, and compare it with peers.

The program prints JSON: the seconds of each part, of all of it, and of several members at once. The
window has T = 1000 steps. Its Gram matrix is that of a random walk, whose values do not matter.
Peers get the positions, and where we are compared so do we: Gram matrix and TAMSD together. NumPy's
loop over lags, and tidynamics, trackpy and andi_datasets where they are installed, take turns with
ours on the machine. Run from the checkout: python -m experiments.benchmarks.paths
"""

import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments import command_line
from experiments.benchmarks import timing
from experiments.options import Checked, within
from sgd_diffusion.analysis.displacement import (
    displacement_from_start,
    step_autocorrelation,
    time_averaged_msd,
)
from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.dynamics.measurements import path_statistics
from sgd_diffusion.dynamics.window import WindowRecord

PEERS = ("tidynamics", "trackpy", "andi_datasets")


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    window: Annotated[int, *within(10, 10_000)] = 1000
    """Steps T of the window."""
    members: Annotated[int, *within(1, 100)] = 2
    """Members that are analyzed at once, vmapped."""
    dim: Annotated[int, *within(2, 100_000)] = 2000
    """Parameters of the path on which peers are compared."""
    repeats: Annotated[int, *within(1, 1000)] = 5
    """Timed runs of each candidate."""


def main(options: Options) -> None:
    """Measure and print."""
    report = {
        "machine": timing.machine(),
        "options": dataclasses.asdict(options),
        "peers": {
            peer: importlib.metadata.version(peer)
            for peer in PEERS
            if importlib.util.find_spec(peer)
        },
        "window": window_analysis(options),
        "tamsd_from_positions": against_peers(options),
    }
    report["load_after"] = timing.machine()["load"]
    print(json.dumps(report, indent=2))


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


def against_peers(options: Options) -> dict:
    """Return seconds for the TAMSD at all lags from the positions, compared with peers.

    With them are the speed over each peer, and how much values differ.
    """
    positions = (
        np.random.default_rng(0).normal(size=(options.window + 1, options.dim)).cumsum(axis=0)
    )
    lags = np.arange(1, options.window + 1)

    @jax.jit
    def ours(positions):
        return time_averaged_msd(step_gram(positions))

    def numpy_loop():
        return np.array(
            [((positions[lag:] - positions[:-lag]) ** 2).sum(axis=1).mean() for lag in lags]
        )

    with jax.enable_x64(True):
        on_device = jnp.asarray(positions)
        candidates = {
            "sgd_diffusion": lambda: ours(on_device),
            "numpy": numpy_loop,
            **_peers(positions, lags),
        }
        found = timing.seconds(candidates, repeats=options.repeats)
        values = {
            name: np.asarray(candidate())[: len(lags) - 1] for name, candidate in candidates.items()
        }
    reference = values.pop("numpy")
    mine = found["sgd_diffusion"]["median"]
    return {
        "parameters": options.dim,
        "seconds": found,
        "speed_over": {
            name: times["median"] / mine for name, times in found.items() if name != "sgd_diffusion"
        },
        "largest_relative_difference_from_numpy": {
            name: float(np.abs(value / reference - 1).max()) for name, value in values.items()
        },
    }


def _peers(positions, lags):
    """Return the TAMSD of the installed peers as functions without arguments."""
    found = {}
    if importlib.util.find_spec("tidynamics"):
        import tidynamics

        found["tidynamics"] = lambda: tidynamics.msd(positions)[1:]
    if importlib.util.find_spec("trackpy"):
        import pandas
        import trackpy

        names = [f"x{index}" for index in range(positions.shape[1])]
        table = pandas.DataFrame(positions, columns=names).assign(frame=np.arange(len(positions)))
        found["trackpy"] = lambda: (
            trackpy.motion.msd(table, 1, 1, max_lagtime=len(lags), pos_columns=names)["msd"].values
        )
    if importlib.util.find_spec("andi_datasets"):
        from andi_datasets.analysis import msd_analysis

        found["andi_datasets"] = lambda: msd_analysis().tamsd(positions[None], lags)[:, 0]
    return found


if __name__ == "__main__":
    command_line.run(main, Options, __doc__)
