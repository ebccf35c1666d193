"""Train a network with every combination of the options that are given several values.

Each combination is a cell: an ordinary run of experiments.anomalous_diffusion in a directory of its
own. Seeds and learning rates stay inside a cell, in one compiled program. A table over all cells
has one dimension for each of these options. The same command with the same --directory goes on
where it was cut. Any number of processes on one file system may run it at once, and each cell is
trained by one of them. Run from the checkout: python -m experiments.sweep --model resnet14 fc3
--batch-size 32 128
"""

import dataclasses

from experiments import anomalous_diffusion, command_line
from experiments.launchers import LaunchOptions
from experiments.swept_options import swept


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(LaunchOptions, swept(anomalous_diffusion.Options)):
    """Options of a sweep."""


SMALL = Options(
    model=("fc3", "resnet8"),
    batch_size=(16, 64),
    seeds=(0, 1, 2),
    learning_rates=(0.05,),
    num_windows=(3,),
    window=(500,),
)
PRESETS = {
    "default": SMALL,
    "quick": dataclasses.replace(
        SMALL, model=("fc2", "fc3"), seeds=(0, 1), num_windows=(2,), window=(100,)
    ),
}


def experiment(options: Options) -> None:
    """Train all cells, and leave a table, a summary and a figure in the directory of the sweep."""
    from experiments import summaries
    from experiments.sweep_work import leave_together, swept_table
    from sgd_diffusion import plots

    table, directory = swept_table(options, "sweep")
    names = options.dimensions()
    leave_together(
        directory,
        summaries.cells(table, names) + "\n",
        tables={"table": table},
        figures={"comparison": lambda: plots.comparison(table, names)},
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
