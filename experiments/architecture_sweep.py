"""Measure how depth, shortcuts and batch size decide how SGD diffuses.

This is Fig. 3 of Chen, Qu & Gong (arXiv:2009.10588). A sweep trains residual networks of several
depths, with and without shortcuts, at several batch sizes. It measures the exponents of the first
and of the last window, each beside the same path without its mean drift and with its steps in
random order, the onset tau_0 of superdiffusion, and the test accuracy, for several seeds. Run from
the checkout: python -m experiments.architecture_sweep
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments import anomalous_diffusion, command_line
from experiments.launchers import LaunchOptions
from experiments.swept_options import swept
from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    import xarray as xr


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(LaunchOptions, swept(anomalous_diffusion.Options)):
    """Options of the experiment; those with several values are swept."""

    always = ("model", "batch_size")

    def check(self) -> None:
        """Refuse also models that are not told apart by depth and shortcuts, and other sweeps."""
        super().check()
        architectures(self.model)
        others = set(self.dimensions()) - set(self.always)
        if others or len(self.learning_rates) > 1:
            name = min(others, default="learning_rates")
            raise invalid(
                f"--{name.replace('_', '-')}",
                "has several values",
                "one",
                "use experiments.sweep or experiments.learning_rate_sweep for several",
            )


def networks(depths: Sequence[int], suffix: str = "") -> tuple[str, ...]:
    """Return the names of residual networks with and without shortcuts."""
    return tuple(f"resnet{depth}{short}{suffix}" for depth in depths for short in ("", "-noshort"))


def architectures(names: Sequence[str]) -> list[tuple[int, bool]]:
    """Return depth and shortcut of each of some models.

    Raises:
        InputError: one is no residual network, or two have the same depth and shortcuts.
    """
    from sgd_diffusion.problems import models

    found = []
    for name in names:
        network = models.model(name)
        if not isinstance(getattr(network, "shortcut", None), bool):
            raise invalid("--model", f"has {name}", "residual networks, such as resnet14-noshort")
        found.append((network.depth, network.shortcut))
    if len(set(found)) < len(found):
        raise invalid(
            "--model",
            f"is {' '.join(names)}",
            "one model of each depth, with and without shortcuts",
        )
    return found


SMALL = Options(
    model=networks((8, 14, 20), "-width4"),
    batch_size=(16, 64),
    seeds=(0, 1, 2),
    learning_rates=(0.05,),
    num_windows=(4,),
    window=(500,),
)
PAPER = Options(
    dataset=("cifar10",),
    model=networks((14, 20, 56, 110)),
    batch_size=(128, 512, 1024),
    seeds=(0, 1, 2),
    learning_rates=(0.1,),
    num_windows=(24,),
)
PRESETS = {
    "default": SMALL,
    "quick": dataclasses.replace(
        SMALL,
        model=networks((8,), "-width4"),
        batch_size=(64,),
        seeds=(0, 1),
        num_windows=(2,),
        window=(100,),
    ),
    "paper": PAPER,
}


def experiment(options: Options) -> None:
    """Train all cells, and leave tables, a summary and figures in the directory of the sweep."""
    from experiments import summaries
    from experiments.sweep_work import leave_together, swept_table
    from sgd_diffusion import plots, tables

    table, directory = swept_table(options, "architecture_sweep")
    found = by_architecture(tables.regimes(table), options.model)
    names = list(options.always)
    leave_together(
        directory,
        summaries.architecture_sweep(table, found),
        tables={"table": table, "architectures": found},
        figures={
            "architecture_sweep": lambda: plots.architecture_sweep(found),
            "comparison": lambda: plots.comparison(table, names),
        },
        options=options,
    )


def by_architecture(table: "xr.Dataset", names: Sequence[str]) -> "xr.Dataset":
    """Return a table of models with the dimensions depth and shortcut in place of their names."""
    from sgd_diffusion import tables

    places = architectures(names)
    return tables.over_cells(
        [
            ({"depth": depth, "shortcut": shortcut}, table.sel(model=name, drop=True))
            for name, (depth, shortcut) in zip(names, places, strict=True)
        ]
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
