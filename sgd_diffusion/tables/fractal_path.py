"""Dimension and self-affinity of paths, and roughness of the loss along them."""

import numpy as np
import xarray as xr

from sgd_diffusion.analysis import paths, roughness
from sgd_diffusion.errors import InputError
from sgd_diffusion.tables.members import MEMBERS, member_coordinates, rows

__all__ = ["fractal_path"]


def fractal_path(dataset: xr.Dataset) -> xr.Dataset:
    """Return dimension and self-affinity of paths, and Hurst exponents of the loss along them.

    Args:
        dataset: with the measurement `path_statistics.path_shape`; and, where losses are known,
            with `path_statistics.loss_roughness` and the series `loss` and, with a probe,
            `probe_loss`.

    Returns:
        Dataset with dimensions (window, seed, learning_rate), NaN for members without a path. With
        `motion` in front, for SGD and its surrogates:

        - `dimension` of a single power law, `dimension_below` and `dimension_above` of two that
          meet at the contour length `crossover` (`crossover_low`, `crossover_high`), with errors
          (`paths.path_dimension` on contour lengths from 10 mean steps, or T/20 if that is less, to
          half that of the window);
        - `self_affinity`, chi of squared excursion ~ squared end-to-end distance^chi, its error and
          `verdict` (`paths.self_affinity` on lengths from 10 to T/2).

        And of the losses, where they are known:

        - `noise_floor` of mini-batch losses with its error (`roughness.batch_noise_floor`);
        - `probe_exponent` (with a probe) and `batch_exponent`, the latter above the noise floor:
          2H, with errors and the fitted distances `probe_exponent_min`, `probe_exponent_max` and so
          on (`roughness.hurst_exponent`).
    """
    sizes = {dim: dataset.sizes[dim] for dim in MEMBERS}
    shapes = rows(
        dataset,
        {"motion": dataset.sizes["motion"]} | sizes,
        lambda path, index: _dimension_of(path) | _self_affinity_of(path),
    )
    table = member_coordinates(dataset).assign(shapes)
    if "loss" in dataset:
        table = table.assign(_of_losses(dataset, sizes))
    return table.assign_coords(motion=dataset["motion"])


def _of_losses(dataset, sizes):
    floor = roughness.batch_noise_floor(
        *(
            dataset[name].transpose(*MEMBERS, "point").values
            for name in ("loss", "probe_loss")
            if name in dataset
        )
    )
    hurst = rows(dataset, sizes, lambda path, index: _hurst_of(path, floor.floor[index]))
    floors = {"noise_floor": floor.floor, "noise_floor_error": floor.standard_error}
    return {name: (MEMBERS, values) for name, values in floors.items()} | hurst


def _hurst_of(path, floor):
    row = {}
    for kind, below in (("probe", 0.0), ("batch", floor)):
        if f"{kind}_msl" in path:
            fit = roughness.hurst_exponent(
                path["distance"].values,
                path[f"{kind}_msl"].values,
                path["pairs"].values,
                noise_floor=below,
                replicates=path[f"{kind}_msl_replicates"].values,
            )
            row |= {
                f"{kind}_exponent": fit.exponent,
                f"{kind}_exponent_error": fit.exponent_error,
                f"{kind}_exponent_min": fit.x_min,
                f"{kind}_exponent_max": fit.x_max,
            }
    return row


def _dimension_of(path):
    names = (
        "dimension",
        "dimension_error",
        "dimension_below",
        "dimension_below_error",
        "dimension_above",
        "dimension_above_error",
        "crossover",
        "crossover_low",
        "crossover_high",
        "x_min",
        "x_max",
    )
    contour, steps = path["contour_length"].values, path.sizes["point"] - 1
    whole = np.nanmax(contour, initial=0)
    # In mean steps. A single step is straight, R = s, however the path winds.
    shortest = min(10, steps / 20)
    try:
        fit = paths.path_dimension(
            contour,
            path["squared_end_to_end"].values,
            x_min=shortest * whole / steps,
            x_max=whole / 2,
            replicates=path["squared_end_to_end_replicates"].values,
        )
    except InputError:  # the window is too short for so many bins
        return dict.fromkeys(names, np.nan)
    return {name: getattr(fit, name) for name in names}


def _self_affinity_of(path):
    enough = path["fragment_length"].values >= min(10, path["fragment_length"].values[-1] / 5)
    path = path.isel(fragment_length=enough)
    ends, excursions = "squared_end_to_end_by_length", "squared_excursion_by_length"
    fit = paths.self_affinity(
        path["fragment_length"].values,
        path[ends].values,
        path[excursions].values,
        replicates=[path[f"{name}_replicates"].values for name in (ends, excursions)],
    )
    return {
        "self_affinity": fit.exponent,
        "self_affinity_error": fit.exponent_error,
        "verdict": fit.verdict,
    }
