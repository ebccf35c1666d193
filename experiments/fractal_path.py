"""Measure whether the path of SGD is fractal, and whether the loss along it is rough.

This is Fig. 6 of Chen, Qu & Gong (arXiv:2009.10588). The program trains every seed with every
learning rate, window by window. It measures squared end-to-end distances of fragments against their
contour length (path dimension), transverse excursions (self-affinity), and squared loss differences
against distance. Differences of a fixed probe show the landscape; those of mini-batches show their
noise too. Run from the checkout: python -m experiments.fractal_path
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments import command_line
from experiments.options import COUNT, within
from experiments.progress import phase
from experiments.results import RunOptions, by_rate, leave
from experiments.training_options import MAX_WINDOW, TrainingOptions

if TYPE_CHECKING:
    from sgd_diffusion.dynamics.plan import Plan
    from sgd_diffusion.problems.objectives import Problem

MIN_WINDOW = 100  # fewer steps have no two decades of contour length


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    window: Annotated[
        int, *within(MIN_WINDOW, MAX_WINDOW, "for power laws in the contour length")
    ] = 1000
    """Updates in a window."""
    probe_size: Annotated[int, *within(0, COUNT)] = 256
    """Training examples with the loss of every visited point; 0 for mini-batch losses alone."""


PRESETS = {
    "default": Options(learning_rates=(0.02,)),
    "quick": Options(
        seeds=(0, 1), learning_rates=(0.02,), num_windows=2, window=200, probe_size=64
    ),
    "paper": Options(
        dataset="cifar10",
        model="resnet14",
        seeds=(0,),
        learning_rates=(0.1,),
        num_windows=24,
        window=1000,
        batch_size=1024,
        probe_size=1024,
    ),
}


def measure(problem: "Problem", plan: "Plan") -> list[Any]:
    """Return the measurements of the experiment."""
    from sgd_diffusion.dynamics.measurements import default_measurements, path_statistics

    return [
        *default_measurements(problem, plan),
        path_statistics.path_shape(plan.window),
        path_statistics.loss_roughness(plan.window, probe=problem.probe is not None),
    ]


def experiment(options: Options) -> None:
    """Train and measure, and leave results, figures and a summary in the run directory.

    There is a figure for each learning rate.
    """
    from experiments import summaries
    from experiments.training import train
    from sgd_diffusion import plots, tables

    dataset, directory = train(options, "fractal_path", measure)
    with phase("power laws"):
        table = tables.fractal_path(dataset)
        text = summaries.fractal_path(dataset, table)
    leave(
        directory,
        text,
        tables={"scaling": table.assign_attrs(dataset.attrs)},
        figures=by_rate(
            "fractal_path",
            dataset.learning_rate.values,
            lambda rate: plots.fractal_path(dataset, table, rate),
        ),
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
