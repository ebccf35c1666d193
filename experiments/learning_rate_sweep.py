"""Measure what the learning rate does to the diffusion of SGD, beside rescaling time.

This is Fig. 4 of Chen, Qu & Gong (arXiv:2009.10588). All learning rates are members of one
ensemble. The program measures the exponents of the first and of the last window, beside the same
paths without their mean drift and with their steps in random order, the waiting time at which the
regime changes, and losses and distances against the number of updates t and against the training
time eta t. If the learning rate only rescaled time, all would agree at equal eta t.
Run from the checkout: python -m experiments.learning_rate_sweep
"""

import dataclasses

from experiments import anomalous_diffusion, command_line
from experiments.progress import phase
from experiments.results import leave
from sgd_diffusion.errors import invalid

Options = anomalous_diffusion.Options
PUBLISHED = (0.001, 0.01, 0.05, 0.1, 0.5)
SMALL = Options(
    model="resnet14-width8", learning_rates=PUBLISHED, num_windows=5, window=500, batch_size=32
)
PAPER = Options(
    dataset="cifar10",
    model="resnet14",
    seeds=(0, 1, 2),
    learning_rates=PUBLISHED,
    num_windows=24,
    batch_size=1024,
)
PRESETS = {
    "default": SMALL,
    "quick": dataclasses.replace(
        SMALL, model="fc3-width50", seeds=(0, 1), num_windows=4, window=200
    ),
    "paper": PAPER,
}


def experiment(options: Options) -> None:
    """Train, measure, and leave tables, a summary and figures in the run directory."""
    from experiments import summaries
    from experiments.training import train
    from sgd_diffusion import plots, tables
    from sgd_diffusion.analysis.lags import standard_ranges
    from sgd_diffusion.dynamics.measurements import default_measurements

    if len(options.learning_rates) + len(options.add_learning_rates) < 2:
        raise invalid("--learning-rates", "has one value", "two or more, to be compared")
    dataset, directory = train(options, "learning_rate_sweep", default_measurements)
    with phase("exponents, of surrogates too"):
        table = tables.overview(dataset, standard_ranges(options.window))
        regimes = tables.regimes(table)
        times = tables.training_times(dataset)
        text = summaries.learning_rate_sweep(dataset, table, regimes, times)
    leave(
        directory,
        text,
        tables={
            "exponents": table,
            "regimes": regimes.assign_attrs(dataset.attrs),
            "training_times": times.assign_attrs(dataset.attrs),
        },
        figures={
            "learning_rate_sweep": lambda: plots.learning_rate_sweep(dataset, regimes, times),
            "anomalous_diffusion": lambda: plots.anomalous_diffusion(dataset, table),
        },
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
