"""Packages that only some formats need."""

import importlib
import types

from sgd_diffusion.errors import invalid

__all__ = ["required"]


def required(package: str, purpose: str) -> types.ModuleType:
    """Return a package that is no dependency.

    Args:
        package: its name.
        purpose: what it is for, the subject of the message.

    Raises:
        InputError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise invalid(
            purpose,
            f"needs the package {package} ({error})",
            "it to be installed",
            f"pip install {package}",
        ) from error
