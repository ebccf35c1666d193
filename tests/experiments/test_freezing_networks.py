"""The experiment end to end on a small network, and its parts against direct computation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from experiments import continued_descent, freezing_networks
from experiments.block_flatness import with_unit_norms
from experiments.checkpointed_training import Setting, by_batches, by_matched_noise, training
from experiments.class_subset import class_subset
from experiments.continued_descent import STOP_AFTER, Looks, descent, looks
from experiments.freezing_branches import freezing_points
from experiments.hidden_block import hidden_block, sharpest
from experiments.late_training import BLOCK, network
from sgd_diffusion import plots
from sgd_diffusion.problems.datasets import Dataset, Examples

SMALL = [
    *("--width", "6", "--per-class", "2", "--strides", "4", "--duration", "20"),
    *("--repeats", "2", "--branch-every", "2", "--clones", "3", "--batch-sizes", "4"),
]
EXAMPLES = 12


@pytest.fixture(scope="module")
def problem():
    """A network of 6 units in both hidden layers, on 12 random images of 3 classes."""
    random = np.random.default_rng(0)
    images = random.normal(size=(EXAMPLES, 2, 3, 1)).astype(np.float32)
    own = Examples(images, np.arange(EXAMPLES, dtype=np.int32) % 3)
    return network(Dataset(own, own, 3, "random"), 6, bias=True, initialization="kaiming")


@pytest.fixture(scope="module")
def params(problem):
    """Initial weights, with biases that are not zero."""
    random = np.random.default_rng(2)
    weights = problem.init(jax.random.key(0))[0]
    return jax.tree.map(
        lambda leaf: (leaf + 0.1 * random.normal(size=leaf.shape)).astype(np.float32),
        jax.tree.map(np.asarray, weights),
    )


@pytest.fixture(scope="module")
def descend(problem):
    return descent(problem)


@pytest.fixture(scope="module")
def step(problem):
    """One step of plain gradient descent."""

    @jax.jit
    def one(params, learning_rate):
        gradient = jax.grad(lambda point: problem.loss(point, (), problem.examples, True)[0])(
            params
        )
        return jax.tree.map(lambda w, g: w - learning_rate * g, params, gradient)

    return one


def test_first_images_of_each_class():
    images = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    own = Examples(images, np.array([0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1], np.int32))
    found = class_subset(Dataset(own, own, 2, "mine"), 2, 1)
    np.testing.assert_array_equal(found.train.labels, [0, 0, 1, 1])
    np.testing.assert_allclose(found.train.images.ravel(), 2 * np.array([0, 1, 2, 4]) / 11 - 1)
    np.testing.assert_allclose(found.test.images.ravel(), 2 * np.array([0, 2]) / 11 - 1)
    digits = class_subset(Dataset(own, own, 2, "digits"), 7, 1)
    np.testing.assert_array_equal(digits.train.labels, np.tile(own.labels, 2)[:14])
    np.testing.assert_array_equal(digits.test.labels, np.tile(own.labels, 2)[14:])


def test_eigenvalues_are_those_of_the_hessian_by_the_layer(problem, params):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
        examples = problem.examples._replace(images=problem.examples.images.astype(jnp.float64))

        def loss(block):
            changed = {**wide, BLOCK: {**wide[BLOCK], "kernel": block.reshape(6, 6)}}
            return problem.loss(changed, (), examples, True)[0]

        hessian = jax.jit(jax.hessian(loss))(wide[BLOCK]["kernel"].ravel())
        expected = np.linalg.eigvalsh(hessian)[::-1]
        values, trace = jax.jit(lambda point: sharpest(hidden_block(problem, point), 10))(wide)
        assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected[:10], rtol=1e-6, atol=1e-8 * expected[0])
    np.testing.assert_allclose(trace, expected.sum(), rtol=1e-6)


def test_units_of_norm_1_do_not_change_with_a_rescaling(problem, params):
    """Nor does the function; the eigenvalues themselves do."""
    random = np.random.default_rng(1)
    first, second = random.uniform(0.2, 5, size=(2, 6))
    rescaled = {
        "linear1": {
            "kernel": params["linear1"]["kernel"] * first,
            "bias": params["linear1"]["bias"] * first,
        },
        BLOCK: {
            "kernel": params[BLOCK]["kernel"] * second / first[:, None],
            "bias": params[BLOCK]["bias"] * second,
        },
        "linear3": {**params["linear3"], "kernel": params["linear3"]["kernel"] / second[:, None]},
    }
    normal = with_unit_norms(params)
    logits_of = jax.jit(lambda point: problem.loss(point, (), problem.examples, False)[1][1])
    for own in (rescaled, normal):
        logits, expected = logits_of(own), logits_of(params)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        with_unit_norms(rescaled),
        normal,
    )
    incoming = normal[BLOCK]["kernel"], normal[BLOCK]["bias"][None]
    np.testing.assert_allclose((np.concatenate(incoming) ** 2).sum(axis=0), 1, rtol=1e-5)


def test_looks_of_the_paper():
    assert looks(0.05) == (20, 100) and looks(0.1) == (10, 100) and looks(0.002) == (500, 2500)


def test_branches_descend_as_each_would_alone(problem, params, descend, step):
    """Also the one that is done early, by the same rule; none is moved by another."""
    rate, rule, left = 0.5, Looks(7, 30), [0, 5, 45, 1000, 38]
    starts = [jax.tree.map(lambda leaf, i=i: leaf * (1 + 0.1 * i), params) for i in range(5)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    found, made = jax.tree.map(np.asarray, descend(stacked, jnp.asarray(left), rate, rule))
    for i, (own, most) in enumerate(zip(starts, left, strict=True)):
        taken = good = 0
        while taken < most and good < STOP_AFTER:
            own, taken = step(own, rate), taken + 1
            if taken % rule.every == 0 or taken == most:
                done = bool(continued_descent.is_done(problem, own)) and taken >= rule.earliest
                good = good + 1 if done else 0
        assert made[i] == taken
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(own), strict=True):
            np.testing.assert_allclose(one[i], other, rtol=1e-3, atol=1e-4)
    assert made[0] == 0 and made[1] == 5 and 45 < made[3] < 1000


def test_trainings_without_noise_are_gradient_descent(problem, params, step):
    keys, setting = jax.random.split(jax.random.key(3), 2), Setting(0.1, 3)
    expected = [params]
    for _ in range(6):
        expected.append(step(expected[-1], 0.1))
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *expected[::3])
    whole = by_batches(problem, batch_size=EXAMPLES, steps=3)
    for stride in (whole, by_matched_noise(problem)):
        path = jax.tree.map(np.asarray, training(stride, 2)(params, keys, 0, setting))
        for found, own in zip(jax.tree.leaves(path), jax.tree.leaves(expected), strict=True):
            assert found.shape == (3, 2, *own.shape[1:])
            for copy in (0, 1):
                np.testing.assert_allclose(found[:, copy], own, rtol=1e-4, atol=1e-5)


def test_a_clone_with_the_same_batches_is_the_same_training(problem, params):
    train = training(by_batches(problem, batch_size=4, steps=5), 4)
    keys, setting = jax.random.split(jax.random.key(4), 2), Setting(0.1, 5)
    path = jax.tree.map(np.asarray, train(params, keys, 0, setting))
    again = jax.tree.map(
        np.asarray, train(jax.tree.map(lambda leaf: leaf[2, 1], path), keys[::-1], 2, setting)
    )
    for one, other in zip(jax.tree.leaves(path), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(other[2:, 0], one[2:, 1], rtol=1e-5, atol=1e-6)
        assert abs(other[-1, 1] - one[-1, 1]).max() > 1e-3  # from there with other batches


def test_each_checkpoint_before_a_branch_is_tried_until_one_leads_elsewhere():
    """Repeats freeze at 0, 13, 20 and 11, branches are at 0, 10, 20 and 30."""
    frozen_at, tried = np.array([0, 13, 20, 11]), []
    points = np.array([0, 10, 20, 30])
    inside = np.array([True, True, False, False])  # what the end has wrong

    def wrong_from(starts):
        tried.append(starts.tolist())
        return np.where((starts >= frozen_at)[:, None], inside, ~inside)

    wrong = np.stack([wrong_from(np.full(4, point)) for point in points], axis=1)
    alike = (wrong[:, :, None] == wrong[:, None]).all(axis=-1)
    tried.clear()
    found = freezing_points(points, alike.astype(float), wrong[:, -1], wrong_from)
    np.testing.assert_array_equal(found, frozen_at)
    assert len(tried) == 9 and tried[0] == [30, 19, 19, 19]
    assert [starts[2] for starts in tried[1:]] == [30] * 8
    assert [starts[1] for starts in tried] == [19, 18, 17, 16, 15, 14, 13, 12, 30]


def test_a_run_leaves_results_figure_and_summary_and_can_be_resumed(
    call, capsys, monkeypatch, tmp_path
):
    directory = tmp_path / "run"
    assert call(freezing_networks, "--quick", *SMALL, "--directory", directory) == 0
    summary = (directory / "summary.txt").read_text()
    assert summary in capsys.readouterr().out
    assert max(map(len, summary.splitlines())) <= 126
    assert (directory / "freezing_networks.png").stat().st_size > 10_000
    dataset, table = (xr.load_dataset(directory / f"{name}.nc") for name in ("dataset", "table"))
    assert dataset["motion"].values.tolist() == ["sgd", "matched noise"]
    assert dataset["branch"].values.tolist() == [0, 2, 4]
    sgd = dataset.isel(cell=0)
    # The last branch is the training itself, and the first begins where all repeats do.
    np.testing.assert_allclose(sgd["end_flatness"].sel(branch=4), sgd["flatness"], rtol=1e-4)
    assert (sgd["end_steps"].sel(branch=4) == 0).all()
    same = sgd["end_flatness"].sel(branch=0)
    np.testing.assert_allclose(same, same[0], rtol=1e-4)
    assert (sgd["similarity"].values[:, range(3), range(3)] == 1).all()
    assert (sgd["clone_share"] >= 1 / 3).all()
    assert np.isnan(dataset["freezing_point"].isel(cell=1)).all()
    assert table.sizes["cell"] == 2
    monkeypatch.setattr(plots, "freezing_networks", lambda *_: Figure())  # it takes seconds
    assert call(freezing_networks, "--directory", directory, "--resume") == 0
    assert (directory / "summary.txt").read_text() == summary


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--branch-every", "200"], "--branch-every is 200"),
        (["--noise-rate", "1"], "--noise-rate is 1"),
        (["--learning-rates", "2"], "--learning-rates has 2"),
        (["--repeats", "1"], "--repeats is 1"),
        (["--batch-sizes", "201"], "--batch-sizes has 201; expected no more than 200"),
        (["--dataset", "nothing"], "'nothing'"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(freezing_networks, words, "--quick", *arguments)


@pytest.mark.slow
def test_noise_makes_ends_flatter_and_spreads_them(call, tmp_path):
    """On the digits, at one step size, down to gradient descent, which has no noise."""
    arguments = ["--learning-rates", "0.05", "--batch-sizes", "10", "20", "50", "200", "1000"]
    arguments += ["--noise-rate", "0", "--clones", "0", "--repeats", "3", "--strides", "10"]
    arguments += ["--directory", tmp_path / "run"]
    assert call(freezing_networks, *arguments) == 0
    table = xr.load_dataset(tmp_path / "run" / "table.nc")
    assert (table["converged"] == 1).all()
    for name in ("flatness", "radius"):
        print(name, table[name].values)
        found = float(table["ordering"].sel(quantity=name, scope="all cells"))
        assert found > 0.85
    assert table["radius"][-1] < 1e-3
    np.testing.assert_allclose(table["max_accuracy"], 0.93, atol=0.015)
