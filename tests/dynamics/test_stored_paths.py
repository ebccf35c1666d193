"""A path that was made elsewhere gives the dataset of a run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgd_diffusion as sd
from sgd_diffusion import tables
from sgd_diffusion.dynamics.stored_paths import measure_paths, path_windows
from sgd_diffusion.errors import InputError
from sgd_diffusion.storage.paths import path_in_memory

STEPS, RATE = 60, 0.02


def loss(params, state, batch, train):
    hidden = jnp.tanh(batch["x"] @ params["hidden"])
    return jnp.mean((hidden @ params["output"] - batch["y"]) ** 2), (state, None)


@pytest.fixture(scope="module")
def problem():
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "hidden": jax.random.normal(keys[0], (5, 6)),
        "output": jax.random.normal(keys[1], (6,)),
    }
    examples = {"x": jax.random.normal(keys[2], (20, 5)), "y": jax.random.normal(keys[3], (20,))}
    return sd.Problem(init=lambda key: (params, ()), loss=loss, examples=examples)


@pytest.fixture(scope="module")
def trained(problem):
    """Weights and losses of gradient descent in a loop of one's own."""
    params, _ = problem.init(None)
    points, losses = [params], []
    step = jax.jit(jax.value_and_grad(lambda params: loss(params, (), problem.examples, True)[0]))
    for _ in range(2 * STEPS):
        value, gradient = step(params)
        params = jax.tree.map(lambda w, g: w - RATE * g, params, gradient)
        points.append(params)
        losses.append(float(value))
    losses.append(float(step(params)[0]))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *points), np.array(losses)


def test_what_a_run_measures_is_measured_of_the_weights(problem, trained):
    """By full-batch descent, whose path has nothing random."""
    weights, losses = trained
    plan = sd.Plan(
        learning_rates=(RATE,), num_windows=2, window=STEPS, batch_size=20, by_layer=True
    )
    run = sd.run_ensemble(problem, plan)
    found = measure_paths(
        [path_in_memory(weights)], window=STEPS, losses=[losses], learning_rate=RATE
    )
    names = set(run.data_vars) - {"gradient_norm"}
    assert names == set(found.data_vars) and "layer_msd" in names and "shuffled_msd" in names
    for name in sorted(names):
        assert found[name].dims == run[name].dims
        np.testing.assert_allclose(found[name], run[name], rtol=2e-3, err_msg=name)
    for name, coord in run.drop_dims("update").coords.items():
        np.testing.assert_array_equal(found[name], np.asarray(coord, found[name].dtype))
    theirs, ours = (tables.overview(each).exponent for each in (run, found))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def brownian(steps, seed=0):
    return np.random.default_rng(seed).normal(size=(steps + 1, 30)).cumsum(axis=0)


def test_lags_and_waiting_times_are_in_steps_of_training():
    walk = brownian(50)
    path = path_in_memory({"w": walk}, spacing=10)._replace(first_step=300)
    found = measure_paths([path, path], window=20, stride=15)
    assert found.waiting_time.values.tolist() == [300, 450, 600]
    assert found.lag.values.tolist() == list(range(10, 201, 10))
    assert found.fit_lag.values.max() == 200 and found.sizes["seed"] == 2
    lag = walk[15 + 3 : 36] - walk[15 : 36 - 3]
    assert found.msd.sel(lag=30)[1, 0, 0] == pytest.approx((lag**2).sum(axis=1).mean())
    assert "squared_end_to_end" not in found and "loss" not in found and "layer_msd" not in found
    table = tables.overview(found, {"short": (10, 60), "long": (60, 100)})
    assert np.isfinite(table.exponent).all()
    described = json.loads(found.attrs["configuration"])["path"]
    assert described["spacing"] == 10 and described["arrays"]["w"]["dtype"] == "float64"


def test_a_path_that_diverged_is_nan_from_that_window_on():
    walk = brownian(60)
    walk[47:] = np.nan
    other = brownian(60, seed=1)
    found = measure_paths(
        [path_in_memory({"w": each, "v": each[:, :2]}, spacing=5) for each in (walk, other)],
        window=20,
    )
    assert np.isfinite(found.msd[:2]).all() and np.isnan(found.msd[2, 0]).all()
    assert np.isnan(found.displacement_from_start[2, 0]).all()  # also before it diverged
    assert np.isnan(found.layer_msd[2, 0]).all() and np.isfinite(found.msd[2, 1]).all()
    assert found.diverged_at.values.tolist() == [[230], [-1]]


def test_points_are_missing_also_between_windows():
    walk = brownian(60)
    walk[[17, 18, 19, 20]] = np.inf
    with pytest.raises(InputError, match=r"my run has 4 points that are NaN .*: 17, 18, 19, 20;"):
        measure_paths([path_in_memory({"w": walk}, source="my run")], window=20)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window": 61}, r"window \(--window\) is 61; expected an integer in 10..60 in 60 steps"),
        ({"stride": 0}, r"stride \(--stride\) is 0"),
        ({"losses": [np.zeros(60)]}, r"\(60,\); expected \(61,\), one at each point"),
        ({"losses": []}, "0 series; expected 1"),
        ({"memory": 10**4}, "memory is .* expected at least"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_point_is_read(change, words):
    path = path_in_memory({"w": brownian(60)})
    path = path._replace(read=lambda *asked: pytest.fail("read"))
    with pytest.raises(InputError, match=words):
        measure_paths([path], **change)


def test_paths_of_one_call_have_one_form():
    path = path_in_memory({"w": brownian(60)})
    with pytest.raises(InputError, match="b has num_points 51; expected 61, as the path has"):
        path_windows([path, path_in_memory({"w": brownian(50)}, source="b")])
    with pytest.raises(InputError, match="the path has spacing 2; expected 1"):
        path_windows([path, path._replace(spacing=2)])
    with pytest.raises(InputError, match="the path ends at step 2147483707"):
        path_windows([path._replace(first_step=2**31 - 1)])
    with pytest.raises(InputError, match="has 10 points; expected 11 or more"):
        path_windows([path_in_memory({"w": brownian(9)})])
    with pytest.raises(InputError, match="paths is empty"):
        path_windows([])
