import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sgd_diffusion.dynamics.batches import batch_indices
from sgd_diffusion.dynamics.gradient_descent import descend, full_batch_gradient
from sgd_diffusion.dynamics.sgd import initial_carry, sgd
from sgd_diffusion.dynamics.window import Recording, record_window
from sgd_diffusion.problems.objectives import Problem

EPSILON = float(np.finfo(np.float32).eps)
TWIN = Recording(full_batch_twin=True)


def line(num_examples=23, inputs=4, **options):
    """Linear regression from a start of order 1: the loss is quadratic, with Hessian X^T X / N."""
    x = jax.random.normal(jax.random.key(0), (num_examples, inputs))
    y = x.sum(axis=1) + jax.random.normal(jax.random.key(1), (num_examples,))
    return Problem(
        init=lambda key: (jax.random.normal(key, (inputs,)), ()),
        examples={"x": x, "y": y},
        loss=half_square,
        **options,
    )


def half_square(params, state, batch, train):
    return 0.5 * jnp.mean((batch["x"] @ params - batch["y"]) ** 2), (state, None)


def jitter(key, batch):
    return batch | {"x": batch["x"] + 0.3 * jax.random.normal(key, batch["x"].shape)}


def record(
    problem,
    recording,
    steps=12,
    *,
    batch_size=10,
    learning_rate=0.05,
    optimizer=None,
    rows=None,
    windows=1,
):
    """Carries before and after the last of some consecutive windows, and its record."""
    optimizer = sgd(momentum=0.5) if optimizer is None else optimizer
    if rows is None:
        rows = batch_indices(
            jax.random.key(2),
            0,
            windows * steps + 1,
            num_examples=problem.num_examples,
            batch_size=batch_size,
        )

    @jax.jit
    def window(carry, begin):
        own = jax.lax.dynamic_slice_in_dim(rows, begin, steps + 1)
        return record_window(
            problem,
            optimizer,
            carry,
            learning_rate,
            own,
            jax.random.key(3),
            begin,
            recording=recording,
        )

    after = initial_carry(problem, optimizer, jax.random.key(1))
    for index in range(windows):
        before = after
        after, found = window(before, index * steps)
    return before, after, found


@pytest.mark.parametrize("batch_size", [7, pytest.param(20, marks=pytest.mark.slow), 59, 60])
def test_the_full_batch_gradient_is_that_of_all_examples_at_once(regression, batch_size):
    """60 examples: a last batch of 4, no smaller one, a last one of 1, a single batch."""
    params, state = regression.init(jax.random.key(4))
    found = jax.jit(
        lambda params: full_batch_gradient(
            regression, params, state, batch_size=batch_size, augmentation_key=jax.random.key(0)
        )
    )(params)
    expected = jax.jit(
        jax.value_and_grad(
            lambda params: regression.loss(params, state, regression.examples, True)[0]
        )
    )(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
    )


def test_batch_statistics_are_those_of_a_fixed_partition():
    """Each batch is normalized by its own mean and augmented by its own key, and weighs as much as
    it has examples.
    """

    def normalized(params, state, batch, train):
        return half_square(
            params, state, batch | {"x": batch["x"] - batch["x"].mean(axis=0)}, train
        )

    problem = dataclasses.replace(line(), loss=normalized, augment=jitter)
    params, key = jnp.array([1.0, -2.0, 0.5, 0.0]), jax.random.key(5)
    loss, gradient = jax.jit(
        lambda params: full_batch_gradient(problem, params, (), batch_size=10, augmentation_key=key)
    )(params)

    def mean_loss(params):
        parts = [
            jax.tree.map(lambda leaf, a=a: leaf[a : a + 10], problem.examples) for a in (0, 10, 20)
        ]
        batches = [
            jitter(jax.random.fold_in(key, number), part) for number, part in enumerate(parts)
        ]
        return sum(
            len(batch["y"]) / 23 * normalized(params, (), batch, True)[0] for batch in batches
        )

    expected_loss, expected_gradient = jax.jit(jax.value_and_grad(mean_loss))(params)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5)


