"""Results as short text: a notebook shows them in a few lines, however many curves they hold."""

import enum
import textwrap
from typing import TypeVar

import jax
import numpy as np

__all__ = ["shown_briefly"]

T = TypeVar("T")

WIDTH = 100
ITEMS = 4  # an array of so many numbers is shown in full
FIXED = "\N{NO-BREAK SPACE}"


def shown_briefly(cls: type[T]) -> type[T]:
    """Show a named tuple or a dataclass by its numbers, and long arrays by their range.

    An error stands behind the number that it belongs to: `x_error` behind `x`, and `x_errors`
    behind `xs`. `error` and `standard_error` stand behind `value`, or else behind the field before
    them.

    Args:
        cls: the class; the decorator changes it.

    Returns:
        The same class.

    >>> from typing import NamedTuple
    >>> @shown_briefly
    ... class Fit(NamedTuple):
    ...     slope: float
    ...     slope_error: float
    ...     residuals: np.ndarray
    >>> Fit(1.23456, 0.01234, np.linspace(0, 1, 1000))
    Fit(slope=1.235 ± 0.01234, residuals=(1000,) from 0 to 1)
    >>> Fit(np.full(300, 1.2), np.full(300, np.nan), np.linspace(0, 1, 1000))
    Fit(slope=(300,) all 1.2 ± none finite, residuals=(1000,) from 0 to 1)
    """
    cls.__repr__ = _text  # type: ignore[method-assign, assignment]
    return cls


def _text(self):
    names = getattr(self, "_fields", None) or tuple(self.__dataclass_fields__)
    fields = {name: getattr(self, name) for name in names}
    errors = {
        owner: fields[name]
        for name in names
        if (owner := _owner(name, names)) and fields[name] is not None
    }
    parts = []
    for name, value in fields.items():
        if fields[name] is not None and _owner(name, names):
            continue
        text = f"{name}={_value(value)}"
        if name in errors:
            text += " ± " + _value(errors[name]).removeprefix(f"{np.shape(value)} ")
        parts.append(text)
    title = type(self).__name__
    fixed = (
        part.replace(" ", FIXED) if len(part) < WIDTH - len(title) - 1 else part for part in parts
    )
    text = f"{title}({', '.join(fixed)})"  # lines end between fields, where a field fits a line
    lines = textwrap.wrap(
        text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace(FIXED, " ")


def _owner(name, names):
    """Return the field whose error this field is, or None."""
    if name in ("error", "standard_error"):
        owner = "value" if "value" in names else names[max(names.index(name) - 1, 0)]
    elif name.endswith("_errors"):
        owner = name.removesuffix("_errors") + "s"
    else:
        owner = name.removesuffix("_error")
    return owner if owner in names and owner != name else None


def _value(value):
    if type(value).__repr__ is _text:
        return " ".join(repr(value).split())
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str) or value is None or callable(value):
        return repr(value)
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or isinstance(value, dict | list):
        numbers = sum(np.size(leaf) for leaf in leaves)
        return f"{type(value).__name__} of {len(leaves)} arrays with {numbers} numbers"
    if isinstance(leaves[0], jax.core.Tracer):
        return str(leaves[0].aval)
    return _array(np.asarray(leaves[0]))


def _array(array):
    if array.dtype.kind not in "biuf" and not np.issubdtype(array.dtype, np.number):
        return f"{array.shape} of {array.dtype}" if array.size > ITEMS else str(array.tolist())
    if array.dtype == bool:
        return (
            str(array.tolist())
            if array.size <= ITEMS
            else f"{array.shape}, {int(array.sum())} True"
        )
    if array.size <= ITEMS:
        return str(jax.tree.map(_Number, array.tolist()))
    finite = array[np.isfinite(array)].astype(float)
    missing = array.size - finite.size
    if not finite.size:
        return f"{array.shape} none finite"
    low, high = f"{finite.min():.4g}", f"{finite.max():.4g}"
    spread = f"all {low}" if low == high else f"from {low} to {high}"
    return f"{array.shape} {spread}" + (f", {missing} not finite" if missing else "")


class _Number(float):
    """A number that is shown with four digits, also within a list."""

    def __repr__(self):
        return f"{float(self):.4g}"

    __str__ = __repr__
