"""All programs of the experiments."""

from experiments.accelerators import (
    analysis_programs,
    network_programs,
    training_programs,
    walker_programs,
)
from experiments.accelerators.programs import Program


def catalogue() -> list[Program]:
    """Return the programs of all presets of all experiments, and those of large models."""
    return [
        *training_programs.programs(),
        *training_programs.large_models(),
        *network_programs.programs(),
        *walker_programs.programs(),
        *analysis_programs.programs(),
    ]
