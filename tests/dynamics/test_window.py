import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sgd_diffusion.analysis.displacement import squared_displacements, time_averaged_msd
from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.dynamics.batches import batch_indices
from sgd_diffusion.dynamics.sgd import initial_carry, sgd, sgd_step
from sgd_diffusion.dynamics.window import REPORT_EVERY, Recording, record_window
from sgd_diffusion.errors import InputError

STEPS, PARAMETERS = 1000, 2000


def path(motion):
    """Motion with steps of order 1e-4, as float32."""
    rng = np.random.default_rng(0)
    noise = 1e-4 * rng.standard_normal((STEPS, PARAMETERS)).astype(np.float32)
    time = np.arange(STEPS + 1, dtype=np.float32)[:, None]
    velocity = 1e-4 * rng.standard_normal(PARAMETERS).astype(np.float32)
    origin = np.zeros((1, PARAMETERS), np.float32)
    if motion == "brownian":
        return np.concatenate([origin, np.cumsum(noise, axis=0)])
    if motion == "ballistic":
        return time * velocity
    if motion == "period_2":
        return velocity * (time % 2) + np.concatenate([origin, 1e-2 * noise])
    places = np.concatenate([origin, noise])
    for step in range(STEPS if motion == "ornstein_uhlenbeck" else 0):
        places[step + 1] += 0.9 * places[step]
    return places


def brute_force_msd(weights, lags):
    weights = weights.astype(np.float64)
    return np.array(
        [np.mean(np.sum((weights[lag:] - weights[:-lag]) ** 2, axis=1)) for lag in lags]
    )


@pytest.mark.parametrize(
    "motion", ["brownian", "ballistic", "ornstein_uhlenbeck", "white", "period_2"]
)
def test_msd_from_the_step_gram_is_exact(motion):
    """The promise: relative error at most 1e-6 against float64 brute force, riding on weights of
    size 0.5.

    The float32 path is the truth.
    """
    resting = 0.5 * np.random.default_rng(1).standard_normal(PARAMETERS).astype(np.float32)
    weights = resting + path(motion)
    lags = [1, 2, 3, 10, 99, 500, 999, 1000]
    gram = jax.jit(step_gram)(jnp.asarray(weights))
    assert gram.dtype == np.float64
    msd = time_averaged_msd(gram, lags)
    np.testing.assert_allclose(msd, brute_force_msd(weights, lags), rtol=1e-6)


def record(problem, steps=12, *, learning_rate=0.05, begin=0, carry=None, **options):
    optimizer = sgd(momentum=0.5)
    carry = initial_carry(problem, optimizer, jax.random.key(1)) if carry is None else carry
    rows = batch_indices(
        jax.random.key(2), begin, steps + 1, num_examples=problem.num_examples, batch_size=10
    )
    window = jax.jit(
        lambda carry, rate: record_window(
            problem, optimizer, carry, rate, rows, jax.random.key(3), begin, **options
        )
    )
    return window(carry, learning_rate)


def replay(problem, steps=12, learning_rate=0.05):
    """The same window step by step, with every point and gradient kept."""
    optimizer = sgd(momentum=0.5)
    carry = initial_carry(problem, optimizer, jax.random.key(1))
    rows = batch_indices(
        jax.random.key(2), 0, steps + 1, num_examples=problem.num_examples, batch_size=10
    )
    points, gradients, losses, carries = [ravel_pytree(carry.params)[0]], [], [], [carry]

    @jax.jit
    def step_once(carry, step):
        batch = jax.tree.map(lambda leaf: leaf[rows[step]], problem.examples)
        if problem.augment is not None:
            batch = problem.augment(jax.random.fold_in(jax.random.key(3), step), batch)
        return sgd_step(problem, optimizer, carry, batch, learning_rate, step)

    for step in range(steps):
        carry, info = step_once(carry, step)
        points.append(ravel_pytree(carry.params)[0])
        gradients.append(ravel_pytree(info.gradient)[0])
        losses.append(float(info.loss))
        carries.append(carry)
    return np.stack(points), np.stack(gradients), losses, carries


