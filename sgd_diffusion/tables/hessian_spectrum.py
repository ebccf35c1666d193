"""Curvature where windows end, and gradients and their noise along its eigenvectors."""

import xarray as xr

__all__ = ["hessian_spectrum"]

PER_EIGENVALUE = (
    "hessian_eigenvalue",
    "hessian_residual",
    "hessian_converged",
    "gradient_share",
    "noise_variance",
    "noise_variance_error",
    "noise_share",
)
PER_MEMBER = ("hessian_products", "hessian_trace", "hessian_trace_error")


def hessian_spectrum(dataset: xr.Dataset) -> xr.Dataset:
    """Return eigenvalues and traces of the Hessian, and gradients along its eigenvectors.

    Args:
        dataset: of a run with `dynamics.measurements.hessian_eigenvalues`, and with
            `hessian_density` or without it.

    Returns:
        Dataset with dimensions (window, seed, learning_rate, statistics) and the coordinate
        `updates` (window), of the windows' ends; NaN for members that diverged:

        - along `rank` what is measured of each eigenvalue, and `relative_residual`
          |H v - value v| / |value| and `noise_ratio`, the variance of gradients of single examples
          along an eigenvector over its eigenvalue;
        - `hessian_products`, and `hessian_trace` with its standard error where there is a density;
        - `gradient_along` and `noise_along`, the shares of the squared gradient and of the variance
          of gradients along all of these eigenvectors together, and `median_noise_ratio`.
    """
    steps = dataset.sizes["update"]
    table = dataset[[name for name in (*PER_EIGENVALUE, *PER_MEMBER) if name in dataset]]
    values = table["hessian_eigenvalue"]
    ratio = table["noise_variance"] / values
    return table.assign(
        relative_residual=table["hessian_residual"] / abs(values),
        noise_ratio=ratio,
        gradient_along=table["gradient_share"].sum("rank", skipna=False),
        noise_along=table["noise_share"].sum("rank", skipna=False),
        median_noise_ratio=ratio.median("rank", skipna=False),
    ).assign_coords(updates=dataset["waiting_time"] + steps)
