"""Measure what a point of a loss surface costs.

The program prints JSON: points one by one and in groups in one program, one by one on every core as
a device, a loop on the host, and PyTorch. The loss is that of ResNet-14 on 1000 digits in
evaluation mode, at 20 points of a plane. loss-landscapes, where it is installed, takes a square of
about as many points of the same network in PyTorch. A bare forward pass is the least that any such
tool costs there. Weights are random, which costs the same. All take turns on the machine. Run from
the checkout: python -m experiments.benchmarks.planes
"""

import dataclasses
import functools
import math
from typing import Annotated, Any

import jax
import numpy as np

from experiments import command_line
from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion.landscape.planes import evaluate_plane, plane_point, random_plane
from sgd_diffusion.problems.datasets import load
from sgd_diffusion.problems.objectives import classification
from sgd_diffusion.problems.resnet import ResNet

PEERS = {"torch": "torch", "loss-landscapes": "loss_landscapes"}


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    images: Annotated[int, *within(1, 1437)] = 1000
    """Images on which a point is evaluated."""
    grid: Annotated[tuple[int, int], *within(1, 1000, repeats=True)] = (5, 4)
    """Points along the two directions."""
    at_once: Annotated[tuple[int, ...], *within(1, 1000, fewest=1)] = (1, 2, 5, 20)
    """Sizes of the groups that are vmapped."""
    full_grid: Annotated[int, *within(1, 10_000)] = 51
    """Points along each direction of the plane whose seconds are extrapolated."""
    repeats: Annotated[int, *within(1, 1000)] = 3
    """Timed runs of each candidate."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    versions = group.versions(PEERS)
    train = jax.tree.map(lambda leaf: leaf[: options.images], load("digits").train)
    candidates = ours(options)
    points = dict.fromkeys(candidates, math.prod(options.grid))
    for name, (candidate, count) in peers(options, versions, train).items():
        candidates[name], points[name] = candidate, count
    found = timing.seconds(candidates, repeats=options.repeats)
    per_point = {name: times["median"] / points[name] for name, times in found.items()}
    mine = "on_all_devices"
    return {
        "peers": versions,
        "seconds": found,
        "points": points,
        "seconds_per_point": per_point,
        "seconds_for_full_grid": {
            name: options.full_grid**2 * each for name, each in per_point.items()
        },
        "rows": [
            group.row(
                f"point of a plane, ResNet-14 on {options.images} digits",
                found[mine]["rounds"],
                peer,
                found[name]["rounds"] if name in found else None,
                amounts=(points[mine], points.get(name, 1)),
                goal=goal,
            )
            for peer, name, goal in (
                ("loss-landscapes", "loss_landscapes", 1.0),
                ("PyTorch's forward pass", "torch_forward_pass", None),
            )
        ],
    }


def ours(options: Options) -> dict:
    """Return groups of every size and points on all devices in one compiled program each.

    With them is the jitted loss in a loop on the host.
    """
    problem = classification(ResNet(14), load("digits"), augment=None)
    params, state = jax.jit(problem.init)(jax.random.key(0))
    plane = random_plane(jax.random.key(1), params)
    batch = jax.tree.map(lambda leaf: leaf[: options.images], problem.examples)
    xs, ys = (np.linspace(-1, 1, count) for count in options.grid)

    def surface(plane, at_once, devices=None):
        return evaluate_plane(
            lambda point: problem.loss(point, state, batch, False)[0],
            plane,
            xs,
            ys,
            at_once=at_once,
            devices=devices,
        )

    at = jax.jit(lambda plane, x, y: problem.loss(plane_point(plane, x, y), state, batch, False)[0])
    candidates = {
        f"at_once_{size}": functools.partial(
            jax.jit(functools.partial(surface, at_once=size)), plane
        )
        for size in options.at_once
    }
    candidates["on_all_devices"] = functools.partial(
        jax.jit(functools.partial(surface, at_once=1, devices=jax.devices())), plane
    )
    return candidates | {"host_loop": lambda: [at(plane, x, y) for y in ys for x in xs]}


def peers(options: Options, versions: dict, examples) -> dict:
    """Return PyTorch's forward pass and loss-landscapes, with their numbers of points.

    They are left out where they are not installed.
    """
    if "torch" not in versions:
        return {}
    import torch
    from torch.nn import functional

    from experiments.benchmarks.torch_resnet import as_tensors, network

    model = network(14, examples.images.shape[-1]).eval()
    batch, target = as_tensors(np.asarray(examples.images, np.float32), np.asarray(examples.labels))

    @torch.no_grad()
    def forward():
        return [
            functional.cross_entropy(model(batch), target).item()
            for _ in range(math.prod(options.grid))
        ]

    found = {"torch_forward_pass": (forward, math.prod(options.grid))}
    if "loss-landscapes" in versions:
        import loss_landscapes
        from loss_landscapes.metrics import Loss

        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01  # its filter normalization divides by zero where a bias is zero
        steps = round(math.sqrt(math.prod(options.grid)))
        metric = Loss(functional.cross_entropy, batch, target)
        found["loss_landscapes"] = (
            lambda: loss_landscapes.random_plane(
                model, metric, steps=steps, normalization="filter", deepcopy_model=True
            ),
            steps**2,
        )
    return found


if __name__ == "__main__":
    command_line.use_cores_as_devices()
    group.program(measure, Options, __doc__)
