"""Interpolants: through the points, SciPy's lines, and gradients of what they are, at edges and
walls too.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from sgd_diffusion.landscape.fractal_surfaces import Surface
from sgd_diffusion.walkers.interpolation import INTERPOLANTS, half_sides, interpolator, nearest

RANDOM = np.random.default_rng(3)
HEIGHTS = RANDOM.normal(size=(9, 6)).astype(np.float32)  # not square: x goes to 1, y to 5/8
SURFACE = Surface(jnp.asarray(HEIGHTS), jnp.float32(2))
XS, YS = np.linspace(-1, 1, 9), np.linspace(-0.625, 0.625, 6)
INSIDE = RANDOM.uniform(-1, 1, size=(2, 500)) * [[1], [0.625]]
SPACING = 0.25

every_kind = pytest.mark.parametrize("kind", INTERPOLANTS)


@functools.partial(jax.jit, static_argnames=("kind", "periodic"))
def heights_and_slopes(surface, xs, ys, kind, periodic):
    height = interpolator(surface, interpolant=kind, periodic=periodic)
    return jax.vmap(jax.value_and_grad(height, argnums=(0, 1)))(xs, ys)


def at(kind, xs, ys, surface=SURFACE, periodic=False):
    """Height, slope along x and slope along y, (3, ...), float64.

    Positions are repeated until there are as many as in `INSIDE`, for which the program is made.
    """
    xs, ys = np.broadcast_arrays(xs, ys)
    places = [np.resize(np.float32(each), INSIDE.shape[1]) for each in (xs, ys)]
    height, slopes = heights_and_slopes(surface, *places, kind, periodic)
    return np.array([height, *slopes], dtype=np.float64)[:, : xs.size].reshape(3, *xs.shape)


@every_kind
def test_it_goes_through_the_points(kind):
    np.testing.assert_allclose(at(kind, XS[:, None], YS)[0], HEIGHTS, atol=1e-6)


def test_bilinear_is_that_of_scipy():
    expected = RegularGridInterpolator((XS, YS), HEIGHTS.astype(float))(INSIDE.T)
    np.testing.assert_allclose(at("bilinear", *INSIDE)[0], expected, atol=2e-6)


@every_kind
def test_gradients_are_differences_of_the_interpolant(kind):
    """Central differences in float64 within cells, where it is a polynomial; float32 gradients to
    1e-4.
    """
    step, (x, y) = 1e-5, INSIDE
    near_an_edge = [
        np.abs(place / SPACING - np.rint(place / SPACING)) < 1e-3 for place in (x + 1, y + 0.625)
    ]
    x, y = (place[~np.logical_or(*near_an_edge)] for place in (x, y))
    with jax.enable_x64(True):
        surface = Surface(jnp.asarray(HEIGHTS, jnp.float64), jnp.float64(2))
        height = jax.jit(jax.vmap(interpolator(surface, interpolant=kind)))
        moves = (step, 0), (-step, 0), (0, step), (0, -step)
        heights = [np.asarray(height(x + along_x, y + along_y)) for along_x, along_y in moves]
        along_x, along_y = heights[0] - heights[1], heights[2] - heights[3]
        expected = np.array([along_x, along_y]) / (2 * step)
    np.testing.assert_allclose(at(kind, x, y)[1:], expected, atol=1e-4)


def test_bilinear_gradients_at_edges_and_walls():
    """On an edge that of the cell toward larger coordinates, on the far walls that of the last
    cell.
    """
    slopes = np.diff(HEIGHTS.astype(float), axis=0) / SPACING
    found = at("bilinear", XS[:, None], YS)[1]
    np.testing.assert_allclose(found, np.vstack([slopes, slopes[-1:]]), atol=1e-5)
    slopes = np.diff(HEIGHTS.astype(float), axis=1) / SPACING
    found = at("bilinear", XS[:, None], YS)[2]
    np.testing.assert_allclose(found, np.hstack([slopes, slopes[:, -1:]]), atol=1e-5)


def test_bicubic_gradients_are_continuous_across_edges():
    """From both sides of every inner edge; the central difference of the points on them."""
    step = np.spacing(np.float32(1))
    inner = XS[1:-1, None]
    below, above = (at("bicubic", inner + sign * step, YS) for sign in (-1, 1))
    np.testing.assert_allclose(below, above, atol=1e-4)
    np.testing.assert_allclose(
        above[1], (HEIGHTS[2:].astype(float) - HEIGHTS[:-2]) / (2 * SPACING), atol=1e-4
    )


def test_bicubic_walls_go_on_in_a_straight_line():
    found = at("bicubic", XS[[0, -1], None], YS)[1]
    np.testing.assert_allclose(
        found, np.diff(HEIGHTS.astype(float), axis=0)[[0, -1]] / SPACING, atol=1e-5
    )


def test_bicubic_is_exact_for_quadratics_away_from_walls():
    heights = XS[:, None] ** 2 - 3 * XS[:, None] * YS + 2 * YS
    surface = Surface(jnp.asarray(heights, np.float32), jnp.float32(2))
    x, y = 0.7 * INSIDE[0], 0.5 * INSIDE[1]
    expected = x**2 - 3 * x * y + 2 * y, 2 * x - 3 * y, -3 * x + 2
    np.testing.assert_allclose(at("bicubic", x, y, surface), expected, atol=1e-5)


def test_a_periodic_bicubic_surface_has_no_seam():
    heights = np.cos(np.pi * XS)[:, None] + np.sin(np.pi * XS)
    function = functools.partial(
        at, "bicubic", surface=Surface(np.float32(heights), np.float32(2)), periodic=True
    )
    np.testing.assert_allclose(function(-1.0, XS), function(1.0, XS), atol=1e-5)
    np.testing.assert_allclose(function(XS, -1.0), function(XS, 1.0), atol=1e-5)


def test_surfaces_can_be_mapped_and_differentiated():
    """The derivative by the heights is the weights, which add up to 1."""
    stack = Surface(np.stack([HEIGHTS, 2 * HEIGHTS]), np.float32([2.0, 2.0]))
    found = jax.jit(jax.vmap(lambda surface: interpolator(surface)(0.3, -0.2)))(stack)
    np.testing.assert_allclose(
        found, [interpolator(SURFACE)(0.3, -0.2)] * np.array([1, 2]), rtol=1e-6
    )

    @jax.jit
    @jax.grad
    def weights(heights):
        surface = SURFACE._replace(heights=heights)
        return interpolator(surface, interpolant="bicubic")(0.3, -0.2)

    np.testing.assert_allclose(np.sum(weights(SURFACE.heights)), 1, rtol=1e-5)
    assert half_sides(stack)[1].tolist() == [0.625, 0.625]


def test_the_nearest_point():
    """Up to half a spacing away, the border beyond; of any values, one surface or many."""
    shift = 0.49 * SPACING
    for along_x, along_y in (0, 0), (shift, -shift), (-shift, shift):
        np.testing.assert_array_equal(
            nearest(SURFACE, *np.meshgrid(XS + along_x, YS + along_y, indexing="ij")), HEIGHTS
        )
    assert nearest(SURFACE, 7.0, -7.0) == HEIGHTS[-1, 0]
    regions = Surface(np.stack([HEIGHTS > 0, HEIGHTS < 0]), np.full(2, 2.0))
    places = np.broadcast_arrays(XS[:, None], np.zeros((2, 1, 1)))
    inside = np.asarray(jax.jit(jax.vmap(nearest))(regions, *places))
    assert inside.dtype == bool
    np.testing.assert_array_equal(inside[0] ^ inside[1], True)


def test_errors_say_what_was_expected():
    with pytest.raises(
        ValueError, match="interpolant is 'spline'; expected one of bilinear, bicubic"
    ):
        interpolator(SURFACE, interpolant="spline")
    with pytest.raises(ValueError, match=r"heights has shape \(2, 9, 6\); expected \(N, M\)"):
        interpolator(Surface(np.stack([HEIGHTS] * 2), 2.0))
