"""Measure what the loss looks like around the walker, and whether it is fractal.

This is Fig. 1 of Chen, Qu & Gong (arXiv:2009.10588). The program trains every seed with every
learning rate and evaluates the loss on planes through the point where training ends. The planes are
along two random filter-normalized directions, along the principal components of the path, or along
the first two eigenvectors of the Hessian. With them are the path and its distance from the plane.
The roughness of the random plane is measured as the box dimension of its level sets and of its
graph, raw, and calibrated on surfaces of known dimension of the same size. A smooth surface of its
shape is the control. Run from the checkout: python -m experiments.loss_surface
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments import command_line
from experiments.options import COUNT, within
from experiments.progress import phase
from experiments.results import RunOptions, by_rate, leave
from experiments.training_options import TrainingOptions
from sgd_diffusion._least_inputs import MIN_REPLICATES
from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    from sgd_diffusion.dynamics.plan import Plan
    from sgd_diffusion.problems.objectives import Problem

# Points along a side. Box sizes are then 1, 2, 4 and 8, a quarter of the 32 cells between them.
MIN_GRID = 33


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    planes: Annotated[tuple[Literal["random", "principal", "hessian"], ...], *within(fewest=1)] = (
        "random",
        "principal",
    )
    """random: filter-normalized; principal: along components of the path; hessian: eigenvectors."""
    grid: Annotated[
        int, *within(MIN_GRID, 1025, "for four sizes of boxes and a million points")
    ] = 51
    """Points along each side of a plane."""
    reach: Annotated[
        float, *within(1e-4, 1000, "for losses that differ and are finite in float32")
    ] = 1.0
    """Largest coordinate on the random plane: a filter moves by so many times its norm."""
    surface_examples: Annotated[int, *within(1, COUNT)] = 500
    """Training examples, without augmentation, whose mean loss is the surface."""
    statistics: Literal["batch", "running"] = "batch"
    """Batch normalization of the surface: batch, by the statistics of (500 of) these examples at
    every point; running, by the running averages that training left at its end, which belong to
    that point alone.
    """
    points_per_file_update: Annotated[int, *within(1, COUNT)] = 100
    """Points of a plane between updates of its file; an interruption costs at most so many."""
    calibration_repeats: Annotated[
        int, *within(MIN_REPLICATES, 1000, "whose scatter can be told")
    ] = 20
    """Surfaces of each known dimension that the estimates are calibrated on."""

    def check(self) -> None:
        """Refuse also what cannot be measured."""
        super().check()
        if "random" not in self.planes:
            raise invalid(
                "--planes",
                f"is {' '.join(self.planes)}",
                "random among them, whose dimension is measured",
            )


PAPER = Options(
    dataset="cifar10",
    seeds=(0,),
    learning_rates=(0.1,),
    num_windows=25,
    window=980,
    batch_size=1024,
    surface_examples=5000,
    grid=101,
)
PRESETS = {
    "default": Options(seeds=(0, 1), learning_rates=(0.02,), num_windows=20, window=100),
    "quick": Options(
        model="fc3",
        seeds=(0, 1),
        learning_rates=(0.05,),
        num_windows=10,
        window=20,
        surface_examples=200,
        grid=33,
        calibration_repeats=10,
    ),
    "paper": dataclasses.replace(PAPER, model="resnet14"),
    "paper-resnet56": dataclasses.replace(PAPER, model="resnet56"),
    "paper-resnet56-noshort": dataclasses.replace(PAPER, model="resnet56-noshort"),  # Fig. 1a
}


def measure(problem: "Problem", plan: "Plan") -> list[Any]:
    """Return the measurements of the training."""
    from sgd_diffusion.dynamics.measurements import displacements, endpoints, series

    return [displacements(), series(), endpoints()]


def experiment(options: Options) -> None:
    """Train and evaluate, and leave surfaces, dimensions, figures and a summary.

    There is a figure for each learning rate. All go into the run directory.
    """
    from experiments import summaries
    from experiments.loss_planes import evaluate
    from experiments.training import loaded, train
    from sgd_diffusion import plots, tables
    from sgd_diffusion._arrays import integer

    problem = loaded(options)
    integer(
        "--surface-examples",
        options.surface_examples,
        1,
        problem.num_examples,
        what="of the training examples",
    )
    run, directory = train(options, "loss_surface", measure, problem=problem)
    surfaces = evaluate(options, problem, run, directory)
    with phase("dimensions and their calibration"):
        table = tables.loss_surface(surfaces, calibration_repeats=options.calibration_repeats)
    planes = tables.planes(surfaces)
    leave(
        directory,
        summaries.loss_surface(run, surfaces.sizes["row"], planes, table),
        tables={
            name: found.assign_attrs(run.attrs)
            for name, found in (("surfaces", surfaces), ("planes", planes), ("dimensions", table))
        },
        figures=by_rate(
            "loss_surface",
            options.learning_rates,
            lambda rate: plots.loss_surface(surfaces, table, rate),
        ),
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
