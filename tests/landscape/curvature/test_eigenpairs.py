"""Eigenpairs: prescribed spectra, dense solvers, pytrees, members, warm starts, and what is
refused.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature import top_eigenpairs

N, K = 200, 10
RANDOM = np.random.default_rng(0)
SPECTRA = {
    "decaying": np.geomspace(1, 1e-4, N),
    "with negative ones": np.r_[-np.geomspace(1, 1e-3, 30), np.linspace(0, 0.5, N - 30)],
    "degenerate": np.r_[[5.0] * 5, [4.0] * 3, np.linspace(0, 3, N - 8)],
    "clustered": np.r_[10 + 1e-3 * np.arange(5), np.linspace(0, 1, N - 5)],
    "outliers of a bulk": np.r_[np.linspace(2, 20, 9), 0.1 * RANDOM.normal(size=N - 9)],
    "identity": np.ones(N),
    "rank 3": np.r_[3.0, 2.0, 1.0, np.zeros(N - 3)],
    "zero": np.zeros(N),
    "equally spaced": np.linspace(-1, 1, N),
}


def matrix(eigenvalues, seed=0):
    basis = np.linalg.qr(
        np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues)))
    )[0]
    return (basis * eigenvalues) @ basis.T


@functools.partial(jax.jit, static_argnames=("k", "which", "tol", "max_restarts"))
def program(a, k, **options):
    return top_eigenpairs(lambda vector: a @ vector, np.zeros(len(a), a.dtype), k, **options)


def pairs_of(a, k, which="largest", **options):
    """By one program for all matrices of a size, whoever names the default."""
    return jax.tree.map(known, program(a, k, which=which, **options))


def known(leaf):
    return leaf if isinstance(leaf, jax.core.Tracer) else np.asarray(leaf)


def wanted(eigenvalues, k, which):
    ascending = np.sort(eigenvalues)
    descending = ascending[::-1]
    return {
        "largest": descending[:k],
        "smallest": ascending[:k],
        "both": np.r_[descending[: (k + 1) // 2], descending[len(ascending) - k // 2 :]],
    }[which]


# Prescribed spectra


@pytest.mark.parametrize("which", ["largest", "smallest", "both"])
@pytest.mark.parametrize("name", SPECTRA)
def test_prescribed_spectra(name, which):
    a = matrix(SPECTRA[name]).astype(np.float32)
    found = pairs_of(a, K, which=which)
    if (
        name == "decaying" and which != "largest"
    ):  # the small end is 1e-7 from its neighbors: said, and not pretended
        assert not found.converged.all()
        return
    norm = max(abs(SPECTRA[name]).max(), 1e-30)
    assert found.converged.all()
    np.testing.assert_allclose(
        found.values, wanted(SPECTRA[name], K, which), rtol=0, atol=1e-5 * norm
    )
    vectors = np.asarray(found.vectors, float)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(K), atol=2e-5)
    true = np.linalg.norm(
        vectors @ a.astype(float) - np.asarray(found.values)[:, None] * vectors, axis=1
    )
    floor = 4e-6 * norm  # rounding of products in single precision
    assert np.all(true <= 2 * found.residuals + floor) and np.all(
        found.residuals <= 2 * true + floor
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECTRA)
def test_prescribed_spectra_of_large_matrices(name):
    n = 2000
    eigenvalues = np.interp(
        np.linspace(0, 1, n), np.linspace(0, 1, N), SPECTRA[name]
    )  # between the same ends
    if name in ("degenerate", "clustered", "outliers of a bulk", "rank 3"):
        eigenvalues = np.r_[SPECTRA[name], np.zeros(n - N)]
    found = pairs_of(matrix(eigenvalues).astype(np.float32), 20, which="largest")
    assert found.converged.all()
    np.testing.assert_allclose(
        found.values,
        wanted(eigenvalues, 20, "largest"),
        rtol=0,
        atol=1e-5 * max(abs(eigenvalues).max(), 1e-30),
    )


@pytest.mark.parametrize(
    "which", ["largest", pytest.param("smallest", marks=pytest.mark.slow), "both"]
)
def test_double_precision_against_a_dense_solver(which):
    a = matrix(np.r_[np.geomspace(1, 0.01, 80), np.linspace(-0.5, 0, 120)])
    tolerance = {} if which == "largest" else {"tol": 1e-8}
    with jax.enable_x64(True):
        found = pairs_of(a, 7, which=which, **tolerance)
    assert found.converged.all() and found.values.dtype == np.float64
    np.testing.assert_allclose(
        found.values, wanted(np.linalg.eigvalsh(a), 7, which), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("name", ["decaying", "equally spaced", "clustered"])
def test_double_precision_holds_without_a_tolerance(name):
    a = matrix(SPECTRA[name])
    with jax.enable_x64(True):
        found = pairs_of(a, 7)
    expected = np.sort(np.linalg.eigvalsh(a))[::-1][:7]
    assert found.converged.all()
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-10 * expected[0])
    assert np.all(np.asarray(found.residuals) <= 1e-10 * np.asarray(found.values) + 1e-13)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 2e20, 1e37])
def test_matrices_of_any_size_that_the_type_holds(scale):
    """Norms of squares overflow from 2e19 and vanish below 1e-19."""
    eigenvalues = np.r_[np.linspace(1, 2, K), np.linspace(-0.5, 0.5, N - K)]
    found = pairs_of((matrix(eigenvalues) * scale).astype(np.float32), K)
    np.testing.assert_allclose(
        np.asarray(found.values, float) / scale, np.linspace(2, 1, K), rtol=1e-5
    )
    residuals = np.asarray(found.residuals)
    assert found.converged.all() and 0 < residuals.max() < 3e-4 * scale


def test_all_eigenvalues_of_a_small_matrix():
    a = matrix(np.r_[2.0, 2.0, 1.0, -3.0, 0.0]).astype(np.float32)
    for k in (1, 5):
        found = pairs_of(a, k, which="largest")
        np.testing.assert_allclose(found.values, [2, 2, 1, 0, -3][:k], atol=1e-5)
        assert found.num_products == 5 and found.converged.all()
    np.testing.assert_allclose(pairs_of(np.float32([[-7.0]]), 1).values, -7)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-6, 1e6), copies=st.integers(1, 2 * K))
def test_no_ghosts_and_no_missing_copies(seed, scale, copies):
    eigenvalues = np.r_[[2.0] * copies, np.linspace(-1, 1, N - copies)]
    found = pairs_of((scale * matrix(eigenvalues, seed)).astype(np.float32), K)
    np.testing.assert_allclose(
        found.values, scale * wanted(eigenvalues, K, "largest"), rtol=0, atol=1e-5 * 2 * scale
    )
    assert found.converged.all() and found.num_products <= 3 * N


def test_products_are_counted():
    counted = []

    def product(vector):
        jax.debug.callback(lambda: counted.append(1))
        return jnp.linspace(-1, 1, 100) * vector

    found = jax.jit(lambda: top_eigenpairs(product, jnp.zeros(100), 3))()
    jax.effects_barrier()
    assert len(counted) == found.num_products


def test_nothing_is_spent_on_copies_where_eigenvalues_are_apart():
    """Then it ends before the basis is full."""
    a = matrix(np.r_[np.geomspace(100, 1, K), np.geomspace(0.5, 1e-3, N - K)])
    found = pairs_of(a.astype(np.float32), K)
    assert found.converged.all() and found.num_products < 2 * K + 20
    np.testing.assert_allclose(found.values, np.geomspace(100, 1, K), rtol=1e-5)
    copies = matrix(
        np.r_[np.geomspace(100, 1, K - 2), [1.0] * 4, np.geomspace(0.5, 1e-3, N - K - 2)]
    )
    again = pairs_of(copies.astype(np.float32), K)
    np.testing.assert_allclose(again.values[-3:], 1, rtol=1e-5)
    assert again.num_products > found.num_products


def test_fewer_products_than_a_solver_without_restarts_of_its_own():
    """SciPy's ARPACK, of the same basis, takes about as many."""
    a = matrix(SPECTRA["equally spaced"])
    count = [0]

    def product(vector):
        count[0] += 1
        return a @ vector

    operator = sparse.linalg.LinearOperator(a.shape, product, dtype=float)
    expected = sparse.linalg.eigsh(operator, K, which="LA", tol=1e-4, ncv=2 * K + 20)[0][::-1]
    found = pairs_of(a.astype(np.float32), K)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    assert found.num_products < 1.5 * count[0]


