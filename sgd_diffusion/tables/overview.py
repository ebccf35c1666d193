"""What a run comes to: its exponents, losses and accuracies in one table."""

from collections.abc import Mapping

import xarray as xr

from sgd_diffusion._types import NumberLike
from sgd_diffusion.tables.exponents import exponents

__all__ = ["overview"]

# Of a window: means over its points, and values where it ends.
MEANS = ("loss", "probe_loss")
ENDS = ("test_accuracy", "diverged_at")


def overview(
    dataset: xr.Dataset, ranges: Mapping[str, tuple[NumberLike, NumberLike]] | None = None
) -> xr.Dataset:
    """Return the exponents of a run with its losses and accuracies.

    Args:
        dataset: of a run, such as `storage.load_run` returns.
        ranges: of lags, see `exponents`.

    Returns:
        What `exponents` returns, and where the run has them

        - `loss` and `probe_loss` (window, seed, learning_rate), means over the points of a window;
        - `test_accuracy` where the window ends;
        - `diverged_at`, the step at which a member diverged, or -1.

        The attributes are those of `exponents` and of the run.

    Raises:
        KeyError: the dataset has no MSD.
        InputError: as for `exponents`.
    """
    means = {name: dataset[name].mean("point") for name in MEANS if name in dataset}
    ends = {name: dataset[name] for name in ENDS if name in dataset}
    table = exponents(dataset, ranges)
    return table.assign(means | ends).assign_attrs(dataset.attrs)
