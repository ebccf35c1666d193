"""What becomes of walkers, by roughness, learning rate and noise."""

import numpy as np
import xarray as xr

from sgd_diffusion._arrays import host_array
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.errors import InputError

__all__ = ["FATES", "phase_diagram"]

FATES = ("superdiffusive", "diffusive", "trapped", "escaped")


def phase_diagram(walks, free_exponents):
    """Shares of walkers by their fate, and how deep they came.

    A walker has *escaped* if its noise would once have carried it through a wall. Of the others, it
    is *superdiffusive* if the exponent of its TAMSD is above that of 95 % of free walkers, those on
    a flat surface without walls over as many steps, *trapped* if it is below that of 95 % of them
    or has none, at rest, and *diffusive* in between: of free walkers one in twenty is called
    superdiffusive and one in twenty trapped, by chance.

    Args:
        walks: dataset with `exponent`, `first_wall_step` (beyond the last step for never) and
            `depth`, each (hurst, landscape, learning_rate, noise_std, walker),
            `early_exponent`, that of the mean MSD of all walkers of a landscape in their first
            steps, without the last dimension, and the attribute `steps`.
        free_exponents: (W,) exponents of free walkers.

    Returns:
        Dataset along (hurst, learning_rate, noise_std): `share` (fate, ...) of the walkers and
        its `share_error`, the standard error over landscapes; `depth`, `early_exponent` and,
        of the walkers that have not escaped, `exponent`, all with errors likewise; and the bounds
        `free_low` and `free_high`.

    Raises:
        InputError: free exponents that are not one or more finite numbers.
    """
    free_exponents = host_array("free_exponents", free_exponents)
    if free_exponents.ndim != 1 or not free_exponents.size or not np.isfinite(free_exponents).all():
        raise InputError(
            f"free_exponents has shape {free_exponents.shape}; expected (W,) finite numbers, one "
            "at least"
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
    found = {}
    for name, values in (
        ("share", shares),
        ("depth", walks["depth"].mean("walker")),
        ("early_exponent", walks["early_exponent"]),
        ("exponent", exponent.where(~escaped).mean("walker")),
    ):
        average = ensemble_average(values.values, axis=values.get_axis_num("landscape"))
        dims = [dim for dim in values.dims if dim != "landscape"]
        found |= {name: (dims, average.mean), f"{name}_error": (dims, average.standard_error)}
    coords = {name: walks[name].values for name in ("hurst", "learning_rate", "noise_std")}
    return xr.Dataset(
        found | {"free_low": low, "free_high": high}, coords=coords | {"fate": list(FATES)}
    )
