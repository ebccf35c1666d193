"""Measure why a converged network keeps moving, beside closed forms without a fitted constant.

This is after Kunin et al. (arXiv:2107.09133). The first part is a linear regression, where the
theory is exact: spirals in phase space, stationary covariances, circulation, displacements, with
mini-batches drawn with replacement and epoch by epoch. The second part trains a network on labels
with noise, so that the gradient noise stays. From its end it goes on under other learning rates,
batch sizes and momenta, with batch normalization frozen where it has any. It compares local
displacements and exponents with what the measured gradient noise and its distribution over the
curvature predict. Run from the checkout: python -m experiments.limiting_dynamics
"""

import contextlib
import dataclasses
import pathlib
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr

from experiments import command_line, data_sets, summaries
from experiments.linear_regression import Regression, noise_of_the_law, regression, simulate
from experiments.options import flag, within
from experiments.progress import Progress, phase
from experiments.results import leave
from experiments.training import RunOptions, TrainingOptions, loaded, train
from sgd_diffusion import plots, tables
from sgd_diffusion.dynamics.measurements import (
    displacements,
    noise_spectrum,
    series,
    twin_displacements,
)
from sgd_diffusion.dynamics.parameters import initial_shapes
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.rule_options import RULE_OPTIONS
from sgd_diffusion.dynamics.run import run_ensemble
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems import with_frozen_state
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.theory.limiting import Hyperparameters, stationary_covariance

COLLAPSE = "rate and momentum"
SAMPLINGS = ("replacement", "epochs")
START = 6  # standard deviations, of the walks that begin away from the solution


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

    def settings(self) -> list[tuple[str, Plan]]:
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


def measure(problem: Problem, plan: Plan) -> list[Any]:
    """Return the measurements of the training."""
    return [displacements(), series()]


def measure_at_rest(options: Options, problem: Problem) -> list[Any]:
    """Return the measurements of the settings under which the network goes on."""
    return [
        displacements(),
        noise_spectrum(
            problem,
            num_probes=options.noise_probes,
            num_products=options.noise_products,
            weight_decay=options.weight_decay,
        ),
        *([twin_displacements()] if options.full_batch_twin else []),
    ]


def at_rest(problem: Problem) -> tuple[Problem, bool]:
    """Return the problem with its state frozen, and whether it has a state."""
    normalized = bool(jax.tree.leaves(initial_shapes(problem)[1]))
    return with_frozen_state(problem) if normalized else problem, normalized


def experiment(options: Options) -> None:
    """Run both parts, and leave results, figures and a summary in the run directory."""
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


def regression_laws(options: Options) -> tuple[Regression, Hyperparameters, np.ndarray]:
    """Return the regression, its hyperparameters and the noise of its stationary law.

    Raises:
        InputError: it has none.
    """
    data = data_sets.load(options.dataset, options.data_dir)
    problem = regression(data.train, data.num_classes)
    hyper = Hyperparameters(
        options.regression_learning_rate, options.momentum, batch_size=options.batch_size
    )
    return problem, hyper, noise_of_the_law(problem, hyper)


def regression_motion(
    options: Options, problem: Regression, hyper: Hyperparameters, noise: np.ndarray
) -> xr.Dataset:
    """Return the motion of the regression, as `tables.limiting_regression` takes it."""
    ranks = np.array([rank for rank in options.ranks if rank < len(problem.eigenvalues)])
    keys = jax.random.split(jax.random.key(0), options.regression_seeds)
    rest = np.zeros_like(noise)
    start = rest.copy()
    law = stationary_covariance(problem.eigenvalues[ranks], noise[ranks, 0], hyper)
    start[ranks] = START * np.sqrt(np.asarray(law.position))[:, None]
    walks = [
        simulate(
            keys,
            problem,
            hyper,
            rest,
            steps=options.regression_steps,
            modes=ranks,
            sampling=sampling,
        )
        for sampling in SAMPLINGS
    ]
    spirals = simulate(
        keys,
        problem,
        hyper,
        start,
        steps=options.spiral_steps,
        modes=ranks,
        sampling=SAMPLINGS[0],
    )
    own, spiral = (
        ("sampling", "seed", "point", "mode", "output"),
        ("seed", "spiral_point", "mode", "output"),
    )
    return xr.Dataset(
        {
            "position": (own, np.stack([walk.position for walk in walks])),
            "velocity": (own, np.stack([walk.velocity for walk in walks])),
            "displacement": (own[:3], np.stack([walk.displacement for walk in walks])),
            "spiral_position": (spiral, np.asarray(spirals.position)),
            "spiral_velocity": (spiral, np.asarray(spirals.velocity)),
            "spiral_start": (("mode", "output"), start[ranks]),
            "eigenvalue": ("rank", problem.eigenvalues),
            "noise": (("rank", "output"), problem.noise),
            "noise_of_law": (("rank", "output"), noise),
        },
        coords={"sampling": list(SAMPLINGS), "mode": ranks},
        attrs={name: float(value) for name, value in hyper._asdict().items()},
    )


def swept(options: Options, problem: Problem, directory: pathlib.Path) -> xr.Dataset:
    """Return the measured windows of all settings, as `tables.limiting_sweep` takes them.

    Every setting has a run directory of its own below `settings`, and goes on from the end of the
    run. Settings that are there already are read.
    """
    runs: list[xr.Dataset] = []
    sweeps, plans = zip(*options.settings(), strict=True)
    for plan in plans:
        (rate,) = plan.learning_rates
        name = f"eta{rate:g}-batch{plan.batch_size}-beta{plan.momentum:g}"
        own = directory / "settings" / name
        ends = [start + plan.window for start in plan.starts()]
        with contextlib.closing(
            Progress(ends, plan.num_members, at_ends=f"noise, {name}")
        ) as progress:
            run = run_ensemble(
                problem,
                plan,
                own,
                measurements=measure_at_rest(options, problem),
                start_from=directory,
                resume=own.exists(),
                members_at_once=options.members_at_once,
                report=progress.report,
                on_window=progress.window,
            )
        kept = run.isel(window=slice(options.burn_in, None)).sel(learning_rate=rate, drop=True)
        runs.append(kept.drop_attrs().drop_vars("waiting_time"))
    coords = {
        "sweep": list(sweeps),
        "learning_rate": [plan.learning_rates[0] for plan in plans],
        **{
            name: [getattr(plan, name) for plan in plans]
            for name in ("momentum", "weight_decay", "batch_size")
        },
    }
    return xr.concat(runs, "setting").assign_coords(
        {name: ("setting", values) for name, values in coords.items()}
        | {"setting": range(len(runs))}
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
