"""The two-valley landscape: identities, automatic derivatives, precision, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.freezing import TwoValleys

LANDSCAPE = TwoValleys()
X = np.array([-0.5, -0.2, -0.01, 0.01, 0.3, 0.7])
Y = np.array([0.1, 1.0, 5.0, 15.0, 40.0, 200.0])


def test_both_valleys_have_the_barrier():
    x1, x2 = 0.8 * Y / (Y + 30), 0.65 * Y / (Y + 30)
    for floor in (x1, -x2):
        np.testing.assert_allclose(LANDSCAPE.gradient(floor, Y)[:, 0], 0, atol=1e-14)
        ridge, bottom = (np.asarray(LANDSCAPE.loss(x, Y)) for x in (0.0, floor))
        depth = ridge - bottom
        np.testing.assert_allclose(depth, (Y / (Y + 20)) ** 2, rtol=0, atol=1e-12)
        np.testing.assert_allclose(LANDSCAPE.barrier(Y), depth, rtol=0, atol=1e-12)


def test_the_flat_valley_is_flatter_by_the_same_factor_everywhere():
    sharp, flat = (np.asarray(LANDSCAPE.hessian(x, Y))[:, 0, 0] for x in (-0.1, 0.1))
    np.testing.assert_allclose(sharp / flat, 1.5147929, rtol=1e-7)
    np.testing.assert_allclose(LANDSCAPE.flatness_ratio, 1.5147929, rtol=1e-7)


def test_derivatives_are_those_of_the_loss():
    x, y = (each.ravel() for each in np.meshgrid(np.append(X, 0.0), Y))
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)

        def loss(place):
            return LANDSCAPE.loss(place[0], place[1])

        places = jnp.stack([x, y], axis=-1)
        slopes = jax.jit(jax.vmap(jax.grad(loss)))(places)
        bends = jax.jit(jax.vmap(jax.jacfwd(jax.grad(loss))))(places)
    np.testing.assert_allclose(LANDSCAPE.gradient(x, y), slopes, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(LANDSCAPE.hessian(x, y), bends, rtol=1e-12, atol=1e-14)


def test_derivatives_are_those_of_finite_differences():
    x, y = (each.ravel() for each in np.meshgrid(X, Y[1:]))
    step = 1e-5
    for axis, (dx, dy) in enumerate([(step, 0), (0, step)]):
        for function, derivative in (
            (LANDSCAPE.loss, LANDSCAPE.gradient),
            (LANDSCAPE.gradient, LANDSCAPE.hessian),
        ):
            ahead, behind = (np.asarray(function(x + k * dx, y + k * dy)) for k in (1, -1))
            change, found = ahead - behind, derivative(x, y)[:, axis]
            np.testing.assert_allclose(found, change / (2 * step), rtol=0, atol=1e-6)


def test_the_term_that_the_programs_of_the_paper_leave_out_is_there():
    """-n f''/f^2, from differences of the written f."""
    x, y, step = 0.2, 10.0, 1e-3

    def f(y):
        return 0.64 * ((y + 20) / (y + 30)) ** 2

    bend = (f(y + step) - 2 * f(y) + f(y - step)) / step**2
    slope = (f(y + step) - f(y - step)) / (2 * step)
    g, g1, g2 = 1.6 * y / (y + 30), 48 / (y + 30) ** 2, -96 / (y + 30) ** 3
    n = x * (x - g)
    without = (
        -x * g2 / f(y)
        + 2 * x * g1 * slope / f(y) ** 2
        + 2 * n * slope**2 / f(y) ** 3
        + 1e-4 * np.exp(-y / 100)
    )
    missing = LANDSCAPE.hessian(x, y)[1, 1].item() - without
    np.testing.assert_allclose(missing, -n * bend / f(y) ** 2, rtol=1e-5)
    assert abs(missing) > 1e-5


@pytest.mark.parametrize("method", ["loss", "gradient", "hessian"])
def test_jit_vmap_and_precision(method):
    function = getattr(LANDSCAPE, method)
    expected = function(X, Y)
    assert expected.dtype == jnp.float64
    single = jax.jit(function)(jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-6)
    with jax.enable_x64(True):
        mapped = jax.jit(jax.vmap(function))(jnp.asarray(X), jnp.asarray(Y))
    np.testing.assert_allclose(mapped, expected, rtol=1e-13)


def test_parameters_are_a_pytree():
    def barrier(x2, y):
        return LANDSCAPE._replace(x2=x2).hessian(-0.1, y)[0, 0]

    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(barrier, (0, None)))(jnp.array([0.65, 0.8, -1.0]), 5.0)
    expected = [LANDSCAPE.hessian(x, 5.0)[0, 0] for x in (-0.1, 0.1)]
    np.testing.assert_allclose(many[:2], expected, rtol=1e-13)
    assert np.isnan(many[2])


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: TwoValleys(x1=0.0).loss(1.0, 1.0), "x1 is 0.0; expected a finite number above 0"),
        (lambda: TwoValleys(L_d=-1).gradient(1.0, 1.0), "L_d is -1; .* of at least 0"),
        (lambda: TwoValleys(x2=-1).flatness_ratio, "x2 is -1"),
        (lambda: LANDSCAPE.barrier([1.0, -1.0]), "y is negative or not finite"),
        (lambda: LANDSCAPE.loss([1.0, 2.0], [1.0, 2.0, 3.0]), r"y has shape \(3,\)"),
        (lambda: LANDSCAPE.loss("a", 1.0), "x has dtype"),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()
