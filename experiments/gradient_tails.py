"""Measure whether gradients are heavy-tailed, and whether their tails get lighter with training.

This is Fig. 5 of Chen, Qu & Gong (arXiv:2009.10588). The program trains every seed with every
learning rate, window by window, and keeps every mini-batch gradient at some coordinates. It fits
symmetric alpha-stable laws to entries: pooled over coordinates as in the paper, standardized
coordinate by coordinate, and of the noise at frozen weights. The control for what pooling alone
does are Gaussian numbers with the measured scales. It also shows the fluctuations of the mini-batch
loss. Run from the checkout: python -m experiments.gradient_tails
"""

import dataclasses
from typing import Annotated

from experiments import command_line
from experiments.options import COUNT, within
from experiments.progress import phase
from experiments.results import RunOptions, by_rate, leave
from experiments.training_options import MAX_WINDOW, TrainingOptions
from sgd_diffusion._least_inputs import MIN_POINTS
from sgd_diffusion.errors import invalid

MAX_NUMBERS = 10_000_000  # entries times resamples, in several arrays of 80 MB
# A moving variance covers the losses of so many updates; each block of the bootstrap has ten.
MIN_WINDOW = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    window: Annotated[
        int, *within(MIN_WINDOW, MAX_WINDOW, "for the moving variance of the loss")
    ] = 1000
    """Updates in a window."""
    gradient_samples: Annotated[int, *within(1, COUNT, "to have gradients")] = 500
    """Coordinates at which every mini-batch gradient is kept; every layer gives some of them."""
    num_entries: Annotated[int, *within(MIN_POINTS, 100_000, "for a fit and its error")] = 5000
    """Entries of the gradients of a window to which a law is fitted, as many as in the paper."""
    num_resamples: Annotated[int, *within(2, 1000, "for an error")] = 50
    """Times that a fit is repeated on resampled entries for its error."""

    def check(self) -> None:
        """Refuse also what cannot be fitted."""
        super().check()
        if self.num_entries * self.num_resamples > MAX_NUMBERS:
            raise invalid(
                "--num-entries",
                f"is {self.num_entries} and --num-resamples {self.num_resamples}",
                f"at most {MAX_NUMBERS} for their product, which is held in memory",
                "take fewer of one",
            )


PRESETS = {
    "default": Options(learning_rates=(0.02,), frozen_passes=4),
    "quick": Options(
        model="resnet8",
        seeds=(0, 1),
        learning_rates=(0.02,),
        num_windows=2,
        window=200,
        gradient_samples=100,
        frozen_passes=1,
        num_entries=1000,
        num_resamples=10,
    ),
    "paper": Options(
        dataset="cifar10",
        model="resnet14",
        seeds=(0,),
        learning_rates=(0.1,),
        num_windows=24,
        window=1000,
        batch_size=1024,
        frozen_passes=1,
    ),
}


def experiment(options: Options) -> None:
    """Train and measure, and leave results, figures and a summary in the run directory.

    There is a figure for each learning rate.
    """
    from experiments import summaries
    from experiments.training import train
    from sgd_diffusion import plots, tables
    from sgd_diffusion.dynamics.measurements import default_measurements

    dataset, directory = train(options, "gradient_tails", default_measurements)
    with phase("fits of laws and their bootstraps"):
        table = tables.gradient_tails(
            dataset, num_entries=options.num_entries, num_resamples=options.num_resamples
        )
        text = summaries.gradient_tails(dataset, table)
    leave(
        directory,
        text,
        tables={"tails": table.assign_attrs(dataset.attrs)},
        figures=by_rate(
            "gradient_tails",
            dataset.learning_rate.values,
            lambda rate: plots.gradient_tails(dataset, table, rate),
        ),
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
