from . import analysis, dynamics, landscape, plots, problems, storage, tables, theory, walkers
from .analysis.gram import step_gram
from .dynamics.plan import Plan
from .dynamics.recorder import PathRecorder
from .dynamics.run import run_ensemble
from .problems.objectives import Problem
from .storage.run_directories import load_run

__version__: str

__all__ = [
    # an ensemble of runs, from the problem to what they measured
    "Problem",
    "Plan",
    "run_ensemble",
    "load_run",
    # a path of your own
    "step_gram",
    "PathRecorder",
    # the rooms
    "analysis",
    "dynamics",
    "landscape",
    "plots",
    "problems",
    "storage",
    "tables",
    "theory",
    "walkers",
]
