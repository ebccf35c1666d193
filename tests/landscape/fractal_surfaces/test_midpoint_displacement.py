"""Midpoint displacement: the same as loops with the same random numbers, its displacements,
exponents and gradients.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.landscape.box_counting import variogram_exponent
from sgd_diffusion.landscape.fractal_surfaces import Surface, clipped, diamond_square

KEY = jax.random.key(3)
ROUGHNESS = 3.0


@functools.cache
def drawn(levels):
    """Heights by key and Hurst exponent."""
    return jax.jit(
        lambda key, hurst: diamond_square(key, levels, roughness=ROUGHNESS, hurst=hurst).heights
    )


def by_loops(key, levels, hurst):
    """Point by point, from the random numbers of diamond_square: one for each point of the grid."""
    heights = np.zeros((2**levels + 1,) * 2)
    noise = np.asarray(jax.random.uniform(key, heights.shape), dtype=float) - 0.5
    for level in range(levels):
        step = 2 ** (levels - level)
        half, width = step // 2, ROUGHNESS * 2.0 ** (-hurst * level)
        diagonal = [(-half, -half), (-half, half), (half, -half), (half, half)]
        straight = [(-half, 0), (half, 0), (0, -half), (0, half)]
        for (down, right), around in zip(
            [(half, half), (0, half), (half, 0)], (diagonal, straight, straight), strict=True
        ):
            for x in range(down, len(heights), step):
                for y in range(right, len(heights), step):
                    inside = [
                        (x + a, y + b)
                        for a, b in around
                        if 0 <= x + a < len(heights) and 0 <= y + b < len(heights)
                    ]
                    heights[x, y] = (
                        np.mean([heights[place] for place in inside]) + width * noise[x, y]
                    )
    return heights


def displacements(heights):
    """Of the points that were made last, centers and middles of edges along either axis, from the
    mean of their neighbors.
    """
    corners, centers = heights[::2, ::2], heights[1::2, 1::2]
    around = (corners[:-1, :-1] + corners[:-1, 1:] + corners[1:, :-1] + corners[1:, 1:]) / 4

    def along_rows(heights):
        known = np.pad(heights[1::2, 1::2], ((1, 1), (0, 0)), constant_values=np.nan)
        near = [heights[::2, :-1:2], heights[::2, 2::2], known[:-1], known[1:]]
        return heights[::2, 1::2] - np.nanmean(near, axis=0)

    return centers - around, along_rows(heights), along_rows(heights.T).T


def correlation(a, b):
    return np.mean(a * b, axis=0) / np.sqrt(np.mean(a**2, axis=0) * np.mean(b**2, axis=0))


# The generator


@pytest.mark.parametrize(("levels", "hurst"), [(1, 1.0), (2, 0.3), (3, 0.7)])
def test_it_is_what_loops_make_of_the_same_random_numbers(levels, hurst):
    heights = drawn(levels)(KEY, hurst)
    np.testing.assert_allclose(heights, by_loops(KEY, levels, hurst), atol=2e-6)


@pytest.mark.parametrize("levels", [1, 3, 9])
def test_corners_are_at_zero_and_nothing_else_is(levels):
    heights = np.array(drawn(levels)(KEY, 1.0))
    assert not heights[:: 2**levels, :: 2**levels].any()
    assert np.count_nonzero(heights) == heights.size - 4


def test_the_last_points_are_displaced_by_at_most_half_a_width():
    """The bound roughness / 2^(levels - 1) / 2 for hurst = 1, reached to within 1 percent by
    centers and by middles.
    """
    bound = ROUGHNESS / 2**8 / 2
    for found in displacements(np.asarray(drawn(9)(KEY, 1.0), dtype=float)):
        assert 0.99 * bound < np.abs(found).max() < bound + 1e-6


def test_displacements_are_uniform_and_independent_of_one_another():
    """Those of all levels and kinds, each with moments and correlations within 4.5 standard errors
    of uniform noise.
    """
    heights, found = np.asarray(drawn(9)(KEY, 0.5), dtype=float), []
    for level in range(8, 2, -1):
        width = ROUGHNESS * 2 ** (-0.5 * level)
        found += [kind.ravel() / width for kind in displacements(heights)]
        heights = heights[::2, ::2]
    for values in found:
        assert abs(values.mean()) < 4.5 * np.sqrt(1 / 12 / len(values))
        assert abs(np.mean(values**2) - 1 / 12) < 4.5 * np.sqrt(1 / 180 / len(values))
    for first, second in itertools.combinations(found, 2):
        shared = min(len(first), len(second))
        assert abs(correlation(first[:shared], second[:shared])) < 4.5 / np.sqrt(shared)


@pytest.mark.parametrize("kind", ["seeds", "split"])
def test_surfaces_of_neighboring_keys_are_uncorrelated(kind):
    """At every point, over a thousand pairs, within 4.5 standard errors."""
    keys = (
        jax.vmap(jax.random.key)(np.arange(1001))
        if kind == "seeds"
        else jax.random.split(KEY, 1001)
    )
    heights = np.asarray(jax.vmap(drawn(3), (0, None))(keys, 1.0))
    apart = np.delete(heights.reshape(1001, -1), [0, 8, 72, 80], axis=1)
    assert np.abs(correlation(apart[1:], apart[:-1])).max() < 4.5 / np.sqrt(1000)


# What is known of its surfaces


def exponents(levels, hurst, count):
    surfaces = (drawn(levels)(key, hurst) for key in jax.random.split(KEY, count))
    found = [
        variogram_exponent(heights, sizes=2 ** np.arange(7), tol=np.inf).value
        for heights in surfaces
    ]
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(count)


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7])
def test_variogram_exponent_is_near_hurst(hurst):
    mean, error = exponents(9, hurst, 6)
    assert error < 0.02
    assert abs(mean - hurst) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hurst", "expected"), [(0.3, 0.300), (0.5, 0.454), (0.7, 0.629), (1.0, 0.860)]
)
def test_variogram_exponents_of_the_docstring(hurst, expected):
    """Lags 1 to 64; both means are of ten. Independent NumPy ports found 0.30, 0.44, 0.61 and 0.81
    to 0.87.
    """
    mean, error = exponents(10, hurst, 10)
    assert abs(mean - expected) < 4 * np.sqrt(2) * error


@pytest.mark.slow
def test_gradients_of_the_published_generator():
    """An independent port found a standard deviation of 2.3, an excess kurtosis of 0.03 +- 0.03."""
    deviations, kurtoses = [], []
    for key in jax.random.split(KEY, 10):
        heights = np.asarray(drawn(10)(key, 1.0), dtype=float)
        slopes = np.concatenate([np.diff(heights, axis=axis).ravel() for axis in (0, 1)]) / (
            2 / 1024
        )
        deviations.append(slopes.std())
        kurtoses.append(np.mean((slopes - slopes.mean()) ** 4) / slopes.var() ** 2 - 3)
    assert np.std(deviations, ddof=1) / np.sqrt(10) < 0.02
    assert abs(np.mean(deviations) - 2.3) < 0.1
    assert abs(np.mean(kurtoses) - 0.03) < 3 * np.hypot(
        0.03, np.std(kurtoses, ddof=1) / np.sqrt(10)
    )


# Clipping


def test_clipping_lowers_the_border_and_fills_with_water():
    heights = jnp.array([[0.5, -0.3, -0.05], [0.2, 0.7, 0.0], [0.1, -0.1, 0.3], [0.4, 0.2, -0.2]])
    found = clipped(Surface(heights, jnp.float32(2)))
    expected = np.float32([[0, -0.1, -0.05], [0, 0.7, 0], [0, -0.1, 0], [0, 0, -0.1]])
    np.testing.assert_array_equal(found.heights, expected)
    assert found.extent == 2
    np.testing.assert_array_equal(clipped(found).heights, found.heights)
    other = clipped(Surface(heights, jnp.float32(2)), base=0.25, water=0.05).heights
    expected = np.float32(
        [[0.25, 0.05, 0.05], [0.2, 0.7, 0.05], [0.1, 0.05, 0.25], [0.25, 0.2, 0.05]]
    )
    np.testing.assert_array_equal(other, expected)


# A function of a key


def test_keys_exponents_precision_and_transformations():
    keys, hursts = jax.random.split(KEY, 3), jnp.array([0.2, 0.5, 0.9])
    batch = jax.vmap(drawn(2))(keys, hursts)
    assert batch.shape == (3, 5, 5)
    assert batch.dtype == np.float32
    for key, hurst, heights in zip(keys, hursts, batch, strict=True):
        np.testing.assert_allclose(drawn(2)(key, hurst), heights, atol=1e-6)
    eager = diamond_square(KEY, 1, roughness=ROUGHNESS, extent=7)
    assert eager.extent.shape == ()
    assert eager.extent == 7
    np.testing.assert_allclose(eager.heights, drawn(1)(KEY, 1.0), atol=1e-6)
    cut = jax.jit(jax.vmap(clipped))(Surface(batch, jnp.ones(3))).heights
    np.testing.assert_array_equal(cut[1], clipped(Surface(batch[1], jnp.ones(()))).heights)
    with jax.enable_x64(True):
        assert (
            jax.jit(lambda key: diamond_square(key, 1, roughness=ROUGHNESS))(KEY).heights.dtype
            == np.float64
        )


def test_errors_say_what_was_expected():
    for levels in (0, 2.5, 16):
        with pytest.raises(
            ValueError, match=f"levels is {levels}; expected an integer in 1..15 halvings"
        ):
            diamond_square(KEY, levels, roughness=ROUGHNESS)
    with pytest.raises(ValueError, match="roughness is nan; expected a finite number"):
        diamond_square(KEY, 2, roughness=np.nan)
    with pytest.raises(ValueError, match="surface is a ndarray; expected a Surface"):
        clipped(np.zeros((3, 3)))
