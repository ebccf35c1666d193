"""Are gradients heavy-tailed, and do their tails get lighter with training (Fig. 5 of Chen, Qu & Gong, arXiv:2009.10588)?

Trains every seed with every learning rate, window by window, keeps every mini-batch gradient at some coordinates, and
fits symmetric alpha-stable laws to entries of it: pooled over coordinates as in the paper, standardised coordinate by
coordinate, of the noise at frozen weights, and of Gaussian numbers with the measured scales, the control for what pooling
alone does. Also shows the fluctuations of the mini-batch loss.
Run from the checkout: python -m experiments.gradient_tails
"""

import dataclasses

from experiments import command_line, summaries
from experiments.training import RunOptions, TrainingOptions, train
from sgd_diffusion import plots, tables
from sgd_diffusion.analysis.estimates import MIN_POINTS
from sgd_diffusion.dynamics.measurements import default_measurements
from sgd_diffusion.errors import InputError
from sgd_diffusion.results import save_figure, write_atomically

MIN_WINDOW = 100  # updates whose losses a moving variance covers, and ten for each block of the bootstrap


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    num_entries: int = 5000
    """Entries of the gradients of a window to which a law is fitted, as many as in the paper."""
    num_resamples: int = 50
    """Times that a fit is repeated on resampled entries for its error."""


PRESETS = {
    "default": Options(learning_rates=(0.02,), gradient_samples=500, frozen_passes=4),
    "quick": Options(model="resnet8", seeds=(0, 1), learning_rates=(0.02,), num_windows=2, window=200, gradient_samples=100,
                     frozen_passes=1, num_entries=1000, num_resamples=10),
    "paper": Options(dataset="cifar10", model="resnet14", seeds=(0,), learning_rates=(0.1,), num_windows=24, window=1000,
                     batch_size=1024, gradient_samples=500, frozen_passes=1),
}


def experiment(options: Options) -> None:
    """Train, measure, and leave results, a figure for each learning rate and a summary in the run directory."""
    if options.gradient_samples == 0:
        raise InputError("Parameter 'gradient_samples'=0 keeps no gradients. Expected one or more coordinates for every "
                         "layer, such as 500.")
    if options.window < MIN_WINDOW:
        raise InputError(f"Parameter 'window'={options.window} is too small. Expected at least {MIN_WINDOW} updates for the "
                         "moving variance of the loss.")
    for name, least in (("num_entries", MIN_POINTS), ("num_resamples", 2)):
        if getattr(options, name) < least:
            raise InputError(f"Parameter '{name}'={getattr(options, name)} is too small. Expected at least {least}, for a fit "
                             "and its error.")
    dataset, directory = train(options, "gradient_tails", default_measurements)
    table = tables.gradient_tails(dataset, num_entries=options.num_entries, num_resamples=options.num_resamples)
    text = summaries.gradient_tails(dataset, table)
    write_atomically(directory / "tails.nc", table.assign_attrs(dataset.attrs).to_netcdf(engine="h5netcdf"))
    write_atomically(directory / "summary.txt", text.encode())
    for rate in options.learning_rates:
        save_figure(plots.gradient_tails(dataset, table, rate), directory / f"gradient_tails_{rate:g}.png")
    print(text)
    print(f"results, figures and this summary: {directory}")


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
