"""Escapes by normal noise of a given strength: white noise, and noise that is the curvature."""

from typing import Any

import numpy as np
import xarray as xr
from jax.tree_util import Partial

from experiments.escape_sweeps import (
    Landscape,
    Line,
    Prediction,
    Scaled,
    Setting,
    beyond,
    predicted,
    swept,
)
from sgd_diffusion.walkers import langevin_steps

WHITE, CURVED = "white noise", "noise of the curvature"
# So shallow that learning rates are large and the relaxation still takes many steps.
DEPTH = 0.15
SHARPNESS = (0.6, 0.8, 1.2, 2.0)
# Of the function of Styblinski and Tang for shifts of standard deviation 1.
SMOOTH_MINIMUM, SMOOTH_SADDLE, SMOOTH_OTHER_MINIMUM = -2.351910, 0.253248, 2.098659


def one(x: Any) -> Any:
    """Return the strength of white noise."""
    return x * 0 + 1


def double_well_slope(x: Any) -> Any:
    """Return the slope of `theory.escape.double_well`."""
    return x * x * x - x


def shallow_slope(x: Any) -> Any:
    """Return the slope of the double well of a smaller depth."""
    return DEPTH * double_well_slope(x)


def positive_curvature(x: Any) -> Any:
    """Return DEPTH (1 + x^2): the absolute curvature at both ends, and positive in between."""
    return DEPTH * (1 + x * x)


def smooth_slope(x: Any) -> Any:
    """Return the slope of `theory.escape.styblinski_tang(x, 1)`."""
    return 2 * x * x * x - 10 * x + 2.5


DOUBLE_WELL = Landscape("double well", WHITE, double_well_slope, one, -1.0, 0.0, 1.0)
SHALLOW = Landscape("shallow double well", CURVED, shallow_slope, positive_curvature, -1, 0, 1)
SMOOTH = Landscape(
    "Styblinski-Tang",
    WHITE,
    smooth_slope,
    one,
    SMOOTH_MINIMUM,
    SMOOTH_SADDLE,
    SMOOTH_OTHER_MINIMUM,
)


def white_noise(options: Any) -> xr.Dataset:
    """Return rates under white noise against its strength and against the sharpness."""
    well, smooth = (predicted(landscape, white=True) for landscape in (DOUBLE_WELL, SMOOTH))
    noises = options.some((0.045, 0.05, 0.06, 0.07, 0.085))
    return swept(
        [
            langevin(DOUBLE_WELL, well, "1/D", [Setting(0.05, diffusion=D) for D in noises]),
            sharpened_by_white_noise(options, well),
            langevin(
                SMOOTH,
                smooth,
                "1/D",
                [Setting(0.005, diffusion=D) for D in options.some((2.5, 3.0, 3.6, 4.5))],
            ),
        ],
        options,
    )


def noise_of_the_curvature(options: Any) -> xr.Dataset:
    """Return rates under noise of the curvature, with white noise as the control."""
    theory = predicted(SHALLOW)
    rate, size = 1 / 3, 3
    sweeps = {
        "B": [Setting(rate, B) for B in options.some((2, 3, 4, 5))],
        "1/eta": [Setting(eta, size) for eta in options.some((0.5, 1 / 3, 0.25, 0.2))],
        "1/k": [Setting(rate, size, k) for k in options.some(SHARPNESS)],
    }
    lines = [langevin(SHALLOW, theory, sweep, settings) for sweep, settings in sweeps.items()]
    control = sharpened_by_white_noise(options, predicted(DOUBLE_WELL, white=True))
    return swept([*lines, control], options)


def sharpened_by_white_noise(options: Any, theory: Prediction) -> Line:
    """Return the line of white noise over the sharpness."""
    settings = [Setting(0.02, sharpness=k, diffusion=0.06) for k in options.some(SHARPNESS)]
    return langevin(DOUBLE_WELL, theory, "ln k", settings)


def langevin(landscape: Landscape, theory: Prediction, sweep: str, settings: list[Setting]) -> Line:
    """Return the line of walkers under normal noise."""

    def walkers(setting):
        scale = np.float32(setting.sharpness**0.5)
        step = langevin_steps(
            Scaled(landscape.slope, scale, scale),
            Scaled(landscape.variance, scale, np.float32(setting.strength)),
            setting.learning_rate,
        )
        return (
            step,
            np.float32(landscape.minimum / scale),
            Partial(beyond, np.float32(landscape.target), scale),
        )

    return Line(landscape.loss, landscape.noise, sweep, settings, walkers, theory)
