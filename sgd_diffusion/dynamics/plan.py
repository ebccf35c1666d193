"""A plan says which members an ensemble has and how long they run. Making it checks it in full."""

import dataclasses
import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion._display import WIDTH
from sgd_diffusion.dynamics.batches import SAMPLINGS
from sgd_diffusion.dynamics.rule_options import RULE_OPTIONS, checked_rule, choice, single
from sgd_diffusion.errors import invalid

__all__ = ["Plan"]

# Options that `repr` always shows; the others where they are not at their defaults.
SHOWN = ("seeds", "learning_rates", "num_windows", "window", "batch_size")
# Options that the first plans did not have.
LATER = (
    "full_batch_twin",
    "waiting_times",
    "gradient_layers",
    "frozen_passes",
    *RULE_OPTIONS,
    "precision",
)
PRECISIONS = ("default", "float32")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An ensemble of SGD runs: every seed with every learning rate, over windows of equal length.

    Integers and numbers of NumPy and JAX become Python's.

    Attributes:
        seeds: each seed fixes the initialization, the data order and the augmentation of its
            members, by keys of their own. Members that share a seed differ in nothing but the
            learning rate.
        learning_rates: step sizes eta > 0, constant in time without a schedule.
        num_windows: number of consecutive windows, or of `waiting_times` where these are given.
        window: updates T >= 2 in a window; window k covers the points t_w = k T to t_w + T.
        waiting_times: numbers of updates t_w at which the windows begin, at least T apart, if they
            are not consecutive. What lies between them is trained and not recorded.
        batch_size: examples in a mini-batch.
        momentum: heavy-ball coefficient in [0, 1) of "sgd", "sam" and "rmsprop".
        weight_decay: coefficient of the weights, >= 0, added to the gradient by "sgd" and "sam",
            and subtracted beside the step by "adamw" and "lion".
        sampling: "epochs" (reshuffled, without replacement, full batches only) or "replacement".
        gradient_samples: number of fixed coordinates at which every mini-batch gradient is
            recorded, shared out among the layers (see `gradient_coordinates`).
        gradient_layers: top-level layers from which these coordinates are drawn, or None for all.
        frozen_passes: passes over the training examples at the weights where every window ends.
            Each of them records all mini-batch gradients at these coordinates (see
            `frozen_gradients`), and costs as much as an epoch.
        by_layer: also keep the path statistics of every top-level layer.
        sketch_dim: dimension of the random projection of the increments for models too large to
            hold them, or None.
        full_batch_twin: also descend from the start of every window by full-batch gradient descent,
            the control for drift (see `gradient_descent`). It costs about num_examples / batch_size
            times as much as the training.
        optimizer: "sgd", "adam", "adamw", "rmsprop", "lion" or "sam" (see `optimizers.optimizer`).
        sam_radius: rho > 0 of "sam", the distance uphill at which it takes the gradient (see
            `sharpness.uphill`); 0.05 for None.
        schedule: "constant", "cosine", "step" or "warmup-cosine" (see `schedules.learning_rate`).
            The learning rates are its scale.
        schedule_steps: length of the schedule in updates; that of this plan for None. It stays when
            a run is continued for longer, so give that of the longest run at its start. A cosine
            ends at 0, and no plan is longer than it.
        clip_norm: largest Euclidean norm of a gradient; a longer one is scaled down to it. None for
            no limit.
        noise: of the gradient, see `step_gradients`. "minibatch"; "none" for the full-batch
            gradient; "white" for isotropic normal noise added to it; "gaussian" for normal noise
            with the covariance of mini-batches, which needs a loss that is a mean over examples, so
            no batch norm. All but the first cost as much as the full-batch twin.
        noise_variance: of every coordinate of white noise. None for that of mini-batches at this
            point: the trace of their covariance over the number of parameters.
        average: of the weights, a second path beside that of the walker: "ema", "swa" or None (see
            `averages`). Test accuracy and endpoints stay those of the walker.
        average_decay: of "ema", in (0, 1); 0.999 for None.
        precision: of the matrix products and convolutions of the training, in float32 weights.
            "default" leaves it to the platform: TPUs round the operands to bfloat16, GPUs of NVIDIA
            to TF32, CPUs do not round. "float32" does not round anywhere. What is measured does not
            depend on it: Gram matrices, losses of the probe, curvature.

    Raises:
        InputError: a value is outside these ranges.

    >>> Plan(seeds=range(3), learning_rates=[0.1], window=100)
    Plan(seeds=(0, 1, 2), learning_rates=(0.1,), num_windows=1, window=100, batch_size=128)
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
    optimizer: str = "sgd"
    sam_radius: float | None = None
    schedule: str = "constant"
    schedule_steps: int | None = None
    clip_norm: float | None = None
    noise: str = "minibatch"
    noise_variance: float | None = None
    average: str | None = None
    average_decay: float | None = None
    precision: str = "default"

    def __post_init__(self):
        self._set(
            "seeds",
            _sequence("seeds", self.seeds, lambda seed: integer("seeds", seed, 0, 2**32 - 1)),
        )
        self._set(
            "learning_rates", _sequence("learning_rates", self.learning_rates, _learning_rate)
        )
        for name, values in (
            ("seeds", self.seeds),
            ("learning_rates", np.float32(self.learning_rates).tolist()),
        ):
            # Learning rates are float32 on the device. Two that agree there would be the same
            # member twice.
            if not values or len(set(values)) < len(values):
                raise invalid(
                    name,
                    f"is {getattr(self, name)}, empty or with duplicates",
                    "one or more distinct values",
                    "each stands for a member of the ensemble",
                )
        for name, low in (
            ("num_windows", 1),
            ("window", 2),
            ("batch_size", 1),
            ("gradient_samples", 0),
            ("frozen_passes", 0),
        ):
            self._set(name, integer(name, getattr(self, name), low, 2**31 - 1))
        self._set("momentum", single("momentum", self.momentum, at_least=0, below=1))
        self._set("weight_decay", single("weight_decay", self.weight_decay, at_least=0))
        for name in ("by_layer", "full_batch_twin"):
            self._set(name, _flag(name, getattr(self, name)))
        choice("sampling", self.sampling, SAMPLINGS)
        choice("precision", self.precision, PRECISIONS)
        self._check_waiting_times()
        self._check_gradients()
        self._check_sketch()
        if self.starts()[-1] + self.window >= 2**31:
            raise invalid(
                "num_windows",
                f"is {self.num_windows}, and the last window of {self.window} updates ends after "
                f"{self.starts()[-1] + self.window}",
                "fewer than 2^31 updates, the range of a step",
            )
        for name, value in checked_rule(self, self.starts()[-1] + self.window).items():
            self._set(name, value)

    @property
    def num_members(self) -> int:
        """Return the number of members, seeds times learning rates."""
        return len(self.seeds) * len(self.learning_rates)

    def starts(self) -> Sequence[int]:
        """Return the number of updates made before each window, its waiting time t_w."""
        return (
            range(0, self.num_windows * self.window, self.window)
            if self.waiting_times is None
            else self.waiting_times
        )

    def members(self) -> tuple[Shaped[np.ndarray, "member"], Float[np.ndarray, "member"]]:
        """Return the seed and the learning rate of every member; learning rates vary fastest.

        Returns:
            (M,) uint32 and (M,) float32.
        """
        seeds = np.repeat(np.asarray(self.seeds, np.uint32), len(self.learning_rates))
        return seeds, np.tile(np.asarray(self.learning_rates, np.float32), len(self.seeds))

    def description(self) -> dict[str, Any]:
        """Return all that fixes the results of a window, as JSON-like values.

        The number of windows is not part of it.
        """
        values = asdict(self)
        del values["num_windows"]
        for field in dataclasses.fields(self):
            if field.name in LATER and values[field.name] == field.default:
                del values[field.name]  # so runs from before there was this option can be continued
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    def __repr__(self) -> str:
        """Show what is run, and the other options that are not at their defaults."""

        def brief(value):
            long = isinstance(value, tuple) and len(value) > 8
            return (
                f"({', '.join(map(repr, value[:3]))}, ..., {value[-1]!r}: {len(value)} values)"
                if long
                else repr(value)
            )

        shown = (
            f"{field.name}={brief(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.name in SHOWN or getattr(self, field.name) != field.default
        )
        return textwrap.fill(f"Plan({', '.join(shown)})", WIDTH, subsequent_indent="    ")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_gradients(self):
        layers = self.gradient_layers
        if layers is not None:
            names = (
                isinstance(layers, Sequence)
                and not isinstance(layers, str)
                and all(isinstance(x, str) for x in layers)
            )
            if not names or not layers or len(set(layers)) < len(layers):
                raise invalid(
                    "gradient_layers",
                    f"is {layers!r}, no sequence of names, empty, or with duplicates",
                    "the names of one or more layers, or None for all",
                )
            self._set("gradient_layers", tuple(layers))
        for name in ("gradient_layers", "frozen_passes"):
            if getattr(self, name) and not self.gradient_samples:
                raise invalid(
                    name,
                    f"is {getattr(self, name)} while gradient_samples is 0",
                    "gradient_samples of at least 1, the number of coordinates to keep",
                )

    def _check_sketch(self):
        if self.sketch_dim is None:
            return
        self._set("sketch_dim", integer("sketch_dim", self.sketch_dim, 1, 2**31 - 1))
        if self.by_layer:
            raise invalid(
                "sketch_dim",
                f"is {self.sketch_dim} while by_layer is True",
                "one of them",
                "a sketch mixes the layers",
            )

    def _check_waiting_times(self):
        if self.waiting_times is None:
            return
        times = _sequence(
            "waiting_times",
            self.waiting_times,
            lambda time: integer("waiting_times", time, 0, 2**31 - 1),
        )
        if not times or any(
            later - earlier < self.window for earlier, later in itertools.pairwise(times)
        ):
            raise invalid(
                "waiting_times",
                f"is {times}, empty or not increasing by window = {self.window} or more",
                "the numbers of updates at which the windows begin, without overlap",
            )
        self._set("waiting_times", times)
        self._set("num_windows", len(times))


def _sequence(name: str, values: Any, convert: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Convert the values of a sequence or a one-dimensional array one by one."""
    if (
        isinstance(values, str | bytes | Mapping)
        or not isinstance(values, Iterable)
        or getattr(values, "ndim", 1) != 1
    ):
        raise invalid(
            name, f"is {values!r:.100}", f"a sequence, such as ({values!r:.20},) or a list"
        )
    return tuple(map(convert, real_array(name, values) if hasattr(values, "dtype") else values))


def _learning_rate(value: Any) -> float:
    return single("learning_rates", value, above=0)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise invalid(name, f"is {value!r:.100}", "True or False")
    return bool(value)
