"""Annealing keeps what it says, and hyperparameters out of range are refused or NaN."""

import jax
import numpy as np
import pytest

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.limiting import (
    Hyperparameters,
    annealed,
    local_displacement,
    modes,
    stationary_covariance,
)

HYPER = Hyperparameters(0.1, momentum=0.9, batch_size=128)


def test_temperature_and_the_whole_stationary_law_stay():
    changed = annealed(HYPER, 0.1)
    np.testing.assert_allclose(changed, (0.09545558846849332, 0.9904544411531506, 0, 1280), 1e-12)
    np.testing.assert_allclose(changed.inverse_temperature, 24.32, rtol=1e-12)
    np.testing.assert_allclose(changed.learning_rate * (1 + changed.momentum), 0.19, rtol=1e-12)
    before, after = (
        stationary_covariance([2.0, 0.1], [3.0, 5.0], each, discrete=False)
        for each in (HYPER, changed)
    )
    np.testing.assert_allclose(before, after, rtol=1e-9)


def test_damping_stays():
    changed = annealed(HYPER, 0.1, keep="damping")
    np.testing.assert_allclose(changed[:2], (0.01, 0.9895287958115183), rtol=1e-12)
    before, after = (modes(1.0, each).damping for each in (HYPER, changed))
    np.testing.assert_allclose(before, after, rtol=1e-12)


def test_a_factor_of_one_changes_nothing():
    for keep in ("temperature", "damping"):
        np.testing.assert_allclose(annealed(HYPER, 1, keep=keep), HYPER, rtol=1e-14)


@pytest.mark.parametrize(
    ("factor", "keep", "expected"),
    [
        (0, "temperature", "factor is 0"),
        (10, "temperature", "a momentum of at least 0 and a batch of at least 1"),
        (30, "damping", "a momentum of at least 0"),
        (0.5, "noise", '"temperature" or "damping"'),
    ],
)
def test_what_cannot_be_kept(factor, keep, expected):
    with pytest.raises(InputError, match=expected):
        annealed(HYPER, factor, keep=keep)


@pytest.mark.parametrize(
    ("hyper", "name"),
    [
        (Hyperparameters(0.0), "learning_rate"),
        (Hyperparameters(np.nan), "learning_rate"),
        (Hyperparameters(0.1, 1.0), "momentum"),
        (Hyperparameters(0.1, -0.1), "momentum"),
        (Hyperparameters(0.1, 0.9, -1e-4), "weight_decay"),
        (Hyperparameters(0.1, 0.9, 0.0, 0.5), "batch_size"),
        ((0.1, 0.9, 0.0, 1), "Hyperparameters"),
    ],
)
def test_out_of_range(hyper, name):
    with pytest.raises(InputError, match=name):
        local_displacement([1.0], [1.0], hyper)


def test_traced_ones_out_of_range_give_nan():
    @jax.jit
    def displacement(eta, beta, decay, size):
        return local_displacement([1.0], [1.0], Hyperparameters(eta, beta, decay, size))

    assert np.isfinite(displacement(0.1, 0.5, 0.0, 4.0))
    for wrong in [(0, 0.5, 0, 4), (0.1, 1, 0, 4), (0.1, 0.5, -1, 4), (0.1, 0.5, 0, 0.5)]:
        assert np.isnan(displacement(*map(float, wrong))), wrong