# Pytrees, members, starts


def test_pytrees():
    like = {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(3)}
    diagonal = {"kernel": jnp.arange(12.0).reshape(3, 4), "bias": jnp.array([20.0, -1.0, 30.0])}
    found = jax.jit(
        lambda: top_eigenpairs(lambda tree: jax.tree.map(jnp.multiply, diagonal, tree), like, 3)
    )()
    np.testing.assert_allclose(found.values, [30, 20, 11], rtol=1e-5)
    assert found.vectors["kernel"].shape == (3, 3, 4) and found.vectors["bias"].shape == (3, 3)
    np.testing.assert_allclose(abs(found.vectors["bias"][0]), [0, 0, 1], atol=1e-4)
    np.testing.assert_allclose(abs(found.vectors["kernel"][2, 2, 3]), 1, atol=1e-4)


def test_members_under_vmap_are_those_alone_and_nan_stays_with_its_own():
    matrices = np.stack(
        [
            matrix(SPECTRA[name], seed).astype(np.float32)
            for seed, name in enumerate(("equally spaced", "degenerate", "rank 3"))
        ]
    )
    matrices = np.concatenate([matrices, np.full((1, N, N), np.nan, np.float32)])
    together = jax.tree.map(np.asarray, jax.vmap(lambda a: pairs_of(a, K))(matrices))
    for member in range(3):
        alone = pairs_of(matrices[member], K)
        np.testing.assert_allclose(together.values[member], alone.values, atol=1e-5)
        assert together.num_products[member] == alone.num_products
    assert np.isnan(together.values[3]).all() and not together.converged[3].any()
    assert together.converged[:3].all()


