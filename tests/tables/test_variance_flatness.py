"""The table of the variance-flatness relation on components whose exponents are known."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import tables

MOTIONS = ["sgd", "random walk", "linear"]
RATE, BATCH, STEPS, LOSS = 0.1, 50, 1000, 1e-3
EXPONENTS = {"sgd": 4.0, "random walk": 5.0, "linear": 3.0}
COMPONENTS = np.arange(0, 250, 2)
EIGENVALUES = np.geomspace(1, 1e-4, 400)


def motion(name, steep):
    """Variances ~ rank^-2.5 and widths that give the exponent; times fall with the width."""
    variances = 1e-3 * np.arange(1.0, 401) ** -2.5
    flat = variances[COMPONENTS] ** (-1 / steep)
    curvature = 8 * (np.e - 1) * LOSS / flat**2
    return xr.Dataset(
        {
            "variance": ("rank", variances),
            "flatness": ("component", np.where(COMPONENTS == 12, np.inf, flat)),
            "curvature": ("component", curvature),
            "noise": ("component", flat**-2.0),
            "position_time": ("component", 50 / flat),
            "velocity_time": ("component", flat**0),
            "mode_variance": ("mode", EIGENVALUES**0.9),
            "alignment": 0.9 if name == "sgd" else 0.01,
            "track": (("point", "track_rank"), np.random.default_rng(0).normal(size=(50, 4))),
            "displacement": (("shown", "place"), np.linspace(-1, 1, 5) * np.ones((2, 1))),
            "loss_profile": (("shown", "place"), 1 + np.linspace(-1, 1, 5) ** 2 * np.ones((2, 1))),
            "temperature_profile": (("shown", "place"), np.ones((2, 5))),
        },
        coords={"component": COMPONENTS, "shown": [6, 20], "track_rank": [0, 1, 48, 49]},
    )


def dataset():
    rows = xr.concat([motion(*each) for each in EXPONENTS.items()], "motion")
    rows = rows.assign(
        base_loss=LOSS, eigenvalue=("mode", EIGENVALUES), test_accuracy=0.97, epochs=9
    )
    rows = rows.assign_coords(motion=MOTIONS, steps=STEPS)
    # Not in the order of the alphabet.
    rows = xr.concat([rows, rows], "sampling").assign_coords(sampling=["replacement", "epochs"])
    found = xr.concat([rows, rows], "seed").assign_coords(seed=[3, 1])
    return found.assign_attrs(
        dataset="artificial", width=20, learning_rate=RATE, batch_size=BATCH, every=2
    )


@pytest.fixture(scope="module")
def table():
    return tables.variance_flatness(dataset())


def test_exponents(table):
    assert table["psi"].dims == ("seed", "sampling", "motion", "range")
    assert table["range"].values.tolist() == ["1-100", "1-200", "10-200"]
    for name, steep in EXPONENTS.items():
        here = table.sel(motion=name)
        np.testing.assert_allclose(here["psi"], steep)
        np.testing.assert_allclose(here["noise_exponent"], 2)
        np.testing.assert_allclose(here["position_time_exponent"], 1)
        np.testing.assert_allclose(here["velocity_time_exponent"], 0, atol=1e-12)
    np.testing.assert_allclose(table["gamma"], 2.5)
    np.testing.assert_allclose(table["mode_exponent"], 0.9)
    assert (table["dropped"].sel(range="1-200") == 1).all()
    assert (table["num_components"].sel(range="10-200") == 95).all()


def test_labels_stay_with_their_numbers(table):
    assert table["seed"].values.tolist() == [3, 1]
    assert table["sampling"].values.tolist() == ["replacement", "epochs"]
    assert (table["alignment"].sel(motion="sgd") == 0.9).all()


def test_variances_over_closed_forms(table):
    found = dataset()
    ranks = found["component"].values
    variance = found["variance"].isel(rank=xr.DataArray(ranks, dims="component"))
    noise, curvature = found["noise"], found["curvature"]
    stationary = variance / (RATE * noise / (2 * BATCH * curvature))
    walk = variance / (RATE**2 * noise / BATCH * (STEPS + 2) / 6)
    np.testing.assert_allclose(table["over_stationary"], stationary)
    np.testing.assert_allclose(table["over_random_walk"], walk)
    np.testing.assert_allclose(table["flatness_over_quadratic"].isel(component=slice(7, None)), 1)
    np.testing.assert_allclose(table["first_over_second"], 2**2.5)
    n90 = np.cumsum(found["variance"].values[0, 0, 0, 1:])
    assert (table["n90"] == 1 + np.sum(n90 < 0.9 * n90[-1])).all()


def test_ranges_of_few_components():
    few = dataset().isel(component=slice(0, 12))
    found = tables.variance_flatness(few)
    assert found["range"].values.tolist() == ["1-22"]
    np.testing.assert_allclose(found["psi"].sel(motion="sgd"), 4)
    none = tables.variance_flatness(few, ranges=[(1, 4)])
    assert np.isnan(none["psi"]).all()
