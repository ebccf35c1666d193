"""The Gram matrix of a path of one's own, whatever holds its points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from input_table import Argument, input_tests, mode_tests

from sgd_diffusion._platforms import traced_on
from sgd_diffusion.analysis import gram
from sgd_diffusion.analysis.gram import increment_gram, step_gram
from sgd_diffusion.errors import InputError

PATH = np.random.default_rng(0).integers(0, 100, size=(9, 4)).astype(float)
TRUTH = np.diff(PATH, axis=0) @ np.diff(PATH, axis=0).T
ENTRIES = [
    Argument("step_gram(weights)", step_gram, PATH, takes_complex=True),
    Argument(
        "step_gram(one of the points)",
        lambda point: step_gram([*PATH, point]),
        PATH[0],
        takes_complex=True,
        takes_list=False,
    ),
    Argument("step_gram(numbers)", step_gram, PATH[:, 0], takes_complex=True),
]
test_inputs = input_tests(ENTRIES)
test_modes = mode_tests(ENTRIES)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64", "int8", "bool"])
def test_steps_downwards_of_unsigned_positions(dtype):
    path = np.array([[3, 1], [2, 1], [0, 0]]).astype(dtype)
    steps = np.diff(path.astype(float), axis=0)
    np.testing.assert_array_equal(step_gram(path), steps @ steps.T)


def test_large_integers_are_not_rounded():
    """Single precision would not hold them."""
    np.testing.assert_array_equal(
        step_gram(np.array([[2**30 + 1], [2**30], [2**30 + 3]], np.int32)), [[1, -3], [-3, 9]]
    )


def test_complex_weights_are_pairs_of_real_ones():
    path = PATH[:, :2] + 1j * PATH[:, 2:]
    np.testing.assert_allclose(step_gram(path), TRUTH, rtol=1e-12)
    np.testing.assert_allclose(increment_gram(jnp.asarray(np.diff(path, axis=0))), TRUTH, rtol=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        list(PATH),
        tuple(PATH),
        PATH.tolist(),
        [jnp.asarray(point) for point in PATH],
        [{"w": point.reshape(2, 2)} for point in PATH],
        [{"w": point[:3], "b": point[3]} for point in PATH],
        [[point[:3], point[3:]] for point in PATH],
        [(point[:1].item(), point[1:]) for point in PATH],
    ],
    ids=[
        "list",
        "tuple",
        "numbers",
        "JAX",
        "dicts",
        "leaves of two shapes",
        "lists of layers",
        "tuples",
    ],
)
def test_a_list_of_points_is_a_path(points):
    np.testing.assert_allclose(step_gram(points), TRUTH, rtol=1e-6)


def test_traced_points_in_a_list():
    found = jax.jit(lambda first, rest: step_gram([first, *rest]))(
        PATH[0].astype(np.int8), list(PATH[1:].astype(np.float32))
    )
    np.testing.assert_allclose(found, TRUTH)


def test_a_pytree_is_its_leaves_side_by_side():
    tree = {"a": PATH[:, :3].reshape(9, 3, 1), "b": PATH[:, 3]}
    np.testing.assert_allclose(step_gram(tree), TRUTH, rtol=1e-12)


def test_two_layers_that_look_like_two_points_are_refused():
    with pytest.raises(InputError, match=r"a tuple of 2 elements with different shapes.*as a dict"):
        step_gram((PATH[:, :3], PATH[:, 3:]))
    with pytest.raises(InputError, match="with different shapes"):
        step_gram([{"w": PATH[0]}, {"v": PATH[1]}])


def test_a_path_that_ends_in_a_divergence_is_nan_from_there_on():
    path = PATH.copy()
    path[6:] = np.nan
    gram = np.asarray(step_gram(path))
    np.testing.assert_allclose(gram[:5, :5], TRUTH[:5, :5])
    assert np.isnan(gram[5:]).all()


@pytest.mark.parametrize("missing", [[4], [0], [2, 3, 6]])
def test_missing_points_are_named(missing):
    path = PATH.copy()
    path[missing, 1] = np.nan
    with pytest.raises(
        InputError, match=f"{len(missing)} points .*: {', '.join(map(str, missing))}; .*positions"
    ):
        step_gram(path)


def test_traced_weights_of_narrow_types():
    np.testing.assert_allclose(jax.jit(step_gram)(PATH.astype(np.uint8)), TRUTH)


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((1, 3)),
        np.float64(1.0),
        {"a": np.zeros((4, 2)), "b": np.zeros((5, 2))},
        [],
        {},
        np.zeros((5, 0)),
        [1.0],
    ],
)
def test_what_is_no_path_is_refused(weights):
    with pytest.raises(InputError, match="weights has leaves"):
        step_gram(weights)


def test_a_matrix_beyond_the_memory_is_refused_before_it_is_asked_for():
    with pytest.raises(
        InputError, match=r"Gram matrix of 999999 steps .* GiB .*every k-th point.*positions"
    ):
        step_gram(np.zeros((1_000_000, 1), np.float32))


@pytest.mark.parametrize("columns", [2, 3, 11, 12])
def test_blocks_in_a_loop_give_the_numbers_of_those_one_by_one(monkeypatch, columns):
    """Accelerators take the blocks in a loop, so that one of them at a time is in float64."""
    monkeypatch.setattr(gram, "GRAM_BLOCK", 3)
    increments = np.random.default_rng(0).normal(size=(5, columns)).astype(np.float32)
    with traced_on("gpu"):
        lowered = (
            jax.jit(lambda dw: increment_gram(dw))
            .trace(increments)
            .lower(lowering_platforms=("cpu",))
        )
    assert ("while" in lowered.as_text()) == (columns >= 3)
    found = lowered.compile()(increments)
    np.testing.assert_array_equal(found, increment_gram(increments))
    np.testing.assert_allclose(found, increments.astype(float) @ increments.T.astype(float), 1e-14)
