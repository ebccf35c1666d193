"""Measure rates of escape from a valley, beside exact first passage times.

This is after Xie et al. (arXiv:2002.03495). Every part, a panel, is a set of sweeps or of samples
with what a theory says of them:

- white: white noise, whose rate is exp(-barrier / D) and proportional to the sharpness k;
- sgd: noise that is the curvature, whose rate is exponential in B, 1/eta and 1/k;
- minibatch: mini-batches of a logistic double well, with the variance of their gradients measured
  along the way out;
- warning: mini-batches whose rates lie on straight lines, although diffusion theory is wrong;
- tails: gradient noise of a network, across the parameters of a mini-batch and across mini-batches;
- curvature: gradient noise of a network beside its Hessian, through the training;
- saddle: small networks over a saddle between two of their minima.

The theory is exact where it can be: mean first passage times by quadrature. Run from the checkout:
python -m experiments.escape_rates
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from experiments import command_line
from experiments.options import COUNT, UINT32, expanded, within
from experiments.results import RunOptions, leave
from sgd_diffusion.errors import invalid

PANELS = ("white", "sgd", "minibatch", "warning", "tails", "curvature", "saddle")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of the experiment."""

    panels: Annotated[tuple[str, ...], *within(fewest=1)] = PANELS
    """What is measured, in this order; those named above."""
    seed: Annotated[int, *within(0, UINT32)] = 0
    """Of all walkers."""
    trials: Annotated[int, *within(200, COUNT, "for a rate")] = 1000
    """Walkers of each point of a sweep; a rate has the relative error 1 / sqrt(trials)."""
    noise_batches: Annotated[int, *within(20, COUNT, "for an index")] = 3000
    """Mini-batches whose noise gives the tails."""
    dataset: str = "digits"
    """Of the panel curvature: digits, mnist (through tensorflow-datasets), or others that
    experiments that train take.
    """
    data_dir: pathlib.Path | None = None
    """Where tensorflow-datasets keeps its data; its own default if not given."""
    width: Annotated[int, *within(2, 100, "for a dense matrix")] = 30
    """Units of both hidden layers of that panel."""
    epochs: Annotated[tuple[int, ...], *within(0, 100_000, fewest=1)] = (0, 5, 20, 100, 1000)
    """Epochs after which noise and curvature are compared."""
    ends: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only the first and the last point of each sweep."""

    def check(self) -> None:
        """Refuse also panels that there are not."""
        super().check()
        expanded("--dataset", pathlib.Path(self.dataset))
        unknown = [name for name in self.panels if name not in PANELS]
        if unknown:
            raise invalid("--panels", f"is {unknown[0]!r}", f"one of {', '.join(PANELS)}")

    def some(self, values: Sequence[Any]) -> list[Any]:
        """Return the values of a sweep, or its ends alone."""
        return [values[0], values[-1]] if self.ends else list(values)


PRESETS = {
    "default": Options(),
    # Without the panels that take longest to compile.
    "quick": Options(
        panels=tuple(name for name in PANELS if name not in ("warning", "saddle")),
        trials=256,
        noise_batches=500,
        width=20,
        epochs=(0, 20, 1000),
        ends=True,
    ),
    # The network of Feng and Tu, on which their variance-flatness relation is measured.
    "mnist": Options(panels=("curvature",), dataset="mnist", width=50, epochs=(0, 1, 5, 20, 61)),
}


def experiment(options: Options) -> None:
    """Measure all panels, and leave results, figures and a summary in the run directory."""
    from experiments.directories import new_directory
    from experiments.escape_panels import PANELS, measured, once

    directory = options.directory or new_directory("escape_rates")
    found = measured(options, directory)
    leave(
        directory,
        once(PANELS[name].summarize(dataset) for name, dataset in found.items()),
        tables=found,
        figures={
            name: lambda name=name, dataset=dataset: PANELS[name].plot(dataset)
            for name, dataset in found.items()
        },
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
