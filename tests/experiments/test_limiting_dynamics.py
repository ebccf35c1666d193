"""The experiment end to end on a small network, and its regression against closed forms."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import limiting_dynamics
from experiments.linear_regression import noise_of_the_law, regression, simulate
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.datasets import Examples
from sgd_diffusion.theory.limiting import Hyperparameters, stationary_covariance

SMALL = [
    *("--model", "fc2-width4", "--seeds", "0", "1"),
    *("--num-windows", "2", "--window", "40", "--noise-products", "10", "--burn-in", "1"),
    *("--measured-windows", "2", "--sweep-batch-sizes", "64", "--collapse-momenta"),
    *("--regression-seeds", "4", "--regression-steps", "200", "--ranks", "0", "1"),
]


def examples(count=400, size=4, classes=3):
    random = np.random.default_rng(0)
    images = random.normal(size=(count, size)) * np.linspace(2, 0.5, size)
    return Examples(images.astype(np.float32), random.integers(0, classes, count))


def test_a_regression_is_at_rest_at_its_solution_and_its_noise_is_that_of_gradients():
    data = examples()
    problem = regression(data, 3)
    gradients = problem.inputs[:, :, None] * problem.residuals[:, None]
    np.testing.assert_allclose(gradients.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((gradients**2).mean(axis=0), problem.noise, rtol=1e-10)
    curvature = problem.inputs.T @ problem.inputs / len(problem.inputs)
    np.testing.assert_allclose(curvature, np.diag(problem.eigenvalues), atol=1e-10)
    assert (np.diff(problem.eigenvalues) < 0).all()


def test_simulated_variances_are_those_of_the_noise_of_the_law():
    """Mini-batches of 4 with replacement, where the noise grows by a tenth; five errors."""
    problem = regression(examples(), 3)
    hyper = Hyperparameters(0.05, momentum=0.5, batch_size=4)
    noise = noise_of_the_law(problem, hyper)
    assert (noise / problem.noise).max() > 1.05
    seeds, steps = 60, 1200
    found = simulate(
        jax.random.split(jax.random.key(0), seeds),
        problem,
        hyper,
        np.zeros_like(noise),
        steps=steps,
        modes=np.arange(len(noise)),
        sampling="replacement",
    )
    expected = stationary_covariance(
        np.broadcast_to(problem.eigenvalues[:, None], noise.shape), noise, hyper
    )
    for values, law in ((found.position, expected.position), (found.velocity, expected.velocity)):
        means = (np.asarray(values)[:, steps // 3 :] ** 2).mean(axis=1)
        error = means.std(axis=0, ddof=1) / seeds**0.5
        # What correlations between modes make is below two percent here.
        assert (
            abs(means.mean(axis=0) / np.asarray(law) - 1) < 5 * error / np.asarray(law) + 0.02
        ).all()


def test_a_run_leaves_results_figures_and_summary_and_can_be_resumed(call, capsys, tmp_path):
    directory = tmp_path / "run"
    assert call(limiting_dynamics, "--quick", *SMALL, "--directory", directory) == 0
    out = capsys.readouterr().out
    summary = (directory / "summary.txt").read_text()
    assert summary in out
    assert "settings" in summary
    assert "nan" not in summary
    assert max(len(line) for line in summary.splitlines() if "fc2-width4" not in line) <= 150
    for name in ("regression", "sweep"):
        assert (directory / f"{name}.png").stat().st_size > 10_000
        assert xr.load_dataset(directory / f"{name}.nc").sizes
    sweep = xr.load_dataset(directory / "sweep.nc")
    assert sweep.batch_size.values.tolist() == [32, 64]
    assert np.isfinite(sweep.local.values).all()
    assert call(limiting_dynamics, "--directory", directory, "--resume") == 0
    assert (directory / "summary.txt").read_text() == summary


@pytest.mark.slow
def test_batch_normalization_is_frozen_when_the_network_goes_on(call, capsys, tmp_path):
    few = ["--model", "resnet8-width2", "--seeds", "0", "--sweep-batch-sizes"]
    assert call(limiting_dynamics, "--quick", *SMALL, *few, "--directory", tmp_path) == 0
    assert "Batch normalization is frozen" in capsys.readouterr().out
    (setting,) = (tmp_path / "settings").iterdir()
    problem = json.loads((setting / "config.json").read_text())["configuration"]["problem"]
    assert problem["frozen_state"]
    assert "frozen_state" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learning-rates", "0.1", "0.2"], "--learning-rates is 0.1 0.2; expected one"),
        (["--sweep-momenta", "1.5"], "--sweep-momenta"),
        (["--ranks", "-1"], "--ranks"),
        (["--regression-learning-rate", "0.1"], "--regression-learning-rate) is 0.1, at which"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(limiting_dynamics, words, "--quick", *arguments)


@pytest.mark.parametrize(
    "options",
    [{"optimizer": "adam"}, {"noise": "white"}, {"schedule": "step"}, {"fresh_label_noise": 0.1}],
)
def test_steps_of_which_the_theory_does_not_speak_are_refused(options):
    name = next(iter(options)).replace("_", "-")
    default = limiting_dynamics.DEFAULT
    more = {"momentum": 0.0, "weight_decay": 0.0} if "optimizer" in options else {}
    with pytest.raises(InputError, match=f"--{name} is .*the theory is that of SGD"):
        dataclasses.replace(default, **options, **more).check()
