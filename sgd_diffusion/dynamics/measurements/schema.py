"""Names, dimensions and coordinates of what a run measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgd_diffusion._json_values import json_values
from sgd_diffusion._types import ArrayLike, Key, PyTree
from sgd_diffusion.dynamics.parameters import computing_dtype
from sgd_diffusion.dynamics.window import WindowRecord
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = ["RESERVED", "PathMeasurement", "Schema", "StateMeasurement"]

RESERVED = ("window", "seed", "learning_rate", "waiting_time", "diverged_at")


@dataclass(frozen=True)
class PathMeasurement:
    """A function of a window.

    Attributes:
        function: pure function `WindowRecord -> {name: array}`, without member axes.
        dims: names of the dimensions of each array. Three of them get coordinates from the run:
            `lag` (T values, 1..T), `point` (T+1 values, 0..T, for quantities at w_t) and `update`
            (T values, 0..T-1, for quantities of a step).
        coords: coordinates of further dimensions, and further coordinates along any dimension as
            pairs (dimension, values), such as {"layer": ["hidden", "output"], "parameters":
            ("layer", [42, 7])}.
    """

    function: Callable[[WindowRecord], dict[str, jax.Array]]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StateMeasurement:
    """A function of the point at the end of a window.

    Attributes:
        function: pure function `(problem, params, state, key) -> {name: array}` of one member; the
            key is the member's own and differs between windows.
        dims: names of the dimensions of each array.
        coords: coordinates of these dimensions and along them, as in `PathMeasurement`.
        windows: numbers of the windows after which it is made, from 0 on; None for all. Elsewhere
            its values are NaN.
        description: JSON-like facts that its values depend on. A run directory is continued only
            under the same ones.
    """

    function: Callable[[Problem, PyTree, PyTree, Key], dict[str, jax.Array]]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, Any] = field(default_factory=dict)
    windows: tuple[int, ...] | None = None
    description: Mapping[str, Any] = field(default_factory=dict)


class Windows(Protocol):
    """What labels the values of a run: its members and its windows, those of a `Plan` or others."""

    @property
    def seeds(self) -> Sequence[int]:
        """Return the seeds of the members."""

    @property
    def learning_rates(self) -> Sequence[float]:
        """Return their learning rates; every seed is there with all of them."""

    @property
    def window(self) -> int:
        """Return the updates in a window."""

    def starts(self) -> Sequence[int]:
        """Return the waiting times of the windows."""


class Schema:
    """The measurements of a run as one, and how their values become a labeled dataset.

    Args:
        plan: of the run, or what its windows and members are.
        measurements: of the run.

    Raises:
        InputError: two measurements use the same name or give different coordinates of one name, or
            a coordinate lies along no dimension of its measurement.
    """

    def __init__(self, plan: Windows, measurements: Sequence[PathMeasurement | StateMeasurement]):
        self.plan, self.measurements = plan, measurements
        steps = np.arange(plan.window + 1)
        self.coords: dict[str, tuple[str, Any]] = {
            "lag": ("lag", steps[1:]),
            "point": ("point", steps),
            "update": ("update", steps[:-1]),
        }
        for measurement in measurements:
            for name, (dim, values) in _labeled(measurement).items():
                stored_dim, stored = self.coords.setdefault(name, (dim, values))
                if stored_dim != dim or list(stored) != list(values):
                    raise invalid(
                        "measurements",
                        f"gives two different coordinates {name!r}",
                        "one, or different names",
                    )
        # Coordinates along a dimension are variables like the others, with names of their own.
        variables: list[tuple[str, tuple[str, ...]]] = [
            *((name, (dim,)) for name, (dim, _) in self.coords.items() if name != dim),
            *(variable for measurement in measurements for variable in measurement.dims.items()),
        ]
        self.dims: dict[str, tuple[str, ...]] = {}
        for name, dims in variables:
            if name in self.dims or name in RESERVED:
                raise invalid(
                    "measurements",
                    f"has two variables named {name!r}",
                    f"distinct names, other than {', '.join(RESERVED)}",
                )
            self.dims[name] = tuple(dims)

    def description(self) -> dict[str, Any]:
        """Return what fixes the measurements, as JSON-like values.

        These are the names of all variables, and what they depend on.
        """
        facts = {
            name: value
            for measurement in self.measurements
            if isinstance(measurement, StateMeasurement)
            for name, value in measurement.description.items()
        }
        return {"variables": sorted(self.dims)} | (
            {"measurements": json_values("description", facts)} if facts else {}
        )

    def measure_path(self, record: WindowRecord) -> dict[str, jax.Array]:
        """Return all path measurements of a member's window."""

        def make(measurement):
            return jax.tree.map(_numbers, measurement.function(record))

        return self._collect(PathMeasurement, make)

    def measure_state(
        self, window: jax.Array, problem: Problem, params: PyTree, state: PyTree, key: Key
    ) -> dict[str, jax.Array]:
        """Return all measurements of the point at the end of a window with a traced number."""

        def make(measurement):
            def made():
                values = measurement.function(problem, params, state, key)
                return jax.tree.map(lambda leaf: _numbers(leaf, floating=True), values)

            if measurement.windows is None:
                return made()
            missing = jax.tree.map(
                lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), jax.eval_shape(made)
            )
            return jax.lax.cond(
                jnp.isin(window, jnp.asarray(measurement.windows, jnp.int32)), made, lambda: missing
            )

        return self._collect(StateMeasurement, make)

    def check(self, shapes: Mapping[str, jax.ShapeDtypeStruct]) -> None:
        """Refuse shapes of values that cannot be labeled and stored.

        Args:
            shapes: of all values, with a leading axis of members.

        Raises:
            InputError: values have other dimensions than they say.
        """
        sizes: dict[str, int] = {}
        for name, (dim, values) in self.coords.items():
            if sizes.setdefault(dim, len(values)) != len(values):
                raise invalid(
                    "measurements",
                    f"gives {len(values)} values of {name!r} along {dim!r}, which has {sizes[dim]}",
                    "as many",
                )
        for name, leaf in shapes.items():
            dims, shape = self.dims[name], leaf.shape[1:]
            known = tuple(
                sizes.setdefault(dim, size) for dim, size in zip(dims, shape, strict=False)
            )
            if len(dims) != len(shape) or known != shape:
                wanted = ", ".join(f"{dim}: {sizes.get(dim, 'any')}" for dim in dims)
                raise invalid(
                    "measurements",
                    f"returned {name!r} of shape {shape}",
                    f"({wanted}), as its dims say",
                )

    def label(
        self, index: int, values: Mapping[str, ArrayLike], diverged_at: ArrayLike
    ) -> xr.Dataset:
        """Return values with a leading axis of members as the dataset of a window."""
        seeds, learning_rates = list(self.plan.seeds), list(self.plan.learning_rates)
        members: dict[str, Any] = {"seed": seeds, "learning_rate": learning_rates}
        shape = len(seeds), len(learning_rates)

        def unstack(array):
            array = np.asarray(array)
            return array.reshape(shape + array.shape[1:])

        variables = {
            name: (("window", *members, *self.dims[name]), unstack(array)[None])
            for name, array in values.items()
        }
        variables["diverged_at"] = (tuple(members), unstack(diverged_at))
        used = {dim for dims, _ in variables.values() for dim in dims}
        coords = members | {name: coord for name, coord in self.coords.items() if coord[0] in used}
        coords |= {"window": [index], "waiting_time": ("window", [self.plan.starts()[index]])}
        return xr.Dataset(variables, coords)

    def _collect(self, kind, make):
        values = {}
        for measurement in self.measurements:
            if isinstance(measurement, kind):
                own = make(measurement)
                if own.keys() != measurement.dims.keys():
                    raise invalid(
                        "measurements",
                        f"has one that returned {sorted(own)}",
                        f"{sorted(measurement.dims)}, the names in its dims",
                    )
                values |= own
        return values


