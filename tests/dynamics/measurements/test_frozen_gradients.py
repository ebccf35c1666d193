import dataclasses
import json
import pathlib
import shutil
import sys

import jax
import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.dynamics.gradient_coordinates import draw_coordinates
from sgd_diffusion.dynamics.measurements import (
    StateMeasurement,
    default_measurements,
    frozen_gradients,
)
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.dynamics.window import flatten
from sgd_diffusion.errors import StorageError
from sgd_diffusion.storage.run_directories import load_run

KEY = jax.random.key(8)
# Windows of fewer than 10 steps have no controls, which take longest to compile; 60 examples make 8
# batches of 7 and one of 4.
PLAN = Plan(
    seeds=(0, 7),
    learning_rates=(0.05, 0.1),
    num_windows=2,
    window=6,
    batch_size=7,
    gradient_samples=9,
    frozen_passes=2,
)
NOISE = ("frozen_gradient", "full_gradient")


def jitter(key, batch):
    return batch | {"x": batch["x"] + 0.3 * jax.random.normal(key, batch["x"].shape)}


def gradient_of(problem, params, state, batch):
    loss = jax.grad(lambda params: problem.loss(params, state, batch, True)[0])
    return jax.jit(lambda params: flatten(loss(params)))(params)


def measure(problem, *, batch_size, count=20, num_passes=2):
    """All coordinates of the two gradients at a point, and the point."""
    params, state = problem.init(jax.random.key(4))
    coordinates = draw_coordinates(problem, count)
    function = frozen_gradients(coordinates, num_passes=num_passes, batch_size=batch_size).function
    found = jax.jit(lambda params, key: function(problem, params, state, key))(params, KEY)
    return jax.tree.map(np.asarray, found), coordinates.indices, params, state


@pytest.mark.parametrize("batch_size", [7, 59, pytest.param(20, marks=pytest.mark.slow), 60])
def test_the_full_gradient_is_that_of_all_examples_at_once(regression, batch_size):
    """In every pass, whatever its order; 60 examples: last batches of 4 and of 1, none smaller, a
    single batch.
    """
    found, indices, params, state = measure(regression, batch_size=batch_size)
    assert found["frozen_gradient"].shape == (2, 60 // batch_size, 20) and found[
        "full_gradient"
    ].shape == (2, 20)
    gradient = gradient_of(regression, params, state, regression.examples)
    expected = np.asarray(gradient)[np.asarray(indices)]
    np.testing.assert_allclose(
        found["full_gradient"], np.tile(expected, (2, 1)), rtol=1e-5, atol=1e-6
    )


def test_the_frozen_gradients_are_those_of_the_batches_of_each_pass(make_regression):
    """With an order and an augmentation of its own; the noise of its 4 batches adds up to zero, the
    last one of 9.
    """
    problem = make_regression(augment=jitter)
    found, indices, params, state = measure(problem, batch_size=17)
    examples = jax.tree.map(np.asarray, problem.examples)
    by_hand = jax.jit(
        lambda key, batch: gradient_of(problem, params, state, jitter(key, batch))[indices]
    )
    assert not np.allclose(found["full_gradient"][0], found["full_gradient"][1], rtol=1e-3)
    for number, key in enumerate(jax.random.split(KEY, 2)):
        order_key, augmentation_key = jax.random.split(key)
        rows = np.asarray(jax.random.permutation(order_key, 60))
        expected = []
        for batch in range(4):
            own = jax.tree.map(
                lambda leaf, rows=rows, batch=batch: leaf[rows[17 * batch : 17 * batch + 17]],
                examples,
            )
            expected.append(by_hand(jax.random.fold_in(augmentation_key, batch), own))
        expected = np.array(expected)
        np.testing.assert_allclose(
            found["frozen_gradient"][number], expected[:3], rtol=1e-5, atol=1e-6
        )
        noise = (
            np.concatenate([found["frozen_gradient"][number], expected[3:]])
            - found["full_gradient"][number]
        )
        np.testing.assert_allclose(np.array([17, 17, 17, 9]) @ noise, 0, atol=1e-5)


def test_noise_of_equal_batches_adds_up_to_zero(regression):
    """Up to the roundings of 6 gradients and of their sum in float32, each below 1e-7 of the
    largest entry.
    """
    found, *_ = measure(regression, batch_size=10)
    gradients = found["frozen_gradient"].astype(np.float64)
    noise = gradients - found["full_gradient"][:, None]
    assert (
        np.abs(noise.sum(axis=1)).max()
        < 12 * 1e-7 * 6 * np.abs(gradients).max()
        < 0.01 * np.abs(noise).max()
    )


@pytest.fixture(scope="module")
def problem():
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    from conftest import two_layer_regression

    return two_layer_regression()


def run(problem, plan, directory=None, **options):
    """A run that also keeps the weights where every window ends."""
    weights = StateMeasurement(
        lambda problem, params, state, key: {"weights": flatten(params)},
        {"weights": ("parameter",)},
    )
    return run_ensemble(
        problem,
        plan,
        directory,
        measurements=[*default_measurements(problem, plan), weights],
        **options,
    )


