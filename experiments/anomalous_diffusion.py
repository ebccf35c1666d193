"""How an ensemble of SGD runs diffuses on its loss landscape (Fig. 2 of Chen, Qu & Gong, arXiv:2009.10588).

Trains every seed with every learning rate, window by window, and measures the time-averaged mean squared displacement
of the weights, its local exponents, and short-lag and long-lag exponents against waiting time with their spread over
seeds. Run from the checkout: python -m experiments.anomalous_diffusion
"""

import contextlib
import dataclasses
import datetime
import pathlib

from experiments import command_line, summaries
from experiments.progress import Progress
from experiments.training import RunOptions, TrainingOptions
from sgd_diffusion import plots, tables
from sgd_diffusion.analysis.scaling import standard_ranges
from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.run import run_ensemble
from sgd_diffusion.results import save_figure, write_atomically


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""


PRESETS = {
    "default": Options(),
    "quick": Options(seeds=(0, 1), learning_rates=(0.02,), num_windows=4, window=200),
    "paper": Options(dataset="cifar10", model="resnet14", seeds=(0,), learning_rates=(0.1,), num_windows=24, window=1000,
                     batch_size=1024),
}


def experiment(options: Options) -> None:
    """Train, measure, and leave results, figure and summary in the run directory."""
    plan, ranges = options.plan(), standard_ranges(options.window)
    devices, problem = options.devices(), options.problem()
    directory = options.directory or new_directory(options)
    chosen = [*measurements.default_measurements(problem, plan), measurements.test_accuracy()]
    if options.keep_step_gram:
        chosen.append(measurements.step_grams())
    print(f"{options.model} on {problem.description['dataset']}: {len(plan.seeds)} seeds x {len(plan.learning_rates)} "
          f"learning rates, {plan.num_windows} windows of {plan.window} updates -> {directory}", flush=True)
    with contextlib.closing(Progress(plan.num_windows, plan.window, plan.num_members)) as progress:
        dataset = run_ensemble(
            problem, plan, directory, measurements=chosen, resume=options.resume,
            members_at_once=options.members_at_once, devices=devices,
            metadata={"experiment": "anomalous_diffusion", "options": command_line.options_as_json(options)},
            report=progress.report, on_window=progress.window)
    table = tables.exponents(dataset, ranges)
    text = summaries.anomalous_diffusion(dataset, table)
    write_atomically(directory / "exponents.nc", table.assign_attrs(dataset.attrs).to_netcdf(engine="h5netcdf"))
    write_atomically(directory / "summary.txt", text.encode())
    save_figure(plots.anomalous_diffusion(dataset), directory / "anomalous_diffusion.png")
    print(text)
    print(f"results, figure and this summary: {directory}")


def new_directory(options: Options) -> pathlib.Path:
    """A directory below runs/ named after what is run and when."""
    data = pathlib.Path(options.dataset).stem
    return pathlib.Path("runs") / f"{data}-{options.model}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
