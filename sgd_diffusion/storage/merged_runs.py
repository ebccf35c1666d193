"""Runs of one configuration with other members, as one dataset."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sgd_diffusion._json_values import describe_differences
from sgd_diffusion.errors import invalid

__all__ = ["merge_runs", "new_members"]

AXES = ("seed", "learning_rate")


def new_members(run: xr.Dataset, added: xr.Dataset) -> xr.Dataset:
    """Return what was added to a run, without members that only kept others company."""
    for axis in AXES:
        new = ~np.isin(added[axis].values, run[axis].values)
        if new.any():
            return added.isel({axis: new})
    return added


def merge_runs(runs: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return runs of the same configuration, but other members, as one dataset.

    Args:
        runs: datasets of runs, as `load_run` returns them. Together they have every seed with every
            learning rate, once.

    Returns:
        The dataset of a run with all members: seeds and learning rates in the order in which they
        first appear.

    Raises:
        InputError: there is no run, a configuration differs in more than its members, windows or
            variables differ, or members are missing or there twice.

    >>> first, second = (xr.Dataset({"msd": (("seed", "learning_rate"), [[2.0 * seed]])},
    ...                             {"seed": [seed], "learning_rate": [0.1]}) for seed in (4, 3))
    >>> merge_runs([first, second]).msd.sel(seed=[3, 4]).values.tolist()
    [[6.0], [8.0]]
    """
    loaded = list(runs)
    if not loaded or not all(isinstance(run, xr.Dataset) for run in loaded):
        raise invalid(
            "runs", f"is {runs!r:.100}", "one or more datasets", "read runs with load_run"
        )
    first = loaded[0]
    for number, other in enumerate(loaded):
        _check_alike(first, other, number)
    coords = {
        axis: list(dict.fromkeys(value for run in loaded for value in run[axis].values.tolist()))
        for axis in AXES
    }
    places = [
        tuple([coords[axis].index(value) for value in run[axis].values.tolist()] for axis in AXES)
        for run in loaded
    ]
    _check_members(coords, places)
    merged = first.drop_dims(AXES).assign_coords(coords)
    for name, values in first.data_vars.items():
        if set(AXES) <= set(values.dims):
            parts = [run[name].transpose(*AXES, ...) for run in loaded]
            shape = tuple(len(coords[axis]) for axis in AXES) + parts[0].shape[2:]
            whole = np.empty(shape, parts[0].dtype)
            for place, part in zip(places, parts, strict=True):
                whole[np.ix_(*place)] = part.values
            joined = xr.Variable(parts[0].dims, whole, values.attrs).transpose(*values.dims)
            merged[name] = joined
    return merged[list(first.data_vars)].assign_attrs(_attributes(first, coords))


def _check_alike(first: xr.Dataset, other: xr.Dataset, number: int) -> None:
    """Refuse a run that differs from the first in more than its members."""
    differences = describe_differences(_shared(first), _shared(other))
    if differences:
        differences = f"a configuration in which {differences}"
    elif set(first.data_vars) != set(other.data_vars):
        names = sorted(map(str, set(first.data_vars) ^ set(other.data_vars)))
        differences = f"other variables ({', '.join(names)} only in one of them)"
    elif not _frame(first).equals(_frame(other)):
        sizes = [dict(_frame(run).sizes) for run in (first, other)]
        differences = f"other windows or coordinates ({sizes[1]}, not {sizes[0]})"
    if differences:
        raise invalid(
            f"runs[{number}]",
            f"has {differences}",
            "what runs[0] has, but for seeds and learning rates",
            "select the windows that all have, or merge other runs",
        )


def _frame(run: xr.Dataset) -> xr.Dataset:
    """Return the coordinates that are not of members."""
    return run.drop_dims(AXES).coords.to_dataset()


def _shared(run: xr.Dataset) -> dict[str, Any]:
    """Return the configuration of a run without what its members decide."""
    found = json.loads(run.attrs.get("configuration", "{}"))
    without = {
        "plan": ("seeds", "learning_rates"),
        "start": ("sha256",),  # of the points of all members
    }
    return {
        name: {key: value for key, value in part.items() if key not in without.get(name, ())}
        if isinstance(part, Mapping)
        else part
        for name, part in found.items()
    }


def _check_members(coords: Mapping[str, list[Any]], places: Sequence[Any]) -> None:
    """Refuse a grid of which members are missing, or there twice."""
    count = np.zeros([len(coords[axis]) for axis in AXES], int)
    for place in places:
        count[np.ix_(*place)] += 1
    for wrong, found in ((count == 0, "lacks"), (count > 1, "has twice")):
        if wrong.any():
            seed, rate = np.argwhere(wrong)[0]
            raise invalid(
                "runs",
                f"{found} seed {coords['seed'][seed]} with learning rate "
                f"{coords['learning_rate'][rate]}",
                "every seed with every learning rate, once",
                "select members with run.sel(seed=[...]), or merge other runs",
            )


def _attributes(first: xr.Dataset, coords: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return the attributes of the first run, with the members of all."""
    if "configuration" not in first.attrs:
        return dict(first.attrs)
    configuration = json.loads(first.attrs["configuration"])
    members = {"seeds": coords["seed"], "learning_rates": coords["learning_rate"]}
    configuration["plan"] = configuration["plan"] | members
    return dict(first.attrs) | {"configuration": json.dumps(configuration)}
