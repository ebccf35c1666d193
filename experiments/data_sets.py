"""The data set of an experiment, with a line on how the arrays of one's own were read."""

import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgd_diffusion.problems.datasets import Dataset


def load(name: str, data_dir: pathlib.Path | None) -> "Dataset":
    """Return the data set of these options, as `datasets.load` does, and print its reading."""
    from sgd_diffusion.problems import datasets

    dataset = datasets.load(name, data_dir=data_dir)
    if dataset.reading:
        print(dataset.reading, flush=True)
    return dataset


def folder_name(name: str, what: str) -> str:
    """Return what a run directory is called, after the data set and what is done with it."""
    path = pathlib.Path(name)
    data = path.stem if path.suffix.lower() == ".npz" else path.name
    return f"{data}-{what}".replace(":", ".")
