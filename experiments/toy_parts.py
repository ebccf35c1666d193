"""The walks of experiments.fractal_toy, part by part, and what its figure shows of them."""

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from experiments.parts import measured_in_parts, told
from experiments.progress import phase
from experiments.toy_kinds import EXTENT, KINDS
from experiments.toy_landscapes import Landscapes
from experiments.toy_walks import phase_walks, walks_on


def walk(options: Any, directory: pathlib.Path) -> tuple[xr.Dataset, xr.Dataset | None, Landscapes]:
    """Make all walks; each part is kept as soon as it is finished.

    Returns:
        Statistics of the walks along `surface` (`tables.walk_statistics`, with `selected`,
        `basin_area` and `basin_margin` of the landscapes), walks of the phase diagram or None, and
        the landscapes.
    """
    landscapes = Landscapes(options)
    windows = measured_in_parts(
        options,
        directory,
        parts(options, landscapes),
        experiment="fractal_toy",
        headline=f"{options.landscapes} landscapes of {2**options.levels + 1}^2 points, "
        f"{options.walkers} walkers on each, {options.steps} steps",
        elsewhere=("animation", "phase_diagram"),
    )
    join = functools.partial(
        xr.concat,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="override",
    )
    walks = join(windows[: len(KINDS)], "surface")
    phases = join(windows[len(KINDS) :], "hurst") if options.phase_diagram else None
    return walks, phases, landscapes


def parts(options: Any, landscapes: Landscapes) -> Iterator[Callable[[], xr.Dataset]]:
    """Find the basins, and then yield functions that make the walks of each part."""
    with phase("landscapes and their basins"):
        landscapes.basins  # noqa: B018
    made: list[tuple[str, Callable[[], xr.Dataset]]] = [
        (f"walks: {kind}", functools.partial(walks_on, options, landscapes, kind)) for kind in KINDS
    ]
    if options.phase_diagram:
        made += [
            (f"phase diagram: hurst {hurst:g}", functools.partial(phase_walks, options, index))
            for index, hurst in enumerate(options.hursts)
        ]
    for index, (name, walks) in enumerate(made):
        yield functools.partial(told, f"{name} ({index + 1} of {len(made)})", walks)


def examples(options: Any, landscapes: Landscapes, walks: xr.Dataset) -> xr.Dataset:
    """Return what the figure shows, by rule.

    It is the first landscape on which a walker comes into the basin after 60 steps or more and
    without a wall, and the first such walker (`tables.walk_statistics`). Selected landscapes go
    first. If there is no such landscape, it is the first of all.
    """
    arrives = walks["path_arrives"].sel(surface="fractal").values
    chosen = np.flatnonzero(arrives & landscapes.selected)
    index = int([*chosen, *np.flatnonzero(arrives), 0][0])
    here = walks.isel(landscape=index).sel(surface=["fractal", "shuffled"])
    heights = [
        np.asarray(landscapes.surfaces(kind, slice(index, index + 1)).heights[0])
        for kind in here["surface"].values
    ]
    return xr.Dataset(
        {
            "height": (("surface", "row", "column"), np.stack(heights)),
            "path": here["path"],
            "region": (("row", "column"), landscapes.basins[index].region),
        },
        coords={"surface": here["surface"]},
        attrs={
            "landscape": index,
            "selected": int(landscapes.selected[index]),
            "extent": EXTENT,
            "walker": int(here["path_walker"].sel(surface="fractal")),
            "final_entry": int(here["path_entry"].sel(surface="fractal")),
        },
    )
