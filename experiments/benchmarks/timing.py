"""Honest timing on noisy machines: candidates take turns, and medians are reported.

The report names the machine.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from tqdm.auto import tqdm

from sgd_diffusion.storage.run_directories import environment

# Seconds before each run. The thread pools of the last run come to rest (OpenMP's spin for 0.2 s).
PAUSE = 0.3
# Warm runs without a look at the clock. All of three are faster than all of three others by chance
# in one of ten cases; of five, in one of a hundred.
FEWEST = 3


def machine() -> dict[str, Any]:
    """Return where a benchmark ran: processor, cores, load, device, versions."""
    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            model = next(
                (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
                model,
            )
    return {"processor": model, "load": list(os.getloadavg()), **environment()}


def seconds(
    candidates: Mapping[str, Callable[[], Any]], *, repeats: int
) -> dict[str, dict[str, float]]:
    """Return compile and warm seconds of each candidate.

    The first call of each is its compile time (and first run). Then all take turns, `repeats`
    times, so that all share a slow minute of the machine.

    Args:
        candidates: functions without arguments that return JAX arrays, or anything else when they
            are finished.
        repeats: rounds.

    Returns:
        {name: {"first": ..., "median": ..., "min": ..., "max": ..., "rounds": [...]}} in seconds.
    """
    with tqdm(total=(1 + repeats) * len(candidates), unit=" runs") as bar:

        def timed(name):
            bar.set_description(name)
            once = _once(candidates[name])
            bar.update()
            return once

        first = {name: timed(name) for name in candidates}
        warm: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(repeats):
            for name in candidates:
                warm[name].append(timed(name))
    return {name: _summary(first[name], times) | {"rounds": times} for name, times in warm.items()}


def in_a_row(
    candidate: Callable[[], Any], *, repeats: int, patience: float
) -> tuple[dict[str, float], Any]:
    """Return first and warm seconds of one candidate, run again and again without a pause.

    It is for devices that nobody else uses, and for candidates that do not fit into the memory
    together.

    Args:
        candidate: as for `seconds`.
        repeats: warm runs.
        patience: seconds of warm runs after which no further one begins; three are always made.

    Returns:
        {"first": ..., "median": ..., "min": ..., "max": ..., "runs": number of warm runs}, and what
        the candidate returned.
    """
    first, result = _timed(candidate)
    warm: list[float] = []
    while len(warm) < FEWEST or (len(warm) < repeats and sum(warm) < patience):
        del result  # the next one gets its memory
        taken, result = _timed(candidate)
        warm.append(taken)
    return _summary(first, warm) | {"runs": len(warm)}, result


def _summary(first, warm):
    return {
        "first": first,
        "median": statistics.median(warm),
        "min": min(warm),
        "max": max(warm),
    }


def _once(candidate) -> float:
    time.sleep(PAUSE)
    return _timed(candidate)[0]


def _timed(candidate):
    begin = time.perf_counter()
    result = jax.block_until_ready(candidate())
    return time.perf_counter() - begin, result
