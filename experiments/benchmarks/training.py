"""Measure member-steps per second of training.

The program prints JSON: one step alone, steps in a scan, in ensembles by each mapping, and in
PyTorch. A member-step is one SGD update of one member: forward and backward pass of ResNet-14 with
batch norm in training mode, and the update. Data are random. All candidates of one image size take
turns on the machine. Run from the checkout: python -m experiments.benchmarks.training
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments import command_line
from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion.analysis.displacement import displacement_from_start, time_averaged_msd
from sgd_diffusion.analysis.gram import increment_gram
from sgd_diffusion.dynamics.placement import Placement
from sgd_diffusion.dynamics.sgd import initial_carry, sgd, sgd_step
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.datasets import gaussian
from sgd_diffusion.problems.objectives import classification
from sgd_diffusion.problems.resnet import ResNet

PEERS = {"torch": "torch"}
SHAPES = {"digits": (8, 8, 1), "cifar10": (32, 32, 3)}
LEARNING_RATE = 0.01
GOALS = {"digits": 1.0, "cifar10": 1.0}


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    images: Annotated[tuple[Literal["digits", "cifar10"], ...], *within(fewest=1)] = (
        "digits",
        "cifar10",
    )
    """Image sizes: 8 x 8 x 1 and 32 x 32 x 3."""
    batch_size: Annotated[int, *within(1, 10_000)] = 128
    """Images in a mini-batch."""
    members: Annotated[tuple[int, ...], *within(1, 1000, fewest=1)] = (4, 16)
    """Sizes of the ensembles."""
    steps: Annotated[tuple[int, ...], *within(1, 10_000, fewest=1, repeats=True)] = (40, 3)
    """Steps of a timed run, for each of the image sizes."""
    repeats: Annotated[int, *within(1, 1000)] = 5
    """Timed runs of each candidate."""
    window: Annotated[int, *within(2, 10_000)] = 1000
    """Steps of the window whose Gram matrix and path analysis are timed against its training."""

    def check(self) -> None:
        """Refuse also numbers of steps that do not belong to the image sizes."""
        super().check()
        if len(self.steps) != len(self.images):
            raise invalid(
                "--steps",
                f"has {len(self.steps)} values and --images {len(self.images)}",
                "as many",
                "give both",
            )


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    trained = {
        name: training(options, SHAPES[name], steps)
        for name, steps in zip(options.images, options.steps, strict=True)
    }
    path = path_analysis(options, trained)
    return {
        "peers": group.versions(PEERS),
        "training": trained,
        "path": path,
        "rows": [
            *(row for name in trained for row in rows(options, name, trained[name])),
            group.row(
                f"Gram matrix and displacements of ResNet-14, T = {options.window}",
                path["seconds"]["gram_and_analysis"]["rounds"],
            ),
        ],
    }


def rows(options: Options, images: str, found: dict) -> list[group.Row]:
    """Return our fastest ensemble and a member alone, beside PyTorch's faster layout."""
    rates, seconds = found["member_steps_per_second"], found["seconds"]
    torch = max((name for name in rates if name.startswith("torch")), key=rates.get, default=None)
    size = " x ".join(map(str, found["image"]))
    largest = max(options.members)
    ensembles = [name for name in rates if name.endswith(f"_{largest}")]
    return [
        group.row(
            f"ResNet-14, {size}, batch {options.batch_size}, {what}",
            seconds[name]["rounds"],
            "PyTorch",
            torch and seconds[torch]["rounds"],
            amounts=(round(rates[name] * seconds[name]["median"]), found["steps"]),
            goal=GOALS.get(images) if name != "scan" else None,
        )
        for what, name in (
            (f"step of one of {largest} members", max(ensembles, key=rates.get)),
            ("step of one member alone", "scan"),
        )
    ]


