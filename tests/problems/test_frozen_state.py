"""Frozen batch normalization: examples become independent, and the state stays."""

import jax
import numpy as np
import pytest

from sgd_diffusion.problems import classification, gaussian, model, with_frozen_state


@pytest.fixture(scope="module")
def normalized():
    data = gaussian(train_size=12, test_size=4, shape=(4, 4, 1), num_classes=3)
    problem = classification(model("resnet8-width2", num_classes=3), data)
    # The numbers of this generator take a tenth of the time to compile.
    params, state = jax.jit(problem.init)(jax.random.key(0, impl="rbg"))
    uneven = jax.tree.map(lambda leaf: leaf + np.float32(0.1) * np.arange(leaf.size), state)
    return problem, params, jax.tree.map(np.float32, uneven)


def gradients(problem, params, state):
    """That of the batch of all examples, and that of each of them."""

    def of_batch(params, batch):
        return jax.grad(lambda params: problem.loss(params, state, batch, True)[0])(params)

    @jax.jit
    def of_both(params, examples):
        single = jax.tree.map(lambda leaf: leaf[:, None], examples)
        return of_batch(params, examples), jax.vmap(of_batch, (None, 0))(params, single)

    return jax.tree.map(np.asarray, of_both(params, problem.examples))


def test_the_gradient_of_a_batch_is_the_mean_over_its_examples(normalized):
    problem, params, state = normalized
    whole, each = gradients(with_frozen_state(problem), params, state)
    for batch, single in zip(jax.tree.leaves(whole), jax.tree.leaves(each), strict=True):
        np.testing.assert_allclose(single.mean(axis=0), batch, rtol=1e-4, atol=1e-5)


def test_without_it_examples_of_a_batch_depend_on_each_other(normalized):
    whole, each = gradients(*normalized)
    norms = [
        sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(tree))
        for tree in (
            whole,
            jax.tree.map(lambda batch, single: single.mean(axis=0) - batch, whole, each),
        )
    ]
    assert norms[1] > 0.1 * norms[0]


def test_the_state_stays_and_the_loss_is_that_of_evaluation(normalized):
    problem, params, state = normalized
    frozen = with_frozen_state(problem)
    own, frozen_loss = (jax.jit(each.loss, static_argnums=3) for each in (problem, frozen))
    expected, (_, logits) = own(params, state, problem.examples, False)
    for train in (True, False):
        value, (after, outputs) = frozen_loss(params, state, problem.examples, train)
        assert value == expected
        np.testing.assert_array_equal(outputs, logits)
        jax.tree.map(np.testing.assert_array_equal, after, state)


def test_all_else_is_that_of_the_problem(normalized):
    problem, *_ = normalized
    frozen = with_frozen_state(problem)
    assert frozen.description == {**problem.description, "frozen_state": True}
    assert frozen.init is problem.init
    jax.tree.map(np.testing.assert_array_equal, frozen.examples, problem.examples)
    jax.tree.map(np.testing.assert_array_equal, frozen.test_examples, problem.test_examples)
