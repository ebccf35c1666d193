"""Networks of one's own: modules of flax.nnx beside those of flax.linen, and names of both."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import classification, gaussian, model
from sgd_diffusion.problems.nnx_modules import NnxNetwork

DATA = gaussian(train_size=12, test_size=4, shape=(2, 2, 1), num_classes=3)


class Linen(nn.Module):
    num_classes: int = 3

    @nn.compact
    def __call__(self, images, train):
        x = nn.Dense(5, name="hidden")(images.reshape(len(images), -1))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        return nn.Dense(self.num_classes, name="output")(x)


class Nnx(nnx.Module):
    """The same network."""

    def __init__(self, num_classes=3, dropout=0.0, *, rngs):
        self.hidden = nnx.Linear(4, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(dropout, rngs=rngs)
        self.output = nnx.Linear(5, num_classes, rngs=rngs)

    def __call__(self, images):
        x = self.norm(self.hidden(images.reshape(len(images), -1)))
        return self.output(self.drop(x))


class Chain(nnx.Module):
    """More than ten layers in a list, and a `train` of its own."""

    def __init__(self, *, rngs):
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(12)])

    def __call__(self, images, train):
        x = images.reshape(len(images), -1)
        for layer in self.layers:
            x = layer(x)
        return x * (1 if train else 2)


def batch(count=5):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:count]), DATA.train)


def values(problem, params, state, examples, train):
    def loss(params):
        return problem.loss(params, state, examples, train)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


# flax.nnx
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [True, False])
def test_a_network_of_nnx_is_that_of_linen(train):
    """In loss, gradients, averages of batch norm and logits, from the same weights."""
    one, other = (classification(network, DATA, augment=None) for network in (Linen(), Nnx))
    params, state = one.init(jax.random.key(0))
    own_params, own_state = other.init(jax.random.key(0))
    shapes = functools.partial(jax.tree.map, jnp.shape)
    assert shapes(own_params) == shapes(params)
    assert shapes(own_state["state"]) == shapes(state["batch_stats"])
    found = values(other, params, {"state": state["batch_stats"]}, batch(), train)
    (loss, (after, logits)), slope = values(one, params, state, batch(), train)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        found,
        ((loss, ({"state": after["batch_stats"]}, logits)), slope),
    )


def test_every_seed_has_weights_of_its_own():
    init = classification(Nnx, DATA).init
    kernels = jax.vmap(init)(jax.random.split(jax.random.key(0), 2))[0]["hidden"]["kernel"]
    assert not np.array_equal(*kernels)
    again = init(jax.random.split(jax.random.key(0), 2)[1])
    np.testing.assert_array_equal(again[0]["hidden"]["kernel"], kernels[1])


def test_random_layers_draw_from_the_key_of_the_batch():
    """And once for all without one, as those of flax.linen do; not in evaluation."""
    problem = classification(lambda rngs: Nnx(3, 0.5, rngs=rngs), DATA, augment=None)
    params, state = problem.init(jax.random.key(0))

    @functools.partial(jax.jit, static_argnums=1)
    def logits(examples, train=True):
        return problem.loss(params, state, examples, train)[1][1]

    first, second = (logits(problem.augment(jax.random.key(seed), batch())) for seed in (1, 2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, logits(problem.augment(jax.random.key(1), batch())))
    np.testing.assert_array_equal(logits(batch()), logits(batch()))
    np.testing.assert_array_equal(logits(batch(), False), logits(batch(), False))
    assert problem.augment is not None and classification(Nnx, DATA).augment is None


def test_layers_in_a_list_keep_their_places():
    problem = classification(Chain, DATA)
    # The numbers of this generator take a tenth of the time to compile.
    params, state = problem.init(jax.random.key(0, impl="rbg"))
    params = jax.tree.map(np.asarray, params)
    assert set(params["layers"]) == {str(number) for number in range(12)} and state == {}
    scaled = jax.tree.map(np.zeros_like, params)
    x = np.asarray(DATA.train.images[:5], np.float32)
    product = np.eye(4)
    for number in range(12):
        scaled["layers"][str(number)]["kernel"] = params["layers"][str(number)]["kernel"]
        product = product @ params["layers"][str(number)]["kernel"]
    loss = jax.jit(problem.loss, static_argnums=3)
    for train, factor in ((True, 1), (False, 2)):
        logits = loss(scaled, state, batch(), train)[1][1]
        flat = ((x - DATA.train.images.mean()) / DATA.train.images.std()).reshape(5, -1)
        np.testing.assert_allclose(logits, factor * flat @ product, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: Nnx(rngs=nnx.Rngs(0)), "is a Nnx of flax.nnx, which has weights already"),
        (lambda: lambda rngs: 5, "makes a int from rngs; expected a flax.nnx module"),
        (lambda: lambda images: images, "expected a flax.linen module, or a function of rngs"),
        (lambda: 5, "model is 5; expected a flax.linen module"),
        (lambda: Linen(2), r"returns \[2, 2\] for 2 images; expected logits"),
        (lambda: lambda rngs: Nnx(2, rngs=rngs), r"returns \[2, 2\] for 2 images"),
        (lambda: nn.Dense(3), r"raises TypeError .*train.* for images \(2, 2, 2, 1\)"),
        (lambda: Dead(), "returns tuple for 2 images"),
    ],
)
def test_what_is_no_classifier_is_refused(network, words):
    with pytest.raises(InputError, match=words):
        classification(network(), DATA)


class Dead(nn.Module):
    @nn.compact
    def __call__(self, images, train):
        nn.Dense(3)(images)
        return images, images


def test_descriptions_are_the_same_in_every_process():
    made = (Nnx, functools.partial(Nnx, dropout=0.5), NnxNetwork(Nnx, {"num_classes": 5}))
    told = [classification(network, DATA).description["model"] for network in made]
    assert told == [
        "NnxNetwork(factory=Nnx, options={})",
        "NnxNetwork(factory=Nnx, options={'dropout': 0.5})",
        "NnxNetwork(factory=Nnx, options={'num_classes': 5})",
    ]


# names
# --------------------------------------------------------------------------------------------------

MODULE = """
import flax.linen as nn
from flax import nnx

