"""What to trust: every estimator of a path, and of tails, on reference processes and laws whose truth is known.

Prints for each estimator and process the truth, the mean estimate over independent paths with its standard error, and
whether they agree: within Student's t quantile that covers as much as three standard errors of a normal law, since the
error is estimated from few paths itself, and, where the truth is an asymptote that no finite window reaches, an allowance
that is printed beside it. A sound estimator fails 0.3 % of its checks by chance, so that one seed in six shows one.
Exits with 1 if one fails. Run from the checkout: python -m experiments.self_test
"""

import dataclasses
import sys
from typing import Annotated

import tyro

from experiments.command_line import UNUSABLE, interruptibly
from experiments.self_test import displacements, heavy_tails, shapes
from experiments.self_test.laboratory import STEPS, Laboratory

FAILED = 1  # exit code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the self-test."""

    seed: int = 0
    """Chooses all random numbers."""
    num_paths: int = 12
    """Independent paths of each process."""
    dim: int = 300
    """Coordinates of a path."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Five paths of 100 coordinates."""


GROUPS = (displacements.exponent_checks, displacements.ensemble_checks, displacements.local_checks, displacements.step_checks,
          shapes.shape_checks, shapes.loss_checks, heavy_tails.tail_checks)


def self_test(options: Options) -> bool:
    """Print all checks; whether all have passed."""
    lab = Laboratory(*((5, 100) if options.quick else (options.num_paths, options.dim)), seed=options.seed)
    print(f"{lab.num_paths} paths of {STEPS} steps in {lab.dim} dimensions for each process")
    print(f"{'estimator':32s}{'process':34s}{'truth':>10s}{'estimate':>20s}{'allowance':>11s}")
    results = []
    for group in GROUPS:
        for result in group(lab):
            results.append(result)
            estimate = f"{result.estimate:.4g} ± {result.error:.2g}"
            print(f"{result.estimator:32s}{result.process:34s}{result.truth:10.4g}{estimate:>20s}{result.allowance:11.2g}"
                  f"  {'pass' if result.passed else 'FAIL'}", flush=True)
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} of {len(results)} passed")
    return failed == 0


def main() -> None:
    """Run from the command line; exit code 1 if a check fails."""
    options = tyro.cli(Options, prog="python -m experiments.self_test", description=__doc__)
    if options.num_paths < 2 or options.dim < 1:
        print(f"error: num_paths is {options.num_paths} and dim {options.dim}; expected at least 2 paths, whose scatter is "
              "the error, and 1 coordinate", file=sys.stderr)
        sys.exit(UNUSABLE)
    passed = []
    interruptibly(lambda: passed.append(self_test(options)))
    sys.exit(0 if passed[0] else FAILED)


if __name__ == "__main__":
    main()
