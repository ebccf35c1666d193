"""When SGD decides in which valley a network ends, and how flat that valley is.

This is after Yang et al. (arXiv:2601.10962). One network is trained many times from the same
weights; only the order of the data differs. From checkpoints of each training gradient descent goes
on without noise. The valley is frozen when all later descents end with nearly the same wrong test
examples. The paper finds that stronger noise delays this, and that valleys that freeze later are
flatter. Beside it stand what it leaves out: clones with other batches from the same checkpoint, a
flatness that rescaling does not change, and gradient descent at a small step size with normal noise
of the same covariance, which separates noise from step size. Run from the checkout: python -m
experiments.freezing_networks
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Annotated

from experiments import command_line, data_sets
from experiments.options import COUNT, UINT32, expanded, within
from experiments.results import RunOptions, leave
from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    from experiments.freezing_cell import Cell


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of the experiment."""

    dataset: str = "digits"
    """digits (comes with scikit-learn), mnist (through tensorflow-datasets; the published one), or
    any other name, PATH.npz or package.module:function that `datasets.load` takes.
    """
    data_dir: pathlib.Path | None = None
    """Where tensorflow-datasets keeps its data; its own default if not given."""
    per_class: Annotated[int, *within(1, COUNT)] = 100
    """Training images of each class, the first ones; of digits so many times ten."""
    test_per_class: Annotated[int, *within(1, COUNT)] = 20
    """Test images of each class, the first ones; of digits all that are not trained on."""
    width: Annotated[int, *within(4, 200, "units")] = 50
    """Units of the two hidden layers; the flatness is that along the layer between them."""
    seed: Annotated[int, *within(0, UINT32)] = 0
    """Of the weights at which all trainings begin, and of the orders of the data."""
    learning_rates: Annotated[tuple[float, ...], *within(1e-6, 10, fewest=1)] = (0.05, 0.1)
    """eta."""
    batch_sizes: Annotated[tuple[int, ...], *within(1, COUNT, fewest=1)] = (10, 20, 100)
    """B; all training images for gradient descent."""
    noise_rate: Annotated[float, *within(0, 10)] = 0.02
    """Step size of gradient descent with the noise of the largest learning rate, normal and scaled
    to the same eta / B, for each batch size; 0 for none.
    """
    repeats: Annotated[int, *within(2, 100)] = 3
    """Trainings of a cell; only the order of the data differs."""
    duration: Annotated[float, *within(1e-3, 1e6)] = 100.0
    """eta t at the end of the training."""
    strides: Annotated[int, *within(2, 1000)] = 100
    """Checkpoints after the first, at equal distances."""
    branch_every: Annotated[int, *within(1, 1000)] = 10
    """Checkpoints from one descent to the next; those between are tried where a valley freezes."""
    clones: Annotated[int, *within(0, 1000)] = 8
    """Trainings of other batches from every second of these checkpoints; 0 for none."""

    def check(self) -> None:
        """Refuse also numbers that do not fit one another."""
        super().check()
        expanded("--dataset", pathlib.Path(self.dataset))
        if self.branch_every > self.strides:
            raise invalid(
                "--branch-every", f"is {self.branch_every}", f"at most --strides, {self.strides}"
            )
        largest = max(self.learning_rates)
        if largest * self.strides > self.duration:
            raise invalid(
                "--learning-rates",
                f"has {largest:g}",
                f"at most --duration / --strides, {self.duration / self.strides:g}",
                "there is no step from one checkpoint to the next",
            )
        if self.noise_rate > largest:
            raise invalid(
                "--noise-rate",
                f"is {self.noise_rate:g}",
                f"at most the largest learning rate, {largest:g}",
                "the control is at a smaller step size",
            )

    def cells(self) -> "list[Cell]":
        """Return what is trained, the controls last."""
        from experiments.freezing_cell import Cell

        cells = [Cell(rate, size) for rate in self.learning_rates for size in self.batch_sizes]
        if self.noise_rate:
            scale = max(self.learning_rates) / self.noise_rate
            cells += [Cell(self.noise_rate, size, scale) for size in self.batch_sizes]
        return cells


PRESETS = {
    "default": Options(),
    "quick": Options(
        per_class=20,
        learning_rates=(0.1,),
        batch_sizes=(5, 20, 100),
        noise_rate=0.05,
        clones=6,
    ),
    "paper-grid": Options(
        dataset="mnist",
        learning_rates=(0.1, 0.05, 0.02, 0.01, 0.005, 0.002),
        batch_sizes=(10, 20, 50, 100, 200, 500),
        repeats=20,
        clones=16,
    ),
}


def experiment(options: Options) -> None:
    """Train, descend, measure, and leave results, a figure and a summary in the run directory."""
    from experiments import summaries
    from experiments.class_subset import class_subset
    from experiments.directories import new_directory
    from experiments.freezing_trainings import check_checkpoints, diagram
    from experiments.late_training import loaded
    from sgd_diffusion import plots, tables

    problem = loaded(
        options,
        "batch_sizes",
        part=lambda data: class_subset(data, options.per_class, options.test_per_class),
        bias=True,
        initialization="kaiming",
    )
    check_checkpoints(options, problem)
    directory = options.directory or new_directory(
        data_sets.folder_name(options.dataset, "freezing_networks")
    )
    dataset = diagram(options, problem, directory)
    table = tables.freezing_networks(dataset)
    leave(
        directory,
        summaries.freezing_networks(dataset, table),
        tables={"dataset": dataset, "table": table},
        figures={"freezing_networks": lambda: plots.freezing_networks(dataset, table)},
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
