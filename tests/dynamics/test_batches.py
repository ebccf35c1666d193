from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.dynamics.batches import batch_indices, mean_over_batches
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.objectives import Problem

KEY = jax.random.key(3)


def test_an_epoch_visits_distinct_examples_in_full_batches():
    rows = np.asarray(batch_indices(KEY, 0, 12, num_examples=43, batch_size=10))
    assert rows.shape == (12, 10)
    for epoch in range(3):
        seen = rows[4 * epoch : 4 * epoch + 4].ravel()
        assert len(set(seen)) == 40 and seen.min() >= 0 and seen.max() < 43
    assert not np.array_equal(rows[:4], rows[4:8])


def test_a_batch_of_all_examples_is_a_permutation_at_every_step():
    rows = np.asarray(batch_indices(KEY, 5, 3, num_examples=9, batch_size=9))
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(9), (3, 1)))


@partial(jax.jit, static_argnums=(1, 2))
def some_rows(start, num_steps, sampling):
    return batch_indices(KEY, start, num_steps, num_examples=23, batch_size=4, sampling=sampling)


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 50),
    skip=st.integers(0, 5),
    sampling=st.sampled_from(["epochs", "replacement"]),
)
def test_rows_depend_on_the_absolute_step_alone(start, skip, sampling):
    whole = np.asarray(some_rows(start, 11, sampling))
    np.testing.assert_array_equal(some_rows(start + skip, 6, sampling), whole[skip : skip + 6])


def test_replacement_draws_every_example_equally_often():
    rows = np.asarray(
        batch_indices(KEY, 0, 2000, num_examples=16, batch_size=8, sampling="replacement")
    )
    counts = np.bincount(rows.ravel(), minlength=16)
    expected = rows.size / 16
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected * 15 / 16)
    assert any(len(set(row)) < 8 for row in rows)


def test_keys_give_independent_orders_and_jit_agrees():
    options = {"num_examples": 30, "batch_size": 5}
    plain = batch_indices(KEY, 7, 6, **options)
    assert not np.array_equal(plain, batch_indices(jax.random.key(4), 7, 6, **options))
    np.testing.assert_array_equal(
        jax.jit(lambda key, start: batch_indices(key, start, 6, **options))(KEY, 7), plain
    )


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 12, 20])
def test_a_mean_over_batches_weighs_them_by_their_examples(batch_size):
    """Some of the examples, in an order of their own: the last batch is full, smaller, or the only
    one.
    """
    problem = Problem(init=None, loss=None, examples=jnp.arange(30.0))
    rows = jax.random.permutation(KEY, 30)[:12]
    mean, kept = jax.jit(
        lambda rows: mean_over_batches(
            problem,
            lambda batch: {"mean": batch.mean(), "size": jnp.float32(batch.size)},
            rows,
            batch_size=batch_size,
            augmentation_key=KEY,
            keep=lambda value: value["mean"],
        )
    )(rows)
    parts = [np.asarray(rows)[first : first + batch_size] for first in range(0, 12, batch_size)]
    np.testing.assert_allclose(mean["mean"], np.mean(rows), rtol=1e-6)
    np.testing.assert_allclose(mean["size"], sum(len(part) ** 2 for part in parts) / 12, rtol=1e-6)
    np.testing.assert_allclose(
        kept, [np.mean(part) for part in parts if len(part) == batch_size], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 11}, "batch_size is 11"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.0}, "batch_size is 2.0"),
        ({"batch_size": 2, "sampling": "sorted"}, "sampling is 'sorted'"),
    ],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(InputError, match=words):
        batch_indices(KEY, 0, 1, num_examples=10, **options)
