"""Options that say in their declarations what they take: the ranges stand in --help, and one check
refuses everything else.

For example ``window: Annotated[int, *within(100, 100_000, "for the moving variance of the loss")] =
1000``.
"""

import dataclasses
import pathlib
import types
import typing
from typing import Any, NamedTuple, TypeVar

import tyro

from sgd_diffusion._arrays import integer, number
from sgd_diffusion.errors import InputError

UINT32 = 2**32 - 1  # the largest seed
COUNT = 1_000_000  # of examples, coordinates and the like: no number of them is larger here

T = TypeVar("T")


class Range(NamedTuple):
    """What an option takes: numbers from `low` to `high`, both included, and how many of them."""

    low: float | None = None
    high: float | None = None
    reason: str = ""  # for the message
    fewest: int = 0  # of the values of an option that takes several
    repeats: bool = False  # whether two of these may be the same

    def hint(self, default: str) -> str:
        """What --help says behind the description."""
        numbers = [] if self.low is None else [f"{self.low} to {self.high}"]
        return f"({'; '.join([f'default: {default}', *numbers, *['at least one'] * bool(self.fewest)])})"


def within(*limits, **others) -> tuple[Range, Any]:
    """What annotates an option that takes a `Range` of values, for the check and for --help."""
    limits = Range(*limits, **others)
    return limits, tyro.conf.arg(help_behavior_hint=limits.hint)


@dataclasses.dataclass(frozen=True)
class Checked:
    """Base of all options."""

    def check(self) -> None:
        """Refuse what cannot be run, before anything is loaded or written.

        Raises:
            InputError: for the first value that is not of the type and in the range that its field
                  declares.
        """
        annotations = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            _check(flag(field.name), getattr(self, field.name), annotations[field.name], Range())

    def expanded(self: T) -> T:
        """The same with ~ in paths expanded.

        Raises:
            InputError: for the home of an unknown user.
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
    """How an option is called on the command line."""
    return f"--{name.replace('_', '-')}"


def expanded(option: str, path: pathlib.Path) -> pathlib.Path:
    """A path without ~.

    Raises:
        InputError: for the home of an unknown user.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{option} is {path}; expected ~ or ~USER of a user that there is: write the path in "
            "full"
        ) from error


def _check(option: str, value, annotation, limits: Range) -> None:
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
            raise InputError(
                f"{option} is {' '.join(map(str, value)) or 'empty'}; expected {expected}"
            )
    elif annotation is int:
        integer(option, value, limits.low, limits.high, what=limits.reason)
    elif annotation is float:
        number(option, value, at_least=limits.low, at_most=limits.high, what=limits.reason)
    elif not (
        value in arguments if kind is typing.Literal else isinstance(value, kind or annotation)
    ):
        expected = (
            f"one of {', '.join(map(str, arguments))}"
            if kind is typing.Literal
            else (kind or annotation).__name__
        )
        raise InputError(f"{option} is {value!r}; expected {expected}")
