"""Measure where a trained network moves most, beside random walks without any valley.

This is after Feng & Tu (arXiv:2001.01678). A fully connected network trains until its loss is
small. The principal components of its last epochs have variances and flatnesses, and the paper
finds variance ~ flatness^(-psi) with psi about 4. Beside each number stand those of walks with the
same mini-batch gradients at frozen weights, without and with a linear force, analyzed in the same
way, and all of it for batches drawn with replacement. Run from the checkout: python -m
experiments.variance_flatness
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from experiments import command_line, data_sets, summaries
from experiments.late_motion import base_point, measured, walks
from experiments.late_training import LatePath, loaded, train_until
from experiments.options import COUNT, UINT32, expanded, within
from experiments.parts import measured_in_parts
from experiments.progress import STYLE, phase
from experiments.results import leave
from experiments.training import RunOptions, new_directory
from sgd_diffusion import plots, tables
from sgd_diffusion._memory import check_memory
from sgd_diffusion.dynamics.batches import SAMPLINGS
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

LEAST_EPOCHS = 10  # of the window
FACTS = ("dataset", "width", "learning_rate", "batch_size", "stop_loss", "every")
COPIES = 6  # of the window in float64, and of matrices over its parameters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of the experiment."""

    dataset: str = "digits"
    """digits (comes with scikit-learn), mnist (through tensorflow-datasets; the published one), or
    any other name, PATH.npz or package.module:function that `datasets.load` takes.
    """
    data_dir: pathlib.Path | None = None
    """Where tensorflow-datasets keeps its data; its own default if not given."""
    seeds: Annotated[tuple[int, ...], *within(0, UINT32, fewest=1)] = (0, 1)
    """Of weights and of the order of the data; one training for each, and each sampling."""
    width: Annotated[int, *within(4, 200, "for a layer whose matrices are held")] = 50
    """Units of the two hidden layers; the layer between them is followed."""
    learning_rate: Annotated[float, *within(1e-9, 100)] = 0.1
    """alpha."""
    batch_size: Annotated[int, *within(1, COUNT)] = 50
    """B."""
    stop_loss: Annotated[float, *within(1e-12, 100)] = 5e-5
    """The training ends when the loss on all training examples is below this."""
    max_epochs: Annotated[int, *within(LEAST_EPOCHS, 1_000_000)] = 5000
    """After so many epochs it ends in any case."""
    window: Annotated[int, *within(100, 100_000)] = 2800
    """Updates at the end that are analyzed, rounded up to whole epochs, and at least ten epochs."""
    num_components: Annotated[int, *within(20, 5000)] = 500
    """Components, largest variance first, whose flatness is looked for."""
    every: Annotated[int, *within(1, 100)] = 5
    """One of so many components is taken."""
    limit: Annotated[float, *within(0.1, 1e6)] = 1000.0
    """Displacement beyond which a direction has no flatness, and is dropped and counted."""

    def check(self) -> None:
        """Refuse also what does not fit the memory."""
        super().check()
        expanded("--dataset", pathlib.Path(self.dataset))
        if self.num_components // self.every < 4:
            raise invalid("--every", f"is {self.every}", "one that leaves components for a fit")
        parameters = self.width**2
        check_memory(
            8 * COPIES * parameters * max(self.window, parameters),
            f"A window of {self.window} updates of {parameters} weights",
            "take a shorter one, or fewer units",
            "host",
        )


PRESETS = {
    "default": Options(),
    "quick": Options(
        seeds=(0,), width=20, stop_loss=1e-3, max_epochs=1000, num_components=200, every=4
    ),
}


def experiment(options: Options) -> None:
    """Train, walk, measure, and leave results, a figure and a summary in the run directory."""
    problem = loaded(options, "batch_size")
    directory = options.directory or new_directory(
        data_sets.folder_name(options.dataset, "variance_flatness")
    )
    dataset = paths(options, problem, directory)
    table = tables.variance_flatness(dataset)
    leave(
        directory,
        summaries.variance_flatness(dataset, table),
        tables={"dataset": dataset, "table": table},
        figures={"variance_flatness": lambda: plots.variance_flatness(dataset, table)},
        options=options,
    )


def paths(options: Options, problem: Problem, directory: pathlib.Path) -> xr.Dataset:
    """Return what is measured of all paths; each training is kept as soon as it is analyzed."""
    trainings = [(seed, sampling) for seed in options.seeds for sampling in SAMPLINGS]
    found = measured_in_parts(
        options,
        directory,
        [functools.partial(part, options, problem, *training) for training in trainings],
        experiment="variance_flatness",
        headline=f"{options.dataset}, {len(trainings)} trainings down to a loss of "
        f"{options.stop_loss:g}",
    )
    rows = [
        xr.concat(found[first : first + len(SAMPLINGS)], "sampling")
        for first in range(0, len(found), len(SAMPLINGS))
    ]
    # The encoding of a file has the length of its names.
    dataset = xr.concat(rows, "seed").drop_encoding()
    return dataset.assign_attrs({name: getattr(options, name) for name in FACTS})


def part(options: Options, problem: Problem, seed: int, sampling: str) -> xr.Dataset:
    """Train once, and return what is measured of the path and of the walks beside it."""
    of_training, of_walks = jax.random.split(jax.random.key(seed))
    name = f"seed {seed}, {sampling}"
    steps = problem.num_examples // options.batch_size
    epochs = max(LEAST_EPOCHS, -(-options.window // steps))
    how: dict[str, Any] = {
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
    }
    with tqdm(desc=f"{name}: training", unit=" epochs", **STYLE) as bar:

        def report(_, loss):
            bar.set_postfix_str(f"loss {loss:.3g}", refresh=False)
            bar.update()

        late = train_until(
            problem,
            of_training,
            sampling=sampling,
            stop_loss=options.stop_loss,
            window_epochs=epochs,
            max_epochs=max(options.max_epochs, epochs),
            report=report,
            **how,
        )
    with phase(f"{name}: Hessian and gradients"):
        base = base_point(problem, late.params)
        others = walks(of_walks, base, epochs * steps, sampling=sampling, **how)
    available = min(epochs * steps, options.width**2)
    components = np.arange(0, min(options.num_components, available), options.every)
    motions: dict[str, Callable[[], np.ndarray]] = {"sgd": lambda: late.path, **others}
    found: list[xr.Dataset] = []
    for motion, path in motions.items():
        with phase(f"{name}: components of {motion}"):
            found.append(
                measured(
                    path(),
                    base,
                    components=components,
                    shown=shown(components),
                    limit=options.limit,
                    **how,
                )
            )
    return (
        xr.concat(found, "motion")
        .assign(_of_training(late, base))
        .assign_coords(motion=list(motions), sampling=sampling, seed=seed, steps=epochs * steps)
    )


def shown(components: np.ndarray) -> np.ndarray:
    """Return ranks of which profiles are shown: those of the paper, as far as there are any."""
    wanted = np.array([5, 20, 50, 100, 200])
    return wanted[wanted <= components[-1]]


def _of_training(late: LatePath, base: Any) -> dict[str, Any]:
    """Return what there is once for a training."""
    return {
        "base_loss": base.loss,
        "epochs": len(late.losses),
        "test_accuracy": late.test_accuracy,
        "eigenvalue": ("mode", base.eigenvalues),
        "noise_over_curvature": float(
            np.trace(base.moments.covariance) / np.trace(base.moments.hessian)
        ),
    }


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