@pytest.fixture(scope="module")
def finished(problem, tmp_path_factory):
    """A finished run and its directory, not to be changed."""
    directory = tmp_path_factory.mktemp("run") / "finished"
    return run(problem, PLAN, directory), directory


def test_a_run_labels_its_coordinates(problem, finished):
    found, directory = finished
    members = ("window", "seed", "learning_rate")
    assert found.frozen_gradient.dims == (*members, "frozen_pass", "frozen_batch", "coordinate")
    assert found.full_gradient.dims == (*members, "frozen_pass", "coordinate")
    assert (
        found.frozen_gradient.shape == (2, 2, 2, 2, 8, 9)
        and found.frozen_gradient.dtype == np.float32
    )
    assert found.gradient_sample.dims == (*members, "update", "coordinate")
    coordinates = draw_coordinates(problem, 9)
    np.testing.assert_array_equal(found.coordinate, coordinates.indices)
    np.testing.assert_array_equal(found.coordinate_layer, coordinates.layers)
    np.testing.assert_array_equal(found.coordinate_weight, coordinates.weights)
    assert found.coordinate_layer.dims == found.coordinate_weight.dims == ("coordinate",)
    loaded = load_run(directory)
    xr.testing.assert_identical(loaded, found)
    own = loaded.frozen_gradient.isel(coordinate=loaded.coordinate_layer == "output")
    assert 0 < own.sizes["coordinate"] < 9 and (own.coordinate >= 42).all()


def test_the_weights_are_frozen_where_the_window_ends(problem, finished):
    found, _ = finished
    params, state = problem.init(KEY)
    _, unravel = jax.flatten_util.ravel_pytree(params)
    gradients = jax.vmap(
        lambda weights: gradient_of(problem, unravel(weights), state, problem.examples)
    )(found.weights.values.reshape(8, 49))
    expected = np.reshape(gradients, (2, 2, 2, 1, 49))[..., found.coordinate.values]
    np.testing.assert_allclose(
        found.full_gradient, np.repeat(expected, 2, axis=3), rtol=1e-5, atol=1e-6
    )


def test_training_is_bit_for_bit_the_same_without_frozen_passes(problem, finished):
    found, _ = finished
    plain = run(problem, dataclasses.replace(PLAN, frozen_passes=0))
    xr.testing.assert_identical(found.drop_vars(NOISE).drop_attrs(), plain.drop_attrs())


def test_an_interrupted_run_goes_on_to_the_same_gradients(problem, finished, tmp_path):
    def interrupt(index, window):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(problem, PLAN, tmp_path / "run", on_window=interrupt)
    assert load_run(tmp_path / "run").sizes["window"] == 1
    resumed = run(problem, PLAN, tmp_path / "run", resume=True)
    xr.testing.assert_identical(resumed, finished[0])
    xr.testing.assert_identical(load_run(tmp_path / "run"), finished[0])


def test_a_run_of_unlabeled_coordinates_is_not_continued(problem, finished, tmp_path):
    """Older runs drew their coordinates uniformly; windows of both must not be joined."""
    path = shutil.copytree(finished[1], tmp_path / "run") / "config.json"
    content = json.loads(path.read_text())
    configuration = content["configuration"]
    configuration["variables"] = [
        name for name in configuration["variables"] if not name.startswith("coordinate_")
    ]
    path.write_text(json.dumps(content))
    with pytest.raises(StorageError, match=r"another configuration \(variables is"):
        run(problem, PLAN, tmp_path / "run", resume=True)


def test_members_are_the_same_alone_and_in_another_order_and_a_diverged_one_is_nan(
    problem, finished
):
    found = finished[0].isel(window=slice(1)).sel(learning_rate=[0.1])
    plan = dataclasses.replace(PLAN, num_windows=1)
    other = run(problem, dataclasses.replace(plan, seeds=(7, 0), learning_rates=(1e20, 0.1)))
    alone = run(problem, dataclasses.replace(plan, seeds=(7,), learning_rates=(0.1,)))
    for name in NOISE:
        assert np.isnan(other[name].sel(learning_rate=1e20)).all()
        np.testing.assert_array_equal(
            other[name].sel(learning_rate=[0.1], seed=[0, 7]), found[name]
        )
        np.testing.assert_array_equal(alone[name], found[name].sel(seed=[7]))


def test_chosen_layers_alone_are_kept(problem, finished):
    plan = dataclasses.replace(PLAN, num_windows=1, gradient_samples=7, gradient_layers=("output",))
    found = run_ensemble(problem, plan)
    assert (
        found.coordinate_layer.values.tolist() == ["output"] * 7
        and (found.coordinate_weight == 1).all()
    )
    some = finished[0].isel(window=slice(1), coordinate=finished[0].coordinate_layer == "output")
    for name in ("gradient_sample", *NOISE):
        np.testing.assert_allclose(
            found[name].sel(coordinate=some.coordinate), some[name], rtol=1e-5, atol=1e-6
        )
