"""Passages and stays: counted by hand and by loops, and the mean of stays of a two-state process
that is known.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_diffusion.walkers.passages import final_entry, first_passage, mean_duration, stays

INSIDE = np.array([[0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 1, 0]], dtype=bool)


def test_by_hand():
    assert first_passage(INSIDE).tolist() == [1, 0, 5, 0]
    assert final_entry(INSIDE).tolist() == [4, 0, 5, 5]
    found = stays(INSIDE)
    assert found.path.tolist() == [0, 0, 1, 3, 3]
    assert found.first.tolist() == [1, 4, 0, 0, 2]
    assert found.duration.tolist() == [2, 1, 5, 1, 2]
    assert found.entered.tolist() == [True, True, False, False, True]
    assert found.left.tolist() == [True, False, False, True, True]
    mean = mean_duration(found)
    assert mean.exits == 3
    assert mean.value == pytest.approx(11 / 3)


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=4))
def test_stays_cover_what_is_inside_and_nothing_else(rows):
    inside = np.array(rows)
    found, covered = stays(inside), np.zeros(inside.shape, bool)
    for path, first, duration in zip(found.path, found.first, found.duration, strict=True):
        covered[path, first : first + duration] = True
    np.testing.assert_array_equal(covered, inside)
    assert found.left.sum() == (inside[:, :-1] & ~inside[:, 1:]).sum()
    assert found.entered.sum() == (~inside[:, :-1] & inside[:, 1:]).sum()
    np.testing.assert_array_equal(
        first_passage(inside), [row.index(True) if True in row else 7 for row in rows]
    )
    last_outside = [max((step for step in range(7) if not row[step]), default=-1) for row in rows]
    np.testing.assert_array_equal(final_entry(inside), np.array(last_outside) + 1)


def test_mean_duration_of_a_two_state_process():
    """Leaves with chance 1/20 a step, so stays last 20 on average though half of the paths end in
    one; 200 repeats.
    """
    random, found = np.random.default_rng(0), []
    for _ in range(200):
        inside = np.zeros((30, 60), bool)
        inside[:, 0] = random.random(30) < 0.5
        for step in range(1, 60):
            chance = random.random(30)
            inside[:, step] = np.where(inside[:, step - 1], chance > 1 / 20, chance < 1 / 20)
        found.append(mean_duration(stays(inside)))
    values, errors = (
        np.array([getattr(mean, name) for mean in found]) for name in ("value", "error")
    )
    assert (
        abs(np.mean(1 / values) - 1 / 20) < 4 * np.std(1 / values) / np.sqrt(200) + 1e-3
    )  # the ratio's own bias is 1/exits
    assert np.median(errors) / values.std() == pytest.approx(1, abs=0.2)


def test_nothing_seen():
    assert np.isinf(mean_duration(stays(np.ones(4, bool))).value)
    assert np.isnan(mean_duration(stays(np.zeros(4, bool))).value)
    assert stays(np.zeros((2, 4), bool)).path.size == 0


@pytest.mark.parametrize("function", [first_passage, final_entry, stays])
def test_numbers_are_booleans_if_they_are_0_or_1(function):
    for whole in (np.array([0, 1, 1]), np.array([0.0, 1.0, 1.0]), [False, True, True]):
        for found, expected in (
            zip(function(whole), function(np.array([False, True, True])), strict=True)
            if (function is stays)
            else [(function(whole), function(np.array([False, True, True])))]
        ):
            np.testing.assert_array_equal(found, expected)
    with pytest.raises(
        ValueError,
        match=r"inside is int64 of shape \(3,\); expected booleans, or numbers that are all 0 or 1",
    ):
        function(np.array([0, 1, 2]))
