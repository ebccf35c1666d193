"""The table of Hessian spectra: what is derived from the eigenvalues, and where nothing is left."""

import numpy as np
import xarray as xr

from sgd_diffusion import tables


def measured():
    """Two windows of two seeds, of which seed 1 diverges in the second."""
    members = ("window", "seed", "learning_rate", "statistics")
    values = np.tile([8.0, -2.0, 1.0], (2, 2, 1, 1, 1))
    values[1, 1] = np.nan
    per_rank = {
        "hessian_eigenvalue": values,
        "hessian_residual": 0.01 + 0 * values,
        "hessian_converged": 1 + 0 * values,
        "gradient_share": 0.1 * abs(values),
        "noise_variance": 4.0 + 0 * values,
        "noise_variance_error": 1.0 + 0 * values,
        "noise_share": 0.2 + 0 * values,
    }
    return xr.Dataset(
        {name: ((*members, "rank"), array) for name, array in per_rank.items()}
        | {"hessian_products": (members, np.full((2, 2, 1, 1), 30.0))},
        coords={
            "seed": [0, 1],
            "learning_rate": [0.1],
            "statistics": ["batch"],
            "rank": [1, 2, 3],
            "waiting_time": ("window", [0, 100]),
            "update": np.arange(50),
        },
    )


def test_shares_and_ratios_are_those_of_all_eigenvectors():
    table = tables.hessian_spectrum(measured())
    one = table.sel(seed=0, learning_rate=0.1, statistics="batch").isel(window=1)
    assert int(one.updates) == 150
    np.testing.assert_allclose(one.relative_residual, [0.00125, 0.005, 0.01])
    np.testing.assert_allclose(one.noise_ratio, [0.5, -2.0, 4.0])
    np.testing.assert_allclose(
        [one.gradient_along, one.noise_along, one.median_noise_ratio], [1.1, 0.6, 0.5]
    )
    assert "hessian_trace" not in table and float(one.hessian_products) == 30
    lost = table.sel(seed=1).isel(window=1)
    for name in ("gradient_along", "noise_along", "median_noise_ratio", "noise_ratio"):
        assert np.isnan(lost[name]).all()
    assert tables.to_dataframe(table).dropna(subset=["noise_ratio"]).shape[0] == 9
