"""Paths that were made elsewhere: their formats, and parts of their points."""

from sgd_diffusion.storage.paths.leaves import chosen_leaves
from sgd_diffusion.storage.paths.opening import open_path
from sgd_diffusion.storage.paths.stored_path import StoredPath

__all__ = ["open_path", "StoredPath", "chosen_leaves"]
