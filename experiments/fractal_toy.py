"""Measure what a rough surface alone does to a walker.

This is Fig. 8 of Chen, Qu & Gong (arXiv:2009.10588). Many walkers go down many random landscapes, w
<- w - eta grad L(w) + sigma xi, and down controls: the same landscapes smoothed, shuffled and
smoothed, flat, a cone and a paraboloid. The program measures first passages into the wide basin,
stays in it, exits through the walls, displacements before and after the final entry, and the
gradients visited. A stated rule selects landscapes with a wide minimum; results are of these and of
all. A phase diagram over roughness, learning rate and noise says which walkers are superdiffusive,
trapped or lost through the walls. Run from the checkout: python -m experiments.fractal_toy
"""

import dataclasses
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from experiments import command_line
from experiments.options import COUNT, UINT32, Range, flag, within
from experiments.progress import phase
from experiments.results import RunOptions, leave
from experiments.toy_kinds import EXTENT, RANDOM
from sgd_diffusion._least_inputs import MIN_AFTER, MIN_ALPHA
from sgd_diffusion.errors import invalid

MIN_STEPS = 2 * MIN_AFTER
LEAST_STEP = 1e-9  # in a square of side 2, in float32
LEARNING_RATES = within(
    1e-9, 100, "for steps that float32 tells from none and that end in the square"
)
NOISE_STDS = within(0, EXTENT, "(the side of the square)")
HURSTS = within(0.01, 24, "(beyond, levels are lost in the rounding of float32)")
BYTES_OF_POINT, BYTES_OF_POSITION = 16, 100  # of all copies; measured 12 and 50 to 90


