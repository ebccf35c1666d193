"""Results in words and numbers that fit on a screen."""

from experiments.summaries.anomalous_diffusion import anomalous_diffusion
from experiments.summaries.cells import cells
from experiments.summaries.claims import architecture_sweep, learning_rate_sweep
from experiments.summaries.common import what
from experiments.summaries.escape_networks import escape_curvature, escape_saddles
from experiments.summaries.escape_rates import escape_rates
from experiments.summaries.fractal_path import fractal_path
from experiments.summaries.fractal_toy import fractal_toy
from experiments.summaries.freezing import freezing
from experiments.summaries.freezing_networks import freezing_networks
from experiments.summaries.gradient_tails import gradient_tails
from experiments.summaries.hessian_spectrum import hessian_spectrum
from experiments.summaries.limiting_dynamics import limiting_regression, limiting_sweep
from experiments.summaries.loss_surface import loss_surface
from experiments.summaries.noise_tails import noise_tails
from experiments.summaries.variance_flatness import variance_flatness

__all__ = [
    "anomalous_diffusion",
    "architecture_sweep",
    "cells",
    "escape_curvature",
    "escape_rates",
    "escape_saddles",
    "fractal_path",
    "fractal_toy",
    "freezing",
    "freezing_networks",
    "gradient_tails",
    "hessian_spectrum",
    "learning_rate_sweep",
    "limiting_regression",
    "limiting_sweep",
    "loss_surface",
    "noise_tails",
    "variance_flatness",
    "what",
]
