"""Measure how sharp the loss is where SGD walks, and what sharpness does to its noise.

This is Fig. 7 of Chen, Qu & Gong (arXiv:2009.10588). The program trains every seed with every
learning rate. Where each window ends, it measures the largest eigenvalues of the Hessian with their
residuals, and the gradient and the gradient noise along their eigenvectors. At some windows it
measures the density of all eigenvalues. It does so with the batch normalization of training and
with that of evaluation, whose curvatures are different. Run from the checkout: python -m
experiments.hessian_spectrum
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments import command_line
from experiments.options import COUNT, within
from experiments.results import RunOptions, by_rate, leave
from experiments.training_options import TrainingOptions
from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    from sgd_diffusion.dynamics.plan import Plan
    from sgd_diffusion.problems.objectives import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    num_eigenvalues: Annotated[int, *within(1, 1000)] = 20
    """Largest eigenvalues that are computed at the end of every window."""
    hessian_examples: Annotated[int, *within(1, COUNT)] = 512
    """Training examples whose mean loss has the Hessian; only full batches of them are used."""
    statistics: Annotated[tuple[Literal["batch", "running"], ...], *within(fewest=1)] = (
        "batch",
        "running",
    )
    """Batch normalization of the Hessian: batch, by the statistics of every mini-batch as in
    training; running, by the running averages as in evaluation. One of them costs half the time.
    """
    density_windows: Annotated[tuple[int, ...], *within(-100_000, 99_999)] = (0, -1)
    """Windows after which the density of all eigenvalues is estimated, from 0 on; -1 is the last.
    None may be given.
    """
    density_probes: Annotated[int, *within(2, 1000, "for a standard error")] = 4
    """Random vectors for each density."""
    density_products: Annotated[int, *within(2, 1000)] = 40
    """Products with the Hessian for each of these vectors."""

    def check(self) -> None:
        """Refuse also what cannot be measured."""
        from sgd_diffusion.dynamics.measurements.hessian_spectrum import MIN_BATCHES

        super().check()
        self.density_at()
        if MIN_BATCHES * self.batch_size > self.hessian_examples:
            raise invalid(
                "--hessian-examples",
                f"is {self.hessian_examples}",
                f"at least {MIN_BATCHES} batches of --batch-size {self.batch_size}, for a "
                "variance and its error",
            )

    def density_at(self) -> tuple[int, ...]:
        """Return the numbers of the windows with a density.

        Raises:
            InputError: the run does not have one of the windows.
        """
        present = range(self.plan().num_windows)
        for window in self.density_windows:
            if not -len(present) <= window < len(present):
                raise invalid(
                    "--density-windows",
                    f"names window {window}",
                    f"{-len(present)} to {len(present) - 1}, the windows of the run",
                )
        return tuple(sorted({present[window] for window in self.density_windows}))


PRESETS = {
    "default": Options(learning_rates=(0.02,), num_windows=6, window=500),
    "quick": Options(
        model="resnet8",
        seeds=(0, 1),
        learning_rates=(0.02,),
        num_windows=2,
        window=200,
        num_eigenvalues=5,
        hessian_examples=128,
        density_windows=(-1,),
        density_probes=2,
        density_products=20,
    ),
    # A window is about ten epochs.
    "paper": Options(
        dataset="cifar10",
        model="resnet14",
        seeds=(0,),
        learning_rates=(0.1,),
        num_windows=50,
        window=490,
        batch_size=1024,
        hessian_examples=8192,
        density_windows=(0, 24, -1),
    ),
}


def measure(options: Options, problem: "Problem", plan: "Plan") -> list[Any]:
    """Return the measurements of the experiment."""
    from sgd_diffusion.dynamics.measurements import (
        displacements,
        hessian_density,
        hessian_eigenvalues,
        series,
    )

    common: dict[str, Any] = {
        "num_examples": options.hessian_examples,
        "batch_size": plan.batch_size,
        "statistics": options.statistics,
    }
    chosen: list[Any] = [
        displacements(),
        series(),
        hessian_eigenvalues(problem, num_eigenvalues=options.num_eigenvalues, **common),
    ]
    density_at = options.density_at()
    if density_at:
        chosen.append(
            hessian_density(
                problem,
                **common,
                num_probes=options.density_probes,
                num_products=options.density_products,
                windows=density_at,
            )
        )
    return chosen


def experiment(options: Options) -> None:
    """Train and measure, and leave results, figures and a summary in the run directory.

    There is a figure for each learning rate.
    """
    from experiments import summaries
    from experiments.training import train
    from sgd_diffusion import plots, tables

    dataset, directory = train(
        options,
        "hessian_spectrum",
        functools.partial(measure, options),
        at_ends="Hessian spectra",
    )
    table = tables.hessian_spectrum(dataset)
    leave(
        directory,
        summaries.hessian_spectrum(dataset, table),
        tables={"spectrum": table},
        figures=by_rate(
            "hessian_spectrum",
            dataset.learning_rate.values,
            lambda rate: plots.hessian_spectrum(dataset, rate),
        ),
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
