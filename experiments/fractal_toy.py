"""What a rough surface alone does to a walker (Fig. 8 of Chen, Qu & Gong, arXiv:2009.10588).

Many walkers go down many random landscapes, w <- w - eta grad L(w) + sigma xi, and down controls: the same landscapes smoothed,
shuffled and smoothed, flat, a cone and a paraboloid. Measured are first passages into the wide basin, stays in it, exits
through the walls, displacements before and after the final entry, and the gradients visited. Landscapes with a wide minimum
are selected by a stated rule; all of them stand beside these. A phase diagram over roughness, learning rate and noise
says which walkers are superdiffusive, trapped or lost through the walls.
Run from the checkout: python -m experiments.fractal_toy
"""

import dataclasses
import functools
import pathlib
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
import xarray as xr
from tqdm import tqdm

from experiments import command_line, summaries
from experiments.toy_landscapes import EXTENT, KINDS, RANDOM, Landscapes, diamond_squares, key
from experiments.training import RunOptions, new_directory
from sgd_diffusion import plots, tables
from sgd_diffusion.analysis.processes import brownian
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.analysis.segments import segment_msd
from sgd_diffusion.analysis.stable.law import MIN_ALPHA
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.interpolation import nearest
from sgd_diffusion.landscape.walkers import walk_ensemble
from sgd_diffusion.results import RunDirectory, save_figure, write_atomically
from sgd_diffusion.tables.walk_statistics import EARLY, MIN_AFTER

PHASE_LAGS = np.array([10, 14, 20, 28, 40, 60, 100])
FREE_WALKERS = 2000
MIN_STEPS = 2 * MIN_AFTER


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of the experiment."""

    seed: int = 0
    """Of landscapes, starts and noise."""
    landscapes: int = 100
    """Random landscapes."""
    walkers: int = 50
    """Walkers on each of them, from random starts."""
    steps: int = 1000
    """Steps of each walker."""
    learning_rate: float = 0.02
    """eta."""
    noise_std: float = 0.01
    """sigma, of a step along each coordinate; the square has side 2."""
    noise_scaling: Literal["none", "sqrt"] = "none"
    """none: noise as given, the published convention; sqrt: times the square root of the learning rate."""
    stability: float = 2.0
    """Stability index alpha of the noise, from 0.3 on; 2 is normal."""
    boundary: Literal["reject", "reflect"] = "reject"
    """At the walls: noise is redrawn, or paths are mirrored."""
    interpolant: Literal["bilinear", "bicubic"] = "bilinear"
    """Of the landscape between its points."""
    levels: int = 10
    """Landscapes have 2^levels + 1 points along a side."""
    roughness: float = 3.0
    """Width of the first random displacements of the landscape."""
    hurst: float = 1.0
    """Displacements shrink by 2^-hurst from level to level; 1 is the published generator."""
    smoothing: float = 1 / 32
    """Share of the side over which the smoothed landscapes are smoothed, and that on which basins are found."""
    shuffled_smoothing: float = 8.0
    """Standard deviation of the filter of shuffled landscapes, in points of the grid."""
    shuffled_power: float = 0.7
    """Power of the heights of shuffled landscapes, as published; 1 to leave them."""
    min_area: float = 0.05
    """A wide minimum: least share of the square that its basin covers, and"""
    min_margin: float = 0.1
    """least distance of its lowest point from the walls, as a share of the side."""
    hursts: tuple[float, ...] = (0.3, 0.5, 0.7, 1.0, 1.5)
    """Of the phase diagram, above 1 smooth; none for no diagram."""
    learning_rates: tuple[float, ...] = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
    """Of the phase diagram."""
    noise_stds: tuple[float, ...] = (0.003, 0.01, 0.03)
    """Of the phase diagram."""
    phase_landscapes: int = 20
    """Landscapes of each roughness in the phase diagram."""
    phase_walkers: int = 20
    """Walkers on each of them."""
    animation: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also write an animation of walkers on the landscape of the figure (GIF)."""

    def check(self) -> None:
        """Refuse what cannot be walked on before anything is written.

        Raises:
          InputError: for a number out of range.
        """
        for name, least, reason in (("landscapes", 10, "whose scatter can be told"), ("walkers", 2, "on each landscape"),
                                    ("steps", MIN_STEPS, "for paths before and after the final entry"),
                                    ("levels", 5, "for a landscape with details"),
                                    ("phase_landscapes", 2, "for a standard error"), ("phase_walkers", 1, "to count")):
            if getattr(self, name) < least:
                raise InputError(f"Parameter '{name}'={getattr(self, name)} is too small. Expected at least {least}, {reason}.")
        if self.levels > 12:
            raise InputError(f"Parameter 'levels'={self.levels} is too large. Expected at most 12, 4097 points along a side.")
        for name in ("learning_rate", "roughness", "hurst", "shuffled_power", "learning_rates", "hursts"):
            values = np.atleast_1d(getattr(self, name))
            if not np.all((values > 0) & np.isfinite(values)):
                raise InputError(f"Parameter '{name}'={getattr(self, name)} is out of range. Expected finite positive numbers.")
        for name in ("noise_std", "noise_stds", "shuffled_smoothing"):
            values = np.atleast_1d(getattr(self, name))
            if not np.all((values >= 0) & np.isfinite(values)):
                raise InputError(f"Parameter '{name}'={getattr(self, name)} is out of range. Expected finite numbers, none "
                                 "negative.")
        for name in ("hursts", "learning_rates", "noise_stds"):
            values = getattr(self, name)
            if len(set(values)) < len(values) or (not values and name != "hursts"):
                raise InputError(f"Parameter '{name}'={values} is empty or has a value twice. Expected different numbers.")
        if not MIN_ALPHA <= self.stability <= 2:
            raise InputError(f"Parameter 'stability'={self.stability} is out of range. Expected a number in {MIN_ALPHA}..2.")
        if not 0 < self.smoothing < 0.5:
            raise InputError(f"Parameter 'smoothing'={self.smoothing} is out of range. Expected a share of the side between 0 "
                             "and 0.5.")


