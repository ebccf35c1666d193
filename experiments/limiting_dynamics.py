"""Measure why a converged network keeps moving, beside closed forms without a fitted constant.

This is after Kunin et al. (arXiv:2107.09133). The first part is a linear regression, where the
theory is exact: spirals in phase space, stationary covariances, circulation, displacements, with
mini-batches drawn with replacement and epoch by epoch. The second part trains a network on labels
with noise, so that the gradient noise stays. From its end it goes on under other learning rates,
batch sizes and momenta, with batch normalization frozen where it has any. It compares local
displacements and exponents with what the measured gradient noise and its distribution over the
curvature predict. Run from the checkout: python -m experiments.limiting_dynamics
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments import command_line
from experiments.options import flag, within
from experiments.progress import phase
from experiments.results import RunOptions, leave
from experiments.training_options import TrainingOptions
from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    from sgd_diffusion.dynamics.plan import Plan
    from sgd_diffusion.problems.objectives import Problem

COLLAPSE = "rate and momentum"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions, TrainingOptions):
    """Options of the experiment."""

    regression_learning_rate: Annotated[float, *within(1e-9, 10)] = 0.02
    """Step size of the regression; its momentum and batch size are those of the network."""
    regression_seeds: Annotated[int, *within(3, 10_000, "for errors")] = 32
    """Members of the regression."""
    regression_steps: Annotated[int, *within(100, 1_000_000)] = 3000
    """Steps from the solution; the second half counts as stationary."""
    spiral_steps: Annotated[int, *within(10, 100_000)] = 200
    """Steps of the walks that begin away from the solution."""
    ranks: Annotated[tuple[int, ...], *within(0, 100_000, fewest=1)] = (0, 2, 8, 20)
    """Modes of the regression that are shown, from the sharpest, 0."""

    sweep_learning_rates: Annotated[tuple[float, ...], *within(1e-20, 1e4)] = (0.0125, 0.025, 0.1)
    """Learning rates under which the network goes on, with all else unchanged."""
    sweep_batch_sizes: Annotated[tuple[int, ...], *within(1, 1_000_000)] = (16, 64, 128)
    """Batch sizes under which it goes on."""
    sweep_momenta: Annotated[tuple[float, ...], *within(0, 0.9999)] = (0.8, 0.95)
    """Momenta under which it goes on."""
    collapse_momenta: Annotated[tuple[float, ...], *within(0, 0.9999)] = (0.8, 0.95)
    """Momenta under which it goes on with the same learning rate / (1 - momentum)."""
    burn_in: Annotated[int, *within(0, 1000)] = 2
    """Windows of each setting that are left out, until it is stationary."""
    measured_windows: Annotated[int, *within(1, 1000)] = 4
    """Windows of each setting that count."""
    noise_probes: Annotated[int, *within(1, 1000)] = 4
    """Random vectors for the distribution of the noise over the curvature."""
    noise_products: Annotated[int, *within(1, 1000)] = 40
    """Products with the Hessian for each of them."""

    def settings(self) -> "list[tuple[str, Plan]]":
        """Return the plans of the sweep with what is swept in each; the default comes first."""
        base = dataclasses.replace(
            self.plan(), num_windows=self.burn_in + self.measured_windows, waiting_times=None
        )
        (eta,) = base.learning_rates
        ratio = eta / (1 - base.momentum)
        changes: list[tuple[str, dict[str, Any]]] = [
            ("default", {}),
            *(("learning rate", {"learning_rates": (rate,)}) for rate in self.sweep_learning_rates),
            *(("batch size", {"batch_size": size}) for size in self.sweep_batch_sizes),
            *(("momentum", {"momentum": momentum}) for momentum in self.sweep_momenta),
            *(
                (COLLAPSE, {"momentum": momentum, "learning_rates": (ratio * (1 - momentum),)})
                for momentum in self.collapse_momenta
            ),
        ]
        return [(name, dataclasses.replace(base, **change)) for name, change in changes]

    def check(self) -> None:
        """Refuse also what cannot be swept."""
        super().check()
        if len(self.learning_rates) != 1:
            raise invalid(
                "--learning-rates",
                f"is {' '.join(f'{rate:g}' for rate in self.learning_rates)}",
                "one learning rate, that of the training",
                "sweep others with --sweep-learning-rates",
            )
        self._check_rule()
        self.settings()

    def _check_rule(self) -> None:
        """Refuse steps of which the theory does not speak."""
        from sgd_diffusion.dynamics.rule_options import RULE_OPTIONS

        for name in (*RULE_OPTIONS, "fresh_label_noise"):
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default:
                raise invalid(
                    flag(name),
                    f"is {getattr(self, name)}",
                    f"{default}",
                    "the theory is that of SGD with momentum at a constant learning rate",
                )


DEFAULT = Options(
    model="fc2-width16",
    augment="none",
    label_noise=0.2,
    learning_rates=(0.05,),
    momentum=0.9,
    weight_decay=1e-3,
    sampling="replacement",
    num_windows=10,
)
PRESETS = {
    "default": DEFAULT,
    "quick": dataclasses.replace(
        DEFAULT,
        seeds=(0, 1),
        num_windows=3,
        window=500,
        burn_in=1,
        measured_windows=2,
        noise_probes=2,
        noise_products=20,
        sweep_learning_rates=(),
        sweep_batch_sizes=(128,),
        sweep_momenta=(),
        collapse_momenta=(0.8,),
        regression_seeds=12,
        regression_steps=1000,
    ),
    "sweep": dataclasses.replace(
        DEFAULT,
        model="fc3-width32",
        augment="standard",
        learning_rates=(0.02,),
        num_windows=20,
        burn_in=4,
        measured_windows=8,
        sweep_learning_rates=(0.005, 0.01, 0.04),
    ),
    "resnet": dataclasses.replace(
        DEFAULT,
        model="resnet8-width4",
        augment="standard",
        learning_rates=(0.02,),
        num_windows=20,
        burn_in=3,
        noise_probes=1,
        noise_products=20,
        sweep_learning_rates=(0.01, 0.04),
        sweep_batch_sizes=(16, 128),
        sweep_momenta=(0.8,),
    ),
    # The published regression (Fig. 2), for as long as the modes take to be stationary.
    "paper-regression": Options(
        dataset="cifar10",
        model="fc1",
        loss="mse",
        augment="none",
        seeds=(0,),
        learning_rates=(0.01,),
        momentum=0.99,
        batch_size=512,
        sampling="replacement",
        num_windows=2,
        sweep_learning_rates=(),
        sweep_batch_sizes=(),
        sweep_momenta=(),
        collapse_momenta=(),
        regression_learning_rate=1e-5,
        regression_seeds=8,
        regression_steps=4000,
        spiral_steps=392,
    ),
}


def measure(problem: "Problem", plan: "Plan") -> list[Any]:
    """Return the measurements of the training."""
    from sgd_diffusion.dynamics.measurements import displacements, series

    return [displacements(), series()]


def experiment(options: Options) -> None:
    """Run both parts, and leave results, figures and a summary in the run directory."""
    from experiments import summaries
    from experiments.limiting_regression import regression_laws, regression_motion
    from experiments.limiting_settings import at_rest, swept
    from experiments.training import loaded, train
    from sgd_diffusion import plots, tables

    network = loaded(options)
    with phase("laws of the linear regression"):
        problem, hyper, noise = regression_laws(options)
    dataset, directory = train(
        options,
        "limiting_dynamics",
        measure,
        problem=network,
    )
    with phase("linear regression"):
        motion = regression_motion(options, problem, hyper, noise)
        modes = tables.limiting_regression(motion)
    network, normalized = at_rest(network)
    sweep = tables.limiting_sweep(swept(options, network, directory))
    leave(
        directory,
        "\n".join(
            [
                summaries.limiting_regression(motion, modes),
                summaries.limiting_sweep(dataset, sweep, frozen=normalized),
            ]
        ),
        tables={
            name: table.assign_attrs(dataset.attrs)
            for name, table in (("regression", modes), ("sweep", sweep))
        },
        figures={
            "regression": lambda: plots.limiting_regression(motion, modes),
            "sweep": lambda: plots.limiting_sweep(sweep),
        },
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
