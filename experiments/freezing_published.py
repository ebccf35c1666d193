"""Numbers of Yang et al. (arXiv:2601.10962) beside which those measured here stand.

They are those of the result files that the authors published with their programs.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

WALKERS = 2000  # of each cell of the diagram
START_Y, STEPS = 5.0, 20_000  # of the diagram
ROWS = [1, 5, 9]  # learning rates of the diagram whose numbers are here, of ten
LOWEST = {"hessian": 1e-2, "hessian-squared": 1e-3}  # learning rate and sigma; the highest is 0.1
FLAT_FRACTION = {
    "hessian": """
        0.5000 0.5015 0.5000 0.5035 0.5060 0.5110 0.5490 0.7080 0.9010 0.9480
        0.5025 0.5130 0.5690 0.7195 0.9250 0.9530 0.9590 0.9610 0.9690 0.9735
        0.9765 0.9835 0.9870 0.9835 0.9885 0.9870 0.9905 0.9890 0.9910 0.9805""",
    "hessian-squared": """
        0.5000 0.5000 0.5000 0.5000 0.5000 0.5030 0.5250 0.5595 0.8700 0.9915
        0.5000 0.5010 0.5095 0.5545 0.8950 0.9995 0.9985 0.9965 0.9720 0.9110
        0.9945 1.0000 0.9990 0.9990 1.0000 1.0000 0.9980 0.9800 0.9340 0.8690""",
}
FREEZING_STEP = """
          1.0       1.0       1.0       1.0       1.6       8.7      57.4     336.7     873.9    1731.9
          1.1       6.7      32.7     136.3     281.8     626.4    1494.1    2844.9    4614.6    6736.0
        131.6     312.6     719.1    1238.9    1917.4    2709.2    3856.5    5511.2    7833.8   11690.8"""  # noqa: E501
FREEZING_Y = """
        5.000   5.000   5.000   5.000   5.000   5.002   5.016   5.099   5.257   5.513
        5.000   5.005   5.026   5.111   5.231   5.516   6.242   7.392   8.926  10.778
        5.299   5.719   6.672   7.916   9.562  11.491  14.225  17.966  22.842  30.078"""
# Learning rate 0.01 from y = 1: {sigma: (walkers, flat fraction, mean y of freezing)}.
SWEEP = {
    0.005: (500, 0.694, 1.024),
    0.01: (500, 0.920, 1.202),
    0.05: (500, 0.943, 2.971),
    0.1: (500, 0.949, 4.534),
}
LONG = 100_000  # its steps
# Flat fractions on the way of such a sweep, of 1000 walkers, {sigma: at WAY_Y}.
WAY_Y = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0)
WAYS = {
    0.01: (0.909, 0.923, 0.925, np.nan, np.nan, np.nan),
    0.05: (0.700, 0.771, 0.877, 0.929, 0.940, np.nan),
    0.1: (0.646, 0.681, 0.773, 0.852, 0.912, 0.948),
}


def grid(noise: str) -> np.ndarray:
    """Return the ten learning rates of the diagram, which are the ten sigmas too."""
    return np.logspace(np.log10(LOWEST.get(noise, LOWEST["hessian"])), -1, 10)


def diagram(noise: str) -> "xr.Dataset | None":
    """Return the published diagram, on some learning rates; None for noise that has none."""
    import xarray as xr

    if noise not in FLAT_FRACTION:
        return None
    numbers = {"flat_fraction": FLAT_FRACTION[noise]}
    if noise == "hessian":
        numbers |= {"freezing_step": FREEZING_STEP, "freezing_y": FREEZING_Y}
    values = grid(noise)
    return xr.Dataset(
        {
            name: (("learning_rate", "sigma"), np.array(text.split(), float).reshape(3, 10))
            for name, text in numbers.items()
        },
        coords={"learning_rate": values[ROWS], "sigma": values},
        attrs={"start_y": START_Y, "walkers": WALKERS},
    )


def sweep(sigmas: np.ndarray) -> dict[str, tuple[str, list[float]]]:
    """Return published numbers of the sweep, NaN at strengths that have none."""
    rows = [SWEEP.get(round(float(sigma), 6), (np.nan,) * 3) for sigma in sigmas]
    names = ("published_walkers", "published_flat_fraction", "published_freezing_y")
    return {
        name: ("sigma", [float(value) for value in column])
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def ways(sigmas: np.ndarray) -> "xr.DataArray":
    """Return published flat fractions (sigma, published_y) on the way, NaN where there are none."""
    import xarray as xr

    rows = [WAYS.get(round(float(sigma), 6), (np.nan,) * len(WAY_Y)) for sigma in sigmas]
    return xr.DataArray(np.array(rows), {"sigma": sigmas, "published_y": list(WAY_Y)})
