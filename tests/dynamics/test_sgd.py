import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgd_diffusion.dynamics.sgd import ALIVE, Carry, initial_carry, sgd, sgd_step, update


def run(problem, optimizer, learning_rate, steps):
    carry = initial_carry(problem, optimizer, jax.random.key(0))
    infos = []

    @jax.jit
    def one(carry, step):
        return sgd_step(problem, optimizer, carry, problem.examples, learning_rate, step)

    for step in range(steps):
        carry, info = one(carry, step)
        infos.append(info)
    return carry, infos


@pytest.mark.parametrize(
    ("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.1), (0.8, 0.05)]
)
def test_heavy_ball_recursion(regression, momentum, weight_decay):
    """buf <- momentum buf + gradient + weight_decay w; w <- w - learning_rate buf, written out with
    NumPy.
    """
    carry, _ = run(regression, sgd(momentum=momentum, weight_decay=weight_decay), 0.1, 5)
    params, _ = regression.init(jax.random.key(0))
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    weights, buffer = np.asarray(flat), np.zeros(flat.shape)
    gradient = jax.jit(
        jax.grad(
            lambda w: regression.loss(unravel(w), {"evaluations": 0}, regression.examples, True)[0]
        )
    )
    for _ in range(5):
        buffer = (
            momentum * buffer
            + np.asarray(gradient(jnp.asarray(weights, jnp.float32)))
            + weight_decay * weights
        )
        weights = weights - 0.1 * buffer
    np.testing.assert_allclose(
        jax.flatten_util.ravel_pytree(carry.params)[0], weights, rtol=1e-5, atol=1e-6
    )


def test_plain_sgd_agrees_with_optax(regression):
    carry, _ = run(regression, sgd(), 0.1, 4)
    optimizer = optax.sgd(0.1)
    params, state = regression.init(jax.random.key(0))
    memory = optimizer.init(params)

    @jax.jit
    def step(params, memory):
        gradient = jax.grad(lambda p: regression.loss(p, state, regression.examples, True)[0])(
            params
        )
        updates, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, updates), memory

    for _ in range(4):
        params, memory = step(params, memory)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), carry.params, params
    )
    assert carry.state["evaluations"] == 4


def test_increments_are_differences_of_the_stored_weights(regression):
    optimizer = sgd(momentum=0.5)
    step = jax.jit(
        lambda carry: sgd_step(regression, optimizer, carry, regression.examples, 0.1, 0)
    )
    carry = initial_carry(regression, optimizer, jax.random.key(0))
    for _ in range(3):
        following, info = step(carry)
        jax.tree.map(
            lambda new, old, dw: np.testing.assert_array_equal(new - old, dw),
            following.params,
            carry.params,
            info.increment,
        )
        carry = following


def test_a_member_that_cannot_move_is_frozen_for_good(regression):
    optimizer = sgd(momentum=0.9)
    carry, infos = run(regression, optimizer, 1e20, 4)
    assert 0 < carry.diverged_at < 4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(carry.params))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(infos[-1].increment))
    revived, _ = sgd_step(regression, optimizer, carry, regression.examples, 0.01, 4)
    assert revived.diverged_at == carry.diverged_at
    jax.tree.map(np.testing.assert_array_equal, revived, carry)


def test_a_healthy_member_is_alive(regression):
    carry, infos = run(regression, sgd(), 0.1, 3)
    assert carry.diverged_at == ALIVE
    assert infos[-1].loss < infos[0].loss


@pytest.mark.parametrize("where", ["gradient", "weights", "loss"])
def test_one_number_that_is_not_finite_stops_the_member(where):
    """In any leaf, and whatever of the update it is."""
    optimizer = sgd()
    params = {"a": jnp.ones(3), "b": jnp.full(2, 3e38), "c": jnp.ones((2, 2))}
    loss, gradient = jnp.float32(1.0), jax.tree.map(jnp.zeros_like, params)
    if where == "gradient":
        gradient["c"] = gradient["c"].at[1, 0].set(jnp.nan)
    elif where == "weights":
        gradient["b"] = jnp.array([0.0, -3e38])
    else:
        loss = jnp.float32(jnp.inf)
    carry = Carry(params, {}, optimizer.init(params), jnp.int32(ALIVE))
    after, info = jax.jit(lambda *given: update(optimizer, *given, 1.0, 7))(
        carry, loss, gradient, {}
    )
    assert after.diverged_at == 7
    for name, leaf in params.items():
        np.testing.assert_array_equal(after.params[name], leaf)
        assert not np.any(info.increment[name])


def test_what_all_leaves_have_in_common_is_found_once():
    """XLA would compute a conjunction over all leaves again for each, 30 * 30 in this program."""
    optimizer = sgd()
    params = {str(k): np.ones(k + 1, np.float32) for k in range(30)}
    carry = Carry(params, {}, optimizer.init(params), jnp.int32(ALIVE))
    loss = jnp.float32(0.0)
    step = jax.jit(lambda carry, gradient: update(optimizer, carry, loss, gradient, {}, 0.1, 0))
    text = step.lower(carry, params).compile().as_text()
    assert text.count(" and(") <= 3 * 30
