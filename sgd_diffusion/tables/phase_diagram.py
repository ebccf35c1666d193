"""What becomes of walkers, by roughness, learning rate and noise."""

from typing import Any

import numpy as np
import xarray as xr

from sgd_diffusion._arrays import host_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.errors import invalid

__all__ = ["FATES", "phase_diagram"]

FATES = ("superdiffusive", "diffusive", "trapped", "escaped")


def phase_diagram(walks: xr.Dataset, free_exponents: ArrayLike) -> xr.Dataset:
    """Return the shares of walkers by their fate, and how deep they came.

    A walker has *escaped* if its noise would once have carried it through a wall. The others are
    compared with free walkers, those on a flat surface without walls over as many steps, by the
    exponent of the TAMSD. A walker is *superdiffusive* if its exponent is above that of 95 % of
    free walkers. It is *trapped* if the exponent is below that of 95 % of them, or if it is at rest
    and has none. In between it is *diffusive*. By chance, one in twenty free walkers is called
    superdiffusive and one in twenty trapped.

    Args:
        walks: dataset with `exponent`, `first_wall_step` (beyond the last step for never) and
            `depth`, each (hurst, landscape, learning_rate, noise_std, walker); `early_exponent`,
            that of the mean MSD of all walkers of a landscape in their first steps, without the
            last dimension; and the attribute `steps`.
        free_exponents: (W,) exponents of free walkers.

    Returns:
        Dataset along (hurst, learning_rate, noise_std), with `share` (fate, ...) of the walkers and
        its `share_error`, the standard error over landscapes; `depth`, `early_exponent` and, of the
        walkers that have not escaped, `exponent`, all with errors likewise; and the bounds
        `free_low` and `free_high`.

    Raises:
        InputError: the free exponents are not one or more finite numbers.
    """
    free_exponents = host_array("free_exponents", free_exponents)
    if free_exponents.ndim != 1 or not free_exponents.size or not np.isfinite(free_exponents).all():
        raise invalid(
            "free_exponents",
            f"has shape {free_exponents.shape}",
            "(W,) finite numbers, one at least",
        )
    low, high = np.quantile(free_exponents, (0.05, 0.95))
    escaped = walks["first_wall_step"] <= walks.attrs["steps"]
    exponent = walks["exponent"]
    fates = {
        "superdiffusive": ~escaped & (exponent > high),
        "diffusive": ~escaped & (exponent >= low) & (exponent <= high),
        "trapped": ~escaped & ~(exponent >= low),
        "escaped": escaped,
    }
    shares = xr.concat([fates[name].mean("walker") for name in FATES], "fate").assign_coords(
        fate=list(FATES)
    )
    variables: dict[str, Any] = {}
    for name, values in (
        ("share", shares),
        ("depth", walks["depth"].mean("walker")),
        ("early_exponent", walks["early_exponent"]),
        ("exponent", exponent.where(~escaped).mean("walker")),
    ):
        average = ensemble_average(values.values, axis=values.get_axis_num("landscape"))
        dims = [dim for dim in values.dims if dim != "landscape"]
        variables |= {name: (dims, average.mean), f"{name}_error": (dims, average.standard_error)}
    coords = {name: walks[name].values for name in ("hurst", "learning_rate", "noise_std")}
    return xr.Dataset(
        variables | {"free_low": low, "free_high": high}, coords=coords | {"fate": list(FATES)}
    )