def _numbers(value: ArrayLike, *, floating: bool = False) -> jax.Array:
    """Return what a measurement gave as numbers that files hold, floating ones of at least float32.

    Args:
        value: an array or a number.
        floating: whether integers become floating numbers too.

    Raises:
        InputError: it is no real number.
    """
    value = jnp.asarray(value)
    if not any(
        jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)
    ):
        raise invalid(
            "measurements",
            f"has one that returned {jax.typeof(value)}",
            "real numbers",
            "of complex ones the parts as two variables, of random keys jax.random.key_data",
        )
    dtype = (
        computing_dtype(value.dtype)
        if floating or jnp.issubdtype(value.dtype, jnp.floating)
        else value.dtype
    )
    return value if value.dtype == dtype else value.astype(dtype)


def _labeled(measurement: PathMeasurement | StateMeasurement) -> dict[str, tuple[str, Any]]:
    """Return the coordinates of a measurement as pairs (dimension, values)."""
    dims = {dim for dims in measurement.dims.values() for dim in dims}
    pairs = {
        name: (name, values) if name in dims else values
        for name, values in measurement.coords.items()
    }
    for name, pair in pairs.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] in dims):
            raise invalid(
                "measurements",
                f"has a coordinate {name!r} along no dimension",
                f"the name of one of {', '.join(sorted(dims))}, or a pair (dimension, values)",
            )
    return pairs
