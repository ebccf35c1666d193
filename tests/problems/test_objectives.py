import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import datasets, objectives
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.resnet import ResNet

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)).astype(np.float32)
KEY = jax.random.key(0, impl="rbg")  # its numbers take a tenth of the time to compile
LABELS = np.array([0, 3, 1, 1, 2, 0])
SOFTMAX = scipy.special.softmax(LOGITS.astype(np.float64), axis=1)
ONE_HOT = np.eye(4)[LABELS]


def test_cross_entropy_is_the_mean_negative_log_probability():
    expected = -np.log(SOFTMAX[np.arange(6), LABELS]).mean()
    assert objectives.cross_entropy(LOGITS, LABELS) == pytest.approx(expected, rel=1e-6)


def test_kl_is_relative_entropy_to_the_smoothed_labels():
    targets = 0.9 * ONE_HOT + 0.1 / 4
    expected = scipy.special.rel_entr(targets, SOFTMAX).sum(axis=1).mean()
    assert objectives.smoothed_kl(LOGITS, LABELS) == pytest.approx(expected, rel=1e-5)
    assert objectives.smoothed_kl(jnp.log(jnp.asarray(targets)), LABELS) == pytest.approx(0, abs=1e-6)


def test_mse_compares_softmax_and_one_hot():
    assert objectives.softmax_mse(LOGITS, LABELS) == pytest.approx(((SOFTMAX - ONE_HOT) ** 2).mean(), rel=1e-6)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.mark.parametrize("loss", objectives.LOSSES)
def test_a_linear_classifier_on_digits(digits, loss):
    """Against the same loss written with NumPy on normalised pixels."""
    problem = objectives.classification(MLP((10,)), digits, loss=loss, probe_size=50)
    params, state = jax.jit(problem.init)(KEY)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    batch = jax.tree.map(lambda leaf: leaf[:30], problem.examples)
    value, (_, logits) = jax.jit(problem.loss, static_argnums=3)(params, state, batch, True)
    pixels = digits.train.images.astype(np.float64)
    x = ((pixels - pixels.mean()) / pixels.std())[:30].reshape(30, -1)
    layer, = params.values()
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    np.testing.assert_allclose(logits, x @ kernel + bias, rtol=1e-3, atol=1e-4)
    assert value == pytest.approx(float(objectives.LOSSES[loss](logits, batch.labels)), rel=1e-6)
    assert problem.probe.images.shape == (50, 8, 8, 1) and problem.num_examples == 1437


def test_batch_norm_state_changes_in_training_only(digits):
    problem = objectives.classification(ResNet(8, width=4), digits)
    params, state = jax.jit(problem.init)(KEY)
    assert set(state) == {"batch_stats"} and "batch_stats" not in params
    batch = jax.tree.map(lambda leaf: leaf[:20], problem.examples)
    loss = jax.jit(problem.loss, static_argnums=3)
    _, (after, _) = loss(params, state, batch, True)
    assert not np.allclose(after["batch_stats"]["stem_norm"]["mean"], 0)
    _, (same, _) = loss(params, state, batch, False)
    jax.tree.map(np.testing.assert_array_equal, same, state)


def test_standard_augmentation_follows_the_data_set(digits):
    shifted = objectives.classification(MLP((10,)), digits)
    batch = jax.tree.map(lambda leaf: leaf[:20], shifted.examples)
    moved = shifted.augment(jax.random.key(0), batch)
    assert moved.images.shape == batch.images.shape and not np.array_equal(moved.images, batch.images)
    np.testing.assert_array_equal(moved.labels, batch.labels)
    assert objectives.classification(MLP((10,)), digits, augment=None).augment is None
    assert objectives.classification(MLP((10,)), digits._replace(name="other.npz")).augment is None


@pytest.mark.parametrize("count", [3, 7, 360])
def test_accuracy_counts_every_example_once(digits, count, monkeypatch):
    monkeypatch.setattr(objectives, "EVALUATION_BATCH", 7)
    problem = objectives.classification(MLP((10,)), digits)
    params, state = jax.jit(problem.init)(KEY)
    examples = jax.tree.map(lambda leaf: leaf[:count], problem.test_examples)
    logits = problem.loss(params, state, examples, False)[1][1]
    expected = np.mean(np.argmax(logits, axis=1) == examples.labels)
    assert objectives.accuracy(problem, params, state, examples=examples) == pytest.approx(expected)


def test_descriptions_tell_problems_apart_and_are_the_same_in_every_process(digits):
    def describe(**options):
        return objectives.classification(options.pop("model", ResNet(8)), options.pop("data", digits), **options).description

    assert describe() == describe()
    assert "0x" not in str(describe())
    other = digits._replace(train=digits.train._replace(images=digits.train.images[:, ::-1]))
    variants = [describe(), describe(loss="kl"), describe(augment=None), describe(probe_size=3), describe(model=ResNet(14)),
                describe(model=ResNet(8, initialization="pytorch")), describe(data=other)]
    assert len({str(variant) for variant in variants}) == len(variants)


@pytest.mark.parametrize(("options", "words"), [
    ({"loss": "hinge"}, "loss is 'hinge'"), ({"loss": None}, "loss is None"), ({"probe_size": 2000}, "probe_size is 2000"),
    ({"probe_size": -1}, "probe_size is -1"), ({"probe_size": 2.0}, "probe_size is 2.0"), ({"augment": "mixup"}, "augment is")])
def test_bad_options_are_named(digits, options, words):
    with pytest.raises(InputError, match=words):
        objectives.classification(MLP((10,)), digits, **options)


def test_images_that_the_model_cannot_take_are_refused_at_once(digits):
    tiny = digits._replace(train=digits.train._replace(images=digits.train.images[:, :3, :3]))
    with pytest.raises(InputError, match="3, 3"):
        objectives.classification(ResNet(8), tiny)
