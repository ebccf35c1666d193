"""Displacements of parts of paths: those of the Gram matrix for whole paths and for cut ones."""

import jax
import numpy as np
import pytest

from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.analysis.segments import segment_msd

PATHS = np.random.default_rng(0).normal(size=(3, 41, 2)).cumsum(axis=1)
LAGS = np.array([1, 3, 10])


def from_gram(path, lags):
    steps = np.diff(path, axis=0)
    with jax.enable_x64(True):
        return np.asarray(time_averaged_msd(steps @ steps.T, lags))


def test_whole_paths_and_parts_are_those_of_the_gram_matrix():
    msd, pairs = segment_msd(PATHS, LAGS)
    np.testing.assert_allclose(msd, [from_gram(path, LAGS) for path in PATHS], rtol=1e-12)
    np.testing.assert_array_equal(pairs, np.broadcast_to(41 - LAGS, (3, 3)))
    first, last = np.array([0, 5, 20]), np.array([40, 30, 31])
    msd, pairs = segment_msd(PATHS, LAGS, first=first, last=last)
    cut = [from_gram(path[a : b + 1], LAGS) for path, a, b in zip(PATHS, first, last, strict=True)]
    np.testing.assert_allclose(msd, cut, rtol=1e-12)
    np.testing.assert_array_equal(pairs, (last - first + 1)[:, None] - LAGS)


def test_parts_without_a_pair_have_none():
    msd, pairs = segment_msd(PATHS, LAGS, first=[0, 38, 41], last=[2, 40, 50])
    np.testing.assert_array_equal(pairs, [[2, 0, 0], [2, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(np.isnan(msd), pairs == 0)


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match=r"positions has shape \(2,\)"):
        segment_msd([0.0, 1.0], [1])
    with pytest.raises(ValueError, match=r"expected a one-dimensional array of integers in 1..40"):
        segment_msd(PATHS, [41])
    with pytest.raises(
        ValueError, match=r"first or last has another shape than the paths have, \(3,\)"
    ):
        segment_msd(PATHS, LAGS, first=[0, 1])
