"""Tables of the limiting dynamics on data that have the predicted law, or do not have it."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import tables
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    local_displacement,
    stationary_covariance,
    stationary_msd,
)

HYPER = Hyperparameters(0.05, momentum=0.8, batch_size=4)
EIGENVALUES = np.array([8.0, 2.0, 0.5])
NOISE = np.array([[1.0, 2.0], [3.0, 1.0], [0.5, 1.5]])
SAMPLING = ("sampling", "seed", "point", "mode", "output")
SPIRAL = ("seed", "spiral_point", "mode", "output")


def walk(random, start, steps, strength=1.0, seeds=40):
    """Exact steps of all modes: positions and velocities (seed, point, mode, output)."""
    x = np.broadcast_to(start, (seeds, *NOISE.shape)).copy()
    v = np.zeros_like(x)
    kept = [(x.copy(), v.copy())]
    for _ in range(steps):
        noise = np.sqrt(strength * NOISE / HYPER.batch_size) * random.normal(size=x.shape)
        v = HYPER.momentum * v - EIGENVALUES[:, None] * x - noise
        x = x + HYPER.learning_rate * v
        kept.append((x.copy(), v.copy()))
    return [np.stack(part, axis=1) for part in zip(*kept, strict=True)]


@pytest.fixture(scope="module")
def motion():
    """Walks with the noise of the law, and under "epochs" with half of it."""
    random = np.random.default_rng(0)
    rest = np.zeros_like(NOISE)
    walks = [walk(random, rest, 600, strength) for strength in (1.0, 0.5)]
    start = np.full_like(NOISE, 0.5)
    spirals = walk(random, start, 60)
    x, v = (np.stack(part) for part in zip(*walks, strict=True))
    return xr.Dataset(
        {
            "position": (SAMPLING, x),
            "velocity": (SAMPLING, v),
            "displacement": (SAMPLING[:3], (x**2).sum(axis=(-1, -2))),
            "spiral_position": (SPIRAL, spirals[0]),
            "spiral_velocity": (SPIRAL, spirals[1]),
            "spiral_start": (("mode", "output"), start),
            "eigenvalue": ("rank", EIGENVALUES),
            "noise": (("rank", "output"), NOISE / 2),
            "noise_of_law": (("rank", "output"), NOISE),
        },
        coords={"sampling": ["replacement", "epochs"], "mode": [0, 1, 2]},
        attrs={name: float(value) for name, value in HYPER._asdict().items()},
    )


def test_a_regression_with_the_predicted_law(motion):
    table = tables.limiting_regression(motion)
    here = table.sel(sampling="replacement")
    for name in ("position", "cross", "velocity", "circulation"):
        np.testing.assert_allclose(table[f"{name}_predicted"], 2, rtol=1e-9)
        assert (abs(here[name] - 2) < 4 * here[f"{name}_error"]).all(), name
        np.testing.assert_allclose(table[name].sel(sampling="epochs"), 1, atol=0.15)
    assert (abs(here.period - here.period_predicted) < 4 * here.period_error).all()
    msd = here.msd[1:] / here.msd_predicted[1:]
    assert (abs(msd - 1) < 5 * here.msd_error[1:] / here.msd_predicted[1:]).all()
    assert abs(here.exponent - here.exponent_predicted) < 4 * here.exponent_error
    # Points of a walk are not independent; 40 walks of 61 points have at least 40.
    assert (abs(table.spiral_within - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 40)).all()


def test_the_first_steps_of_a_spiral_are_those_of_the_mean(motion):
    table = tables.limiting_regression(motion)
    np.testing.assert_allclose(table.spiral_mean_position_predicted[0], 0.5)
    np.testing.assert_allclose(
        table.spiral_mean_position_predicted[1], 0.5 * (1 - 0.05 * EIGENVALUES), rtol=1e-9
    )


def sweep(strength=1.0):
    """Two settings of runs whose displacements are the predicted ones times a strength."""
    lags = np.arange(1, 201)
    settings = []
    for rate, size in ((0.05, 4), (0.02, 16)):
        hyper = HYPER._replace(learning_rate=rate, batch_size=size)
        msd = strength * np.asarray(stationary_msd(lags, EIGENVALUES, NOISE.sum(axis=1), hyper))
        scale = np.array([[0.9, 1.0], [1.1, 1.0]])[..., None]  # (seed, window)
        shape = (2, 2, 1, 3)
        settings.append(
            xr.Dataset(
                {
                    "msd": (("seed", "window", "lag"), scale * msd),
                    "displacement_from_start": (("seed", "window", "lag"), scale * msd),
                    "noise_trace": (("seed", "window"), np.full((2, 2), NOISE.sum())),
                    "gradient_square": (("seed", "window"), np.ones((2, 2))),
                    "noise_node": (
                        ("seed", "window", "probe", "node"),
                        np.broadcast_to(EIGENVALUES, shape),
                    ),
                    "noise_weight": (
                        ("seed", "window", "probe", "node"),
                        np.broadcast_to(NOISE.sum(axis=1), shape),
                    ),
                    "twin_msd": (("seed", "window", "lag"), scale * msd / 4),
                },
                coords={"lag": lags},
            ).assign_coords({name: float(value) for name, value in hyper._asdict().items()})
        )
    return xr.concat(settings, "setting").assign_coords(
        setting=[0, 1],
        sweep=("setting", ["default", "rate"]),
        momentum=("setting", [HYPER.momentum] * 2),
        weight_decay=("setting", [HYPER.weight_decay] * 2),
    )


def test_a_network_with_the_predicted_displacements():
    table = tables.limiting_sweep(sweep())
    np.testing.assert_allclose(table.local, table.local_discrete, rtol=1e-9)
    hyper = HYPER._replace(learning_rate=0.02, batch_size=16)
    expected = local_displacement(0.0, NOISE.sum(), hyper, discrete=False)
    np.testing.assert_allclose(table.local_predicted[1], expected, rtol=1e-12)
    np.testing.assert_allclose(table.exponent, table.exponent_predicted, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(table.displacement, table.displacement_predicted, rtol=1e-9)
    # The mean of 0.9, 1, 1.1 and 1 has the standard error 0.0816 / 2.
    np.testing.assert_allclose(table.local_error / table.local, 0.0816 / 2, rtol=1e-3)
    np.testing.assert_allclose(table.negative_share, 0)
    np.testing.assert_allclose(table.exponent_error, 0, atol=1e-12)  # all paths are alike


def test_what_differs_from_the_prediction_is_seen():
    table = tables.limiting_sweep(sweep(strength=1.5))
    np.testing.assert_allclose(table.local / table.local_discrete, 1.5, rtol=1e-9)


def test_negative_curvature_and_members_that_diverged():
    runs = sweep()
    runs["noise_node"] = runs["noise_node"].copy()
    runs["noise_node"][..., -1] = -1.0
    for name in ("msd", "displacement_from_start", "noise_trace", "noise_node", "noise_weight"):
        runs[name] = runs[name].where(runs.seed != 1) if "seed" in runs.coords else runs[name]
    table = tables.limiting_sweep(runs)
    np.testing.assert_allclose(table.negative_share, NOISE[2].sum() / NOISE.sum(), rtol=1e-6)
    assert np.isfinite(table.displacement_predicted).all()


def test_gradient_of_a_stationary_law():
    """The mean squared gradient of a bowl is the sum of h^2 Var x."""
    runs = sweep()
    table = tables.limiting_sweep(runs)
    law = stationary_covariance(EIGENVALUES, NOISE.sum(axis=1), HYPER)
    expected = (EIGENVALUES**2 * np.asarray(law.position)).sum()
    np.testing.assert_allclose(table.gradient_predicted[0], expected, rtol=1e-9)
    # Descent gives back the positions of the law, half of the plateau of the displacement.
    plateau = stationary_msd([10**4], EIGENVALUES, NOISE.sum(axis=1), HYPER)
    np.testing.assert_allclose(table.twin_predicted[0], np.asarray(plateau)[0] / 2, rtol=1e-6)
