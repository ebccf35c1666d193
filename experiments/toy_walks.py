"""The walks of experiments.fractal_toy: on each kind of surface, and for the phase diagram."""

from typing import Any

import jax
import numpy as np
import xarray as xr

from experiments.toy_kinds import EXTENT
from experiments.toy_landscapes import Landscapes, diamond_squares, key
from sgd_diffusion import tables
from sgd_diffusion._types import ArrayLike, Key
from sgd_diffusion.analysis.processes import brownian
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.analysis.segments import segment_msd
from sgd_diffusion.tables.walk_statistics import EARLY
from sgd_diffusion.walkers.interpolation import nearest
from sgd_diffusion.walkers.walk import walk_ensemble

PHASE_LAGS = np.array([10, 14, 20, 28, 40, 60, 100])
FREE_WALKERS = 2000


def walks_on(options: Any, landscapes: Landscapes, kind: str) -> xr.Dataset:
    """Return the statistics of the walkers on one kind of surface."""
    surfaces = landscapes.surfaces(kind)
    walks = walked(
        options,
        landscapes.walk_keys,
        surfaces,
        landscapes.starts(kind),
        learning_rates=[options.learning_rate],
        noise_stds=[options.noise_std],
    )
    walks = jax.tree.map(lambda leaf: np.asarray(leaf[:, 0, 0]), walks)
    inside = jax.vmap(nearest)(
        surfaces._replace(heights=landscapes.regions(kind)), *np.moveaxis(walks.positions, -1, 0)
    )
    walker = ("landscape", "walker")
    dataset = xr.Dataset(
        {
            "position": ((*walker, "step", "axis"), walks.positions),
            "gradient": ((*walker, "step", "axis"), walks.gradients),
            "inside": ((*walker, "step"), np.asarray(inside)),
            "first_wall_step": (walker, walks.first_wall_step),
            "lowest_loss": (walker, walks.lowest_loss),
            "median_height": ("landscape", np.median(surfaces.heights, axis=(1, 2))),
            "lowest_height": ("landscape", np.min(surfaces.heights, axis=(1, 2))),
        }
    )
    statistics = tables.walk_statistics(dataset, seed=options.seed).expand_dims(surface=[kind])
    basins = landscapes.basins
    return statistics.assign(
        selected=("landscape", landscapes.selected),
        basin_area=("landscape", [basin.area for basin in basins]),
        basin_margin=("landscape", [basin.margin for basin in basins]),
    )


def phase_walks(options: Any, index: int) -> xr.Dataset:
    """Return exponents, exits and depths of walkers on landscapes of one roughness.

    They are for the phase diagram.
    """
    surface_key, walk_key, start_key = jax.random.split(
        jax.random.fold_in(key(options, "phases"), index), 3
    )
    hurst, count = options.hursts[index], options.phase_landscapes
    surfaces = diamond_squares(options, hurst, jax.random.split(surface_key, count))
    starts = jax.random.uniform(
        start_key, (count, options.phase_walkers, 2), minval=-EXTENT / 2, maxval=EXTENT / 2
    )
    walks = walked(
        options,
        jax.random.split(walk_key, count),
        surfaces,
        starts,
        learning_rates=list(options.learning_rates),
        noise_stds=list(options.noise_stds),
    )
    heights = np.asarray(surfaces.heights)
    median, lowest = (
        value.reshape(-1, 1, 1, 1)
        for value in (np.median(heights, axis=(1, 2)), heights.min(axis=(1, 2)))
    )
    dims = ("landscape", "learning_rate", "noise_std", "walker")
    return xr.Dataset(
        {
            "exponent": (dims, exponents(walks.positions)),
            "first_wall_step": (dims, np.asarray(walks.first_wall_step)),
            "depth": (dims, (median - walks.lowest_loss) / (median - lowest)),
            "early_exponent": (dims[:-1], exponents(walks.positions, early=True)),
        },
        coords={
            "learning_rate": list(options.learning_rates),
            "noise_std": list(options.noise_stds),
        },
        attrs={"steps": options.steps},
    ).expand_dims(hurst=[hurst])


def exponents(positions: ArrayLike, *, early: bool = False) -> np.ndarray:
    """Return exponents of the TAMSD of paths.

    Args:
        positions: (..., W, T+1, 2).
        early: whether they are of the mean over walkers on lags 10 to 60 of the first 144 steps,
            and not of every walker on lags 10 to 100.

    Returns:
        (..., W), NaN for a walker at rest; or (...) if `early`.
    """
    if not early:
        return fit_power_law(PHASE_LAGS, segment_msd(positions, PHASE_LAGS)[0]).exponent
    msd = segment_msd(positions[..., : EARLY + 1, :], PHASE_LAGS[:-1])[0].mean(axis=-2)
    return fit_power_law(PHASE_LAGS[:-1], msd).exponent


def free_exponents(options: Any) -> np.ndarray:
    """Return the exponents of as many steps without a landscape or walls."""
    keys = jax.random.split(key(options, "free walkers"), FREE_WALKERS)
    return exponents(free_walks(options, keys))


def free_walks(options: Any, keys: Key) -> jax.Array:
    """Return paths (W, T+1, 2) of normal steps."""
    return jax.vmap(lambda key: brownian(key, options.steps, 2))(keys)


def walked(options: Any, *arguments: Any, **parameters: Any) -> Any:
    """Make walks of the options' kind and length."""
    return walk_ensemble(
        *arguments,
        **parameters,
        steps=options.steps,
        boundary=options.boundary,
        alpha=options.alpha,
        interpolant=options.interpolant,
        sqrt_scaling=options.noise_scaling == "sqrt",
    )
