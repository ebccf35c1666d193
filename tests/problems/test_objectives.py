import flax.linen as nn
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
    assert objectives.smoothed_kl(jnp.log(jnp.asarray(targets)), LABELS) == pytest.approx(
        0, abs=1e-6
    )


def test_mse_compares_softmax_and_one_hot():
    assert objectives.softmax_mse(LOGITS, LABELS) == pytest.approx(
        ((SOFTMAX - ONE_HOT) ** 2).mean(), rel=1e-6
    )


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.mark.parametrize("loss", objectives.LOSSES)
def test_a_linear_classifier_on_digits(digits, loss):
    """Against the same loss written with NumPy on normalized pixels."""
    problem = objectives.classification(MLP((10,)), digits, loss=loss, probe_size=50)
    params, state = jax.jit(problem.init)(KEY)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), params
    )
    batch = jax.tree.map(lambda leaf: leaf[:30], problem.examples)
    value, (_, logits) = jax.jit(problem.loss, static_argnums=3)(params, state, batch, True)
    pixels = digits.train.images.astype(np.float64)
    x = ((pixels - pixels.mean()) / pixels.std())[:30].reshape(30, -1)
    (layer,) = params.values()
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
    assert moved.images.shape == batch.images.shape and not np.array_equal(
        moved.images, batch.images
    )
    np.testing.assert_array_equal(moved.labels, batch.labels)
    assert objectives.classification(MLP((10,)), digits, augment=None).augment is None
    assert objectives.classification(MLP((10,)), digits._replace(name="other.npz")).augment is None


@pytest.mark.parametrize("count", [3, 7, 360])
def test_accuracy_counts_every_example_once(digits, count, monkeypatch):
    monkeypatch.setattr(objectives, "EVALUATION_BATCH", 7)
    problem = objectives.classification(MLP((10,)), digits)
    params, state = jax.jit(problem.init)(KEY)
    examples = jax.tree.map(lambda leaf: leaf[:count], problem.test_examples)
    logits = jax.jit(problem.loss, static_argnums=3)(params, state, examples, False)[1][1]
    expected = np.mean(np.argmax(logits, axis=1) == examples.labels)
    assert objectives.accuracy(problem, params, state, examples=examples) == pytest.approx(expected)


def test_descriptions_tell_problems_apart_and_are_the_same_in_every_process(digits):
    def describe(**options):
        return objectives.classification(
            options.pop("model", MLP((10,))), options.pop("data", digits), **options
        ).description

    assert describe() == describe()
    assert "0x" not in str(describe(model=ResNet(8)))
    other = digits._replace(train=digits.train._replace(images=digits.train.images[:, ::-1]))
    variants = [
        describe(),
        describe(loss="kl"),
        describe(augment=None),
        describe(probe_size=3),
        describe(model=MLP((5, 10))),
        describe(model=MLP((10,), initialization="pytorch")),
        describe(model=ResNet(8)),
        describe(data=other),
    ]
    assert len({str(variant) for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"loss": None}, "loss is None"),
        ({"probe_size": 2000}, "probe_size is 2000"),
        ({"probe_size": -1}, "probe_size is -1"),
        ({"probe_size": 2.0}, "probe_size is 2.0"),
        ({"augment": "mixup"}, "augment is"),
    ],
)
def test_bad_options_are_named(digits, options, words):
    with pytest.raises(InputError, match=words):
        objectives.classification(MLP((10,)), digits, **options)


def test_images_that_the_model_cannot_take_are_refused_at_once(digits):
    tiny = digits._replace(train=digits.train._replace(images=digits.train.images[:, :3, :3]))
    with pytest.raises(InputError, match="3, 3"):
        objectives.classification(ResNet(8), tiny)


class Dropout(nn.Module):
    """A hidden layer of which training keeps half, and noise from a stream of another name."""

    noise: bool = False

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(nn.Dense(16)(x.reshape(len(x), -1))))
        if self.noise and train:
            x = x + jax.random.normal(self.make_rng("noise"), x.shape)
        return nn.Dense(10)(x)


@pytest.mark.parametrize("noise", [False, True])
def test_random_layers_draw_anew_for_every_batch_and_not_at_a_point(digits, noise):
    problem = objectives.classification(Dropout(noise), digits, probe_size=20)
    params, state = problem.init(KEY)
    rows = jax.tree.map(lambda leaf: leaf[:20], problem.examples)
    loss = jax.jit(
        lambda batch, train: problem.loss(params, state, batch, train)[0], static_argnums=1
    )
    drawn = [float(loss(problem.augment(jax.random.key(key), rows), True)) for key in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert float(loss(problem.probe, True)) == float(
        loss(problem.probe, True)
    )  # a function of the point alone
    assert float(loss(problem.probe, False)) == float(
        loss(problem.augment(jax.random.key(0), rows)._replace(images=rows.images), False)
    )  # evaluation draws nothing
    masks = jax.jit(problem.loss, static_argnums=3)(params, state, problem.probe, True)[1][1]
    assert np.unique(np.sum(masks, axis=1)).size == 20  # every example keeps a mask of its own


def test_a_model_without_random_layers_gets_no_key(digits):
    problem = objectives.classification(MLP((10,)), digits)
    batch = problem.augment(
        jax.random.key(0), jax.tree.map(lambda leaf: leaf[:3], problem.examples)
    )
    assert batch._fields == ("images", "labels")


def test_logits_for_fewer_classes_are_refused(digits):
    with pytest.raises(InputError, match=r"model returns \[2, 9\].*at least 10"):
        objectives.classification(MLP((9,)), digits)


def make_problem(**changes):
    return objectives.Problem(
        **{"init": None, "loss": None, "examples": {"x": np.zeros((3, 2))}} | changes
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"description": [1]}, "description is"),
        ({"description": {"f": print}}, r"description\.f is"),
        ({"examples": {"x": [1.0, 2.0]}}, "examples has leaves"),
        ({"examples": {"x": np.array(["a"])}}, r"examples\['x'\] has"),
        ({"examples": {"x": np.array([1, None])}}, r"examples\['x'\] has"),
        ({"probe": np.array(["a"])}, "probe has"),
        ({"examples": np.ma.array([1.0, 2.0], mask=[0, 1])}, "examples has 1 masked"),
        ({"examples": np.array([1, 2**40])}, "examples has integers beyond int32"),
    ],
)
def test_what_is_no_problem_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        make_problem(**changes)


def test_a_problem_shows_its_examples_and_its_description(digits):
    shown = repr(objectives.classification(MLP((10,)), digits, probe_size=5))
    words = " ".join(shown.split())
    assert (
        "images uint8[1437,8,8,1]" in words and "probe: 5 examples" in words and "digits" in words
    )
    assert len(shown.splitlines()) <= 8