class Small(nn.Module):
    num_classes: int
    @nn.compact
    def __call__(self, images, train):
        return nn.Dense(self.num_classes)(images.reshape(len(images), -1))

class SmallNnx(nnx.Module):
    def __init__(self, num_classes, *, rngs):
        self.linear = nnx.Linear(64, num_classes, rngs=rngs)
    def __call__(self, images):
        return self.linear(images.reshape(len(images), -1))

class Within:
    @staticmethod
    def make(num_classes, initialization):
        return nn.Dense(num_classes, name=initialization)

ready = Small(4)
with_weights = SmallNnx(4, rngs=nnx.Rngs(0))
number = 5

def nothing():
    return None

def fails(num_classes):
    return 1 / 0

def needs(something):
    return ready
"""
names = itertools.count()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Returns the name of a module, another one in every test."""
    name = f"own_networks_{next(names)}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("import math\n\nmath.nothing\n")
    (tmp_path / f"{name}_needs.py").write_text("import no_such_package_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_names_of_ones_own(own):
    made = model(f"{own}:Small", num_classes=7)
    assert type(made).__name__ == "Small" and made.num_classes == 7
    assert model(f"{own}:ready", num_classes=7).num_classes == 4
    made = model(f"{own}:SmallNnx", num_classes=7)
    assert made.init(jax.random.key(0), None)["params"]["linear"]["kernel"].shape == (64, 7)
    made = model(f"{own}:Within.make", initialization="pytorch")
    assert made.features == 10 and made.name == "pytorch"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_place:Net", "Python finds no module 'no_such_place'; .*PYTHONPATH"),
        ("jax.no_such_place:Net", "Python finds no module 'jax.no_such_place'"),
        ("OWN_broken:Net", r"importing OWN_broken raises AttributeError in OWN_broken.py:3 "),
        ("OWN_needs:Net", "importing OWN_needs raises ModuleNotFoundError in OWN_needs.py:1"),
        ("OWN:Smal", "there is no 'Smal' in it; .*did you mean Small"),
        ("OWN:zzz", "there is no 'zzz' in it; .*did you mean .*Small"),
        ("OWN:number.part", "there is no 'part' in it"),
        ("OWN:number", "a int, which cannot be called"),
        ("OWN:nothing", "model OWN:nothing is None; expected a flax.linen module"),
        ("OWN:with_weights", "model OWN:with_weights is a SmallNnx of flax.nnx, .*lambda rngs"),
        (
            "OWN:fails",
            r"raises ZeroDivisionError in OWN.py:30 \(division by zero\).*num_classes=10",
        ),
        ("OWN:needs", "raises TypeError .*something"),
        ("OWN:", "expected package.module:name"),
        ("OWN:a b", "expected package.module:name"),
        (":Net", "expected package.module:name"),
    ],
)
def test_names_of_nothing_say_the_way_out(own, name, words):
    with pytest.raises(InputError, match=f"(?s){words.replace('OWN', own)}"):
        model(name.replace("OWN", own))


def test_an_initialization_that_nobody_takes_is_refused(own):
    with pytest.raises(InputError, match=r"initialization is 'pytorch', and .* does not take it"):
        model(f"{own}:Small", initialization="pytorch")
