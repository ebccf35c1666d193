"""What theories say of walkers in two valleys at one learning rate, for each strength of noise."""

import numpy as np
import xarray as xr

from sgd_diffusion.theory.freezing import (
    TwoValleys,
    effective_potential,
    fixed_y,
    flat_occupation,
    freezing_constant,
    freezing_point,
    last_crossing,
)

FITTED = 4e-4  # the constant of `freezing_point` that gives the published curve
STEP, HIGHEST = 0.2, 6.3  # of the root of the barrier over the noise
MAP_Y = np.linspace(0.25, 15, 60)
POTENTIAL_Y, POTENTIAL_NOISE = 3.0, 1e-3


def predictions(
    learning_rate: float,
    sigmas: np.ndarray,
    start_y: float,
    end_y: np.ndarray,
    static_y: float,
) -> xr.Dataset:
    """Return predicted ways, ends and freezing points, without any constant that is fitted here.

    Args:
        learning_rate: eta.
        sigmas: (S,) strengths of the noise.
        start_y: y where walkers start, half of them on each side.
        end_y: (S,) y where they end.
        static_y: y of the stationary occupations.
    """
    landscape, noise = TwoValleys(), learning_rate * sigmas
    y, rows = np.geomspace(start_y, end_y.max(), 100), []
    for sigma, end in zip(sigmas, end_y, strict=True):
        own = y_grid(learning_rate * sigma, start_y, float(end), landscape)
        way = last_crossing(own, learning_rate, sigma, landscape)
        rows.append(
            {
                "predicted_flat_fraction": way.occupation[-1],
                "predicted_freezing_y": way.mean_y,
                "predicted_way": np.where(y <= end, np.interp(y, own, way.occupation), np.nan),
                "static_occupation": fixed_y(
                    static_y, learning_rate, sigma, landscape
                ).flat_occupation,
            }
        )
    found = xr.Dataset(
        {
            name: (("sigma", "y")[: 1 + np.ndim(rows[0][name])], np.array([r[name] for r in rows]))
            for name in rows[0]
        },
        coords={"sigma": sigmas, "y": y},
    )
    printed = 0.01 * float(freezing_constant(landscape))
    for name, constant in (("fitted", FITTED), ("printed", printed)):
        point = freezing_point(noise, landscape, epsilon=constant)
        found[f"paper_freezing_y_{name}"] = ("sigma", np.asarray(point.y))
    return found


def y_grid(noise: float, start: float, end: float, landscape: TwoValleys) -> np.ndarray:
    """Return ascending y, with equal steps of the root z of the barrier over the noise.

    They end where walkers do, or where the barrier is so high that nobody crosses it.
    """
    scale = landscape.x1 / (2 * noise) ** 0.5
    first, last = (scale * y / (y + landscape.y_b) for y in (start, end))
    last = min(last, max(HIGHEST, first + STEP))
    z = np.linspace(first, last, 2 + int((last - first) / STEP))
    return landscape.y_b * z / (scale - z)


def boltzmann() -> float:
    """Return the occupation of the flat valley under isotropic noise, at any barrier."""
    root = float(TwoValleys().flatness_ratio) ** 0.5
    return root / (1 + root)


def stationary_map(noises: np.ndarray) -> xr.Dataset:
    """Return the stationary occupation, for small learning rates, over y and the noise."""
    found = np.asarray(flat_occupation(MAP_Y, noises[:, None], TwoValleys(), form="ito"))
    return xr.Dataset(
        {"flat_occupation": (("noise", "y"), found)}, coords={"noise": noises, "y": MAP_Y}
    )


def potentials() -> xr.Dataset:
    """Return the loss across both valleys at a y of decisions, and what it effectively is."""
    landscape, x = TwoValleys(), np.linspace(-0.14, 0.18, 321)
    ridge = float(landscape.loss(0.0, POTENTIAL_Y))
    values = {"loss": np.asarray(landscape.loss(x, POTENTIAL_Y))}
    for convention in ("fick", "ito"):
        values[f"effective_{convention}"] = np.asarray(
            effective_potential(x, POTENTIAL_Y, POTENTIAL_NOISE, landscape, convention=convention)
        )
    return xr.Dataset(
        {name: ("x", value - ridge) for name, value in values.items()},
        coords={"x": x},
        attrs={"y": POTENTIAL_Y, "noise": POTENTIAL_NOISE},
    )
