"""Simulate walkers on surfaces and in valleys, and measure where they get and when."""

from sgd_diffusion.walkers import two_valleys
from sgd_diffusion.walkers.basins import Basin, wide_basin
from sgd_diffusion.walkers.boundaries import BOUNDARIES
from sgd_diffusion.walkers.escape import escape_times
from sgd_diffusion.walkers.interpolation import interpolator, nearest
from sgd_diffusion.walkers.passages import (
    MeanDuration,
    Stays,
    final_entry,
    first_passage,
    mean_duration,
    stays,
)
from sgd_diffusion.walkers.steps import langevin_steps, minibatch_steps
from sgd_diffusion.walkers.walk import Walk, walk, walk_ensemble

__all__ = [
    # walks
    "walk",
    "walk_ensemble",
    "Walk",
    "BOUNDARIES",
    "interpolator",
    "nearest",
    # escapes from a valley
    "escape_times",
    "langevin_steps",
    "minibatch_steps",
    # which of two valleys, and since when
    "two_valleys",
    # where they get and when
    "wide_basin",
    "Basin",
    "first_passage",
    "final_entry",
    "stays",
    "mean_duration",
    "Stays",
    "MeanDuration",
]