PRESETS = {
    "default": Options(),
    "quick": Options(landscapes=20, walkers=20, levels=8, hursts=(0.5, 1.0), learning_rates=(0.001, 0.005, 0.02),
                     noise_stds=(0.01,), phase_landscapes=5),
    "superdiffusive": Options(learning_rate=0.002, noise_std=0.003),  # drift down the landscape outruns noise and roughness
}


def experiment(options: Options) -> None:
    """Walk, measure, and leave statistics, figures and a summary in the run directory."""
    options.check()
    directory = options.directory or new_directory("fractal_toy")
    walks, phases, landscapes = walk(options, directory)
    results = {"statistics": walks, "table": tables.toy_walks(walks, walks["selected"].values, tails=RANDOM),
               "examples": examples(options, landscapes, walks)}
    figures = {"fractal_toy": plots.fractal_toy(results["table"], walks, results["examples"])}
    if phases is not None:
        results["phases"] = tables.phase_diagram(phases, free_exponents(options))
        figures["phase_diagram"] = plots.phase_diagram(results["phases"])
    text = summaries.fractal_toy(dataclasses.asdict(options), results)
    for name, dataset in results.items():
        write_atomically(directory / f"{name}.nc", bytes(dataset.to_netcdf(engine="h5netcdf")))
    for name, figure in figures.items():
        save_figure(figure, directory / f"{name}.png")
    if options.animation:
        plots.walker_animation(results["examples"], directory / "walkers.gif")
    write_atomically(directory / "summary.txt", text.encode())
    print(text)
    print(f"statistics, figures and this summary: {directory}")


def walk(options: Options, directory: pathlib.Path):
    """All walks, each part of which is kept as soon as it is finished.

    Returns:
      Statistics of the walks along `surface` (`tables.walk_statistics`, with `selected`, `basin_area` and `basin_margin` of the
      landscapes), walks of the phase diagram or None, and the landscapes.
    """
    run, stored = RunDirectory(directory), command_line.options_as_json(options)
    configuration = {name: value for name, value in stored.items() if name not in ("preset", "quick", "animation")}
    with run.claim(configuration, resume=options.resume, metadata={"experiment": "fractal_toy", "options": stored}):
        print(f"{options.landscapes} landscapes of {2**options.levels + 1}^2 points, {options.walkers} walkers on each, "
              f"{options.steps} steps -> {directory}", flush=True)
        landscapes = Landscapes(options)
        parts = [functools.partial(walks_on, options, landscapes, kind) for kind in KINDS]
        parts += [functools.partial(phase_walks, options, index) for index in range(len(options.hursts))]
        finished = len(run.load_windows())
        for index, part in enumerate(tqdm(parts, desc="walks", unit=" parts")):
            if index >= finished:
                run.save_window(index, part())
        found = run.load_windows()
    join = functools.partial(xr.concat, data_vars="minimal", coords="minimal", compat="override", join="exact",
                             combine_attrs="override")
    walks = join(found[: len(KINDS)], "surface")
    return walks, join(found[len(KINDS):], "hurst") if options.hursts else None, landscapes


