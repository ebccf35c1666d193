"""Measure in which of two valleys SGD ends, and when that is decided, beside theory and controls.

These are Figs. 3 and 4 of Yang et al. (arXiv:2601.10962). Walkers go down a landscape with a flat
and a sharp valley, between which a barrier grows. Their noise follows the Hessian. At a fixed
barrier, more noise selects less; but with more noise the decision is made later, at a higher
barrier. A sweep over the strength of the noise has both, beside theories without fitted constants.
Controls have isotropic noise, equal valleys, or a barrier that does not grow. A diagram over
learning rates and strengths is made from the published start, next to a barrier, and from an
earlier one. Run from the checkout: python -m experiments.freezing
"""

import dataclasses
from typing import Annotated, Literal

from experiments import command_line, freezing_published
from experiments.options import COUNT, UINT32, within
from experiments.progress import phase
from experiments.results import RunOptions, leave


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of the experiment."""

    noise: Literal["hessian", "hessian-squared", "isotropic"] = "hessian"
    """What the covariance of the noise is proportional to. Theories and most of the published
    numbers are those of hessian.
    """
    seed: Annotated[int, *within(0, UINT32)] = 0
    """Of all walkers."""
    walkers: Annotated[int, *within(10, COUNT, "for an error")] = 500
    """Walkers of each strength of the noise in the sweep and in its controls."""
    steps: Annotated[int, *within(100, 10_000_000)] = 100_000
    """Their steps; the published number is 100,000."""
    diagram_walkers: Annotated[int, *within(10, COUNT, "for an error")] = 400
    """Walkers of each cell of a diagram."""
    diagram_steps: Annotated[int, *within(100, 10_000_000)] = freezing_published.STEPS
    """Their steps; the published number is 20,000."""
    starts: Annotated[tuple[float, ...], *within(0.001, 1000, fewest=1)] = (
        freezing_published.START_Y,
        1.0,
    )
    """y where the walkers of each diagram start; the published one is 5."""


PRESETS = {
    "default": Options(),
    "quick": Options(walkers=100, diagram_walkers=50),
    # As published: 2000 walkers of each cell.
    "paper": Options(walkers=1000, diagram_walkers=freezing_published.WALKERS),
}


def experiment(options: Options) -> None:
    """Make all walks, and leave tables, figures and a summary in the run directory."""
    from experiments import freezing_theory, summaries
    from experiments.directories import new_directory
    from experiments.freezing_tables import NOISES, joined, sweep_table, ways
    from experiments.freezing_walks import CONTROLS, SIGMAS, parts
    from experiments.parts import measured_in_parts
    from sgd_diffusion import plots

    directory = options.directory or new_directory("freezing")
    own, *others = measured_in_parts(
        options,
        directory,
        parts(options),
        experiment="freezing",
        headline=f"noise {options.noise}: {options.walkers} walkers of {len(SIGMAS)} strengths, "
        f"and {options.diagram_walkers} of each cell of {len(options.starts)} diagrams",
    )
    sweep, controls = own.squeeze("learning_rate"), others[: len(CONTROLS)]
    diagrams = joined(others[len(controls) :], "start_y", options.starts)
    with phase("theories"):
        results = {
            "sweep": sweep_table(sweep, options),
            "controls": joined(controls, "control", CONTROLS)
            .squeeze("learning_rate")
            .assign_attrs(boltzmann=freezing_theory.boltzmann()),
            "diagrams": diagrams,
            "ways": ways(sweep, options),
            "map": freezing_theory.stationary_map(NOISES),
            "potentials": freezing_theory.potentials(),
        }
    as_published = options.diagram_steps == freezing_published.STEPS
    published = freezing_published.diagram(options.noise) if as_published else None
    leave(
        directory,
        summaries.freezing(results, published),
        tables=results,
        figures={
            "freezing": lambda: plots.freezing(results),
            "diagrams": lambda: plots.freezing_diagrams(results["diagrams"]),
        },
        options=options,
    )


if __name__ == "__main__":
    command_line.main(experiment, PRESETS, __doc__)
