"""The experiment end to end, its predictions beside known ones, and its figures in full."""

import math

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import escape_rates, escape_sweeps, noise_tails
from experiments.escape_langevin import DOUBLE_WELL, SHALLOW
from experiments.escape_minibatches import (
    STYBLINSKI_TANG,
    Gradients,
    logistic,
    of_several_ways,
    random_labels,
    ways_out,
)
from experiments.escape_sweeps import Setting, predicted
from experiments.summaries.escape_rates import verdict
from sgd_diffusion.theory.escape import mean_first_passage_time

SMALL = ["--trials", "200", "--noise-batches", "500"]


# Predictions


def test_exact_times_of_shifted_data():
    """Known values of -ln Gamma and of the exponent, to the saddle."""
    theory = predicted(STYBLINSKI_TANG)
    found = [theory.log_time(Setting(0.018, size)) for size in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, [10.96, 24.4, 37.8, 51.3], atol=0.06)
    assert theory.exponent == pytest.approx(0.242376, abs=1e-5)
    assert theory.curvature == pytest.approx(23.1889, abs=1e-3)
    barrier, top = 18.5530, 9.6152
    assert theory.exponent_of_curvature == pytest.approx(
        barrier * (1 / 23.1889 + 1 / top), rel=1e-4
    )


def test_exact_times_of_white_noise_and_of_noise_of_the_curvature():
    white = predicted(DOUBLE_WELL, white=True)
    time = math.exp(white.log_time(Setting(0.05, diffusion=0.05)))
    assert time == pytest.approx(729.671, rel=1e-3)
    assert white.exponent == pytest.approx(0.25, abs=1e-6)
    curved = predicted(SHALLOW)
    assert curved.exponent == pytest.approx(0.386294, abs=1e-5)
    assert curved.exponent_of_curvature == pytest.approx(0.375, abs=1e-5)


def test_the_time_of_a_sharper_loss_is_shorter_by_its_sharpness():
    """Which all predictions take, beside the quadrature for the sharper loss itself."""
    k, setting = 2.0, Setting(0.25, 3, 2.0)
    root = k**0.5
    time = mean_first_passage_time(
        lambda x: root * SHALLOW.slope(root * x),
        lambda x: 0.25 / (2 * 3) * k * SHALLOW.variance(root * x),
        -1 / root,
        1 / root,
        -3 / root,
    )
    expected = predicted(SHALLOW).log_time(setting) - math.log(k)
    assert math.log(float(time)) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def ways():
    return ways_out(*random_labels())


def test_what_is_measured_along_a_way_out(ways):
    inputs, labels = random_labels()
    for coordinate, way in enumerate(ways):
        theta = np.array([each.minimum for each in ways])
        theta[coordinate] = place = way.places[1200]
        misfit = 1 / (1 + np.exp(-inputs @ theta)) - labels
        each = inputs[:, coordinate] * misfit
        assert way.slope[1200] == pytest.approx(each.mean() + 2 * place**3 - place, abs=1e-5)
        assert way.variance[1200] == pytest.approx(each.var(), rel=1e-4)
    minimum = np.array([way.minimum for way in ways], np.float32)
    each = np.asarray(jax.jit(lambda theta: Gradients(inputs, labels)(theta))(minimum))
    np.testing.assert_allclose(each.mean(axis=0), 0, atol=1e-5)
    of_one = jax.jit(jax.vmap(jax.grad(logistic, 1), (None, None, 0, 0)))(
        1.0, minimum, inputs, labels
    )
    np.testing.assert_allclose(each, of_one, atol=1e-5)
    assert all(way.top <= 0 for way in ways)


def test_the_quasi_potential_of_measured_noise_is_the_slope_and_that_of_the_curvature_is_not(ways):
    """0.476 up to where escapes end, and 0.425 is the slope of simulations; 20 percent."""
    theory = of_several_ways(ways)
    assert theory.exponent == pytest.approx(0.476, rel=0.02)
    assert abs(theory.exponent / 0.425 - 1) < 0.2
    assert abs(theory.exponent_of_curvature / 0.425 - 1) > 0.6
    warm, cold = (theory.log_time(Setting(0.2, size)) for size in (1, 3))
    assert abs((cold - warm) / 10 / theory.exponent - 1) < 0.1


