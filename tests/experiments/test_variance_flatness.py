"""The experiment end to end on a small network, and its parts against direct computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments import hidden_block, variance_flatness
from experiments.late_motion import base_point, losses_along, slopes_along, walks
from experiments.late_training import BLOCK, margin_cross_entropy, network
from sgd_diffusion.problems.datasets import Dataset, Examples

SMALL = [
    *("--width", "8", "--seeds", "0", "--stop-loss", "0.5", "--max-epochs", "20"),
    *("--num-components", "48", "--every", "2", "--window", "100"),
]


@pytest.fixture(scope="module")
def problem():
    """A network of 5 units in both hidden layers, on 40 random images."""
    random = np.random.default_rng(0)
    images = random.normal(size=(40, 2, 3, 1)).astype(np.float32)
    own = Examples(images, random.integers(0, 3, 40).astype(np.int32))
    return network(Dataset(own, own, 3, "random"), 5)


@pytest.fixture(scope="module")
def params(problem):
    params, _ = problem.init(jax.random.key(0))
    return jax.tree.map(lambda leaf: 3 * leaf, params)


def loss_of_block(problem, params, block, examples):
    changed = {**params, BLOCK: {"kernel": block.reshape(5, 5)}}
    return problem.loss(changed, (), examples, True)[0]


def test_moments_of_the_block_are_those_of_automatic_derivatives(problem, params):
    found = hidden_block.moments(hidden_block.hidden_block(problem, params))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
        examples = problem.examples._replace(images=problem.examples.images.astype(jnp.float64))
        own = wide[BLOCK]["kernel"].ravel()

        def loss(block, examples):
            return loss_of_block(problem, wide, block, examples)

        single = jax.tree.map(lambda leaf: leaf[:, None], examples)
        gradients = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(own, single)
        hessian = np.asarray(jax.jit(jax.hessian(loss))(own, examples))
        covariance = np.cov(np.asarray(gradients).T, bias=True)
    np.testing.assert_allclose(found.hessian, hessian, atol=1e-6 * abs(hessian).max())
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-6 * abs(covariance).max())


def test_losses_and_slopes_along_a_direction(problem, params):
    block = hidden_block.hidden_block(problem, params)
    direction = jax.random.normal(jax.random.key(1), (25,))
    own = params[BLOCK]["kernel"].ravel()
    expected, slope = jax.jit(
        jax.value_and_grad(
            lambda x: loss_of_block(problem, params, own + x * direction, problem.examples)
        )
    )(0.3)
    with jax.enable_x64(True):
        (found,) = losses_along(block, direction, np.array([0.3]))
        (slopes,) = slopes_along(block, direction, np.array([0.3]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(slopes.mean(), slope, rtol=1e-4)


def test_small_losses_keep_their_digits():
    """Logits of 20 and 0 in float32: the loss is ln(1 + 2 e^-20), and so is its slope."""
    logits, labels = jnp.array([[20.0, 0.0, 0.0]]), jnp.array([0])
    slope = jax.grad(lambda z: margin_cross_entropy(z, labels).sum())(logits)
    exact = np.log1p(2 * np.exp(-20))
    np.testing.assert_allclose(margin_cross_entropy(logits, labels), exact, rtol=1e-6)
    np.testing.assert_allclose(slope, [[-exact, exact / 2, exact / 2]], rtol=1e-6)


def test_walks_have_the_gradients_of_their_batches(problem, params):
    """Of an epoch without a rest the gradients add up to zero; the linear walk is its recursion."""
    base = base_point(problem, params)
    made = walks(jax.random.key(2), base, 24, learning_rate=0.5, batch_size=5, sampling="epochs")
    walk, linear = made["random walk"](), made["linear"]()
    assert walk.shape == linear.shape == (25, 25)
    size = abs(walk).max()
    np.testing.assert_allclose(walk[::8], 0, atol=1e-6 * size)
    assert abs(walk[4]).max() > 0.01 * size
    step = linear[1:] - linear[:-1] + 0.5 * linear[:-1] @ base.moments.hessian
    np.testing.assert_allclose(step, np.diff(walk, axis=0), atol=1e-6 * size)


def test_a_run_leaves_results_figure_and_summary_and_can_be_resumed(call, capsys, tmp_path):
    directory = tmp_path / "run"
    assert call(variance_flatness, "--quick", *SMALL, "--directory", directory) == 0
    summary = (directory / "summary.txt").read_text()
    assert summary in capsys.readouterr().out
    assert max(map(len, summary.splitlines())) <= 126
    assert (directory / "variance_flatness.png").stat().st_size > 10_000
    dataset = xr.load_dataset(directory / "dataset.nc")
    table = xr.load_dataset(directory / "table.nc")
    assert table["sampling"].values.tolist() == ["epochs", "replacement"]
    assert dataset["motion"].values.tolist() == ["sgd", "random walk", "linear"]
    assert (np.diff(dataset["variance"].values) <= 0).all()
    assert (dataset["base_loss"] < 0.5).all()
    # All motions have an exponent above 1, the random walk too, and only the training a drift.
    assert (table["psi"].isel(range=0) > 1).all()
    assert (table["alignment"].sel(motion="sgd") > 0.3).all()
    # The force of the Hessian makes the walk smaller.
    total = dataset["variance"].sum("rank")
    assert (total.sel(motion="linear") < total.sel(motion="random walk")).all()
    assert call(variance_flatness, "--directory", directory, "--resume") == 0
    assert (directory / "summary.txt").read_text() == summary


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--every", "100", "--num-components", "200"], "--every is 100"),
        (["--seeds"], "--seeds"),
        (["--limit", "0"], "--limit"),
        (["--batch-size", "5000"], "--batch-size is 5000; expected no more than 1437"),
        (["--dataset", "nothing"], "'nothing'"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(refused, arguments, words):
    refused(variance_flatness, words, "--quick", *arguments)


@pytest.mark.slow
def test_a_training_that_diverges_is_refused(call, capsys, tmp_path):
    arguments = ["--learning-rate", "100", "--directory", tmp_path / "run"]
    assert call(variance_flatness, "--quick", *SMALL, *arguments) == 2
    assert "the loss is not finite after" in capsys.readouterr().err
