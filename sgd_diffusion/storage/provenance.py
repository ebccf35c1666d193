"""Where a result comes from: versions, device and source revision."""

import functools
import os
import pathlib
import platform
import subprocess
from typing import Any

from sgd_diffusion import __version__

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Return versions, device and source revision that a result depends on, as JSON-like values."""
    import flax
    import jax
    import numpy
    import optax

    device = jax.local_devices()[0]
    return {
        "python": platform.python_version(),
        "packages": {
            "sgd_diffusion": __version__,
            "jax": jax.__version__,
            "flax": flax.__version__,
            "optax": optax.__version__,
            "numpy": numpy.__version__,
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "host": platform.machine(),
            "cores": os.cpu_count(),
        },
        "revision": _git_revision(),
    }


@functools.cache
def _git_revision() -> str | None:
    """Return the revision of the checkout that this file belongs to; None outside git.

    It is marked if the checkout has uncommitted changes. It is asked for once: the process goes on
    with the code that it has read, whatever becomes of the checkout.
    """
    here = pathlib.Path(__file__).resolve().parent

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        ).stdout

    try:
        if not git("ls-files", "--", pathlib.Path(__file__).name).strip():
            return None  # installed below somebody else's checkout
        return git("rev-parse", "HEAD").strip() + (
            "+changes" if git("status", "--porcelain", "-uno").strip() else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None
