"""Options that say in their declarations what they take: the ranges stand in --help, and one check refuses everything else.

    window: Annotated[int, *within(100, 100_000, "for the moving variance of the loss")] = 1000
"""

import dataclasses
import math
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import tyro

from sgd_diffusion.errors import InputError

UINT32 = 2**32 - 1  # the largest seed
COUNT = 1_000_000  # of examples, coordinates and the like: no number of them is larger here

T = TypeVar("T")


class Range(NamedTuple):
    """What an option takes: numbers from `low` to `high`, or so many of them."""

    low: float
    high: float
    reason: str  # why no less, for the message
    fewest: int  # of the values of an option that takes several
    repeats: bool  # whether two of them may be the same

    def __str__(self) -> str:
        numbers = [] if math.isinf(self.low) else [f"{self.low} to {self.high}"]
        return ", ".join([*numbers, *["at least one"] * bool(self.fewest)])


def within(low: float = -math.inf, high: float = math.inf, reason: str = "", *, fewest: int = 0,
           repeats: bool = False) -> tuple[Range, Any]:
    """Annotations of an option that takes numbers from `low` to `high`, both included; of several, at least `fewest`."""
    limits = Range(low, high, reason, fewest, repeats)
    return limits, tyro.conf.arg(help_behavior_hint=lambda default: f"(default: {default}; {limits})")


@dataclasses.dataclass(frozen=True)
class Checked:
    """Base of all options: they are refused before anything is loaded or written."""

    instead_of: ClassVar[Mapping[str, str]] = {}  # options that are not looked at, by the one that is in their place

    def check(self) -> None:
        """Refuse values that are not of the type and in the range that the fields declare.

        Raises:
          InputError: for the first of them.
        """
        for name, annotation in typing.get_type_hints(type(self), include_extras=True).items():
            if typing.get_origin(annotation) is not ClassVar:
                _check(f"--{name.replace('_', '-')}", getattr(self, name), annotation)

    def expanded(self: T) -> T:
        """The same with ~ in paths expanded.

        Raises:
          InputError: for the home of an unknown user.
        """
        return dataclasses.replace(self, **{
            field.name: expanded(f"--{field.name.replace('_', '-')}", getattr(self, field.name))
            for field in dataclasses.fields(self) if isinstance(getattr(self, field.name), pathlib.Path)})


def expanded(option: str, path: pathlib.Path) -> pathlib.Path:
    """A path without ~.

    Raises:
      InputError: for the home of an unknown user.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(f"Option {option} is {str(path)!r}; expected ~ or ~USER of a user that there is. Write the path in "
                         "full.") from error


def _check(option: str, value, annotation) -> None:
    limits = next((each for each in typing.get_args(annotation)[1:] if isinstance(each, Range)),
                  Range(-math.inf, math.inf, "", 0, False))
    if not _fits(value, annotation):
        raise InputError(f"Option {option} is {value!r}; expected {_described(annotation)}.")
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    if isinstance(value, tuple) and len(value) < limits.fewest:
        raise InputError(f"Option {option} has no value; expected at least one{_because(limits)}.")
    if not limits.repeats and len(set(values)) < len(values):
        raise InputError(f"Option {option} is {_shown(value)}, with a value twice; expected each once.")
    for each in values:
        if isinstance(each, (int, float)) and not limits.low <= each <= limits.high:
            raise InputError(f"Option {option} is {_shown(value)}; expected {limits}{_because(limits)}.")


def _because(limits: Range) -> str:
    return f", {limits.reason}" if limits.reason else ""


def _shown(value) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _fits(value, annotation) -> bool:
    """Whether a value is of the type; that of stored options may be anything."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _fits(value, arguments[0])
    if origin is typing.Literal:
        return value in arguments
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, each) for each in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(each, arguments[0]) for each in value)
    if annotation in (int, float):
        return isinstance(value, (int, annotation)) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _described(annotation) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        return _described(typing.get_args(annotation)[0])
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
