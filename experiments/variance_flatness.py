"""Measure where a trained network moves most, beside random walks without any valley.

This is after Feng & Tu (arXiv:2001.01678). A fully connected network trains until its loss is
small. The principal components of its last epochs have variances and flatnesses, and the paper
finds variance ~ flatness^(-psi) with psi about 4. Beside each number stand those of walks with the
same mini-batch gradients at frozen weights, without and with a linear force, analyzed in the same
way, and all of it for batches drawn with replacement. Run from the checkout: python -m
experiments.variance_flatness
"""

import dataclasses
import pathlib
from typing import Annotated

from experiments import command_line, data_sets
from experiments.options import COUNT, UINT32, expanded, within
from experiments.results import RunOptions, leave
from sgd_diffusion.errors import invalid

LEAST_EPOCHS = 10  # of the window
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
        from sgd_diffusion._memory import check_memory

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

    def epochs(self, steps: int) -> int:
        """Return how many epochs of so many updates are analyzed."""
        return max(LEAST_EPOCHS, -(-self.window // steps))


PRESETS = {
    "default": Options(),
    "quick": Options(
        seeds=(0,), width=20, stop_loss=1e-3, max_epochs=1000, num_components=200, every=4
    ),
}


def experiment(options: Options) -> None:
    """Train, walk, measure, and leave results, a figure and a summary in the run directory."""
    from experiments import summaries
    from experiments.directories import new_directory
    from experiments.late_paths import paths
    from experiments.late_training import loaded
    from sgd_diffusion import plots, tables

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


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
