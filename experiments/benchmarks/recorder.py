"""Measure what the recorder of a training loop costs, beside the training step in PyTorch.

The program prints JSON: medians of the seconds of a training step without a recorder, with one, and
with one that keeps sketches, and of a call of `record` between its forward and its backward pass,
in the first window, whose memory is new, and in the second. All take turns on the machine. Then
seconds for the end of a window of T steps, which is paid once in T steps. The network is an MLP of
a million parameters on random images. PyTorch is no dependency. Run from the checkout: python -m
experiments.benchmarks.recorder
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np

from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion import PathRecorder
from sgd_diffusion.storage.paths.missing import required

INPUTS, CLASSES = 784, 10
WINDOWS = 2  # of which the first one compiles


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    width: Annotated[int, *within(1, 10_000)] = 680
    """Units in each of the two hidden layers: 680 make 1,003,690 parameters."""
    batch_size: Annotated[int, *within(1, 10_000)] = 128
    """Images in a mini-batch."""
    steps: Annotated[int, *within(1, 10_000)] = 50
    """Training steps of a timed run."""
    repeats: Annotated[int, *within(1, 1000)] = 9
    """Timed runs of each candidate."""
    window: Annotated[int, *within(10, 10_000)] = 1000
    """Steps T of the windows whose end is timed."""
    sketch_dim: Annotated[int, *within(1, 10**6)] = 4096
    """Dimension of the sketches."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    required("torch", "the training loop")
    recorders = {"recorded": {}, "sketched": {"sketch_dim": options.sketch_dim}}
    found = training_steps(options, recorders)
    ends = {name: ends_of_windows(options, how) for name, how in recorders.items()}
    alone = found["training"]["step"]
    kept = {"recorded": "all parameters", "sketched": f"sketches of {options.sketch_dim} numbers"}
    return {
        "peers": group.versions({"torch": "torch"}),
        "seconds": found,
        "seconds_for_the_end_of_a_window": ends,
        "overhead_over_training": {
            name: {
                "steps": (found[name]["step"] + found[name]["record"]) / alone - 1,
                "end_of_window": end["later"] / options.window / alone,
            }
            for name, end in ends.items()
        },
        "rows": [
            *(
                group.row(
                    f"training step with a recorder of {kept[name]}",
                    found[name]["rounds"],
                    "PyTorch without it",
                    found["training"]["rounds"],
                )
                for name in recorders
            ),
            *(
                group.row(
                    f"end of a window of {options.window} steps, {kept[name]}", [end["later"]]
                )
                for name, end in ends.items()
            ),
        ],
    }


def training_steps(options: Options, recorders: dict[str, dict]) -> dict[str, dict[str, Any]]:
    """Return median seconds of a training step, and of `record` where there is a recorder.

    Those of both together are there for each round.
    """
    window = max(10, options.repeats * options.steps)
    loops = {"training": training(options, None)} | {
        name: training(options, PathRecorder(window=window, **how))
        for name, how in recorders.items()
    }

    def medians(name: str, rounds: list[dict[str, list]]) -> tuple[float, float]:
        step, record = zip(*(times for each in rounds for times in each[name]), strict=True)
        return statistics.median(step), statistics.median(record)

    def turns() -> list[dict[str, list]]:
        return [{name: loop() for name, loop in loops.items()} for _ in range(options.repeats)]

    first, second = turns(), turns()
    found = {}
    for name in loops:
        step, record = medians(name, second)
        rounds = [statistics.median(map(sum, each[name])) for each in second]
        found[name] = {"step": step, "record": record, "rounds": rounds}
        if name in recorders:
            found[name]["record_in_first_window"] = medians(name, first)[1]
    return found


def network(options: Options) -> Any:
    """Return the network."""
    from torch import nn

    width = options.width
    return nn.Sequential(
        nn.Linear(INPUTS, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, CLASSES),
    )


def training(
    options: Options, recorder: PathRecorder | None
) -> Callable[[], list[tuple[float, float]]]:
    """Return a function that makes training steps, which are recorded if asked for.

    It returns seconds of each step without `record`, and of `record`.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    model = network(options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.randn(options.batch_size, INPUTS)
    labels = torch.randint(CLASSES, (options.batch_size,))

    def step() -> tuple[float, float]:
        begin = time.perf_counter()
        loss = functional.cross_entropy(model(images), labels)
        before = time.perf_counter()
        if recorder is not None:
            recorder.record(model.named_parameters(), loss)
        after = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return time.perf_counter() - after + before - begin, after - before

    def loop() -> list[tuple[float, float]]:
        time.sleep(timing.PAUSE)
        return [step() for _ in range(options.steps)]

    return loop


def ends_of_windows(options: Options, how: dict[str, int]) -> dict[str, float]:
    """Return seconds for the ends of the first window, which compiles, and of the second.

    The path is a contraction, since values do not matter.
    """
    recorder = PathRecorder(window=options.window, **how)
    point = {name: p.detach().numpy() for name, p in network(options).named_parameters()}
    seconds = []
    while recorder.num_windows < WINDOWS:
        for array in point.values():
            array *= np.float32(0.999)
        finished, begin = recorder.num_windows, time.perf_counter()
        recorder.record(point, 1.0)
        if recorder.num_windows > finished:
            seconds.append(time.perf_counter() - begin)
    return {"first": seconds[0], "later": seconds[1]}


if __name__ == "__main__":
    group.program(measure, Options, __doc__)
