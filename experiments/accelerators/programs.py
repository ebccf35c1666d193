"""A program of an experiment, as it is compiled, without data and without devices."""

import contextlib
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._platforms import traced_on
from sgd_diffusion._types import Key
from sgd_diffusion.dynamics.memory import WindowMemory
from sgd_diffusion.problems.datasets import Dataset, Examples

Made = tuple[Callable[..., Any], tuple[Any, ...]]
"""A jitted function with the shapes of its arguments."""

# Training and test examples, shape of an image, classes.
DATA_SETS = {
    "digits": (1437, 360, (8, 8, 1), 10),
    "mnist": (60_000, 10_000, (28, 28, 1), 10),
    "cifar10": (50_000, 10_000, (32, 32, 3), 10),
    "imagenet-part": (10_000, 1_000, (224, 224, 3), 1000),  # all 1.28 million are 193 GB
}


class Part(NamedTuple):
    """A program of a preset.

    Attributes:
        make: `devices -> (jitted function, shapes of its arguments)`. Members and walkers are dealt
            out among the devices; None for a single one of the platform that is traced for.
        training: whether its products may have the default precision of the platform.
        shared: whether several devices can share its work.
        wide: whether the experiment calls it in 64-bit mode, on TPU on the host.
        memory: `(platform, number of devices) -> WindowMemory` of a window, known before it is
            compiled; None for other programs.
    """

    make: Callable[[Sequence[jax.Device] | None], Made]
    training: bool = False
    shared: bool = False
    wide: bool = False
    memory: Callable[[str, int], WindowMemory] | None = None


class Program(NamedTuple):
    """A program of a preset of an experiment.

    Attributes:
        experiment: its name.
        preset: of the experiment.
        title: what the program does there.
        part: what it is.
    """

    experiment: str
    preset: str
    title: str
    part: Part

    @property
    def name(self) -> str:
        """Return the name by which the program is chosen."""
        return f"{self.experiment}/{self.preset}/{self.title}"

    def runs_on(self, platform: str) -> bool:
        """Return whether the program is one for this platform, and not for its host.

        TPUs have no float64 that would do (see `sgd_diffusion._platforms.where_float64_is`).
        """
        return platform != "tpu" or not self.part.wide

    def lowered(self, platform: str, devices: Sequence[jax.Device] | None = None) -> Any:
        """Return the program lowered for a platform, as `jax.jit(function).lower` does it.

        Args:
            platform: "cpu", "gpu" or "tpu".
            devices: those that share a program that can be shared, or of which the first runs it;
                None where none need be at hand.
        """
        spread = self.part.shared and devices is not None and len(devices) > 1
        # The devices of a program that is shared say themselves what platform it is for.
        context = contextlib.nullcontext() if spread else traced_on(platform)
        with context, jax.enable_x64(self.part.wide):
            function, arguments = self.part.make(devices if spread else None)
            if devices is None:
                return function.trace(*arguments).lower(
                    lowering_platforms=("cuda" if platform == "gpu" else platform,)
                )
            if not spread:
                place = jax.sharding.SingleDeviceSharding(devices[0])
                arguments = jax.tree.map(
                    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
                    arguments,
                )
            return function.lower(*arguments)


def shapes(*arguments: Any) -> tuple[Any, ...]:
    """Return the shapes of arguments, in the types that they have in a program."""
    return jax.eval_shape(lambda *given: given, *arguments)


def keys(count: int) -> Key:
    """Return the shape of so many keys."""
    return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))


def doubles(*shape: int) -> jax.ShapeDtypeStruct:
    """Return the shape of an array of float64."""
    return jax.ShapeDtypeStruct(shape, jnp.float64)


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """Return the shape of an array of float32."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def blank(name: str) -> Dataset:
    """Return a data set of which only the shapes are true; its images are black but for a pixel."""
    train, test, shape, classes = DATA_SETS[name]

    def part(count):
        images = np.zeros((count, *shape), np.uint8)
        images.flat[0] = 255
        return Examples(images, np.arange(count, dtype=np.int32) % classes)

    return Dataset(part(train), part(test), num_classes=classes, name=name)


def chosen(programs: Sequence[Program], patterns: Sequence[str]) -> Iterator[Program]:
    """Yield the programs that a pattern names, or the front of their names; all without any."""
    for program in programs:
        if not patterns or any(
            fnmatch.fnmatch(program.name, each)
            for pattern in patterns
            for each in (pattern, f"{pattern}/*")
        ):
            yield program
