"""Facts that are stored with results, as JSON values, so that they compare equal when read back."""

import json
import os
import reprlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sgd_diffusion.errors import InputError, invalid

__all__ = ["describe_differences", "json_values", "same_values"]

DEEPEST = 100  # values within values; the JSON parser and Python's stack hold far more

# Somebody else wrote these values, however long or deep they are.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlist = _SHORT.maxdict = 20


def json_values(name: str, value: Any) -> Any:
    """Return a value as JSON stores it and reads it back.

    Scalars and arrays of NumPy and JAX become numbers and nested lists. Tuples become lists, paths
    become text, and keys of mappings become text as `json.dumps` writes them. NaN and infinity
    stay: Python writes and reads them.

    Args:
        name: of the argument, for messages.
        value: mappings, sequences, numbers, texts and None, nested in one another.

    Returns:
        Dictionaries, lists, numbers, texts and None.

    Raises:
        InputError: for anything else, two keys that become the same text, or nesting without end.
    """
    return _plain(name, value, 0)


def same_values(first: Any, second: Any) -> bool:
    """Return whether two JSON-like values are equal; NaN equals NaN here, and 1 equals 1.0."""
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
        raise invalid(
            f"{name:.100}",
            f"has values within values more than {DEEPEST} times, or contains itself",
            "JSON-like values",
        )
    if value is None:
        return None
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)  # a plain one in place of a subclass
    if isinstance(value, Mapping):
        keys = [_key(name, key) for key in value]
        if len(set(keys)) < len(keys):
            raise invalid(
                name,
                f"has the keys {list(value)!r:.200}",
                "keys that are distinct as text, since JSON stores them so",
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
    raise invalid(name, f"has the key {key!r:.100}", "text or a number")


def _unusable(name: str, value: Any) -> InputError:
    shown = " ".join(repr(value).split())
    return invalid(
        name,
        f"is {shown:.100} of type {type(value).__name__}",
        "JSON-like values (mappings, sequences, numbers, texts, None)",
        "convert it, for example with str()",
    )


def describe_differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> str:
    """Describe where two configurations differ; empty if they do not."""
    differences = []
    for name in sorted(stored.keys() | wanted.keys()):
        old, new = stored.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            differences.append(describe_differences(old, new, f"{prefix}{name}."))
        elif not same_values(old, new):
            old, new = _SHORT.repr(old), _SHORT.repr(new)
            differences.append(f"{prefix}{name} is {old} there and {new} here")
    return ", ".join(filter(None, differences))
