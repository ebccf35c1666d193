"""The panels of experiments.escape_rates: how each is measured, drawn and put in words."""

import functools
import pathlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import xarray as xr

from experiments import summaries
from experiments.escape_curvature import noise_and_curvature
from experiments.escape_langevin import noise_of_the_curvature, white_noise
from experiments.escape_minibatches import logistic_regression, shifted_data
from experiments.escape_saddles import network_saddles
from experiments.noise_tails import noise_tails
from experiments.parts import measured_in_parts
from sgd_diffusion import plots

if TYPE_CHECKING:
    import matplotlib.figure


class Panel(NamedTuple):
    """A part of the experiment.

    Attributes:
        measure: takes the `Options`, and returns what was measured and what is predicted.
        plot: takes that dataset, and returns a figure.
        summarize: takes it, and returns a text.
    """

    measure: Callable[[Any], xr.Dataset]
    plot: Callable[[xr.Dataset], "matplotlib.figure.Figure"]
    summarize: Callable[[xr.Dataset], str]


PANELS = {
    "white": Panel(white_noise, plots.escape_rates, summaries.escape_rates),
    "sgd": Panel(noise_of_the_curvature, plots.escape_rates, summaries.escape_rates),
    "minibatch": Panel(logistic_regression, plots.escape_rates, summaries.escape_rates),
    "warning": Panel(shifted_data, plots.escape_rates, summaries.escape_rates),
    "tails": Panel(noise_tails, plots.noise_tails, summaries.noise_tails),
    "curvature": Panel(noise_and_curvature, plots.escape_curvature, summaries.escape_curvature),
    "saddle": Panel(network_saddles, plots.escape_saddles, summaries.escape_saddles),
}


def once(summaries_of_panels: Iterable[str]) -> str:
    """Join texts; a paragraph that several have, such as a legend, is there once."""
    paragraphs = [part for text in summaries_of_panels for part in text.strip().split("\n\n")]
    return "\n\n".join(dict.fromkeys(paragraphs)) + "\n"


def measured(options: Any, directory: pathlib.Path) -> dict[str, xr.Dataset]:
    """Return the datasets of all panels; each is kept as soon as it is finished."""
    found = measured_in_parts(
        options,
        directory,
        [functools.partial(PANELS[name].measure, options) for name in options.panels],
        experiment="escape_rates",
        headline=f"{', '.join(options.panels)}: {options.trials} trials",
    )
    return dict(zip(options.panels, found, strict=True))
