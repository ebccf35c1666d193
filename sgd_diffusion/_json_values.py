"""Facts that are stored with results, as the values that JSON has, so that they compare as they are
read back.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sgd_diffusion.errors import InputError

DEEPEST = 100  # values within values; far below what the JSON parser and Python's stack hold


def json_values(name: str, value: Any) -> Any:
    """A value as JSON stores it and reads it back.

    Scalars and arrays of NumPy and JAX become numbers and nested lists, tuples become lists, paths
    text, and keys of mappings text, as `json.dumps` writes them. NaN and infinity stay: Python
    writes and reads them.

    Args:
        name: of the argument, for messages.
        value: mappings, sequences, numbers, texts, None, in one another.

    Raises:
        InputError: for anything else, two keys that become the same text, or nesting without end.
    """
    return _plain(name, value, 0)


def same_values(first: Any, second: Any) -> bool:
    """Whether two JSON-like values are equal; NaN equals NaN here, and 1 equals 1.0."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            same_values(first[key], second[key]) for key in first
        )
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same_values, first, second))
    if isinstance(first, dict | list) or isinstance(second, dict | list):
        return False
    return first == second or (first != first and second != second)


def _plain(name: str, value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise InputError(
            f"{name:.100} has values within values more than {DEEPEST} times, or contains itself; "
            "expected JSON-like values"
        )
    if value is None:
        return None
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)  # a plain one in place of a subclass
    if isinstance(value, Mapping):
        keys = [_key(name, key) for key in value]
        if len(set(keys)) < len(keys):
            raise InputError(
                f"{name} has the keys {list(value)!r:.200}; expected keys that are distinct as "
                "text, since JSON stores them so"
            )
        return {
            key: _plain(f"{name}.{key}", each, depth + 1)
            for key, each in zip(keys, value.values(), strict=True)
        }
    if isinstance(value, list | tuple):
        return [_plain(name, each, depth + 1) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _numbers(name, value)
    raise _unusable(name, value)


def _numbers(name: str, value) -> Any:
    unknown = isinstance(value, jax.core.Tracer) or jax.dtypes.issubdtype(
        value.dtype, jax.dtypes.extended
    )
    if unknown or np.ma.is_masked(value):
        raise _unusable(name, value)
    array = np.asarray(value)
    if jax.dtypes.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biufU":
        raise _unusable(name, value)
    return array.tolist()


def _key(name: str, key: Any) -> str:
    key = key.item() if isinstance(key, np.generic) else key
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    raise InputError(f"{name} has the key {key!r:.100}; expected text or a number")


def _unusable(name: str, value: Any) -> InputError:
    shown = " ".join(repr(value).split())
    return InputError(
        f"{name} is {shown:.100} of type {type(value).__name__}; expected JSON-like values "
        "(mappings, sequences, numbers, texts, None): convert it, for example with str()"
    )
