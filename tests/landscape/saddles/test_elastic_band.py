"""Minimum-energy paths: potentials whose saddles are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddle_losses import MINIMA, gradients, muller_brown, on_host

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.saddles import critical_point, nudged_elastic_band

SADDLE = on_host(functools.partial(critical_point, muller_brown))
BAND = on_host(jax.vmap(functools.partial(nudged_elastic_band, muller_brown, num_images=11)))


@pytest.fixture(scope="module")
def bands():
    """From the first minimum and from the third one to the second, in one program."""
    return BAND(MINIMA[[0, 2]], MINIMA[[1, 1]])


def test_highest_image_climbs_to_the_saddle(bands):
    assert bool(bands.converged.all())
    for band in (jax.tree.map(lambda leaf, i=i: leaf[i], bands) for i in range(2)):
        top = band.points[int(band.highest)]
        saddle = SADDLE(top)
        assert bool(saddle.converged) and int(saddle.index) == 1
        # The residual over the smallest curvature bounds the distance.
        limit = float(band.residual) / float(abs(saddle.eigenvalues).min())
        assert np.linalg.norm(top - saddle.point) < 1.5 * limit
        assert abs(float(band.losses.max() - saddle.loss)) < 1e-6


def test_path_is_one_of_least_loss(bands):
    """The gradient is along the tangent, the ends are the minima, and images are equally apart."""
    slopes = gradients(bands.points.reshape(-1, 2)).reshape(bands.points.shape)
    tangents = bands.tangents
    along = (slopes * tangents).sum(axis=-1, keepdims=True)
    across = np.linalg.norm(slopes - along * tangents, axis=-1)
    assert across[:, 1:-1].max() <= 1e-3 * (1 + 1e-6)
    np.testing.assert_allclose(np.linalg.norm(tangents, axis=-1), 1, rtol=1e-12)
    for end, minima in ((0, [0, 2]), (-1, [1, 1])):  # as compiled programs read them
        np.testing.assert_array_equal(bands.points[:, end], np.float32(MINIMA[minima]))
    gaps = np.diff(bands.lengths, axis=1)
    for gap, highest in zip(gaps, bands.highest, strict=True):
        for side in (gap[:highest], gap[highest:]):
            np.testing.assert_allclose(side, side.mean(), rtol=0.02)


def test_pytrees_and_a_bent_first_guess():
    """A straight first guess stays on the ridge by symmetry; one through a point aside does not."""

    def loss(theta):
        ring = (theta["x"] ** 2 + theta["y"] ** 2 - 1) ** 2
        return ring + 0.1 * (theta["y"] ** 2)[0]  # valleys along the ring, minima at x = -1 and 1

    start, end = ({"x": np.float64(x), "y": np.zeros(1)} for x in (-1.0, 1.0))

    def total(theta):
        return jnp.asarray(loss(theta)).sum()

    @on_host
    def bent(start, end, middle):
        return nudged_elastic_band(total, start, end, through=middle, num_images=9)

    band = bent(start, end, {"x": np.float64(0.0), "y": np.ones(1)})
    assert bool(band.converged) and int(band.highest) == 4
    np.testing.assert_allclose(band.points["y"][4], np.sqrt(0.95), rtol=1e-3)
    assert band.tangents["y"].shape == (9, 1)


@pytest.mark.slow
def test_steps_run_out():
    band = nudged_elastic_band(muller_brown, MINIMA[0], MINIMA[1], num_images=5, max_steps=3)
    assert not bool(band.converged) and int(band.num_steps) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": None}, "loss is None; expected a function"),
        ({"end": MINIMA[0]}, "end is the start"),
        ({"end": np.zeros(3)}, "end does not match start"),
        ({"through": {"a": np.zeros(2)}}, "through does not match start"),
        ({"start": np.array([np.inf, 0])}, "start is not finite"),
        ({"num_images": 2}, "num_images is 2; expected an integer in 3"),
        ({"tolerance": "small"}, "tolerance is 'small'"),
        ({"max_steps": 1.5}, "max_steps is 1.5"),
    ],
)
def test_unusable_arguments(changed, message):
    values = {"loss": muller_brown, "start": MINIMA[0], "end": MINIMA[1]} | changed
    with pytest.raises(InputError, match=message):
        nudged_elastic_band(**values)
