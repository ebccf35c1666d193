"""A plan says which members an ensemble has and how long they run; it is checked in full before anything is traced."""

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sgd_diffusion.dynamics.batches import SAMPLINGS
from sgd_diffusion.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An ensemble of SGD runs: every seed with every learning rate, over consecutive windows of equal length.

    Attributes:
      seeds: each seed fixes the initialisation, the data order and the augmentation of its members, by keys of their
        own; members that share a seed differ in nothing but the learning rate.
      learning_rates: step sizes eta > 0, constant in time.
      num_windows: number of consecutive windows, or of `waiting_times` where these are given.
      window: updates T >= 2 in a window; window k covers the points t_w = k T to t_w + T.
      waiting_times: numbers of updates t_w at which the windows begin, at least T apart, if they are not consecutive; what
        lies between them is trained and not recorded.
      batch_size: examples in a mini-batch.
      momentum: heavy-ball coefficient in [0, 1).
      weight_decay: coefficient of the weights added to the gradient, >= 0.
      sampling: "epochs" (reshuffled, without replacement, full batches only) or "replacement".
      gradient_samples: number of fixed coordinates at which every mini-batch gradient is recorded, shared out among the
        layers (see `gradient_coordinates`).
      gradient_layers: top-level layers from which these coordinates are drawn, or None for all.
      frozen_passes: passes over the training examples at the weights where every window ends, in each of which all
        mini-batch gradients are recorded at these coordinates (see `frozen_gradients`); each costs as much as an epoch.
      by_layer: also keep the path statistics of every top-level layer.
      sketch_dim: dimension of the random projection of the increments for models too large to hold them, or None.
      full_batch_twin: also descend from the start of every window by full-batch gradient descent, the control for drift
        (see `gradient_descent`); costs about num_examples / batch_size times as much as the training.

    Raises:
      InputError: for anything outside these ranges.
    """

    seeds: tuple[int, ...] = (0,)
    learning_rates: tuple[float, ...] = (0.1,)
    num_windows: int = 1
    window: int = 1000
    batch_size: int = 128
    momentum: float = 0.0
    weight_decay: float = 0.0
    sampling: str = "epochs"
    gradient_samples: int = 0
    by_layer: bool = False
    sketch_dim: int | None = None
    full_batch_twin: bool = False
    waiting_times: tuple[int, ...] | None = None
    gradient_layers: tuple[str, ...] | None = None
    frozen_passes: int = 0

    def __post_init__(self):
        object.__setattr__(self, "seeds", tuple(_integer("seeds", seed, 0, 2**32 - 1) for seed in self.seeds))
        object.__setattr__(self, "learning_rates", tuple(
            _number("learning_rates", rate, lambda x: 0 < x < math.inf, "a finite step size > 0")
            for rate in self.learning_rates))
        for name in ("seeds", "learning_rates"):
            values = getattr(self, name)
            # learning rates are float32 on the device: two that agree there would be the same member twice
            distinct = set(np.asarray(values, np.float32).tolist()) if name == "learning_rates" else set(values)
            if not values or len(distinct) < len(values):
                raise InputError(f"Parameter '{name}'={values} is empty or has duplicates. Expected one or more distinct "
                                 "values: each stands for a member of the ensemble.")
        _integer("num_windows", self.num_windows, 1)
        _integer("window", self.window, 2)
        if self.waiting_times is not None:
            self._check_waiting_times()
        _integer("batch_size", self.batch_size, 1)
        self._check_gradients()
        _number("momentum", self.momentum, lambda x: 0 <= x < 1, "0 <= momentum < 1")
        _number("weight_decay", self.weight_decay, lambda x: 0 <= x < math.inf, "a finite coefficient >= 0")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"Parameter 'sampling'={self.sampling!r} is unknown. Expected one of {', '.join(SAMPLINGS)}.")
        if self.sketch_dim is not None:
            _integer("sketch_dim", self.sketch_dim, 1)
            if self.by_layer:
                raise InputError(f"Parameters 'sketch_dim'={self.sketch_dim} and 'by_layer'=True were given together. "
                                 "Expected one of them: a sketch mixes the layers.")
        if self.starts()[-1] + self.window >= 2**31:
            raise InputError(f"The last of 'num_windows'={self.num_windows} windows of 'window'={self.window} updates ends "
                             f"after {self.starts()[-1] + self.window}. Expected fewer than 2^31, the range of a step.")

    @property
    def num_members(self) -> int:
        """Number of members, seeds times learning rates."""
        return len(self.seeds) * len(self.learning_rates)

    def starts(self) -> Sequence[int]:
        """Number of updates made before each window, its waiting time t_w."""
        return range(0, self.num_windows * self.window, self.window) if self.waiting_times is None else self.waiting_times

    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """Seed and learning rate of every member, (M,) uint32 and (M,) float32; learning rates vary fastest."""
        seeds = np.repeat(np.asarray(self.seeds, np.uint32), len(self.learning_rates))
        return seeds, np.tile(np.asarray(self.learning_rates, np.float32), len(self.seeds))

    def description(self) -> dict:
        """All that fixes the results of a window, as JSON-like values; the number of windows does not."""
        values = asdict(self)
        del values["num_windows"]
        for name in ("full_batch_twin", "waiting_times", "gradient_layers", "frozen_passes"):
            if not values[name]:
                del values[name]  # so that runs from before there was this option can be continued
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def _check_gradients(self):
        _integer("gradient_samples", self.gradient_samples, 0)
        _integer("frozen_passes", self.frozen_passes, 0)
        if self.gradient_layers is not None:
            layers = self.gradient_layers
            if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
                raise InputError(f"Parameter 'gradient_layers'={layers!r} is no sequence of names, empty, or has duplicates. "
                                 "Expected the names of one or more layers, or None for all.")
            object.__setattr__(self, "gradient_layers", tuple(layers))
        for name in ("gradient_layers", "frozen_passes"):
            if getattr(self, name) and not self.gradient_samples:
                raise InputError(f"Parameter '{name}'={getattr(self, name)} was given with 'gradient_samples'=0. Expected "
                                 "'gradient_samples' > 0, the number of coordinates at which gradients are kept.")

    def _check_waiting_times(self):
        times = tuple(_integer("waiting_times", time, 0) for time in self.waiting_times)
        if not times or any(later - earlier < self.window for earlier, later in itertools.pairwise(times)):
            raise InputError(f"Parameter 'waiting_times'={times} is empty or not increasing by 'window'={self.window} or "
                             "more. Expected the numbers of updates at which the windows begin, without overlap.")
        object.__setattr__(self, "waiting_times", times)
        object.__setattr__(self, "num_windows", len(times))


def _integer(name: str, value, low: int, high: float = math.inf) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        limit = f"{low} <= {name}" if high == math.inf else f"{low} <= {name} <= {high}"
        raise InputError(f"Parameter '{name}'={value!r} is out of range. Expected an integer, {limit}.")
    return number


def _number(name: str, value, accept, expected: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not accept(number):
        raise InputError(f"Parameter '{name}'={value!r} is out of range. Expected {expected}.")
    return number
