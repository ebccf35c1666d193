"""Paths that were made elsewhere: their formats, and parts of their points."""

from sgd_diffusion.storage.paths.leaves import chosen_leaves
from sgd_diffusion.storage.paths.opening import open_path, path_in_memory
from sgd_diffusion.storage.paths.stored_path import StoredPath

__all__ = ["open_path", "path_in_memory", "StoredPath", "chosen_leaves"]
