"""What is on disk: run directories, checkpoints and plane files. A file is complete or absent.

`storage.paths` reads paths that were made elsewhere.
"""

from sgd_diffusion.storage import paths
from sgd_diffusion.storage.checkpoints import Checkpoints
from sgd_diffusion.storage.merged_runs import merge_runs
from sgd_diffusion.storage.plane_files import resumable_plane
from sgd_diffusion.storage.run_directories import (
    BusyError,
    DamagedResultsWarning,
    RunDirectory,
    load_run,
)

__all__ = [
    # rooms within
    "paths",
    # runs
    "load_run",
    "merge_runs",
    "RunDirectory",
    "BusyError",
    "DamagedResultsWarning",
    "Checkpoints",
    # planes
    "resumable_plane",
]