def training(options: Options, shape: tuple[int, ...], steps: int) -> dict:
    """Return member-steps per second of each candidate at one image size, and their ratios."""
    data = gaussian(train_size=options.batch_size, test_size=1, shape=shape)
    problem, optimizer = classification(ResNet(14), data, augment=None), sgd()
    carry = jax.jit(lambda key: initial_carry(problem, optimizer, key))(jax.random.key(0))

    def step(examples, carry, number):
        return sgd_step(problem, optimizer, carry, examples, LEARNING_RATE, number)[0]

    def scan(examples, carry):
        return jax.lax.scan(
            lambda carry, number: (step(examples, carry, number), None), carry, jnp.arange(steps)
        )[0]

    step_alone, in_scan = jax.jit(step), jax.jit(scan)

    def alone():
        current = carry
        for number in range(steps):
            current = step_alone(problem.examples, current, number)
        return current

    candidates, member_steps = (
        {"step": alone, "scan": lambda: in_scan(problem.examples, carry)},
        {"step": steps, "scan": steps},
    )
    for members in options.members:
        stacked = jax.tree.map(lambda leaf, members=members: jnp.stack([leaf] * members), carry)
        for mapping, (at_once, devices) in _mappings(members).items():
            placement = Placement(members, devices)
            run, dealt = placement.program(scan, at_once), placement.deal(stacked)
            examples = placement.copy(problem.examples)
            name = f"{mapping}_{members}"
            candidates[name] = partial(run, examples, dealt)
            member_steps[name] = steps * members
    for name, candidate in _torch_candidates(data, steps).items():
        candidates[name], member_steps[name] = candidate, steps
    found = timing.seconds(candidates, repeats=options.repeats)
    rates = {name: member_steps[name] / found[name]["median"] for name in candidates}
    fastest = max((rates[name] for name in rates if name.startswith("torch")), default=None)
    ours = {name: rate for name, rate in rates.items() if not name.startswith("torch")}
    return {
        "batch_size": options.batch_size,
        "image": list(shape),
        "steps": steps,
        "member_steps_per_second": rates,
        "seconds": found,
        "scan_time_over_step_time": rates["step"] / rates["scan"],
        "speed_over_torch": fastest and {name: rate / fastest for name, rate in ours.items()},
    }


def _mappings(members: int) -> dict:
    """Return members at once and devices of every way to run an ensemble of this size."""
    mappings = {"map": (1, None), "vmap": (members, None)}
    if members > 4:
        mappings["map_by_4"] = (4, None)
    if len(jax.devices()) > 1:
        mappings[f"map_on_{len(jax.devices())}_devices"] = (1, jax.devices())
    return mappings


def _torch_candidates(data, steps):
    """Return eager PyTorch in both memory layouts, where it is installed."""
    if not group.versions(PEERS):
        return {}
    from experiments.benchmarks.torch_resnet import training_step

    def repeated(step):
        def run():
            for _ in range(steps):
                step()

        return run

    images, labels = np.asarray(data.train.images, np.float32), np.asarray(data.train.labels)
    return {
        f"torch_{name}": repeated(
            training_step(14, images, labels, learning_rate=LEARNING_RATE, channels_last=last)
        )
        for name, last in (("channels_first", False), ("channels_last", True))
    }


def path_analysis(options: Options, trained: dict) -> dict:
    """Return seconds for Gram matrix and path analysis of a window of ResNet-14.

    They are also given as a share of training that window.
    """
    problem = classification(
        ResNet(14), gaussian(train_size=2, test_size=1, shape=SHAPES["cifar10"]), augment=None
    )
    params, _ = jax.eval_shape(problem.init, jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    increments = jax.tree.unflatten(
        tree,
        [
            1e-4 * jax.random.normal(key, (options.window, *leaf.shape))
            for key, leaf in zip(keys, leaves, strict=True)
        ],
    )

    @jax.jit
    def analyze(increments):
        gram = increment_gram(increments)
        return time_averaged_msd(gram), displacement_from_start(gram)

    found = timing.seconds(
        {"gram_and_analysis": lambda: analyze(increments)}, repeats=options.repeats
    )
    share = {
        name: found["gram_and_analysis"]["median"]
        * result["member_steps_per_second"]["scan"]
        / options.window
        for name, result in trained.items()
    }
    return {
        "window": options.window,
        "parameters": sum(leaf.size for leaf in leaves),
        "seconds": found,
        "share_of_training": share,
    }


if __name__ == "__main__":
    command_line.use_cores_as_devices()
    group.program(measure, Options, __doc__)
