"""Options that declare what they take: --help shows the ranges, and one check refuses all else.

For example `window: Annotated[int, *within(100, 100_000, "for the moving variance of the loss")] =
1000`.
"""

import dataclasses
import pathlib
import types
import typing
from typing import Any, NamedTuple, TypeVar

import tyro

from sgd_diffusion.errors import invalid

UINT32 = 2**32 - 1  # the largest seed
COUNT = 1_000_000  # of examples, coordinates and the like: no number of them is larger here

T = TypeVar("T")


class Range(NamedTuple):
    """What an option takes: numbers from `low` to `high`, both included, and how many of them.

    Attributes:
        low: smallest number, or None.
        high: largest number, or None.
        reason: for the message.
        fewest: least number of values, for an option that takes several.
        repeats: whether two of these may be the same.
    """

    low: float | None = None
    high: float | None = None
    reason: str = ""
    fewest: int = 0
    repeats: bool = False

    def hint(self, default: str) -> str:
        """Return what --help says behind the description."""
        numbers = [] if self.low is None else [f"{self.low} to {self.high}"]
        parts = [f"default: {default}", *numbers, *["at least one"] * bool(self.fewest)]
        return f"({'; '.join(parts)})"


def within(*limits, **others) -> tuple[Range, Any]:
    """Return what annotates an option that takes a `Range`, for the check and for --help."""
    taken = Range(*limits, **others)
    return taken, tyro.conf.arg(help_behavior_hint=taken.hint)


@dataclasses.dataclass(frozen=True)
class Checked:
    """Base of all options."""

    def check(self) -> None:
        """Refuse what cannot be run, before anything is loaded or written.

        Raises:
            InputError: a value is not of the type and in the range that its field declares.
        """
        annotations = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            _check(flag(field.name), getattr(self, field.name), annotations[field.name], Range())

    def expanded(self: T) -> T:
        """Return the same options with ~ in paths expanded.

        Raises:
            InputError: a path is in the home of an unknown user.
        """
        return dataclasses.replace(
            self,
            **{
                field.name: expanded(flag(field.name), getattr(self, field.name))
                for field in dataclasses.fields(self)
                if isinstance(getattr(self, field.name), pathlib.Path)
            },
        )


def flag(name: str) -> str:
    """Return what an option is called on the command line."""
    return f"--{name.replace('_', '-')}"


def expanded(option: str, path: pathlib.Path) -> pathlib.Path:
    """Return a path without ~.

    Raises:
        InputError: it is in the home of an unknown user.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise invalid(
            option, f"is {path}", "~ or ~USER of a user that there is", "write the path in full"
        ) from error


def _check(option: str, value: Any, annotation: Any, limits: Range) -> None:
    kind, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if kind is typing.Annotated:
        limits = next((each for each in arguments[1:] if isinstance(each, Range)), limits)
        _check(option, value, arguments[0], limits)
    elif kind in (types.UnionType, typing.Union):  # a type or None
        if value is not None:
            _check(option, value, arguments[0], limits)
    elif kind is tuple and isinstance(value, tuple):
        for each in value:
            _check(option, each, arguments[0], limits)
        if len(value) < limits.fewest or (not limits.repeats and len(set(value)) < len(value)):
            expected = "different values" + ", at least one" * bool(limits.fewest)
            raise invalid(option, f"is {' '.join(map(str, value)) or 'empty'}", expected)
    elif annotation is int:
        from sgd_diffusion._arrays import integer

        integer(option, value, limits.low, limits.high, what=limits.reason)
    elif annotation is float:
        from sgd_diffusion._arrays import number

        number(option, value, at_least=limits.low, at_most=limits.high, what=limits.reason)
    elif not (
        value in arguments if kind is typing.Literal else isinstance(value, kind or annotation)
    ):
        expected = (
            f"one of {', '.join(map(str, arguments))}"
            if kind is typing.Literal
            else (kind or annotation).__name__
        )
        raise invalid(option, f"is {value!r}", expected)
