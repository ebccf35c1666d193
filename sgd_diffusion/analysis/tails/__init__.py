"""Measure how heavy tails are, without a fitted law, and how much series fluctuate."""

from sgd_diffusion.analysis.tails.extremes import hill, hill_curve, moment_estimator, pickands
from sgd_diffusion.analysis.tails.fluctuations import (
    effective_sample_size,
    excess_kurtosis,
    loss_changes,
    moving_variance,
)
from sgd_diffusion.analysis.tails.power_law import fit_power_law_tail, goodness_of_fit
from sgd_diffusion.analysis.tails.stability_index import (
    log_variance,
    mohammadi,
    mohammadi_quantile,
    paired_differences,
)

__all__ = [
    "effective_sample_size",
    "excess_kurtosis",
    "fit_power_law_tail",
    "goodness_of_fit",
    "hill",
    "hill_curve",
    "log_variance",
    "loss_changes",
    "mohammadi",
    "mohammadi_quantile",
    "moment_estimator",
    "moving_variance",
    "paired_differences",
    "pickands",
]
