"""One table over many runs."""

from collections.abc import Hashable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import xarray as xr

from sgd_diffusion.errors import invalid

__all__ = ["each_cell", "over_cells"]

Place = Mapping[str, Hashable]


def over_cells(cells: Sequence[tuple[Place, xr.Dataset]]) -> xr.Dataset:
    """Join the tables of many runs along one dimension for each option that differs.

    Args:
        cells: pairs of a place, such as {"model": "fc3", "batch_size": 32}, and the table there,
            such as `overview` returns. All places name the same options.

    Returns:
        One dataset with these dimensions in front of those of the tables. It is NaN in places of
        which there is no table, and where a table has fewer windows or members than another.
        Coordinates and attributes that differ between the tables get these dimensions, or are left
        out. Values that are no numbers become texts.

    Raises:
        InputError: there is no table, places name different options, or two are the same.

    >>> table = xr.Dataset({"exponent": ("window", [1.2, 0.9])})
    >>> over_cells([({"batch_size": 32}, table), ({"batch_size": 8}, table)]).exponent.shape
    (2, 2)
    """
    names = list(cells[0][0]) if cells else []
    places = [tuple(place.get(name) for name in names) for place, _ in cells]
    if (
        not cells
        or any(list(place) != names for place, _ in cells)
        or len(set(places)) < len(places)
    ):
        raise invalid(
            "cells",
            f"is {[dict(place) for place, _ in cells]!r:.200}",
            "one or more pairs (place, table), of different places with the same names",
        )
    values = {
        name: list(dict.fromkeys(place[index] for place in places))
        for index, name in enumerate(names)
    }
    tables = dict(zip(places, (table for _, table in cells), strict=True))
    joined = _joined(tables, list(values.items()), (), _missing(cells[0][1]))
    coords = {name: (name, _coordinate(given)) for name, given in values.items()}
    return joined.assign_coords(coords)


def each_cell(table: xr.Dataset, names: Sequence[str]) -> list[tuple[str, xr.Dataset]]:
    """Return the part of a table that belongs to each run and learning rate, with a label.

    Args:
        table: such as `over_cells` returns, with the dimension `learning_rate`.
        names: its dimensions that tell the runs apart.

    Returns:
        Pairs of a label, such as "model fc3, batch size 32", and a table without these dimensions.
        Learning rates are in the labels if there are several. Runs without any number are left out.

    Raises:
        KeyError: the table does not have a dimension.

    >>> table = xr.Dataset({"loss": (("run", "learning_rate"), [[1.0], [2.0]])},
    ...                    {"run": ["a", "b"], "learning_rate": [0.1]})
    >>> [(label, float(row.loss)) for label, row in each_cell(table, ["run"])]
    [('a', 1.0), ('b', 2.0)]
    """
    rates = table.sizes["learning_rate"] > 1 or not names
    varying = [*names, *["learning_rate"] * rates]
    sizes = {name: table.sizes[name] for name in varying}
    found = []
    for index in np.ndindex(*sizes.values()):
        row = table.isel(dict(zip(varying, index, strict=True)))
        row = row if rates else row.isel(learning_rate=0)
        if any(np.isfinite(values).any() for values in row.data_vars.values()):
            found.append((", ".join(_named(name, row[name].item()) for name in varying), row))
    return found


def _named(name: str, value: Any) -> str:
    """Return what a row of one value is called; runs go by their names alone."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if name == "run" else f"{name.replace('_', ' ')} {text}"


def _joined(tables, values, place, missing):
    """Return the tables of all places that begin with this one, along the other options."""
    if not values:
        return tables.get(place, missing)
    (name, given), *others = values
    parts = [_joined(tables, others, (*place, value), missing) for value in given]
    return xr.concat(
        parts,
        name,
        data_vars="all",
        coords="different",
        compat="equals",
        join="outer",
        combine_attrs="drop_conflicts",
    )


def _missing(table: xr.Dataset) -> xr.Dataset:
    """Return a table of the same form, of which nothing is known."""
    return table.map(lambda values: xr.full_like(values, np.nan, dtype=float)).drop_attrs(
        deep=False
    )


def _coordinate(values: Sequence[Any]) -> list[Any]:
    numbers = all(isinstance(value, Number) for value in values)
    return list(values) if numbers else [str(value) for value in values]
