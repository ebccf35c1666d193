"""Which arrays of a checkpoint are coordinates of the walker, and in which layers they are."""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgd_diffusion.analysis.streaming import Leaf
from sgd_diffusion.errors import invalid

__all__ = ["chosen_leaves", "named_arrays"]

STATISTICS = (
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "moving_mean",
    "moving_variance",
    "batch_stats",
)
NOT_INCLUDED = "not included"
OPTIMIZERS = ("optimizer*", "opt_state*", "*scheduler*")


def chosen_leaves(
    source: str,
    arrays: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> tuple[tuple[Leaf, ...], dict[str, str]]:
    """Return the arrays that are coordinates, and why the others are not.

    These are left out: what is not floating or complex; statistics of batch normalization, that is,
    what has a name with a part `running_mean`, `running_var`, `num_batches_tracked`, `moving_mean`,
    `moving_variance` or `batch_stats`; and states of optimizers, with a part `optimizer*`,
    `opt_state*` or `*scheduler*`. Parts are what lies between the dots of a name.

    Args:
        source: what the user calls the path, for messages.
        arrays: {name: (shape at one point, dtype)}.
        include: patterns such as "encoder.*". If given, the coordinates are the floating arrays
            with a name that matches one of them, statistics and states too.
        exclude: patterns of names that are left out besides.

    Returns:
        The leaves in the order of their names, and {name: why it is left out}.

    Raises:
        InputError: a pattern matches no name, or no array is left.
    """
    for option, patterns in (("--include", include), ("--exclude", exclude)):
        for pattern in patterns:
            if not fnmatch.filter(arrays, pattern):
                raise invalid(
                    f"{option} (for {source})",
                    f"is {pattern!r}, which matches no array",
                    f"a pattern of one of {_listed(arrays)}",
                )
    left_out: dict[str, str] = {}
    for name, (_, dtype) in arrays.items():
        if reason := _reason(name, dtype, include, exclude):
            left_out[name] = reason
    kept = sorted(arrays.keys() - left_out)
    if not sum(np.prod(arrays[name][0]) for name in kept):
        reasons = ", ".join(
            [f"{name} ({why})" for name, why in left_out.items() if why != NOT_INCLUDED][:5]
        )
        raise invalid(
            source,
            "has no array of parameters" + f"; left out are {reasons}" * bool(reasons),
            "floating or complex arrays",
            "convert integers with .astype(float), or choose arrays with --include",
        )
    layers = _layers(kept)
    return tuple(Leaf(name, *arrays[name], layers[name]) for name in kept), left_out


def named_arrays(tree: Any, name: str = "") -> dict[str, Any]:
    """Return the arrays of nested dicts, lists and tuples by their names, with dots between parts.

    All else is left out.
    """
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        return {name or "weights": tree}
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(tree, Mapping):
        children = tree.items()
    elif isinstance(tree, list | tuple):
        children = enumerate(tree)
    found: dict[str, Any] = {}
    for key, child in children:
        found |= named_arrays(child, f"{name}.{key}" if name else str(key))
    return found


def _reason(name, dtype, include, exclude):
    """Return why an array is left out, or nothing."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return f"is {dtype}"
    if _matches(name, exclude):
        return "excluded"
    if include:
        return "" if _matches(name, include) else NOT_INCLUDED
    parts = name.split(".")
    if any(_matches(part, STATISTICS) for part in parts):
        return "batch normalization"
    return "optimizer" if any(_matches(part, OPTIMIZERS) for part in parts) else ""


def _matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _layers(names):
    """Return the layer of each leaf: the first part of its name that not all leaves share."""
    parts = {name: name.split(".") for name in names}
    depth = 0
    while all(len(each) > depth + 1 for each in parts.values()) and (
        len({each[depth] for each in parts.values()}) == 1
    ):
        depth += 1
    return {name: each[depth] for name, each in parts.items()}


def _listed(names):
    names = list(names)
    return ", ".join(names[:8]) + (f", ... ({len(names)} arrays)" if len(names) > 8 else "")
