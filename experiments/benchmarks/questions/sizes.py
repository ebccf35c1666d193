"""How large the candidates are, as options of the command line."""

import dataclasses
from typing import Annotated, Literal

from experiments.options import Checked, within
from sgd_diffusion.problems import models

SHAPES = {"digits": (8, 8, 1), "cifar10": (32, 32, 3)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes(Checked):
    """Sizes of all candidates. The defaults are meant for eight minutes on a fast GPU."""

    images: Annotated[tuple[Literal["digits", "cifar10"], ...], *within(fewest=1)] = (
        "digits",
        "cifar10",
    )
    """Image sizes: 8 x 8 x 1 and 32 x 32 x 3. The first of them is for all that is not training."""
    model: str = "resnet14"
    """The network, by the name that experiments give it."""
    batch_size: Annotated[int, *within(1, 10_000)] = 128
    """Images in a mini-batch, and in one pass of a convolution."""
    steps: Annotated[int, *within(2, 10_000)] = 20
    """Updates of each member in a run."""
    passes: Annotated[int, *within(1, 10_000)] = 100
    """Passes of a convolution, forward and backward, in a run."""
    members: Annotated[int, *within(2, 1000)] = 16
    """Members of the ensembles whose mappings are compared."""
    group: Annotated[int, *within(1, 1000)] = 4
    """Members of a group."""
    ensembles: Annotated[tuple[int, ...], *within(1, 10_000, fewest=1)] = (1, 4, 16, 64, 256)
    """Sizes of ensembles."""
    channels: Annotated[int, *within(1, 1000)] = 16
    """Channels of a convolution on whole images; four times as many on a quarter of their side."""
    window: Annotated[int, *within(2, 10_000)] = 100
    """Updates of a recorded window."""
    gram_steps: Annotated[int, *within(10, 10_000)] = 1000
    """Steps of the path whose Gram matrix is computed."""
    gram_parameters: Annotated[int, *within(2, 10**8)] = 175_000
    """Parameters of that path."""
    examples: Annotated[int, *within(1, 100_000)] = 256
    """Images whose mean loss has the Hessian, and is taken along a line."""
    points: Annotated[int, *within(2, 1000)] = 20
    """Points of that line."""
    eigenpairs: Annotated[int, *within(1, 100)] = 10
    """Largest eigenvalues, to a relative residual of 1 %."""
    walkers: Annotated[tuple[int, ...], *within(1, 10**8, fewest=1)] = (100, 10_000, 1_000_000)
    """Numbers of walkers on one landscape."""
    landscapes: Annotated[int, *within(2, 1000)] = 16
    """Landscapes with the first number of walkers each, one after the other and at once."""
    levels: Annotated[int, *within(2, 12)] = 10
    """Landscapes have 2^levels + 1 points along a side."""
    walk: Annotated[int, *within(1, 100_000)] = 200
    """Steps of a walk."""
    fits: Annotated[int, *within(2, 1000)] = 32
    """Samples that stable laws are fitted to."""
    points_of_fit: Annotated[int, *within(20, 100_000)] = 5000
    """Numbers in each of them."""

    def check(self) -> None:
        """Refuse also a network that there is not."""
        super().check()
        models.model(self.model)
