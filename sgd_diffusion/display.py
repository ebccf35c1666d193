"""Results as text: what a notebook shows of them fits a few lines, however many curves they hold."""

import enum
import textwrap

import jax
import numpy as np

__all__ = ["shown_briefly"]

WIDTH = 100
ITEMS = 4  # so many numbers are shown one by one


def shown_briefly(cls):
    """Class decorator for named tuples and dataclasses: fields are shown as numbers, long arrays by their range.

    An error stands behind the number that it belongs to: ``x_error`` behind ``x``, and ``error`` behind ``value``.

    >>> from typing import NamedTuple
    >>> @shown_briefly
    ... class Fit(NamedTuple):
    ...     slope: float
    ...     slope_error: float
    ...     residuals: np.ndarray
    >>> Fit(1.23456, 0.01234, np.linspace(0, 1, 1000))
    Fit(slope=1.235 ± 0.01234, residuals=(1000,) from 0 to 1)
    """
    cls.__repr__ = _text
    return cls


def _text(self):
    names = getattr(self, "_fields", None) or tuple(self.__dataclass_fields__)
    fields = {name: getattr(self, name) for name in names}
    parts = []
    for name, value in fields.items():
        owner = "value" if name == "error" else name.removesuffix("_error")
        if owner != name and owner in fields:
            continue
        error = fields.get("error" if name == "value" else f"{name}_error")
        parts.append(f"{name}={_value(name, value)}" + ("" if error is None else f" ± {_value('', error)}"))
    text = f"{type(self).__name__}({', '.join(parts)})"
    return textwrap.fill(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _value(name, value):
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str) or value is None or callable(value):
        return repr(value)
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(leaves)} arrays with {sum(np.size(leaf) for leaf in leaves)} numbers"
    if isinstance(leaves[0], jax.core.Tracer):
        return str(leaves[0].aval)
    return _array(np.asarray(leaves[0]))


def _array(array):
    if array.dtype.kind not in "biuf" and not np.issubdtype(array.dtype, np.number):
        return f"{array.shape} of {array.dtype}" if array.size > ITEMS else str(array.tolist())
    if array.dtype == bool:
        return str(array.tolist()) if array.size <= ITEMS else f"{array.shape}, {int(array.sum())} True"
    if array.size <= ITEMS:
        return str(jax.tree.map(_Number, array.tolist()))
    finite = array[np.isfinite(array)].astype(float)
    missing = array.size - finite.size
    spread = f" from {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
    return f"{array.shape}{spread}" + (f", {missing} not finite" if missing else "")


class _Number(float):
    """A number that is shown with four digits, also within a list."""

    def __repr__(self):
        return f"{float(self):.4g}"

    __str__ = __repr__