@pytest.mark.parametrize(
    ("momentum", "weight_decay"),
    [(0.0, 0.0), pytest.param(0.8, 0.0, marks=pytest.mark.slow), (0.6, 0.2)],
)
def test_descent_on_a_quadratic_is_the_closed_form(momentum, weight_decay):
    """In its second window, so that the momentum buffer is not empty.

    With A = H + weight_decay and A w* = X^T y / N, (w - w*, buf) is multiplied by [[1 - eta A, -eta
    momentum], [A, momentum]] in every step; without momentum w_t - w* = (1 - eta A)^t (w_0 - w*).
    """
    problem, rate = line(), 0.3
    before, _, window = record(
        problem,
        TWIN,
        learning_rate=rate,
        windows=2,
        optimizer=sgd(momentum=momentum, weight_decay=weight_decay),
    )
    x, y = (np.asarray(problem.examples[name], np.float64) for name in "xy")
    matrix, one = x.T @ x / len(y) + weight_decay * np.eye(4), np.eye(4)
    optimum = np.linalg.solve(matrix, x.T @ y / len(y))
    step = np.block([[one - rate * matrix, -rate * momentum * one], [matrix, momentum * one]])
    buffer = np.concatenate(
        [leaf.ravel() for leaf in jax.tree.leaves(before.optimizer_state)] or [np.zeros(4)]
    )
    origin = np.concatenate([np.asarray(before.params, np.float64) - optimum, buffer])
    path = np.stack([np.linalg.matrix_power(step, t) @ origin for t in range(13)])[:, :4]
    increments = np.diff(path, axis=0)
    # An increment is off by a few roundings of weights and gradients, which are of order 1.
    tolerance = 8 * EPSILON * np.linalg.norm(increments, axis=1).max()
    np.testing.assert_allclose(window.twin_gram, increments @ increments.T, rtol=0, atol=tolerance)


@pytest.mark.parametrize("options", [{}, {"sketch_dim": 16}, {"by_layer": True}])
def test_with_all_examples_in_a_batch_sgd_is_its_own_twin(regression, options):
    """In the second window, and in the same random projection; apart from the order of the examples
    in the sums.
    """
    _, _, window = record(
        regression, Recording(full_batch_twin=True, **options), batch_size=60, windows=2
    )
    gram = np.asarray(window.step_gram)
    np.testing.assert_allclose(window.twin_gram, gram, rtol=0, atol=20 * EPSILON * gram.max())


def test_sgd_is_bit_for_bit_the_same_with_and_without_twin(make_regression):
    problem = make_regression(probe=True, augment=jitter)
    recording = Recording(gradient_coordinates=[0, 3, 17, 40, 48], by_layer=True)
    _, plain_carry, plain = record(problem, recording, batch_size=7)
    _, carry, window = record(problem, recording._replace(full_batch_twin=True), batch_size=7)
    assert (
        plain.twin_gram is None
        and window.twin_gram.shape == (12, 12)
        and window.twin_gram.dtype == np.float64
    )
    jax.tree.map(
        np.testing.assert_array_equal,
        (carry, window._replace(twin_gram=None)),
        (plain_carry, plain),
    )


def test_a_twin_keeps_to_one_draw_of_the_augmentation():
    """Then its objective has a minimum where it comes to rest, and where the twin of the next
    window stays.
    """
    problem, optimizer = line(augment=jitter), sgd()
    carry = initial_carry(problem, optimizer, jax.random.key(1))

    @jax.jit
    def twin(params, steps):
        return descend(
            problem,
            optimizer,
            carry._replace(params=params),
            0.3,
            steps,
            batch_size=10,
            augmentation_key=jax.random.key(3),
        )[0]

    steps = jnp.arange(150)
    increments = twin(carry.params, steps)
    rest = carry.params + increments.sum(axis=0)
    lengths = [
        np.linalg.norm(dw, axis=1).max()
        for dw in (increments, increments[-10:], twin(rest, 150 + steps))
    ]
    assert lengths[0] > 0.1 and lengths[1] < 1e-5 and lengths[2] < 1e-5
    other_draw = jax.jit(
        lambda params: full_batch_gradient(
            problem, params, (), batch_size=10, augmentation_key=jax.random.key(4)
        )[1]
    )(rest)
    assert 0.3 * np.linalg.norm(other_draw) > 1e-3


