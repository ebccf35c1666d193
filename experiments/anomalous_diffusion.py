"""Measure how an ensemble of SGD runs diffuses on its loss landscape.

This is Fig. 2 of Chen, Qu & Gong (arXiv:2009.10588). The program trains every seed with every
learning rate, window by window. It measures the time-averaged mean squared displacement of the
weights, its local exponents, and short-lag and long-lag exponents against waiting time, with their
spread over seeds. Beside them are the exponents of the surrogates: steps without their mean drift,
in random order, and with random signs. Run from the checkout: python -m
experiments.anomalous_diffusion
"""

import dataclasses
from typing import Annotated

from experiments import command_line
from experiments.options import within
from experiments.progress import phase
from experiments.results import RunOptions, leave
from experiments.training_options import MAX_WINDOW, TrainingOptions
from sgd_diffusion._least_inputs import MIN_WINDOW


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    window: Annotated[int, *within(MIN_WINDOW, MAX_WINDOW, "for two ranges of lags")] = 1000
    """Updates in a window."""
    not_averaged: bool = False
    """Also draw the displacement from the start of each window, the MSD without a time average."""


PAPER = Options(
    dataset="cifar10",
    model="resnet14",
    seeds=(0,),
    learning_rates=(0.1,),
    num_windows=24,
    window=1000,
    batch_size=1024,
)
PRESETS = {
    "default": Options(),
    "quick": Options(seeds=(0, 1), learning_rates=(0.02,), num_windows=4, window=200),
    "paper": PAPER,
    "paper-long-windows": dataclasses.replace(
        PAPER, window=10_000, num_windows=5, batch_size=512
    ),  # Fig. 2d
    "paper-long-run": dataclasses.replace(PAPER, waiting_times=(0, 23_000, 230_000)),  # Fig. 2e
}


def experiment(options: Options) -> None:
    """Train, measure, and leave results, figure and summary in the run directory."""
    from experiments import summaries
    from experiments.training import train
    from sgd_diffusion import plots, tables
    from sgd_diffusion.analysis.lags import standard_ranges
    from sgd_diffusion.dynamics.measurements import default_measurements

    dataset, directory = train(options, "anomalous_diffusion", default_measurements)
    ranges = standard_ranges(options.window)
    with phase("exponents, of surrogates too"):
        table = tables.overview(dataset, ranges)
        text = summaries.anomalous_diffusion(dataset, table)
    found = {"exponents": table}
    figures = {"anomalous_diffusion": lambda: plots.anomalous_diffusion(dataset, table)}
    if options.not_averaged:
        not_averaged = tables.exponents(dataset, ranges, curve="displacement_from_start")
        found["not_averaged"] = not_averaged
        figures["not_averaged"] = lambda: plots.anomalous_diffusion(dataset, not_averaged)
    leave(
        directory,
        text,
        tables=found,
        figures=figures,
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
