"""Estimate the dimensions of surfaces and of their level sets, with errors and a calibration.

A surface has two different dimensions:

- Its *graph* is a set in space. Its dimension is 2 where the surface is smooth and up to 3 where it
  is rough: `differential_box_counting` and `oscillation_dimension`.
- Its *level sets* are sets in the plane. Their dimension is 1 (curves) up to 2:
  `box_counting_dimension` of `level_set`.

A dimension below 2 is not that of a graph. For a fractional Brownian surface of Hurst exponent H,
which `variogram_exponent` gives, the first dimension is 3 - H and the second 2 - H.

Estimates are biased at any size that can be stored, those of rough surfaces most of all. Compare
them with `calibrate` on exact surfaces, or with a smooth surface, before calling anything fractal.
Everything here is float64 NumPy on the host.
"""

from sgd_diffusion.landscape.box_counting.calibration import (
    CalibratedDimension,
    Calibration,
    calibrate,
    graph_dimension,
    level_set_dimension,
)
from sgd_diffusion.landscape.box_counting.graphs import (
    differential_box_counting,
    oscillation_dimension,
    variogram_exponent,
)
from sgd_diffusion.landscape.box_counting.scales import ScalingEstimate
from sgd_diffusion.landscape.box_counting.sets import box_counting_dimension, box_counts, level_set

__all__ = [
    "CalibratedDimension",
    "Calibration",
    "ScalingEstimate",
    "box_counting_dimension",
    "box_counts",
    "calibrate",
    "differential_box_counting",
    "graph_dimension",
    "level_set",
    "level_set_dimension",
    "oscillation_dimension",
    "variogram_exponent",
]