def walks_on(options: Options, landscapes: Landscapes, kind: str) -> xr.Dataset:
    """Statistics of the walkers on one kind of surface."""
    surfaces = landscapes.surfaces(kind)
    found = _ensemble(options)(landscapes.walk_keys, surfaces, landscapes.starts(kind),
                               learning_rates=[options.learning_rate], noise_stds=[options.noise_std])
    found = jax.tree.map(lambda leaf: np.asarray(leaf[:, 0, 0]), found)
    inside = jax.vmap(nearest)(surfaces._replace(heights=landscapes.regions(kind)), *np.moveaxis(found.positions, -1, 0))
    walker = ("landscape", "walker")
    walks = xr.Dataset({
        "position": ((*walker, "step", "axis"), found.positions),
        "gradient": ((*walker, "step", "axis"), found.gradients),
        "inside": ((*walker, "step"), np.asarray(inside)),
        "first_wall_step": (walker, found.first_wall_step),
        "lowest_loss": (walker, found.lowest_loss),
        "median_height": ("landscape", np.median(surfaces.heights, axis=(1, 2))),
        "lowest_height": ("landscape", np.min(surfaces.heights, axis=(1, 2))),
    })
    statistics = tables.walk_statistics(walks, seed=options.seed).expand_dims(surface=[kind])
    basins = landscapes.basins
    return statistics.assign(selected=("landscape", landscapes.selected),
                             basin_area=("landscape", [basin.area for basin in basins]),
                             basin_margin=("landscape", [basin.margin for basin in basins]))


def phase_walks(options: Options, index: int) -> xr.Dataset:
    """Exponents, exits and depths of walkers on landscapes of one roughness, for the phase diagram."""
    surface_key, walk_key, start_key = jax.random.split(jax.random.fold_in(key(options, "phases"), index), 3)
    hurst, count = options.hursts[index], options.phase_landscapes
    surfaces = diamond_squares(options, hurst)(jax.random.split(surface_key, count))
    starts = jax.random.uniform(start_key, (count, options.phase_walkers, 2), minval=-EXTENT / 2, maxval=EXTENT / 2)
    found = _ensemble(options)(jax.random.split(walk_key, count), surfaces, starts,
                               learning_rates=list(options.learning_rates), noise_stds=list(options.noise_stds))
    heights = np.asarray(surfaces.heights)
    median, lowest = (value.reshape(-1, 1, 1, 1) for value in (np.median(heights, axis=(1, 2)), heights.min(axis=(1, 2))))
    dims = ("landscape", "learning_rate", "noise_std", "walker")
    return xr.Dataset(
        {"exponent": (dims, exponents(found.positions)), "first_wall_step": (dims, np.asarray(found.first_wall_step)),
         "depth": (dims, (median - found.lowest_loss) / (median - lowest)),
         "early_exponent": (dims[:-1], exponents(found.positions, early=True))},
        coords={"learning_rate": list(options.learning_rates), "noise_std": list(options.noise_stds)},
        attrs={"steps": options.steps}).expand_dims(hurst=[hurst])


def exponents(positions, *, early: bool = False) -> np.ndarray:
    """Exponents of the TAMSD of paths (..., W, T+1, 2): of every walker on lags 10 to 100, (..., W); NaN for one at rest.

    Early: of the mean over walkers on lags 10 to 60 of the first 144 steps, (...).
    """
    if not early:
        return fit_power_law(PHASE_LAGS, segment_msd(positions, PHASE_LAGS)[0]).exponent
    msd = segment_msd(positions[..., : EARLY + 1, :], PHASE_LAGS[:-1])[0].mean(axis=-2)
    return fit_power_law(PHASE_LAGS[:-1], msd).exponent


def free_exponents(options: Options) -> np.ndarray:
    """Those of as many steps without a landscape or walls."""
    keys = jax.random.split(key(options, "free walkers"), FREE_WALKERS)
    return exponents(jax.vmap(lambda key: brownian(key, options.steps, 2))(keys))


def examples(options: Options, landscapes: Landscapes, walks: xr.Dataset) -> xr.Dataset:
    """What the figure shows, by rule: the first selected landscape, or if there is none the first of all, on which a walker
    comes into the basin after 60 steps or more and without a wall, and the first such walker (`tables.walk_statistics`).
    """
    arrives = walks["path_arrives"].sel(surface="fractal").values
    chosen = np.flatnonzero(arrives & landscapes.selected)
    index = int([*chosen, *np.flatnonzero(arrives), 0][0])
    here = walks.isel(landscape=index).sel(surface=["fractal", "shuffled"])
    heights = [np.asarray(landscapes.surfaces(kind, slice(index, index + 1)).heights[0]) for kind in here["surface"].values]
    return xr.Dataset({"height": (("surface", "row", "column"), np.stack(heights)), "path": here["path"],
                       "region": (("row", "column"), landscapes.basins[index].region)},
                      coords={"surface": here["surface"]},
                      attrs={"landscape": index, "selected": int(landscapes.selected[index]), "extent": EXTENT,
                             "walker": int(here["path_walker"].sel(surface="fractal")),
                             "final_entry": int(here["path_entry"].sel(surface="fractal"))})


@functools.cache
def _ensemble(options: Options):
    """Walks, compiled once."""
    return jax.jit(functools.partial(walk_ensemble, steps=options.steps, boundary=options.boundary, stability=options.stability,
                                     interpolant=options.interpolant, sqrt_scaling=options.noise_scaling == "sqrt"))


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
