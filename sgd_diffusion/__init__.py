"""SGD as a walker on the loss landscape: ensembles of training runs and exact statistics of how they diffuse."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sgd-diffusion")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "unknown"
