"""The cells of experiments.freezing_networks: all that is trained, and measured of it."""

import functools
import pathlib
from typing import Any

import jax
import numpy as np
import xarray as xr

from experiments.freezing_cell import Schedule, measured
from experiments.network_instruments import instruments
from experiments.parts import measured_in_parts
from sgd_diffusion._memory import check_memory
from sgd_diffusion.problems.objectives import Problem

COPIES = 3  # of all checkpoints: on the device, on the host, and where they are made
FACTS = ("dataset", "width", "per_class", "duration", "strides", "clones")


def check_checkpoints(options: Any, problem: Problem) -> None:
    """Refuse more checkpoints than fit the memory.

    Raises:
        InputError: these do not.
    """
    weights = jax.eval_shape(problem.init, jax.random.key(0))[0]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(weights))
    check_memory(
        4 * COPIES * options.repeats * (options.strides + 1) * parameters,
        f"{options.strides} checkpoints of {options.repeats} networks",
        "take fewer of them",
    )


def diagram(options: Any, problem: Problem, directory: pathlib.Path) -> xr.Dataset:
    """Return what is measured of all cells; each is kept as soon as it is measured."""
    of_weights, of_orders = jax.random.split(jax.random.key(options.seed))
    begin, _ = jax.jit(problem.init)(of_weights)
    own = instruments(problem, options.strides)
    schedule = Schedule(
        options.repeats, options.strides, options.duration, options.branch_every, options.clones
    )
    cells = options.cells()
    found = measured_in_parts(
        options,
        directory,
        [functools.partial(measured, own, cell, schedule, begin, of_orders) for cell in cells],
        experiment="freezing_networks",
        headline=f"{options.dataset}, {len(cells)} cells of {options.repeats} trainings",
    )
    # The encoding of a file has the length of its names.
    dataset = xr.concat(found, "cell").drop_encoding()
    sizes = {
        "train_examples": problem.num_examples,
        "test_examples": len(np.asarray(problem.test_examples.labels)),
    }
    return dataset.assign_attrs({name: getattr(options, name) for name in FACTS} | sizes)
