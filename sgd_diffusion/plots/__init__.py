"""Every figure as a function: it takes a labeled dataset and returns a matplotlib Figure.

Figures touch no pyplot state and no global settings. They import matplotlib when a figure is asked
for.
"""

from sgd_diffusion.plots.anomalous_diffusion import anomalous_diffusion
from sgd_diffusion.plots.architecture_sweep import architecture_sweep
from sgd_diffusion.plots.comparison import comparison
from sgd_diffusion.plots.escape_curvature import escape_curvature
from sgd_diffusion.plots.escape_rates import escape_rates
from sgd_diffusion.plots.escape_saddles import escape_saddles
from sgd_diffusion.plots.fractal_path import fractal_path
from sgd_diffusion.plots.fractal_toy import fractal_toy, walker_animation
from sgd_diffusion.plots.freezing import freezing
from sgd_diffusion.plots.freezing_diagrams import freezing_diagrams
from sgd_diffusion.plots.freezing_networks import freezing_networks
from sgd_diffusion.plots.gradient_tails import gradient_tails
from sgd_diffusion.plots.hessian_spectrum import hessian_spectrum
from sgd_diffusion.plots.learning_rate_sweep import learning_rate_sweep
from sgd_diffusion.plots.limiting_regression import limiting_regression
from sgd_diffusion.plots.limiting_sweep import limiting_sweep
from sgd_diffusion.plots.loss_surface import loss_surface
from sgd_diffusion.plots.noise_tails import noise_tails
from sgd_diffusion.plots.phase_diagram import phase_diagram
from sgd_diffusion.plots.variance_flatness import variance_flatness

__all__ = [
    "anomalous_diffusion",
    "architecture_sweep",
    "comparison",
    "escape_curvature",
    "escape_rates",
    "escape_saddles",
    "fractal_path",
    "fractal_toy",
    "freezing",
    "freezing_diagrams",
    "freezing_networks",
    "gradient_tails",
    "hessian_spectrum",
    "learning_rate_sweep",
    "limiting_regression",
    "limiting_sweep",
    "loss_surface",
    "noise_tails",
    "phase_diagram",
    "variance_flatness",
    "walker_animation",
]
