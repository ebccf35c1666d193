"""All kinds of arrays and integers as arguments of the curvature functions, in all modes of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from input_table import ARRAYS, MODES, Argument, Number, Option, input_tests, mode_tests

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature import (
    compare_with_hessian,
    dense_matrix,
    gauss_newton_product,
    gradient_alignment,
    gradient_covariance,
    hessian_vector_product,
    hutchpp_trace,
    mean_over_chunks,
    noise_alignment,
    smoothed_density,
    spectral_density,
    top_eigenpairs,
)

KEY = jax.random.key(0)
WEIGHTS = np.float32([1, 2, 3])
VECTOR = np.array([2.0, 0, 1])
VECTORS = np.eye(3)[:2]
GRADIENTS = np.array([[1.0, 5, 2], [3, 4, 1], [9, 2, 6], [2, 2, 7]])
X = np.array([[3.0, 0], [1, 4], [2, 8]])
SQUARE = np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]])
NODES, SHARES, GRID = np.array([[1.0, 4], [2, 3]]), np.array([[1.0, 0], [0, 1]]), np.arange(6.0)
FLOATS = (
    "float16",
    "bfloat16",
    "float32",
    "longdouble",
    "big-endian float",
    "read-only",
    "strided",
    "Fortran order",
    "reversed twice",
    "JAX array",
    "nothing masked",
    "torch tensor",
)
SMALL = jnp.asarray([3.0, 2.0, 1.0])


def cubes(w):
    return (w**3).sum()


def sums(w, examples):
    return w.sum() * sum(jnp.real(leaf).sum().astype(w.dtype) for leaf in jax.tree.leaves(examples))


def scaled(vector):
    return SMALL.astype(vector.dtype) * vector


def in_one_program(call):
    """A function of the same argument, which is known: only what follows from it is compiled."""
    return lambda value: jax.jit(lambda: call(value))()


ARGUMENTS = [
    Argument(
        "hessian_vector_product()(vector)",
        hessian_vector_product(cubes, WEIGHTS),
        VECTOR,
        takes_list=False,
    ),
    Argument(
        "gauss_newton_product()(vector)",
        gauss_newton_product(
            lambda w, x: w * x[0],
            lambda out, x: (out**2).mean(),
            WEIGHTS,
            np.ones((1, 3), np.float32),
        ),
        VECTOR,
        takes_list=False,
    ),
    Argument(
        "mean_over_chunks(examples)",
        in_one_program(
            lambda x: mean_over_chunks(
                lambda chunk: jax.tree.map(
                    lambda leaf: leaf.astype(jnp.complex64).mean(axis=0), chunk
                ),
                x,
                2,
            )
        ),
        X,
        takes_complex=True,
        takes_list=False,
    ),
    Argument(
        "gradient_alignment(vectors)",
        in_one_program(lambda v: gradient_alignment(v, VECTOR)),
        VECTORS,
        takes_list=False,
    ),
    Argument(
        "gradient_alignment(gradient)",
        in_one_program(lambda g: gradient_alignment(VECTORS, g)),
        VECTOR,
        takes_list=False,
    ),
    Argument(
        "noise_alignment(vectors)",
        in_one_program(lambda v: noise_alignment(v, GRADIENTS)),
        VECTORS,
        takes_list=False,
    ),
    Argument(
        "noise_alignment(gradients)",
        in_one_program(lambda g: noise_alignment(VECTORS, g)),
        GRADIENTS,
        takes_list=False,
    ),
    Argument(
        "gradient_covariance(examples)",
        in_one_program(lambda x: gradient_covariance(sums, np.ones(2), x, chunk_size=2)),
        X,
        takes_complex=True,
        takes_list=False,
    ),
    Argument("compare_with_hessian(covariance)", lambda c: compare_with_hessian(c, SQUARE), SQUARE),
    Argument("compare_with_hessian(hessian)", lambda h: compare_with_hessian(SQUARE, h), SQUARE),
    Option("compare_with_hessian(top)", lambda k: compare_with_hessian(SQUARE, SQUARE, top=k), 3),
    Number(
        "compare_with_hessian(threshold)",
        lambda least: compare_with_hessian(SQUARE, SQUARE, threshold=least),
        1.0,
    ),
    Option(
        "dense_matrix(columns_at_once)",
        in_one_program(lambda n: dense_matrix(scaled, SMALL, columns_at_once=n)),
        2,
    ),
    Argument("smoothed_density(nodes)", lambda n: smoothed_density(n, SHARES, GRID, 1.0), NODES),
    Argument("smoothed_density(weights)", lambda w: smoothed_density(NODES, w, GRID, 1.0), SHARES),
    Argument("smoothed_density(grid)", lambda g: smoothed_density(NODES, SHARES, g, 1.0), GRID),
    Number(
        "smoothed_density(width)", lambda width: smoothed_density(NODES, SHARES, GRID, width), 2.0
    ),
    Option(
        "mean_over_chunks(chunk_size)",
        lambda size: mean_over_chunks(lambda chunk: chunk.mean(axis=0), X.astype(np.float32), size),
        2,
    ),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)


def density_nodes(**numbers):
    numbers = {"num_products": 2, "num_probes": 2, "num_points": 5} | numbers
    return spectral_density(KEY, scaled, SMALL, **numbers).nodes


SEARCHES = [  # each call is compiled anew
    Option(
        "top_eigenpairs(k)",
        in_one_program(lambda k: top_eigenpairs(scaled, SMALL, k).values),
        2,
    ),
    Option(
        "top_eigenpairs(max_restarts)",
        in_one_program(lambda n: top_eigenpairs(scaled, SMALL, 1, max_restarts=n).values),
        2,
    ),
    *(
        Option(
            f"spectral_density({name})",
            in_one_program(lambda n, name=name: density_nodes(**{name: n})),
            value,
        )
        for name, value in (("num_products", 2), ("num_probes", 2), ("num_points", 5))
    ),
    Option(
        "hutchpp_trace(num_products)",
        in_one_program(lambda n: hutchpp_trace(KEY, scaled, SMALL, num_products=n)),
        6,
    ),
]
test_integers_of_searches = input_tests(SEARCHES)

OF_WEIGHTS = {
    "hessian_vector_product": lambda w: hessian_vector_product(cubes, w)(VECTOR),
    "gradient_covariance": lambda w: gradient_covariance(
        lambda w, x: (x @ w).mean() ** 2, w, np.eye(3, dtype=np.float32)
    ),
    "top_eigenpairs": lambda w: top_eigenpairs(scaled, w, 2)._replace(vectors=None),
    "spectral_density": lambda w: (
        spectral_density(KEY, scaled, w, num_products=2, num_probes=2, num_points=5).nodes
    ),
    "hutchpp_trace": lambda w: hutchpp_trace(KEY, scaled, w),
}


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_weights_of_all_kinds_are_those_of_float64_or_refused(name):
    """Integers too are refused: they have no derivatives, and would be mistaken weights."""
    call = OF_WEIGHTS[name]
    value = np.array([1.0, 2.0, 3.0])
    expected = call(value)
    few = (
        FLOATS
        if name == "hessian_vector_product"
        else ("float16", "bfloat16", "longdouble", "JAX array")
    )
    for kind in [kind for kind in ARRAYS if kind in few]:
        jax.tree.map(
            lambda a, b, kind=kind: np.testing.assert_allclose(
                a, b, rtol=1e-5, atol=1e-4, err_msg=kind
            ),
            call(ARRAYS[kind].make(value)),
            expected,
        )
    for kind in (
        "bool",
        "uint8",
        "int64",
        "JAX integers",
        "complex64",
        "objects",
        "strings",
        "None",
        "one masked",
        "torch integers",
        "torch with gradient",
    ):
        if kind in ARRAYS:
            with pytest.raises(InputError):
                call(ARRAYS[kind].make(value))
    assert (
        getattr(call(value.astype(jnp.bfloat16)), "dtype", np.float32) == np.float32
    )  # no sum is rounded to 16 bits


@pytest.mark.slow
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "64 bits"])
@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_modes_of_searches(name, mode):
    mixed = {"a": np.zeros(1, np.float32), "b": np.zeros(2, jnp.bfloat16)}

    def product(tree):
        return jax.tree.map(
            lambda leaf: jnp.arange(1, 1 + leaf.size).astype(leaf.dtype) * leaf, tree
        )

    calls = OF_WEIGHTS | {
        "hessian_vector_product": lambda w: hessian_vector_product(
            lambda w: sum((leaf.astype(jnp.float32) ** 3).sum() for leaf in jax.tree.leaves(w)), w
        )(w),
        "gradient_covariance": lambda w: gradient_covariance(
            lambda w, x: (x @ jnp.concatenate([leaf.astype(x.dtype) for leaf in w.values()])).sum(),
            w,
            np.eye(3, dtype=np.float32),
        ),
        "top_eigenpairs": lambda w: top_eigenpairs(product, w, 2),
        "hutchpp_trace": lambda w: hutchpp_trace(KEY, product, w),
        "spectral_density": lambda w: spectral_density(
            KEY, product, w, num_products=2, num_probes=2, num_points=5
        ),
    }
    expected = calls[name](mixed)
    with MODES[mode]():
        found = calls[name](mixed)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            np.asarray(a, float), np.asarray(b, float), rtol=1e-4, atol=1e-4
        ),
        found,
        expected,
    )


def test_products_that_do_not_match_are_refused():
    for product in (lambda v: v[:2], lambda v: {"a": v}, lambda v: v + 1j):
        with pytest.raises(InputError, match=r"matvec\(vector\)"):
            top_eigenpairs(product, jnp.zeros(3), 1)
    for tol in (-1, np.nan, "small", 1j):
        with pytest.raises(InputError, match="tol is"):
            top_eigenpairs(scaled, SMALL, 1, tol=tol)
    for width in (0, -1.0, np.nan, 1e-60, "wide"):
        with pytest.raises(InputError, match="width is"):
            spectral_density(KEY, scaled, SMALL, num_products=2, width=width)
