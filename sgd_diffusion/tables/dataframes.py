"""Tables for pandas and spreadsheets."""

from typing import TYPE_CHECKING

import xarray as xr

from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_dataframe"]


def to_dataframe(table: xr.Dataset) -> "pd.DataFrame":
    """Return a table as rows and columns.

    Variables with the same dimensions share rows, one for each place. So no number is repeated. The
    rows of the variables with the most dimensions come first. `frame.dropna(subset=["exponent"])`
    are the rows of one variable.

    Args:
        table: any of `tables`.

    Returns:
        A `pandas.DataFrame`. Its columns are the dimensions, the coordinates along them, and the
        variables; it is NaN where a variable or a coordinate does not have a dimension.

    Raises:
        InputError: it is no dataset, or has no variable.

    >>> variables = {"exponent": (("range", "seed"), [[1.2], [0.9]]), "onset": ("seed", [30.0])}
    >>> table = xr.Dataset(variables, {"range": ["short", "long"], "seed": [7]})
    >>> print(to_dataframe(table).to_csv(index=False))
    range,seed,exponent,onset
    short,7,1.2,
    long,7,0.9,
    ,7,,30.0
    <BLANKLINE>
    """
    import pandas as pd

    if not isinstance(table, xr.Dataset) or not table.data_vars:
        raise invalid(
            "table",
            f"is {type(table).__name__}, no dataset or without variables",
            "an xarray.Dataset with one or more variables",
        )
    groups: dict[tuple, list] = {}
    for name, values in table.data_vars.items():
        groups.setdefault(tuple(dim for dim in table.dims if dim in values.dims), []).append(name)
    by_size = sorted(groups.items(), key=lambda group: -len(group[0]))
    frames = [_frame(table[names], dims) for dims, names in by_size]
    columns = dict.fromkeys(column for frame in frames for column in frame)
    first = [name for name in columns if name not in table.data_vars]
    rest = [name for name in columns if name in table.data_vars]
    return pd.concat(frames, ignore_index=True)[[*first, *rest]]


def _frame(part: xr.Dataset, dims: tuple) -> "pd.DataFrame":
    """Return variables that have the same dimensions."""
    import pandas as pd

    if not dims:
        return pd.DataFrame([{name: part[name].item() for name in part.data_vars}])
    return part.to_dataframe(dim_order=list(dims)).reset_index()
