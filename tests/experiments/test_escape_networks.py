"""Panels of networks: mirror images, predictions along known paths, summaries, and short runs."""

import math

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import escape_rates, escape_saddles, summaries
from experiments.escape_saddles import LEARNING_RATE, _measured
from experiments.saddle_paths import predicted
from experiments.tiny_networks import aligned, network
from sgd_diffusion import plots
from sgd_diffusion.theory.escape import mean_first_passage_time


@pytest.fixture(scope="module")
def tiny():
    return network(3, 1e-2, "odd")


def test_mirror_images_are_found_and_have_the_same_loss(tiny):
    random = np.random.default_rng(0)
    theta = random.normal(size=tiny.size)
    rows = theta[:-1].reshape(3, -1)
    image = np.append((rows[[2, 0, 1]] * [[-1], [1], [-1]]).ravel(), theta[-1])
    with jax.enable_x64(True):
        losses = [float(tiny.loss(each)) for each in (theta, image)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    near = theta + 0.01 * random.normal(size=tiny.size)
    np.testing.assert_allclose(aligned(tiny, image, near), theta, rtol=1e-12)


def geometry():
    """A double well with noise 1 + x^2 as a path."""
    x = np.linspace(-1, 1, 401)
    return xr.Dataset(
        {
            "position": ("image", x),
            "path_loss": ("image", x**4 / 4 - x**2 / 2),
            "path_slope": ("image", x**3 - x),
            "path_noise": ("image", 1 + x**2),
            "curvature_minimum": 2.0,
            "curvature_saddle": -1.0,
            "barrier": 0.25,
        }
    )


def test_predictions_are_those_of_one_coordinate():
    size = 12
    found = predicted(geometry(), size, LEARNING_RATE)
    scale = LEARNING_RATE / (2 * size)
    exact = mean_first_passage_time(
        lambda x: x**3 - x, lambda x: scale * (1 + x**2), -1.0, 0.0, -3.0, num_points=20_001
    )
    # Behind the minimum the path goes on as a parabola.
    assert found["log_time_predicted"] == pytest.approx(math.log(float(exact)), abs=0.1)
    closed = 2 * size * 0.25 / LEARNING_RATE * (0.5 / 2 + 0.5) + math.log(math.pi)
    assert found["log_time_closed_form"] == pytest.approx(closed, abs=1e-9)


def test_times_without_escapes_are_a_bound():
    none = _measured(np.full(30, -1), 100)
    assert math.isnan(none["log_time"]) and none["censored"] == 30
    # At this rate, no escape in all steps has a chance of exp(-3), 5 percent.
    assert none["log_time_bound"] == pytest.approx(math.log(30 * 100 * LEARNING_RATE / 3))
    some = _measured(np.array([10] * 30 + [-1] * 10), 100)
    assert some["log_time"] == pytest.approx(math.log(LEARNING_RATE * (30 * 10 + 10 * 100) / 30))
    assert math.isnan(some["log_time_bound"]) and some["escaped"] == 30


NUMBERS = (
    *("minimum_loss", "saddle_loss", "other_loss", "gradient_norm", "minimum_noise"),
    *("exponent_limit", "exponent_of_curvature", "exponent_of_minimum"),
    *("share_start", "share_other"),
)


def barriers():
    """Two barriers in the form that the experiment has: one is crossed, and one is not."""
    rows = []
    for name, sizes, escaped, parameters in (("low", (2, 4, 8), 90, 3), ("high", (8,), 0, 5)):
        count = len(sizes)
        log_time = np.array([1.0, 2.0, 4.0])[:count] if escaped else np.full(count, np.nan)
        rows.append(
            geometry()
            .assign(dict.fromkeys(NUMBERS, 0.5))
            .assign(
                share_elsewhere=0.0,
                share_unsettled=0.0,
                census_steps=100,
                census_batch_size=4,
                saddle_index=1,
                all_converged=True,
                bands_converged=True,
                minimum_eigenvalue=("parameter", np.arange(1.0, parameters + 1)),
                saddle_eigenvalue=("parameter", np.arange(-1.0, parameters - 1)),
                log_time=("point", log_time),
                log_time_error=("point", 0.1 + 0 * log_time),
                log_time_bound=("point", np.full(count, np.nan if escaped else 5.0)),
                log_time_predicted=("point", 0.6 * np.array(sizes, float)),
                log_time_closed_form=("point", 0.3 * np.array(sizes, float)),
                escaped=("point", [escaped] * count),
                censored=("point", [100 - escaped] * count),
            )
            .assign_coords(
                point=range(count),
                parameter=range(parameters),
                batch_size=("point", np.array(sizes, float)),
                coldness=("point", np.array(sizes) / 0.5),
                learning_rate=("point", [0.5] * count),
                sharpness=("point", [1.0] * count),
                diffusion=("point", [np.nan] * count),
                loss=name,
                noise="mini-batches",
                sweep="B",
            )
        )
    found = xr.concat(rows, "line", coords="all", join="outer").assign_coords(line=range(2))
    return escape_saddles.with_slopes(found).assign_attrs(
        trials=100, hidden=2, weight_decay=0.01, question="odd"
    )


def test_summary_of_barriers_says_what_was_measured_and_what_never_happened():
    text = summaries.escape_saddles(barriers())
    assert "slope over B: 0.5±" in text and "path 0.6" in text
    assert "no walker left, though predicted times are shorter: ln time above 5" in text
    assert "NOT CONVERGED" not in text and "nan" not in text
    assert max(map(len, text.splitlines())) <= 150
    lost = barriers().assign(all_converged=("line", [True, False]))
    assert summaries.escape_saddles(lost).count("NOT CONVERGED") == 1


def test_figure_of_barriers_has_a_row_for_each():
    table = barriers()
    figure = plots.escape_saddles(table)
    assert len(figure.axes) == 8  # two of them for the noise along the paths
    times = figure.axes[2].lines
    np.testing.assert_allclose(times[0].get_ydata(), table["log_time_predicted"][0])
    written = [text.get_text() for text in figure.axes[5].texts]
    assert written == ["none escaped: above the triangle"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A short run of the panel of curvature, and its directory."""
    directory = tmp_path_factory.mktemp("run") / "curvature"
    options = escape_rates.Options(
        panels=("curvature",), width=4, epochs=(1, 0), directory=directory
    )
    escape_rates.experiment(options)
    return directory


def test_noise_and_curvature_of_a_network(compared):
    found = xr.load_dataset(compared / "curvature.nc", engine="h5netcdf")
    assert found["epoch"].values.tolist() == [0, 1] and found.sizes["mode"] == 16
    assert (found["loss"].diff("epoch") < 0).all()
    totals = found[["variance", "eigenvalue"]].sum("mode")
    np.testing.assert_allclose(found["trace_ratio"], totals["variance"] / totals["eigenvalue"])
    assert (found["hessian_element"] > 0).all() and (found["covariance_element"] > 0).all()
    text = (compared / "summary.txt").read_text()
    assert "two hidden layers of 4 units on digits, 1437 examples" in text


def test_figure_of_noise_and_curvature_shows_it(compared):
    found = xr.load_dataset(compared / "curvature.nc", engine="h5netcdf")
    elements, along, ratios = plots.escape_curvature(found).axes
    np.testing.assert_allclose(elements.lines[1].get_ydata(), found["covariance_element"][1])
    np.testing.assert_allclose(along.lines[1].get_xdata(), found["eigenvalue"][0])
    np.testing.assert_allclose(ratios.lines[0].get_ydata(), found["trace_ratio"])


@pytest.mark.slow
def test_a_network_leaves_its_valley_over_the_saddle(tmp_path):
    """The saddle has index 1, and times grow with B by about the measured noise along the path."""
    options = escape_rates.Options(panels=("saddle",), directory=tmp_path / "run")
    found = escape_saddles.network_saddles(options)
    assert (
        found["all_converged"].all()
        and found["bands_converged"].all()
        and found["leads_back"].all()
    )
    assert (found["saddle_index"] == 1).all()
    assert (found["gradient_norm"] < 1e-10).all() and (found["barrier"] > 0).all()
    low, high = (found.isel(line=i) for i in range(2))
    assert (low["escaped"].dropna("point") > 100).all()
    assert (np.diff(low["log_time"]) > 0).all()
    assert high["escaped"].isel(point=0) == 0
    assert high["log_time_predicted"].isel(point=0) > high["log_time_bound"].isel(point=0)