def test_a_window_is_the_steps_one_by_one(make_regression):
    def jitter(key, batch):
        return batch | {"x": batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)}

    problem = make_regression(probe=True, augment=jitter)
    coordinates = [0, 3, 17, 41, 42, 48]
    recording = Recording(gradient_coordinates=coordinates, by_layer=True)
    carry, window = record(problem, recording=recording)
    points, gradients, losses, carries = replay(problem)
    np.testing.assert_allclose(ravel_pytree(carry.params)[0], points[-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(window.losses[:-1], losses, rtol=1e-5)
    np.testing.assert_allclose(window.gradient_norms, np.linalg.norm(gradients, axis=1), rtol=1e-4)
    np.testing.assert_allclose(window.step_gram, step_gram(points), rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(
        window.gradient_samples, gradients[:, coordinates], rtol=1e-3, atol=1e-6
    )
    probe = jax.jit(lambda params, state: problem.loss(params, state, problem.probe, True)[0])
    probes = [probe(each.params, each.state) for each in carries]
    np.testing.assert_allclose(window.probe_losses, probes, rtol=1e-5)
    assert (
        carry.state["evaluations"] == 12
    )  # probes and the closing loss leave no trace in the state


def test_layers_add_up_to_the_whole(regression):
    _, window = record(regression, recording=Recording(by_layer=True))
    assert set(window.layer_grams) == {"hidden", "output"}
    np.testing.assert_allclose(
        sum(map(np.asarray, window.layer_grams.values())), window.step_gram, rtol=1e-12
    )
    _, plain = record(regression)
    assert plain.layer_grams == {}
    np.testing.assert_allclose(plain.step_gram, window.step_gram, rtol=1e-6)


def test_consecutive_windows_are_one_longer_window(regression):
    middle, first = record(regression, 6)
    last, second = record(regression, 6, begin=6, carry=middle)
    carry, whole = record(regression, 12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), last, carry)
    assert first.losses[-1] == pytest.approx(float(second.losses[0]), rel=1e-6)
    np.testing.assert_allclose(np.append(first.losses[:-1], second.losses), whole.losses, rtol=1e-5)
    np.testing.assert_allclose(whole.step_gram[6:, 6:], second.step_gram, rtol=1e-4, atol=1e-9)


def test_a_sketch_keeps_squared_displacements_within_its_error(regression):
    """Relative standard error sqrt(2 / sketch_dim) over independent projections, and no bias."""
    _, exact = record(regression)
    sketched = jax.jit(
        jax.vmap(
            lambda key: record(regression, recording=Recording(sketch_dim=16, key=key))[1].step_gram
        )
    )(jax.random.split(jax.random.key(6), 400))
    truth = np.asarray(squared_displacements(exact.step_gram))[0, 1:]
    ratios = np.asarray(jax.vmap(squared_displacements)(np.asarray(sketched)))[:, 0, 1:] / truth
    bound = np.sqrt(2 / 16)
    assert (
        ratios.std(axis=0) <= 1.15 * bound
    ).all()  # 400 projections know their spread within 4 %
    assert (np.abs(ratios.mean(axis=0) - 1) < 4 * bound / np.sqrt(400)).all()


def test_a_diverged_window_is_masked(regression):
    carry, window = record(
        regression, learning_rate=1e20, recording=Recording(gradient_coordinates=[1, 8, 48])
    )
    step = int(window.diverged_at)
    assert 0 < step < 12 and step == carry.diverged_at
    assert np.isfinite(window.losses[:step]).all() and np.isnan(window.losses[step:]).all()
    assert (
        np.isnan(window.gradient_samples[step:]).all()
        and np.isnan(window.gradient_norms[step:]).all()
    )
    assert np.isnan(window.step_gram).all()


@pytest.mark.parametrize("coordinates", [[0, 49], [-1, 3]])
def test_coordinates_outside_the_gradient_are_refused(regression, coordinates):
    with pytest.raises(InputError, match=r"gradient_coordinates has .* 0 to 48"):
        record(regression, recording=Recording(gradient_coordinates=coordinates))


def test_reports_come_from_inside_the_window(regression):
    seen = []
    _, window = record(
        regression,
        steps=2 * REPORT_EVERY + 1,
        report=lambda step, loss: seen.append((int(step), float(loss))),
    )
    jax.effects_barrier()
    assert sorted(seen) == [
        (step, pytest.approx(float(window.losses[step]), rel=1e-6))
        for step in (0, REPORT_EVERY, 2 * REPORT_EVERY)
    ]


def test_problem_without_examples_of_one_length_is_refused(regression):
    with pytest.raises(InputError, match="examples has leaves"):
        dataclasses.replace(regression, examples={"x": jnp.zeros((3, 2)), "y": jnp.zeros(4)})
