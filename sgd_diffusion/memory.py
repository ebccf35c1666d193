"""How much memory there is, asked before it is needed."""

import pathlib

import jax


def available_bytes() -> int | None:
    """Bytes that the first device can still give, or None where nobody says."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return available_host_bytes()
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None


def available_host_bytes() -> int | None:
    """Bytes of memory that this machine has free, or None where it does not say."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":") for line in lines)
    return int(values["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in values else None
