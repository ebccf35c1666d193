"""Free memory, and the refusal of work that does not fit, before it is asked for."""

import pathlib
from typing import Literal

import jax

from sgd_diffusion._platforms import platform
from sgd_diffusion.errors import invalid

__all__ = ["available_bytes", "check_memory"]

SMALL = 2**28  # bytes; less is not checked


def available_bytes(device: jax.Device | Literal["host"] | None = None) -> int | None:
    """Return the bytes that a device can still give, or None where nobody says.

    Args:
        device: a `jax.Device`, or None for one of the platform that a computation runs on; "host"
            also answers for a CPU.

    Returns:
        The bytes, or None.
    """
    if device is None:
        try:
            device = jax.local_devices(backend=platform())[0]
        except RuntimeError:  # a program is traced for devices that are not at hand
            return None
    if isinstance(device, str) or device.platform == "cpu":
        known = [found for found in (_free_on_host(), _free_in_group()) if found is not None]
        return min(known, default=None)
    try:
        stats = device.memory_stats() or {}
    except jax.errors.JaxRuntimeError:  # the device of another process, or of none
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None


def check_memory(
    needed: float,
    what: str,
    way_out: str,
    device: jax.Device | Literal["host"] | None = None,
) -> None:
    """Refuse work that needs more memory than is free.

    Args:
        needed: bytes.
        what: what needs them, the subject of the message.
        way_out: what to do instead, the end of the message.
        device: as for `available_bytes`.

    Raises:
        InputError: `needed` is more than is available.
    """
    if needed < SMALL:
        return
    available = available_bytes(device)
    if available is not None and needed > available:
        raise invalid(
            what,
            f"needs about {needed / 2**30:.3g} GiB of memory",
            f"at most the {available / 2**30:.3g} GiB that are free",
            way_out,
        )


def _free_on_host():
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        return int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return None


def _free_in_group():
    """Return the bytes that the control group of a container or a batch job leaves."""
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return None
