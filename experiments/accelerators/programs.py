"""A program of an experiment, as it is compiled, without data and without devices."""

import contextlib
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sgd_diffusion._platforms import traced_on
from sgd_diffusion.problems.datasets import Dataset, Examples

Made = tuple[Callable[..., Any], tuple[Any, ...]]
"""A jitted function with the shapes of its arguments."""

# Training and test examples, shape of an image, classes.
DATA_SETS = {
    "digits": (1437, 360, (8, 8, 1), 10),
    "mnist": (60_000, 10_000, (28, 28, 1), 10),
    "cifar10": (50_000, 10_000, (32, 32, 3), 10),
}


class Program(NamedTuple):
    """A program of a preset of an experiment.

    Attributes:
        experiment: its name.
        preset: of the experiment.
        part: what the program does there.
        make: `devices -> (jitted function, shapes of its arguments)`. Members and walkers are dealt
            out among the devices; None for a single one of the platform that is traced for.
        training: whether its products may have the default precision of the platform.
        shared: whether several devices can share its work.
        wide: whether it is traced in 64-bit mode.
    """

    experiment: str
    preset: str
    part: str
    make: Callable[[Sequence[jax.Device] | None], Made]
    training: bool = False
    shared: bool = False
    wide: bool = False

    @property
    def name(self) -> str:
        """Return the name by which the program is chosen."""
        return f"{self.experiment}/{self.preset}/{self.part}"

    def traced(self, platform: str, devices: Sequence[jax.Device] | None = None) -> Any:
        """Return the program traced for a platform, as `jax.jit` does it.

        Args:
            platform: "cpu", "gpu" or "tpu".
            devices: those that share a program that can be shared, or of which the first runs it;
                None where none need be at hand.
        """
        spread = self.shared and devices is not None and len(devices) > 1
        context = contextlib.nullcontext() if spread else traced_on(platform)
        with context, jax.enable_x64(self.wide):
            function, arguments = self.make(devices if spread else None)
            if devices is not None and not spread:
                place = jax.sharding.SingleDeviceSharding(devices[0])
                arguments = jax.tree.map(
                    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
                    arguments,
                )
            return function.trace(*arguments)


def shapes(*arguments: Any) -> tuple[Any, ...]:
    """Return the shapes of arguments, in the types that they have in a program."""
    return jax.eval_shape(lambda *given: given, *arguments)


def blank(name: str) -> Dataset:
    """Return a data set of which only the shapes are true; its images are black."""
    train, test, shape, classes = DATA_SETS[name]
    parts = (
        Examples(np.zeros((count, *shape), np.uint8), np.zeros(count, np.int32))
        for count in (train, test)
    )
    return Dataset(*parts, num_classes=classes, name=name)


def chosen(programs: Sequence[Program], patterns: Sequence[str]) -> Iterator[Program]:
    """Yield the programs of which a pattern names a part, as in `*/quick/window*`; all if none."""
    for program in programs:
        if not patterns or any(
            fnmatch.fnmatch(program.name, pattern) or fnmatch.fnmatch(program.name, f"{pattern}/*")
            for pattern in patterns
        ):
            yield program
