"""How SGD moves: its steps, windows of recorded steps, ensembles of windows, and runs."""

from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.averages import Average, start_average
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.gradient_coordinates import GradientCoordinates, draw_coordinates
from sgd_diffusion.dynamics.matched_noise import gradient_with_matched_noise
from sgd_diffusion.dynamics.memory import WindowMemory, window_memory
from sgd_diffusion.dynamics.optimizers import optimizer
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.recorder import PathRecorder
from sgd_diffusion.dynamics.run import run_ensemble
from sgd_diffusion.dynamics.sgd import Carry, initial_carry, sgd, sgd_step
from sgd_diffusion.dynamics.step_gradients import StepGradient
from sgd_diffusion.dynamics.stored_paths import (
    PathWindows,
    measure_paths,
    path_windows,
    reading_plan,
)
from sgd_diffusion.dynamics.window import Recording, WindowRecord, record_window

__all__ = [
    # rooms within
    "measurements",
    # runs
    "run_ensemble",
    "Plan",
    "Ensemble",
    "window_memory",
    "WindowMemory",
    # paths that are made elsewhere
    "PathRecorder",
    "measure_paths",
    "path_windows",
    "PathWindows",
    "reading_plan",
    # one window
    "record_window",
    "WindowRecord",
    "Recording",
    # one step
    "sgd",
    "sgd_step",
    "initial_carry",
    "Carry",
    # other steps
    "optimizer",
    "StepGradient",
    "Average",
    "start_average",
    # gradients
    "gradient_with_matched_noise",
    "draw_coordinates",
    "GradientCoordinates",
]