def several(limits: tuple[Range, Any]) -> tuple[Range, Any]:
    """Return what annotates an option that takes one or more of such values."""
    return within(*limits[0][:3], fewest=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of the experiment."""

    seed: Annotated[int, *within(0, UINT32)] = 0
    """Of landscapes, starts and noise."""
    landscapes: Annotated[int, *within(10, COUNT, "whose scatter can be told")] = 100
    """Random landscapes."""
    walkers: Annotated[int, *within(2, COUNT, "on each landscape")] = 50
    """Walkers on each of them, from random starts."""
    steps: Annotated[
        int, *within(MIN_STEPS, COUNT, "for paths before and after the final entry")
    ] = 1000
    """Steps of each walker."""
    learning_rate: Annotated[float, *LEARNING_RATES] = 0.02
    """eta."""
    noise_std: Annotated[float, *NOISE_STDS] = 0.01
    """sigma, of a step along each coordinate; the square has side 2."""
    noise_scaling: Literal["none", "sqrt"] = "none"
    """none: noise as given, as published; sqrt: times the square root of the learning rate."""
    alpha: Annotated[float, *within(MIN_ALPHA, 2)] = 2.0
    """Stability index alpha of the noise; 2 is normal."""
    boundary: Literal["reject", "reflect"] = "reject"
    """At the walls: noise is redrawn, or paths are mirrored."""
    interpolant: Literal["bilinear", "bicubic"] = "bilinear"
    """Of the landscape between its points."""
    levels: Annotated[
        int, *within(5, 12, "for a landscape with details of at most 4097 points along a side")
    ] = 10
    """Landscapes have 2^levels + 1 points along a side."""
    roughness: Annotated[float, *within(1e-6, 1e6)] = 3.0
    """Width of the first random displacements of the landscape."""
    hurst: Annotated[float, *HURSTS] = 1.0
    """Displacements shrink by 2^-hurst from level to level; 1 is the published generator."""
    smoothing: Annotated[float, *within(1e-4, 0.49)] = 1 / 32
    """Share of the side over which smoothed landscapes, and those to find basins, are smoothed."""
    shuffled_smoothing: Annotated[float, *within(0, 10_000)] = 8.0
    """Standard deviation of the filter of shuffled landscapes, in points of the grid."""
    shuffled_power: Annotated[float, *within(0.01, 10)] = 0.7
    """Power of the heights of shuffled landscapes, as published; 1 to leave them."""
    min_area: Annotated[float, *within(0, 1)] = 0.05
    """A wide minimum: least share of the square that its basin covers, and"""
    min_margin: Annotated[float, *within(0, 0.5)] = 0.1
    """least distance of its lowest point from the walls, as a share of the side."""
    phase_diagram: Annotated[bool, tyro.conf.FlagCreatePairsOff] = True
    """Whether there is a phase diagram."""
    hursts: Annotated[tuple[float, ...], *several(HURSTS)] = (0.3, 0.5, 0.7, 1.0, 1.5)
    """Of the phase diagram, above 1 smooth."""
    learning_rates: Annotated[tuple[float, ...], *several(LEARNING_RATES)] = (
        0.0005,
        0.001,
        0.002,
        0.005,
        0.01,
        0.02,
        0.05,
    )
    """Of the phase diagram."""
    noise_stds: Annotated[tuple[float, ...], *several(NOISE_STDS)] = (0.003, 0.01, 0.03)
    """Of the phase diagram."""
    phase_landscapes: Annotated[int, *within(2, COUNT, "for a standard error")] = 20
    """Landscapes of each roughness in the phase diagram."""
    phase_walkers: Annotated[int, *within(1, COUNT)] = 20
    """Walkers on each of them."""
    animation: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also write an animation of walkers on the landscape of the figure (GIF)."""

    def check(self) -> None:
        """Refuse what cannot be walked on before anything is written.

        Raises:
            InputError: a number is out of range, numbers are the same in float32, or there are more
                walks than the memory holds.
        """
        from sgd_diffusion._memory import check_memory

        super().check()
        for name in ("hursts", "learning_rates", "noise_stds"):
            values = getattr(self, name)
            if len(set(np.float32(values).tolist())) < len(values):
                raise invalid(
                    flag(name),
                    f"is {' '.join(map(str, values))}",
                    "numbers that float32 tells apart",
                )
        for name, values in (("noise_std", (self.noise_std,)), ("noise_stds", self.noise_stds)):
            if any(0 < value < LEAST_STEP for value in values):
                raise invalid(
                    flag(name),
                    f"is {' '.join(map(str, values))}",
                    f"0, or at least {LEAST_STEP:g}, the least step that float32 tells from none",
                )
        check_memory(
            self.needed_bytes(),
            f"--landscapes {self.landscapes} with --walkers {self.walkers}, --steps {self.steps} "
            f"and --levels {self.levels}, or those of the phase diagram,",
            "take fewer or smaller ones",
        )

    def needed_bytes(self) -> int:
        """Return the bytes of memory at the peak.

        They follow from what was measured for a point of a landscape and for a position of a
        walker.
        """
        points, positions = (2**self.levels + 1) ** 2, self.steps + 1
        walks = self.landscapes * (
            points * BYTES_OF_POINT + self.walkers * positions * BYTES_OF_POSITION
        )
        members = (
            self.phase_walkers
            * len(self.learning_rates)
            * len(self.noise_stds)
            * self.phase_diagram
        )
        return max(
            walks,
            self.phase_landscapes
            * (points * BYTES_OF_POINT + members * positions * BYTES_OF_POSITION),
        )


PRESETS = {
    "default": Options(),
    "quick": Options(
        landscapes=20,
        walkers=20,
        levels=8,
        hursts=(0.5, 1.0),
        learning_rates=(0.001, 0.005, 0.02),
        noise_stds=(0.01,),
        phase_landscapes=5,
    ),
    # Drift down the landscape outruns noise and roughness.
    "superdiffusive": Options(learning_rate=0.002, noise_std=0.003),
}


def experiment(options: Options) -> None:
    """Walk, measure, and leave statistics, figures and a summary in the run directory."""
    from experiments import summaries
    from experiments.directories import new_directory
    from experiments.toy_parts import examples, walk
    from experiments.toy_walks import free_exponents
    from sgd_diffusion import plots, tables

    directory = options.directory or new_directory("fractal_toy")
    walks, phases, landscapes = walk(options, directory)
    with phase("power laws and tails of all walks"):
        results = {
            "statistics": walks,
            "table": tables.toy_walks(walks, walks["selected"].values, tails=RANDOM),
            "examples": examples(options, landscapes, walks),
        }
    if phases is not None:
        with phase("free walkers"):
            results["phases"] = tables.phase_diagram(phases, free_exponents(options))
    if options.animation:
        with phase("animation"):
            plots.walker_animation(results["examples"], directory / "walkers.gif")
    figures = {
        "fractal_toy": lambda: plots.fractal_toy(walks, results["table"], results["examples"])
    }
    if phases is not None:
        figures["phase_diagram"] = lambda: plots.phase_diagram(results["phases"])
    leave(
        directory,
        summaries.fractal_toy(dataclasses.asdict(options), results),
        tables=results,
        figures=figures,
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