def test_one_draw_of_the_augmentation_is_unbiased():
    """Noise of size 0.3 on x adds 0.09 w to the expected gradient: the mean of 400 draws is within
    4 standard errors.
    """
    problem, params = line(augment=jitter), jnp.array([1.0, -2.0, 0.5, 0.0])

    @jax.jit
    @jax.vmap
    def drawn(key):
        return full_batch_gradient(problem, params, (), batch_size=10, augmentation_key=key)[1]

    draws = drawn(jax.random.split(jax.random.key(6), 400))
    x, y = (np.asarray(problem.examples[name]) for name in "xy")
    plain = x.T @ (x @ params - y) / len(y)
    errors = np.std(draws, axis=0) / np.sqrt(400)
    assert (np.abs(np.mean(draws, axis=0) - (plain + 0.09 * params)) < 4 * errors).all()
    assert (errors < 0.02).all()


def test_a_twin_that_diverges_alone_harms_nobody():
    """The last example is infinite; SGD does not come across it."""
    problem = line()
    problem = dataclasses.replace(
        problem, examples={**problem.examples, "x": problem.examples["x"].at[-1].set(jnp.inf)}
    )
    rows = jax.random.randint(jax.random.key(7), (13, 5), 0, 22)
    _, plain_carry, plain = record(problem, Recording(), rows=rows)
    _, carry, window = record(problem, TWIN, rows=rows)
    assert (
        np.isnan(window.twin_gram).all()
        and np.isfinite(window.step_gram).all()
        and window.diverged_at == -1
    )
    jax.tree.map(
        np.testing.assert_array_equal,
        (carry, window._replace(twin_gram=None)),
        (plain_carry, plain),
    )


def test_a_member_that_diverges_takes_its_twin_along():
    """SGD sees one steep example only, of curvature 64, and grows 18-fold in a step; all 24
    together have less than 3.
    """
    examples = {"x": np.eye(4, dtype=np.float32)[np.arange(24) % 4], "y": np.ones(24, np.float32)}
    examples["x"][0] = 4
    problem, optimizer = dataclasses.replace(line(), examples=examples), sgd()
    before, carry, window = record(
        problem, TWIN, 40, learning_rate=0.3, rows=jnp.zeros((41, 6), int), optimizer=optimizer
    )
    assert (
        0 < window.diverged_at < 40
        and np.isnan(window.step_gram).all()
        and np.isnan(window.twin_gram).all()
    )

    @jax.jit
    def twin(carry):
        key = jax.random.key(3)
        steps = jnp.arange(40)
        return descend(problem, optimizer, carry, 0.3, steps, batch_size=6, augmentation_key=key)

    increments, diverged_at = twin(before)
    assert diverged_at == -1 and np.isfinite(increments).all()
    increments, diverged_at = twin(carry)
    assert diverged_at == carry.diverged_at and (increments == 0).all()


def test_a_descent_that_diverges_stops_where_it_was(regression):
    carry = initial_carry(regression, sgd(), jax.random.key(1))
    increments, diverged_at = descend(
        regression,
        sgd(),
        carry,
        1e20,
        100 + jnp.arange(12),
        batch_size=7,
        augmentation_key=jax.random.key(3),
    )
    lengths = np.stack(
        [
            np.abs(ravel_pytree(jax.tree.map(lambda leaf, t=t: leaf[t], increments))[0]).max()
            for t in range(12)
        ]
    )
    moved = int(diverged_at) - 100
    assert (
        0 < moved < 12
        and (lengths[:moved] > 0).all()
        and (lengths[moved:] == 0).all()
        and np.isfinite(lengths).all()
    )
