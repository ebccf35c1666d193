"""Measure what the alpha-stable law costs, and compare it with peers.

The program prints JSON: exact density, fits one by one and many, resampling, and the same fits by
peers. Ours and pylevy's (levy-stable, where it is installed) maximum likelihood fit the same 5000
samples in turns. SciPy's takes a minute for 100 samples and is timed once on these. Errors beside
the seconds say how far each estimate of alpha is from the truth. For times on one core: taskset -c
0 python -m experiments.benchmarks.stable Run from the checkout: python -m
experiments.benchmarks.stable
"""

import dataclasses
import functools
import time
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion.analysis.stable import fits, interpolated, law

PEERS = {"levy-stable": "levy"}


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    points: Annotated[int, *within(20, 100_000)] = 5000
    """Samples of a fit."""
    fits: Annotated[int, *within(1, 1000)] = 100
    """Fits of one call."""
    alpha: Annotated[float, *within(0.3, 2)] = 1.5
    """Stability of the samples."""
    scipy_points: Annotated[int, *within(0, 10_000)] = 100
    """Samples of SciPy's fit; 0 to leave it out."""
    repeats: Annotated[int, *within(1, 1000)] = 5
    """Timed runs of each candidate."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    report = {
        "peers": group.versions(PEERS),
        "tables": tables(),
        "ours": ours(options),
        "same_samples": against_peers(options),
    }
    return report | {"rows": rows(options, report["ours"], report["same_samples"])}


def rows(options: Options, parts: dict, same: dict) -> list[group.Row]:
    """Return a fit beside pylevy's and SciPy's, and many fits."""
    many = f"{options.fits} fits"
    found = [
        group.row(
            f"fit of a stable law to {options.points} samples",
            same["sgd_diffusion"]["seconds"]["rounds"],
            "pylevy",
            same["pylevy"]["seconds"]["rounds"] if "pylevy" in same else None,
        ),
        group.row(f"{many} to {options.points} samples each", parts[many]["rounds"]),
    ]
    if "scipy" in same:
        mine = same["scipy"]["ours"]["rounds"]
        found.append(
            group.row(
                f"fit of a stable law to {options.scipy_points} samples",
                mine,
                "SciPy",
                [same["scipy"]["seconds"]] * len(mine),
            )
        )
    return found


def tables() -> dict:
    """Return seconds for the tables of the density, which a process makes once."""
    found = {}
    for name, symmetric in (("symmetric", True), ("all beta", False)):
        begin = time.perf_counter()
        interpolated.table(symmetric)
        found[name] = time.perf_counter() - begin
    return found


def ours(options: Options) -> dict:
    """Return seconds of the parts of ours."""
    key = jax.random.key(0)
    many = np.asarray(law.sample(key, options.alpha, shape=(options.fits, options.points)))
    single, fit = many[0], fits.fit(many[0])
    with jax.enable_x64(True):
        vmapped = jax.jit(jax.vmap(fits.fit))
        on_device = jnp.asarray(many)
        candidates = {
            "exact log density": functools.partial(law.logpdf, single, options.alpha),
            "fit": functools.partial(fits.fit, single),
            "fit, free beta": functools.partial(fits.fit, single, symmetric=False),
            "50 bootstrap replicates": functools.partial(fits.bootstrap_fit, key, single, fit),
            f"{options.fits} fits": functools.partial(fits.fit, many),
            f"{options.fits} fits, jax.vmap": functools.partial(vmapped, on_device),
        }
        return timing.seconds(candidates, repeats=options.repeats)


def against_peers(options: Options) -> dict:
    """Return seconds and estimates for the same samples, and the ratio of the seconds."""
    samples = np.asarray(law.sample(jax.random.key(1), options.alpha, shape=(options.points,)))
    candidates = {"sgd_diffusion": functools.partial(fits.fit, samples)}
    estimates = {"sgd_diffusion": float(fits.fit(samples).alpha)}
    if "levy-stable" in group.versions(PEERS):
        import levy

        candidates["pylevy"] = lambda: levy.fit(samples, beta=0.0)
        estimates["pylevy"] = float(candidates["pylevy"]().params.alpha)
    seconds = timing.seconds(candidates, repeats=options.repeats)
    found: dict[str, dict[str, Any]] = {
        name: {
            "seconds": times,
            "alpha": estimates[name],
            "error": estimates[name] - options.alpha,
        }
        for name, times in seconds.items()
    }
    if options.scipy_points:
        found["scipy"] = _scipy(samples[: options.scipy_points])
    return found


def _scipy(samples) -> dict:
    """Time SciPy's fit once, and ours of the same few samples."""
    law_of_scipy = type(stats.levy_stable)()  # the parameterization is state of the object
    law_of_scipy.parameterization = "S0"
    begin = time.perf_counter()
    alpha = law_of_scipy.fit(samples, f1=0.0)[0]
    seconds = time.perf_counter() - begin
    mine = timing.seconds({"ours": functools.partial(fits.fit, samples)}, repeats=3)["ours"]
    return {
        "points": len(samples),
        "seconds": seconds,
        "alpha": float(alpha),
        "ours": mine,
        "alpha_of_ours": float(fits.fit(samples).alpha),
    }


if __name__ == "__main__":
    group.program(measure, Options, __doc__)
