"""What a run keeps of every member and window: pure functions with named dimensions.

A `PathMeasurement` sees the record of a window, on the device and inside the compiled window
program. A `StateMeasurement` sees the point where the window ends. A run takes a list of them, and
treats a user's own like the ones here.
"""

from sgd_diffusion.dynamics.measurements.frozen_gradients import frozen_gradients
from sgd_diffusion.dynamics.measurements.hessian_spectrum import (
    hessian_density,
    hessian_eigenvalues,
)
from sgd_diffusion.dynamics.measurements.noise_spectrum import noise_spectrum
from sgd_diffusion.dynamics.measurements.path_statistics import controls, loss_roughness, path_shape
from sgd_diffusion.dynamics.measurements.schema import PathMeasurement, Schema, StateMeasurement
from sgd_diffusion.dynamics.measurements.standard import (
    average_displacements,
    default_measurements,
    displacements,
    endpoints,
    gradient_samples,
    layer_displacements,
    series,
    step_grams,
    test_accuracy,
    twin_displacements,
)

__all__ = [
    # what a measurement is
    "PathMeasurement",
    "StateMeasurement",
    "Schema",
    "default_measurements",
    # of the path
    "displacements",
    "controls",
    "path_shape",
    "loss_roughness",
    "series",
    "layer_displacements",
    "twin_displacements",
    "average_displacements",
    "gradient_samples",
    "step_grams",
    # of the point at the end of a window
    "test_accuracy",
    "endpoints",
    "frozen_gradients",
    "hessian_eigenvalues",
    "hessian_density",
    "noise_spectrum",
]
