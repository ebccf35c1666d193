"""Every table as a function: it takes a labeled dataset and returns a labeled dataset."""

from sgd_diffusion.tables.cells import each_cell, over_cells
from sgd_diffusion.tables.dataframes import to_dataframe
from sgd_diffusion.tables.effects import effect
from sgd_diffusion.tables.escape_rates import escape_rates
from sgd_diffusion.tables.exponents import exponents
from sgd_diffusion.tables.fractal_path import fractal_path
from sgd_diffusion.tables.freezing import freezing
from sgd_diffusion.tables.freezing_networks import freezing_networks
from sgd_diffusion.tables.gradient_tails import gradient_tails
from sgd_diffusion.tables.hessian_spectrum import hessian_spectrum
from sgd_diffusion.tables.limiting_regression import limiting_regression
from sgd_diffusion.tables.limiting_sweep import limiting_sweep
from sgd_diffusion.tables.loss_surface import loss_surface
from sgd_diffusion.tables.noise_tails import noise_tails
from sgd_diffusion.tables.overview import overview
from sgd_diffusion.tables.phase_diagram import phase_diagram
from sgd_diffusion.tables.planes import planes
from sgd_diffusion.tables.regimes import regimes
from sgd_diffusion.tables.toy_walks import toy_walks
from sgd_diffusion.tables.training_times import training_times
from sgd_diffusion.tables.variance_flatness import variance_flatness
from sgd_diffusion.tables.walk_statistics import walk_statistics

__all__ = [
    "each_cell",
    "effect",
    "escape_rates",
    "exponents",
    "fractal_path",
    "freezing",
    "freezing_networks",
    "gradient_tails",
    "hessian_spectrum",
    "limiting_regression",
    "limiting_sweep",
    "loss_surface",
    "noise_tails",
    "over_cells",
    "overview",
    "phase_diagram",
    "planes",
    "regimes",
    "to_dataframe",
    "toy_walks",
    "training_times",
    "variance_flatness",
    "walk_statistics",
]
