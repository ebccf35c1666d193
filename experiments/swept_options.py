"""Options that take several values: every combination of them is a cell of a sweep."""

import contextlib
import dataclasses
import hashlib
import itertools
import pathlib
import re
import types
import typing
from collections.abc import Collection, Iterator
from typing import Any, ClassVar, NamedTuple

from experiments.jobs import JOB
from experiments.options import Checked, Range, within
from experiments.results import RunOptions
from experiments.training_options import check_growth
from sgd_diffusion.errors import InputError, StorageError, invalid

# They decide where and how fast, not what.
NEVER_SWEPT = {field.name for field in dataclasses.fields(RunOptions)} | {
    "members_at_once",
    "num_devices",
    "devices_per_member",
    "memory",
    *JOB,
}


class Cell(NamedTuple):
    """One combination of the values.

    Attributes:
        place: {option: its value}, of the options that are swept.
        options: all options, those of an ordinary run.
    """

    place: dict[str, Any]
    options: Any

    @property
    def name(self) -> str:
        """Return the name of its run directory."""
        return ",".join(f"{key}={_plain(value)}" for key, value in self.place.items()) or "run"

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Say of which cell it is that something is refused, where there are several."""
        try:
            yield
        except (InputError, StorageError) as error:
            if not self.place:
                raise
            raise type(error)(f"cell {self.name}: {error}") from error


class Sweep(Checked):
    """Base of the options of sweeps, which `swept` makes.

    Attributes:
        always: options that are dimensions of a sweep, even with a single value.
    """

    always: ClassVar[Collection[str]] = ()

    def check(self) -> None:
        """Refuse what one of the cells could not run."""
        Checked.check(self)
        if getattr(self, "distributed", False):
            raise invalid(
                "--distributed",
                "was given for a sweep",
                "--launcher, which starts processes that take one cell after the other",
            )
        check_growth(self)  # of all cells alike
        for cell in self.cells():
            with cell.named():
                cell.options.check()

    def dimensions(self) -> list[str]:
        """Return the options that are swept."""
        return [
            name for name in self.swept_names if name in self.always or len(getattr(self, name)) > 1
        ]

    def cells(self) -> list[Cell]:
        """Return the cells; the last option varies fastest."""
        values = {name: getattr(self, name) for name in self.swept_names}
        names = self.dimensions()
        own = {field.name for field in dataclasses.fields(self.cell_kind)}
        base = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        base = {name: value for name, value in base.items() if name in own}
        base |= {name: given[0] for name, given in values.items()}
        places = (
            dict(zip(names, place, strict=True))
            for place in itertools.product(*(values[name] for name in names))
        )
        return [Cell(place, self.cell_kind(**base | place)) for place in places]


def swept(kind: type[Checked]) -> type[Sweep]:
    """Return options like those of a dataclass, with several values where that has one.

    Lists, flags and paths stay what they are, and so do the options that decide where a run is.

    Args:
        kind: dataclass of the options of a run.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {
        field.name: (several, dataclasses.field(default=(field.default,)))
        for field in dataclasses.fields(kind)
        if field.name not in NEVER_SWEPT and (several := _several(hints[field.name]))
    }
    return dataclasses.make_dataclass(
        "SweptOptions",
        [(name, *rest) for name, rest in fields.items()],
        bases=(Sweep, kind),  # which documents them
        namespace={"cell_kind": kind, "swept_names": tuple(fields)},
        frozen=True,
        kw_only=True,
    )


def _several(annotation: Any) -> Any:
    """Return what annotates several values of an option; None where it has only one."""
    limits = Range()
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *others = typing.get_args(annotation)
        limits = next((other for other in others if isinstance(other, Range)), limits)
    is_union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    kinds = typing.get_args(annotation) if is_union else (annotation,)
    if any(kind in (bool, pathlib.Path) or typing.get_origin(kind) is tuple for kind in kinds):
        return None
    return typing.Annotated[
        tuple[annotation, ...], *within(*limits._replace(fewest=1, repeats=False))
    ]


def _plain(value: Any) -> str:
    """Return a value as a part of a file name; another value has another one."""
    text = str(value)
    plain = re.sub(r"[^\w.+-]+", "_", text)
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
