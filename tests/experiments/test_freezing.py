"""The experiment end to end on few walkers, its theories beside known ends, and the whole claim."""

import numpy as np
import pytest
import xarray as xr

from experiments import freezing, freezing_published, freezing_theory
from sgd_diffusion.theory.freezing import TwoValleys

SMALL = [
    *("--walkers", "10", "--steps", "400", "--diagram-walkers", "10", "--diagram-steps", "100"),
]


def test_a_run_leaves_results_figures_and_summary_and_can_be_resumed(call, capsys, tmp_path):
    directory = tmp_path / "run"
    assert call(freezing, *SMALL, "--directory", directory) == 0
    summary = (directory / "summary.txt").read_text()
    assert summary in capsys.readouterr().out
    assert max(map(len, summary.splitlines())) <= 130
    for name in ("freezing", "diagrams"):
        assert (directory / f"{name}.png").stat().st_size > 10_000
    sweep, controls, diagrams = (
        xr.load_dataset(directory / f"{name}.nc") for name in ("sweep", "controls", "diagrams")
    )
    assert sweep.sizes["sigma"] == 11 and diagrams["flat_fraction"].shape == (2, 10, 10)
    assert controls["final_y"].sel(control="y held").values.tolist() == [3.0] * 11
    assert (diagrams["final_y"].sel(start_y=5) > 5).all()
    # No numbers are published of so few steps.
    assert "published_freezing_y" not in sweep and "published on" not in summary
    assert call(freezing, "--directory", directory, "--resume") == 0
    assert (directory / "summary.txt").read_text() == summary


def test_other_noise_has_no_theory(call, tmp_path):
    directory = tmp_path / "run"
    arguments = ["--noise", "hessian-squared", "--starts", "5", "--directory", directory]
    assert call(freezing, *SMALL, *arguments) == 0
    assert "predicted_flat_fraction" not in xr.load_dataset(directory / "sweep.nc")
    rates = xr.load_dataset(directory / "diagrams.nc")["learning_rate"].values
    np.testing.assert_allclose(rates, np.logspace(-3, -1, 10))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--walkers", "2"], "--walkers"),
        (["--starts", "0"], "--starts"),
        (["--noise", "white"], "white"),
        (["--steps", "10"], "--steps"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(freezing, words, "--quick", *arguments)


def test_predictions_are_those_of_the_adiabatic_law():
    """Known final shares and places of the last crossing, of the exact map at eta = 0.01."""
    found = freezing_theory.predictions(
        0.01, np.array([0.01, 0.1]), 1.0, np.array([22.6, 22.8]), 3.0
    )
    np.testing.assert_allclose(found["predicted_flat_fraction"], [0.9238, 0.9517], atol=0.003)
    np.testing.assert_allclose(found["predicted_freezing_y"], [1.229, 4.698], rtol=0.003)
    assert found["static_occupation"][1] == pytest.approx(0.7713, abs=1e-4)
    way = found["predicted_way"]
    assert way[0, 0] == 0.5 and np.isnan(way[0, -1]) and np.isfinite(way[1]).all()


def test_grids_of_theories_go_from_start_to_end():
    for noise, end in ((1e-4, 22.0), (4e-3, 22.0), (1e-3, 1.001)):
        y = freezing_theory.y_grid(noise, 1.0, end, TwoValleys())
        assert y[0] == pytest.approx(1.0) and (np.diff(y) > 0).all()
        assert y[-1] <= max(end, 1.5)


def test_published_numbers_have_their_places():
    found = freezing_published.diagram("hessian")
    assert found.sizes == {"learning_rate": 3, "sigma": 10}
    assert found["flat_fraction"].sel(learning_rate=0.1, sigma=0.1, method="nearest") == 0.9805
    assert found["freezing_y"].isel(learning_rate=0, sigma=9) == 5.513
    assert freezing_published.diagram("isotropic") is None
    columns = freezing_published.sweep(np.array([0.1, 0.2]))
    assert columns["published_freezing_y"][1][0] == 4.534
    assert np.isnan(columns["published_walkers"][1][1])


@pytest.mark.slow
@pytest.mark.timeout(3600)  # programs of tests are quick to compile, and run slowly
def test_selection_by_freezing_and_the_part_of_the_start(call, tmp_path):
    """The paradox, its controls, and that the sharp rise of the diagram is its start."""
    directory = tmp_path / "run"
    assert call(freezing, "--directory", directory) == 0
    sweep, controls, diagrams = (
        xr.load_dataset(directory / f"{name}.nc") for name in ("sweep", "controls", "diagrams")
    )
    assert (np.diff(sweep["static_occupation"]) < 0).all()
    assert (np.diff(sweep["freezing_y"]) > 0).all()
    away = abs(sweep["flat_fraction"] - sweep["predicted_flat_fraction"])
    assert (away < 0.015 + 3 * sweep["flat_fraction_error"]).all()
    there = sweep["published_freezing_y"].dropna("sigma")
    np.testing.assert_allclose(sweep["freezing_y"].sel(sigma=there["sigma"]), there, rtol=0.03)
    still = controls.sel(control="equal valleys")
    assert (abs(still["flat_fraction"] - 0.5) < 4 * still["flat_fraction_error"]).all()
    flat = diagrams["flat_fraction"]
    published = freezing_published.diagram("hessian")
    here = flat.sel(start_y=5).sel(learning_rate=published["learning_rate"], method="nearest")
    share = published["flat_fraction"]
    error = np.sqrt(share * (1 - share) * (1 / 400 + 1 / 2000))
    assert (abs(here.values - share) < 4 * error + 0.005).all()
    # From an earlier start no strength of the noise leaves half of the walkers in either valley.
    assert flat.sel(start_y=5).min() < 0.55 and flat.sel(start_y=1).min() > 0.85
