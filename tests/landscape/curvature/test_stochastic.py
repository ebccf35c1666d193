"""Spectral density and trace: exact cases, moments, stated errors against the scatter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature import hutchpp_trace, spectral_density, spectral_measure

N = 300
SPECTRUM = np.r_[np.linspace(3, 8, 6), np.random.default_rng(0).normal(size=N - 6) * 0.3].astype(
    np.float32
)


# For spectra of N values whose density is not looked at closely, in one program.
FEW = {"num_products": 20, "num_probes": 5}


@functools.partial(jax.jit, static_argnames=("num_products", "num_probes", "width"))
def density_of(key, diagonal, **options):
    return spectral_density(
        key, lambda vector: diagonal * vector, jnp.zeros_like(diagonal), **options
    )


@functools.partial(jax.jit, static_argnames="num_products")
def measure_of(diagonal, vectors, **options):
    def product(vector):
        return jax.tree.map(jnp.multiply, diagonal, vector)

    return spectral_measure(product, vectors, **options)


@functools.partial(jax.jit, static_argnames="num_products")
def trace_of(key, diagonal, **options):
    return hutchpp_trace(key, lambda vector: diagonal * vector, jnp.zeros_like(diagonal), **options)


def test_a_density_is_one_and_its_moments_are_those_of_the_spectrum():
    found = density_of(jax.random.key(0), SPECTRUM, num_products=40, num_probes=20)
    found = jax.tree.map(np.asarray, found)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.trapezoid(found.density, found.grid), 1, rtol=1e-3)
    for power in (1, 2, 3):
        moments = (found.weights * found.nodes**power).sum(axis=1)
        error = moments.std(ddof=1) / np.sqrt(20)
        assert (
            abs(moments.mean() - np.mean(SPECTRUM**power)) < 4 * error
        )  # Student's t of 19, 0.1 %


def test_the_density_is_the_smoothed_spectrum_within_its_error():
    found = density_of(jax.random.key(1), SPECTRUM, num_products=60, num_probes=20, width=0.2)
    found, grid = jax.tree.map(np.asarray, found), np.asarray(found.grid)
    expected = np.exp(-((grid[:, None] - SPECTRUM) ** 2) / 0.08).mean(axis=1) / np.sqrt(
        0.08 * np.pi
    )
    away = abs(found.density - expected) / (found.error + 1e-3 * expected.max())
    # Of 1000 neighboring points few are independent; a thousandth of normal numbers lies beyond
    # 3.3.
    assert away.max() < 4.5 and np.mean(away < 2) > 0.85


def test_all_products_give_the_exact_quadrature():
    diagonal = jnp.array([1.0, 2.0, 4.0])
    found = density_of(jax.random.key(0), diagonal, num_products=3, num_probes=2)
    np.testing.assert_allclose(found.nodes, [[1, 2, 4]] * 2, rtol=1e-5)


@pytest.mark.parametrize("diagonal", [np.ones(N), np.zeros(N), np.r_[np.ones(3), np.zeros(N - 3)]])
def test_spectra_of_few_values_break_down_and_stay_right(diagonal):
    found = jax.tree.map(np.asarray, density_of(jax.random.key(0), np.float32(diagonal), **FEW))
    assert np.isfinite(found.density).all()
    moments = (found.weights * found.nodes).sum(axis=1)
    error = 1e-5 + np.std(moments, ddof=1) / np.sqrt(5)
    assert abs(moments.mean() - diagonal.mean()) < 8 * error  # Student's t of 4, 0.1 %


@pytest.mark.parametrize("scale", [0, 1, 3e-3, 1e-30, 2e20])
def test_one_value_has_a_density_by_default(scale):
    found = density_of(jax.random.key(0), np.full(N, scale, np.float32), **FEW)
    grid, density = np.asarray(found.grid, float), np.asarray(found.density, float)
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, rtol=1e-4)
    np.testing.assert_allclose(
        np.trapezoid(density * grid, grid), scale, rtol=1e-4, atol=1e-6 * (scale == 0)
    )
    assert np.isfinite(found.error).all()


@pytest.mark.parametrize("scale", [1e-30, 2e20])
def test_matrices_of_any_size_that_the_type_holds(scale):
    found, usual = (
        trace_of(jax.random.key(0), (factor * SPECTRUM).astype(np.float32))
        for factor in (scale, 1.0)
    )
    np.testing.assert_allclose(np.array(found, float) / scale, usual, rtol=1e-4)
    found, usual = (
        density_of(jax.random.key(0), (factor * SPECTRUM).astype(np.float32), **FEW)
        for factor in (scale, 1.0)
    )
    np.testing.assert_allclose(
        np.asarray(found.nodes, float) / scale, usual.nodes, rtol=1e-3, atol=1e-3
    )
    assert np.isfinite(found.error).all()


def test_zero_matrices_have_no_trace():
    assert trace_of(jax.random.key(0), jnp.zeros(4)) == (0, 0)


def test_the_trace_of_low_rank_and_of_small_matrices_is_exact():
    low = np.zeros(N, np.float32)
    low[:7] = np.arange(1, 8)
    found = trace_of(jax.random.key(0), low, num_products=30)
    np.testing.assert_allclose(found.value, 28, rtol=1e-4)
    assert found.error < 1e-3
    few = trace_of(jax.random.key(0), jnp.arange(4.0), num_products=12)
    np.testing.assert_allclose(few.value, 6, rtol=1e-5)


def test_the_stated_error_of_a_trace_is_its_scatter():
    keys = jax.random.split(jax.random.key(0), 200)
    found = jax.lax.map(lambda key: trace_of(key, SPECTRUM, num_products=30), keys)
    scatter = np.std(found.value, ddof=1)
    assert abs(np.mean(found.value) - SPECTRUM.sum()) < 4 * scatter / np.sqrt(200)
    # The scatter of 200 is known to 5 percent.
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(found.error))) / scatter, 1, atol=0.2)


def test_wrong_arguments():
    for name, value, words in (
        ("num_products", 0, "1..3"),
        ("num_products", 4, "1..3"),
        ("num_probes", 1, "in 2"),
        ("num_points", 1, "in 2"),
    ):
        with pytest.raises(InputError, match=f"{name} is {value}; expected an integer.*{words}"):
            spectral_density(
                jax.random.key(0),
                lambda v: v,
                jnp.zeros(3),
                **({"num_products": 2} | {name: value}),
            )
    with pytest.raises(InputError, match="num_products is 5; expected an integer in 6"):
        hutchpp_trace(jax.random.key(0), lambda v: v, jnp.zeros(3), num_products=5)


# Measures of given vectors


def test_a_measure_with_all_products_is_the_squared_components():
    diagonal = jnp.array([4.0, -1.0, 2.0])
    vectors = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0], [0.0, 0.0, 0.0]])
    found = jax.tree.map(np.asarray, measure_of(diagonal, vectors, num_products=3))
    np.testing.assert_allclose(found.nodes[0], [-1, 2, 4], rtol=1e-5)
    np.testing.assert_allclose(found.weights[0], [4, 9, 1], rtol=1e-5)
    np.testing.assert_allclose(found.weights[1].sum(), 25, rtol=1e-6)
    np.testing.assert_allclose((found.weights * found.nodes)[1].sum(), 50, rtol=1e-5)
    assert not found.weights[2].any()


def test_moments_of_a_measure_are_those_of_the_vectors():
    """With m products they are exact to degree 2 m - 1, here of a pytree."""
    random = np.random.default_rng(0)
    vectors = {"a": random.normal(size=(4, N - 7)).astype(np.float32), "b": np.ones((4, 7))}
    matrix = {"a": SPECTRUM[:-7], "b": SPECTRUM[-7:]}
    found = jax.tree.map(np.asarray, measure_of(matrix, vectors, num_products=5))
    squares = np.concatenate([vectors["a"], vectors["b"]], axis=1) ** 2
    for power in range(10):
        expected = squares @ SPECTRUM.astype(float) ** power
        np.testing.assert_allclose(
            (found.weights * found.nodes**power).sum(axis=1), expected, rtol=2e-4
        )


@pytest.mark.parametrize(
    ("vectors", "options", "expected"),
    [
        (np.ones((2, 3), int), {}, "floating"),
        ({"a": np.ones((2, 3)), "b": np.ones((3, 3))}, {"num_products": 2}, "leading axes"),
        (np.ones((2, 3)), {"num_products": 4}, "num_products is 4"),
    ],
)
def test_vectors_without_a_measure(vectors, options, expected):
    with pytest.raises(InputError, match=expected):
        spectral_measure(lambda vector: vector, vectors, **options)
