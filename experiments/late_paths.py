"""The paths of experiments.variance_flatness: trainings, and the walks beside them."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from experiments.late_motion import base_point, measured, walks
from experiments.late_training import LatePath, train_until
from experiments.parts import measured_in_parts
from experiments.progress import STYLE, phase
from sgd_diffusion.dynamics.batches import SAMPLINGS
from sgd_diffusion.problems.objectives import Problem

FACTS = ("dataset", "width", "learning_rate", "batch_size", "stop_loss", "every")


def paths(options: Any, problem: Problem, directory: pathlib.Path) -> xr.Dataset:
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


def part(options: Any, problem: Problem, seed: int, sampling: str) -> xr.Dataset:
    """Train once, and return what is measured of the path and of the walks beside it."""
    of_training, of_walks = jax.random.split(jax.random.key(seed))
    name = f"seed {seed}, {sampling}"
    steps = problem.num_examples // options.batch_size
    epochs = options.epochs(steps)
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
