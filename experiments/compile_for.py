"""Compile the programs of the experiments for an accelerator that need not be at hand.

For each program the table shows the seconds of the compilation, the bytes that a device needs at
its peak, floating point operations and bytes moved in one pass, and the least time of a pass, which
is an estimate. The body of a loop counts once: a pass of `advance` is a step of the members of a
device. Below are products and convolutions by precision, and what devices send one another. A
program that does not compile has its error in place of that, and the program then ends with 1. Run
from the checkout: python -m experiments.compile_for tpu-v5e --programs '*/quick'
"""

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro

from experiments import command_line
from experiments.options import Checked


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is compiled."""

    chip: tyro.conf.Positional[Literal["tpu-v5e", "tpu-v6e", "h100"]]
    """The accelerator."""
    topology: str | None = None
    """Chips that share members and walkers, such as 2x2; by default one."""
    programs: tuple[str, ...] = ()
    """Patterns of names EXPERIMENT/PRESET/PART, such as '*/quick' and 'fractal_path/*/window'; by
    default all, which takes hours.
    """
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only print the names of these programs."""
    memory: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only print the memory that their windows need, as it is known before compilation."""
    json: pathlib.Path | None = None
    """File for the results, written anew after each program. What it has already is not compiled
    again.
    """


def main(options: Options) -> None:
    """Compile, print, and write."""
    from experiments.accelerators.compiling import compile_programs

    compile_programs(options)


if __name__ == "__main__":
    command_line.run(main, Options, __doc__)
