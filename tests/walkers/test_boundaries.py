"""Walls: the truncated normal law, mirrors and periods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from sgd_diffusion.errors import InputError
from sgd_diffusion.walkers.boundaries import BOUNDARIES, reject

compiled = jax.jit(reject)


@pytest.mark.parametrize("mean", [0.0, 0.97, 1.02, 1.029, 1.032, 1.2, 4.0, -0.99, -1.033, -2.0])
def test_rejection_is_the_truncated_normal_law(mean):
    """By inversion: quantiles of the law at 10,000 uniform numbers, to a thousandth of its width at
    mid levels.
    """
    std, uniform = 0.01, (np.arange(10_000, dtype=np.float32) + 0.5) / 10_000
    found, outside = compiled(jnp.float32(mean), jnp.float32(std), uniform, jnp.float32(1))
    law = stats.truncnorm((-1 - mean) / std, (1 - mean) / std, loc=mean, scale=std)
    levels = np.asarray(uniform, dtype=float)
    expected = law.ppf(levels)
    width = min(std, law.std())
    tolerance = 3e-3 * width + np.spacing(np.float32(1))
    np.testing.assert_allclose(found[200:-200], expected[200:-200], rtol=0, atol=tolerance)
    assert np.abs(found - expected).max() < 0.05 * width + np.spacing(np.float32(1))
    chance = 1 - (stats.norm.cdf((1 - mean) / std) - stats.norm.cdf((-1 - mean) / std))
    assert abs(np.mean(outside) - chance) < 2e-4


def truncated_normal(levels, low, high):
    """Quantiles of the standard normal law between two bounds, from logs of the nearer tail."""
    if low > 0:
        return -truncated_normal(1 - levels, -high, -low)
    chance = np.logaddexp(
        np.log1p(-levels) + special.log_ndtr(low), np.log(levels) + special.log_ndtr(high)
    )
    return special.ndtri_exp(chance) if high < 0 else special.ndtri(np.exp(chance))


@pytest.mark.parametrize("beyond", [-20.0, -5.0, 0.0, 1.0, 2.0, 2.9, 3.1, 4.0, 4.9, 5.1, 8.0, 20.0])
@pytest.mark.parametrize("std", [0.001, 0.03, 0.5, 5.0, 100.0, 200.0, 1e4])
def test_rejection_is_as_exact_as_it_says(std, beyond):
    """At all levels of the random numbers there are, on both sides, to 2e-4 of the distance between
    quartiles.
    """
    ends = 2.0 ** -np.arange(9, 25)
    levels = np.float32([*ends, *(np.arange(200) + 0.5) / 200, *(1 - ends)])
    for sign in (1, -1):
        mean = np.float32(sign * (1 + beyond * std))
        found, _ = compiled(mean, np.float32(std), levels, np.float32(1))
        mean, scale = float(mean), float(np.float32(std))
        low, high = (-1 - mean) / scale, (1 - mean) / scale
        quartiles = scale * truncated_normal(np.array([0.25, 0.75]), low, high)
        expected = mean + scale * truncated_normal(levels.astype(float), low, high)
        tolerance = 2e-4 * np.diff(quartiles) + np.spacing(np.float32(1)) / 2
        assert np.all(np.abs(found - expected) < tolerance)


@pytest.mark.parametrize("std", [1e-4, 1e-7, 1e-9, 1e-12])
def test_contacts_are_counted_however_small_the_noise(std):
    """The chance of the step without walls to lead out, from the wall and from inside: not more,
    where noise is small.
    """
    levels = (np.arange(2000, dtype=np.float32) + 0.5) / 2000
    for depth in (0.0, 1e-6, 1e-3):
        mean = np.float32(1 - depth)
        for sign in (1, -1):
            _, outside = compiled(sign * mean, np.float32(std), levels, np.float32(1))
            assert np.mean(outside) == pytest.approx(
                stats.norm.sf((1 - float(mean)) / std), abs=1e-3
            )


def test_rejection_can_be_differentiated():
    """Finite everywhere; by the mean that of a difference in float64."""
    slopes = jax.jit(jax.grad(lambda *inputs: reject(*inputs)[0], argnums=(0, 1, 3)))
    for std in (0.0, 1e-9, 0.5, 1e6):
        for mean in (0.0, 1.0, -1.03, 1e6):
            assert np.isfinite(slopes(mean, std, 0.3, 1.0)).all()
    for mean in (0.5, 1.3, 4.1):
        low, high = (-1 - mean) / 0.5, (1 - mean) / 0.5
        step = 1e-5
        ends = [
            mean + e + 0.5 * truncated_normal(np.float64(0.3), low - 2 * e, high - 2 * e)
            for e in (-step, step)
        ]
        assert slopes(mean, 0.5, 0.3, 1.0)[0] == pytest.approx(
            (ends[1] - ends[0]) / (2 * step), rel=1e-3, abs=1e-4
        )


@pytest.mark.parametrize("mean", [0.5, 1.0, 1.05, 30.0, -1e6])
def test_rejection_without_noise_stays_on_the_wall(mean):
    found, outside = reject(jnp.float32(mean), jnp.float32(0), jnp.float32(0.3), jnp.float32(1))
    assert found == np.clip(mean, -1, 1)
    assert outside == (abs(mean) > 1)


def test_rejection_with_noise_as_wide_as_the_square():
    """The far wall cuts the tail as well."""
    uniform = (np.arange(10_000, dtype=np.float32) + 0.5) / 10_000
    for mean, std in [(0.2, 50.0), (-7.0, 2.0), (-300.0, 60.0)]:
        found, _ = compiled(jnp.float32(mean), jnp.float32(std), uniform, jnp.float32(1))
        law = stats.truncnorm((-1 - mean) / std, (1 - mean) / std, loc=mean, scale=std)
        np.testing.assert_allclose(
            np.clip(found, -1, 1), law.ppf(np.asarray(uniform, dtype=float)), atol=6e-3
        )


@pytest.mark.parametrize(
    ("place", "mirrored", "wrapped"),
    [
        (0.9, 0.9, 0.9),
        (1.25, 0.75, -0.75),
        (-1.5, -0.5, 0.5),
        (3.5, -0.5, -0.5),
        (-5.25, -0.75, 0.75),
    ],
)
def test_reflection_and_periodicity_far_outside(place, mirrored, wrapped):
    for boundary, expected in ("reflect", mirrored), ("periodic", wrapped):
        found, outside = BOUNDARIES[boundary](
            jnp.float32(place), 0.0, jnp.float32(0.5), jnp.float32(1)
        )
        assert found == pytest.approx(expected, abs=1e-6)
        assert outside == (abs(place) > 1)


def test_what_is_no_wall_and_no_noise():
    """Walls that are known are refused, negative noise gives NaN."""
    for boundary in BOUNDARIES.values():
        for wall in (0.0, -1.0, np.nan):
            with pytest.raises(InputError, match=r"wall is .*; expected a positive distance"):
                boundary(0.0, 1.0, 0.3, wall)
        with pytest.raises(InputError, match=r"have shapes .*; expected shapes that broadcast"):
            boundary(np.zeros(2), np.zeros(3), 0.3, 1.0)
        assert np.isnan(boundary(0.0, -1.0, 0.3, 1.0)[0])
