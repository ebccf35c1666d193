"""SGD as a walker on the loss landscape: ensembles of runs, and exact statistics of their paths.

Everything public is in the rooms `problems`, `dynamics`, `analysis`, `landscape`, `theory`,
`walkers`, `tables`, `plots` and `storage`. They are loaded when they are first used.
`__init__.pyi` lists what this page offers besides them.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

try:
    __version__ = version("sgd-diffusion")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "unknown"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
