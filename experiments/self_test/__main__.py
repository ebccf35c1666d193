"""Check every estimator of a path, and of tails, on processes and laws whose truth is known.

The program prints for each estimator and process the truth, the mean estimate over independent
paths with its standard error, and whether they agree. The bound is Student's t quantile that covers
as much as three standard errors of a normal law, since the error itself is estimated from few
paths. Where the truth is an asymptote that no finite window reaches, an allowance is added and
printed. A sound estimator fails 0.3 % of its checks by chance, so that one seed in six shows a
failure. The exit code is 1 if a check fails. Run from the checkout: python -m experiments.self_test
"""

import dataclasses
import sys
from typing import Annotated

import tyro
from tqdm.auto import tqdm

from experiments import command_line
from experiments.options import UINT32, Checked, within
from sgd_diffusion.errors import invalid

FAILED = 1  # exit code
MAX_NUMBERS = 100_000  # paths times coordinates; each of these takes 8 kB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Checked):
    """Options of the self-test."""

    seed: Annotated[int, *within(0, UINT32)] = 0
    """Chooses all random numbers."""
    num_paths: Annotated[int, *within(3, 200, "whose scatter is the error")] = 12
    """Independent paths of each process."""
    dim: Annotated[int, *within(50, 10_000, "for truths of many dimensions")] = 300
    """Coordinates of a path."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Five paths of 100 coordinates."""

    def check(self) -> None:
        """Refuse also what the memory does not hold."""
        super().check()
        if self.num_paths * self.dim > MAX_NUMBERS:
            raise invalid(
                "--num-paths",
                f"is {self.num_paths} and --dim {self.dim}",
                f"at most {MAX_NUMBERS} for their product, which is held in memory",
                "take less of one",
            )


def self_test(options: Options) -> bool:
    """Print all checks, and return whether all have passed."""
    from experiments.self_test.groups import GROUPS
    from experiments.self_test.laboratory import STEPS, Laboratory

    lab = Laboratory(
        *((5, 100) if options.quick else (options.num_paths, options.dim)), seed=options.seed
    )
    print(f"{lab.num_paths} paths of {STEPS} steps in {lab.dim} dimensions for each process")
    print(f"{'estimator':32s}{'process':34s}{'truth':>10s}{'estimate':>20s}{'allowance':>11s}")
    results = []
    with tqdm(GROUPS, unit=" groups", leave=False, dynamic_ncols=True) as groups:
        for group in groups:
            groups.set_description(group.__name__.replace("_", " "))
            for result in group(lab):
                results.append(result)
                estimate = f"{result.estimate:.4g} ± {result.error:.2g}"
                tqdm.write(
                    f"{result.estimator:32s}{result.process:34s}{result.truth:10.4g}{estimate:>20s}"
                    f"{result.allowance:11.2g}  {'pass' if result.passed else 'FAIL'}",
                    file=sys.stdout,
                )
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} of {len(results)} passed")
    return failed == 0


def main() -> None:
    """Run from the command line; the exit code is 1 if a check fails."""
    passed = []
    command_line.run(lambda options: passed.append(self_test(options)), Options, __doc__)
    sys.exit(0 if passed[0] else FAILED)


if __name__ == "__main__":
    main()
