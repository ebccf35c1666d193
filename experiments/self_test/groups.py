"""All groups of checks, in their order."""

from experiments.self_test import displacements, heavy_tails, shapes

GROUPS = (
    displacements.exponent_checks,
    displacements.ensemble_checks,
    displacements.local_checks,
    displacements.step_checks,
    shapes.shape_checks,
    shapes.loss_checks,
    heavy_tails.tail_checks,
)
