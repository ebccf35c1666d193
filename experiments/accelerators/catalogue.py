"""All programs of the experiments."""

from experiments.accelerators import training_programs, walker_programs
from experiments.accelerators.programs import Program


def catalogue() -> list[Program]:
    """Return the programs of all presets of all experiments."""
    return [*training_programs.programs(), *walker_programs.programs()]
