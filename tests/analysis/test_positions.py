"""Displacements from positions are those of all pairs that are there, for long paths and paths with
gaps.
"""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from input_table import Argument, input_tests, mode_tests

from sgd_diffusion.analysis import displacement, pairs, positions
from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.errors import InputError

RANDOM = np.random.default_rng(0)
WALK = RANDOM.normal(size=(101, 3)).cumsum(axis=0)
PATH = RANDOM.integers(0, 100, size=(21, 2)).astype(float)
LAGS = [1, 2, 7, 20]
ENTRIES = [
    Argument(
        "positions.time_averaged_msd(positions)",
        positions.time_averaged_msd,
        PATH,
        takes_complex=True,
    ),
    Argument(
        "positions.by_lag(positions)",
        lambda path: positions.by_lag(path, [1, 2]),
        PATH[:4],
        takes_complex=True,
    ),
]
test_inputs = input_tests(ENTRIES)
test_modes = mode_tests(ENTRIES)


def direct(path, lags):
    """Means over the pairs that are there, one by one."""
    differences = [((path[lag:] - path[:-lag]) ** 2).sum(axis=1) for lag in lags]
    return np.array(
        [
            squares[np.isfinite(squares)].mean() if np.isfinite(squares).any() else np.nan
            for squares in differences
        ]
    )


def test_the_same_as_from_the_gram_matrix():
    np.testing.assert_allclose(
        positions.time_averaged_msd(WALK),
        displacement.time_averaged_msd(step_gram(WALK)),
        rtol=1e-10,
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 3),
    st.floats(0, 0.9),
    st.floats(-1e3, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_gaps_leave_out_their_pairs(points, dimensions, missing, drift, seed):
    random = np.random.default_rng(seed)
    path = (
        random.normal(size=(points, dimensions)).cumsum(axis=0) + drift * np.arange(points)[:, None]
    )
    path[random.random(points) < missing] = np.nan
    lags = np.arange(1, points)
    expected = direct(path, lags)
    np.testing.assert_allclose(positions.time_averaged_msd(path), expected, rtol=1e-9, atol=1e-9)
    curve = positions.by_lag(path, lags)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(
            curve.sums.sum(axis=0) / curve.counts.sum(axis=0), expected, rtol=1e-12
        )


@pytest.mark.parametrize("motion", ["brownian", "ballistic", "confined", "far away"])
def test_long_paths_keep_their_digits(motion):
    points = 100_000
    steps = np.random.default_rng(1).normal(size=(points, 2))
    path = {
        "brownian": steps.cumsum(axis=0),
        "ballistic": 1e-3 * steps + np.arange(points)[:, None],
        "confined": steps,
        "far away": steps + 1e8,
    }[motion]
    lags = np.array([1, 10, 1000, 99_999])
    expected = direct(path, lags)
    rtol = {"far away": 1e-6}.get(
        motion, 1e-10
    )  # positions themselves have but 8 digits beyond 1e8
    np.testing.assert_allclose(positions.time_averaged_msd(path, lags), expected, rtol=rtol)


def test_sizes_at_the_ends_of_the_range():
    for size in (1e-150, 1e150):
        np.testing.assert_allclose(
            positions.time_averaged_msd(size * WALK, LAGS), size**2 * direct(WALK, LAGS), rtol=1e-10
        )


def test_pairs_by_lag_are_those_of_the_gram_matrix():
    for ours, theirs in zip(
        positions.by_lag(WALK, LAGS), pairs.by_lag(step_gram(WALK), LAGS), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_replicates_of_a_path_with_a_gap_are_finite():
    path = WALK.copy()
    path[40] = np.nan
    replicates = np.asarray(
        pairs.block_bootstrap(jax.random.key(0), positions.by_lag(path, LAGS), num_resamples=20)
    )
    assert np.isfinite(replicates).all()
    assert replicates.std(axis=0).min() > 0


def test_complex_positions_are_pairs_of_real_ones():
    np.testing.assert_allclose(
        positions.time_averaged_msd(WALK[:, 0] + 1j * WALK[:, 1]),
        positions.time_averaged_msd(WALK[:, :2]),
        rtol=1e-12,
    )


def test_no_pair_gives_no_number():
    assert np.isnan(positions.time_averaged_msd([np.nan, 1.0, np.nan])).all()
    assert np.isnan(positions.time_averaged_msd([np.nan, np.nan])).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: positions.time_averaged_msd([1.0]), "at least two points"),
        (lambda: positions.time_averaged_msd(np.zeros((3, 0))), "at least two points"),
        (lambda: positions.time_averaged_msd(WALK, [0]), r"lags is \[0\]"),
        (lambda: positions.by_lag(WALK, [101]), r"1\.\.100"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
