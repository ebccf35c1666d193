"""Problems that compile in a blink, shared by the tests."""

import jax
import jax.numpy as jnp
import pytest

from sgd_diffusion.problems.objectives import Problem


def two_layer_regression(num_examples=60, inputs=5, hidden=7, *, probe=False, augment=None, seed=0):
    """Noisy regression by a two-layer network that counts its own training steps in its state."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[0], (num_examples, inputs))
    y = jnp.sin(x.sum(axis=1)) + 0.3 * jax.random.normal(keys[1], (num_examples,))
    examples = {"x": x, "y": y}

    def init(key):
        first, second = jax.random.split(key)
        return {"hidden": {"kernel": 0.5 * jax.random.normal(first, (inputs, hidden)), "bias": jnp.zeros(hidden)},
                "output": 0.5 * jax.random.normal(second, (hidden,))}, {"evaluations": jnp.int32(0)}

    def loss(params, state, batch, train):
        prediction = jnp.tanh(batch["x"] @ params["hidden"]["kernel"] + params["hidden"]["bias"]) @ params["output"]
        state = {"evaluations": state["evaluations"] + 1} if train else state
        return jnp.mean((prediction - batch["y"]) ** 2), (state, prediction)

    return Problem(init=init, loss=loss, examples=examples, test_examples=examples, augment=augment,
                   probe=jax.tree.map(lambda leaf: leaf[:20], examples) if probe else None,
                   description={"name": "two-layer regression", "seed": seed})


@pytest.fixture
def make_regression():
    """The factory of `two_layer_regression` problems."""
    return two_layer_regression


@pytest.fixture
def regression():
    """A `two_layer_regression` with its defaults."""
    return two_layer_regression()