def test_noise_of_batches_has_the_variance_of_examples_over_their_size():
    random = np.random.default_rng(0)
    gradients = random.normal(size=(300, 40)).astype(np.float32)
    gradients -= gradients.mean(axis=0)
    for size in (1, 32):
        noise = noise_tails.batch_noise(random, gradients, size, 2000)
        ratio = size * noise.var(axis=0).sum() / gradients.var(axis=0).sum()
        assert abs(ratio - 1) < 4 * (2 / 2000 / 40) ** 0.5 + 0.01
        assert abs(noise.mean()) < 5 * (1 / size / 2000 / 40) ** 0.5


# The program


@pytest.fixture
def known_times(monkeypatch):
    """Escapes with a known chance a step, which need no compilation."""

    def times(key, step, start, is_outside, *, repeats, max_steps, devices):
        seed = np.asarray(jax.random.key_data(key)).tolist()
        return np.random.default_rng(seed).geometric(0.01, size=repeats)

    monkeypatch.setattr(escape_sweeps, "escape_times", times)
    monkeypatch.setattr(escape_sweeps, "PLACES", 2001)
    monkeypatch.setattr(noise_tails, "BATCH_SIZES", (32,))
    monkeypatch.setattr(noise_tails, "PARAMETERS", 1184)  # as many as the network has


def test_a_run_leaves_results_figures_and_summary_and_can_be_resumed(
    call, capsys, known_times, tmp_path
):
    directory = tmp_path / "run"
    asked = ["--quick", "--panels", "sgd", "tails", *SMALL]
    assert call(escape_rates, *asked, "--directory", directory) == 0
    out = capsys.readouterr().out
    summary = (directory / "summary.txt").read_text()
    assert summary in out and "nan" not in summary
    assert max(map(len, summary.splitlines())) <= 150
    assert {path.stem for path in directory.glob("*.png")} == {"sgd", "tails"}
    assert all(f"- {name}: " in escape_rates.__doc__ for name in escape_rates.PANELS)
    with xr.open_dataset(directory / "sgd.nc", engine="h5netcdf") as table:
        assert table.sweep.values.tolist() == ["B", "1/eta", "1/k", "ln k"]
        assert (np.isfinite(table.log_time).sum("point") == 2).all()  # the ends
        # one chance a step: the rate is 0.01 / eta
        eta = table.learning_rate.values
        there = np.isfinite(eta)
        away = table.log_time.values + np.log(0.01 / eta)
        assert (abs(away[there]) < 5 * table.log_time_error.values[there]).all()
    first = (directory / "windows" / "window_00000.nc").stat().st_mtime_ns
    (directory / "windows" / "window_00001.nc").unlink()
    assert call(escape_rates, "--directory", directory, "--resume") == 0
    assert (directory / "windows" / "window_00000.nc").stat().st_mtime_ns == first
    assert (directory / "summary.txt").read_text() == summary


@pytest.mark.slow
@pytest.mark.timeout(3600)  # programs of tests are quick to compile, and run slowly
def test_measured_slopes_are_those_of_the_theory_or_are_known_not_to_be(call, tmp_path):
    """All panels as they are: three errors, or where theory fails by how much."""
    assert call(escape_rates, "--directory", tmp_path / "run") == 0
    tables = {
        name: xr.load_dataset(tmp_path / "run" / f"{name}.nc", engine="h5netcdf")
        for name in escape_rates.PANELS
    }
    for name in ("white", "sgd"):
        table = tables[name]
        assert (abs(table.slope - table.slope_predicted) < 4 * table.slope_error).all()
    batches = tables["minibatch"].isel(line=slice(3))
    assert (abs(batches.exponent - 0.425) < 0.0425).all()
    warning = tables["warning"].isel(line=slice(3))
    assert (warning.correlation > 0.998).all()
    assert (warning.slope_predicted > 4 * warning.slope).all()


def test_verdicts():
    row = xr.Dataset({"slope": 1.0, "slope_error": 0.1, "slope_predicted": 1.2})
    assert verdict(row) == "agrees (2.0 errors)"
    assert verdict(row.assign(slope_error=0.01)) == "differs (17%, 20 errors)"
    assert verdict(row.assign(slope_error=0.01, slope_predicted=1.05)) == "close (5%, 5 errors)"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--panels", "black"], "--panels is 'black'; expected one of white, sgd"),
        (["--panels"], "--panels is empty; expected"),
        (["--panels", "white", "white"], "--panels is white white; expected different"),
        (["--trials", "199"], "--trials is 199; expected"),
        (["--noise-batches", "5"], "--noise-batches is 5; expected"),
        (["--seed", "-1"], "--seed is -1; expected"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(escape_rates, words, *arguments)