def test_a_warm_start_saves_products():
    a, change = matrix(SPECTRA["decaying"]), matrix(RANDOM.normal(size=N), 5)
    before = pairs_of(a.astype(np.float32), K)
    after = (a + 1e-4 * change / np.linalg.norm(change, 2)).astype(np.float32)
    cold, warm = pairs_of(after, K), pairs_of(after, K, start=before.vectors)
    np.testing.assert_allclose(warm.values, cold.values, atol=1e-6)
    assert warm.num_products <= cold.num_products and warm.converged.all()


def test_unfinished_searches_say_so():
    found = pairs_of(
        matrix(SPECTRA["equally spaced"]).astype(np.float32), K, tol=1e-6, max_restarts=1
    )
    assert (
        found.num_products == 55 and not found.converged.all() and np.isfinite(found.values).all()
    )
    assert np.all(
        found.residuals[~np.asarray(found.converged)]
        > 1e-6 * abs(found.values[~np.asarray(found.converged)])
    )


def test_wrong_arguments():
    for k in (0, 201, 2.0):
        with pytest.raises(
            InputError, match=rf"k is {k}; expected an integer in 1..200 .the size of the matrix"
        ):
            top_eigenpairs(lambda v: v, jnp.zeros(200), k)
    with pytest.raises(InputError, match="which is 'top'; expected one of largest, smallest, both"):
        top_eigenpairs(lambda v: v, jnp.zeros(3), 1, which="top")
    with pytest.raises(InputError, match="expected floating arrays"):
        top_eigenpairs(lambda v: v, jnp.arange(3), 1)


def test_eigenpairs_are_shown_without_their_vectors():
    found = pairs_of(matrix(SPECTRA["rank 3"]).astype(np.float32), K)
    assert "vectors=(10, 200)" in repr(found) and len(repr(found)) < 400
