"""What theories say of walkers in two valleys at one learning rate, for each strength of noise."""

import numpy as np
import xarray as xr

from sgd_diffusion.theory.freezing import (
    TwoValleys,
    adiabatic_occupation,
    effective_potential,
    fixed_y,
    flat_occupation,
    freezing_constant,
    freezing_point,
    last_crossing,
)

FITTED = 4e-4  # the constant of `freezing_point` that gives the published curve
STEPS_OF_BARRIER, MOST_BARRIER = 0.7, 40.0  # in units of the noise, from y to y
MAP_Y = np.linspace(0.25, 15, 60)
POTENTIAL_Y, POTENTIAL_NOISE = 40.0, 1e-3


def predictions(
    learning_rate: float, sigmas: np.ndarray, start_y: float, end_y: np.ndarray, static_y: float
) -> xr.Dataset:
    """Return predicted ends and freezing points, without any constant that is fitted here.

    Args:
        learning_rate: eta.
        sigmas: (S,) strengths of the noise.
        start_y: y where walkers start, half of them on each side.
        end_y: (S,) y where they end.
        static_y: y of the stationary occupations.
    """
    landscape, noise = TwoValleys(), learning_rate * sigmas
    rows = []
    for sigma, end in zip(sigmas, end_y, strict=True):
        y = y_grid(learning_rate * sigma, start_y, float(end), landscape)
        rows.append(
            {
                "predicted_flat_fraction": adiabatic_occupation(y, learning_rate, sigma, landscape)[
                    -1
                ],
                "predicted_freezing_y": last_crossing(y, learning_rate, sigma, landscape).mean_y,
                "static_occupation": fixed_y(
                    static_y, learning_rate, sigma, landscape
                ).flat_occupation,
                "static_gap": fixed_y(static_y, learning_rate, sigma, landscape).spectral_gap,
            }
        )
    closed = {
        f"static_occupation_{form}": np.asarray(
            flat_occupation(static_y, noise, landscape, form=form)
        )
        for form in ("ito", "erfi")
    }
    printed = 0.01 * float(freezing_constant(landscape))
    for name, constant in (("fitted", FITTED), ("printed", printed)):
        point = freezing_point(noise, landscape, epsilon=constant)
        closed |= {
            f"paper_freezing_y_{name}": np.asarray(point.y),
            f"paper_flat_fraction_{name}": np.asarray(point.flat_occupation),
        }
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]} | closed
    return xr.Dataset(
        {name: ("sigma", values) for name, values in columns.items()}, coords={"sigma": sigmas}
    )


def y_grid(noise: float, start: float, end: float, landscape: TwoValleys) -> np.ndarray:
    """Return ascending y between which the barrier grows by less than the noise.

    They end where walkers do, or where the barrier is so high that nobody crosses it.
    """

    def barrier(y):
        return (landscape.x1 * y / (y + landscape.y_b)) ** 2 / (2 * noise)

    last = min(barrier(end), max(MOST_BARRIER, barrier(start) + 1))
    count = 2 + int((last - barrier(start)) / STEPS_OF_BARRIER)
    root = np.sqrt(2 * noise * np.linspace(barrier(start), last, count)) / landscape.x1
    return landscape.y_b * root / (1 - root)


def curves(
    learning_rate: float, sigmas: np.ndarray, start_y: float, end_y: np.ndarray, y: np.ndarray
) -> xr.DataArray:
    """Return predicted occupations (sigma, y) on the way, NaN beyond the ends."""
    landscape, rows = TwoValleys(), []
    for sigma, end in zip(sigmas, end_y, strict=True):
        own = y_grid(learning_rate * sigma, start_y, float(end), landscape)
        found = adiabatic_occupation(own, learning_rate, sigma, landscape)
        rows.append(np.where(y <= end, np.interp(y, own, found), np.nan))
    return xr.DataArray(np.stack(rows), {"sigma": sigmas, "y": y})


def boltzmann() -> float:
    """Return the occupation of the flat valley under isotropic noise, at any barrier."""
    root = float(TwoValleys().flatness_ratio) ** 0.5
    return root / (1 + root)


def stationary_map(noises: np.ndarray) -> xr.Dataset:
    """Return the stationary occupation, for small learning rates, over y and the noise."""
    found = np.asarray(flat_occupation(MAP_Y, noises[:, None], TwoValleys()))
    return xr.Dataset(
        {"flat_occupation": (("noise", "y"), found)}, coords={"noise": noises, "y": MAP_Y}
    )


def potentials() -> xr.Dataset:
    """Return the loss across both valleys at a late y, and what it effectively is."""
    landscape, x = TwoValleys(), np.linspace(-0.75, 0.9, 331)
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
